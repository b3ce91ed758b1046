"""The tables of the documentation, but for those of maps and comparisons: python -m benchmarks.tables."""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import mean, median
from typing import Any

from benchmarks.common import HERE, OF_SPEED, PRECISIONS, place, precision_of, spread
from benchmarks.markdown import grid, ranged
from benchmarks.tables_mixed import imputation_mixed, public_tables, public_tables_summary, reading
from latentmap.recipes import every

DOCS = HERE.parent / "docs"


def main() -> None:
    """Rewrite the tables between their marks, and nothing else."""
    for page in sorted(set(PAGES.values())):
        path = DOCS / f"{page}.md"
        path.write_text(rewritten(path.read_text(), page))


def rewritten(text: str, page: str) -> str:
    """Return a page with the tables of the results."""
    for table in (table for table in TABLES if PAGES[table] == page):
        name = "throughput" if table in OF_THROUGHPUT else "public_tables" if table in OF_PUBLIC else table.__name__
        paths = [place(name, precision) for precision in PRECISIONS] if name in OF_SPEED else [place(name)]
        results = [json.loads(path.read_text()) for path in paths if path.exists()]
        titles = [f"{title(result)}\n\n" if name in OF_SPEED else "" for result in results]
        grids = [heading + table(result) for heading, result in zip(titles, results, strict=True)]
        if grids:
            text = between(text, table.__name__, "\n\n".join(grids))
    return text


def title(result: dict[str, Any]) -> str:
    """Return the machine of a result, the precision of its matrix products, and how many runs there are."""
    machine = result["machine"]
    runs = f", {result['runs']} run{'s' * (result['runs'] > 1)}" if "runs" in result else ""
    return f"{machine['processor']}, {machine['cores']} cores, matrix products in {precision_of(machine)}{runs}:"


def between(text: str, name: str, table: str) -> str:
    """Return the text with a table between its marks, which have to exist."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, _, rest = text.partition(start)
    _, mark, tail = rest.partition(end)
    assert mark, f"the page has no {start.strip()} ... {end}"
    return f"{head}{start}{table}\n{end}{tail}"


def elbo(result: dict[str, Any]) -> str:
    """Return seconds of training and test -ELBO."""
    summary = result["summary"]
    rows = [
        (f"latentmap, epochs: {epochs}", ranged(value["seconds"], 1), ranged(value["elbo"], 2))
        for epochs, value in summary["ours_by_epochs"].items()
    ]
    below, peers = f"below {result['target']}", summary["pythae"]
    rows += [(f"latentmap, {how}, {below}", ranged(value, 1), "") for how, value in summary["ours"].items()]
    rows += [(f"pythae, rate and batch {name}, {below}", ranged(value, 1), "") for name, value in peers.items()]
    rows += [
        (f"pythae, rate and batch {name}", f"not in {epochs}", "") for name, epochs in summary["short of it"].items()
    ]
    rows += [(f"**times as fast, {name}**", f"**{ranged(v, 1)}**", "") for name, v in summary["ratios"].items()]
    return grid(("", "seconds of training", "test -ELBO, nats"), rows)


def larger(result: dict[str, Any]) -> str:
    """Return rate, fraction of the rate in memory, peak memory, and seconds besides training."""
    rows = [
        (
            name,
            f"{run['gigabytes']:.1f}",
            f"{run['rows_per_second']['median']:,.0f}",
            ranged(run["share"], 2),
            f"{run['peak_mb']['high']:,.0f}",
            f"{run['seconds_beside']['median']:.0f}",
            f"{run['info_seconds']['median']:.1f}",
        )
        for name, run in result["summary"].items()
    ]
    heads = (
        "rows",
        "GB",
        "rows a second",
        "share of the rate in memory",
        "peak memory, MB",
        "other seconds",
        "`info`, s",
    )
    return grid(heads, rows)


def parts(result: dict[str, Any]) -> str:
    """Return rates of part files beside rows in memory, by the clock and by the processor, and peak memory."""
    one = result["summary"]
    rows = [
        *(
            (f"rate of {words}, by the clock; by the processor", f"{one[name]:.2f}; {one[f'{name}_processor']:.2f}")
            for words, name in (
                ("one worker, as a share of that in memory", "share_of_memory"),
                ("two workers, as a multiple of that of one", "two_over_one"),
            )
        ),
        ("peak memory of one worker, MB", f"{one['peak_mb']:,.0f}"),
        ("the same of a quarter of the rows, MB", f"{one['peak_mb_quarter']:,.0f}"),
    ]
    return grid((f"{one['rows']:,} rows of 64 columns", ""), rows)


NAMES = {
    "eager": "eager",
    "compiled": "compiled",
    "loop": "plain loop",
    "pythae": "pythae",
    "pyod": "pyod",
    "scvi": "scvi-tools",
}
"""Contestants of throughput, and their names in its tables."""
LIMITED = ("eager", "compiled", "loop", "pythae")
"""Contestants with the same layers."""


def throughput(result: dict[str, Any]) -> str:
    """Return rows per second of each contestant."""
    rows = [
        (case["case"], case["batch"], *(ranged(case["rates"][who], 0) if who in case["rates"] else "" for who in NAMES))
        for case in result["cases"]
    ]
    return grid(("network", "batch", *NAMES.values()), rows)


def ratios(result: dict[str, Any]) -> str:
    """Return multiples of a peer's rate, by run."""
    pairs = [(who, peer) for peer in ("pythae", "loop") for who in ("eager", "compiled")]
    rows = []
    for case in result["cases"]:
        rates = {who: [run["rows_per_second"] for run in case["raw"][who]] for who in LIMITED}
        times = [spread([a / b for a, b in zip(rates[who], rates[peer], strict=True)]) for who, peer in pairs]
        rows.append((case["case"], case["batch"], *(ranged(value, 1) for value in times)))
    return grid(("network", "batch", *(f"{NAMES[who]} / {NAMES[peer]}" for who, peer in pairs)), rows)


def limits(result: dict[str, Any]) -> str:
    """Return rates over that of the machine's matrix products, in the precision and at the batch of each contestant."""
    rows, floors = [], _floors(result)
    for case in result["cases"]:
        if not case["operations"]:
            continue
        cells = []
        for who in LIMITED:
            precision = case["raw"][who][0].get("precision", "float32")
            floor = floors[f"{precision} products, batch {case['batch']}, operations a second"]
            cells.append(f"{case['operations'] * case['rates'][who]['median'] / floor:.0%} ({precision})")
        rows.append((case["case"], case["batch"], *cells))
    return grid(("network", "batch", *(NAMES[who] for who in LIMITED)), rows)


def costs(result: dict[str, Any]) -> str:
    """Return peak memory, and CPU seconds for a million rows."""
    rows = [
        (case["case"], case["batch"], *(_cost(case["raw"].get(who, [])) for who in NAMES)) for case in result["cases"]
    ]
    return grid(("network", "batch", *NAMES.values()), rows)


def _cost(runs: list[dict[str, Any]]) -> str:
    memory, spent = (_median(runs, key) for key in ("peak_mb", "cpu_seconds"))
    return "" if memory is None or spent is None else f"{memory:,.0f} MB, {spent:.0f} s"


def embedding(result: dict[str, Any]) -> str:
    """Return rows per second embedded and sampled, multiples of pythae's, and fractions of the limit of embedding."""
    rows, floors, first = [], _floors(result), dict[str, Any]()
    for case in result["cases"]:
        first.setdefault(case["case"], case)
    whose = ("eager", "loop", "pythae", "scvi")
    for name, case in first.items():
        embedded, sampled = (
            {who: _median(case["raw"].get(who, []), f"{what}_per_second") for who in whose}
            for what in ("embedded", "sampled")
        )
        fraction = ""
        if case.get("embedding") and embedded["eager"]:
            precision = case["raw"]["eager"][0]["embedded_in"]
            products = floors[f"{precision} products, batch 1024, operations a second"] / case["embedding"]
            memory = floors["copying, bytes a second"] / 784
            bound = "products" if products < memory else "memory"
            fraction = f"{embedded['eager'] / min(products, memory):.0%} ({precision}, {bound})"
        cells = (*map(_rate, embedded.values()), _times(embedded), fraction)
        rows.append((name, *cells, *(_rate(sampled[who]) for who in whose if who != "scvi"), _times(sampled)))
    names = ("ours", "plain loop", "pythae")
    head = [f"embedded, {name}" for name in (*names, "scvi-tools", "ours / pythae", "ours, of the limit")]
    head += [f"sampled, {name}" for name in (*names, "ours / pythae")]
    return grid(("network", *head), rows)


def _median(runs: list[dict[str, Any]], key: str) -> float | None:
    values = [run[key] for run in runs if key in run]
    return median(values) if values else None


def _rate(value: float | None) -> str:
    return "" if value is None else f"{value:,.0f}"


def _times(rates: dict[str, float | None]) -> str:
    mine, theirs = rates["eager"], rates["pythae"]
    return f"{mine / theirs:.1f}" if mine and theirs else ""


def floors(result: dict[str, Any]) -> str:
    """Return the limits of the machine."""
    billions = {
        name: limit | {key: limit[key] / 1e9 for key in ("median", "low", "high")}
        for name, limit in result["floors"].items()
    }
    return grid(("limit", "in 10^9"), [(name, ranged(value, 0)) for name, value in billions.items()])


def _floors(result: dict[str, Any]) -> dict[str, float]:
    return {name: limit["median"] for name, limit in result["floors"].items()}


def overhead(result: dict[str, Any]) -> str:
    """Return seconds, or rows per second."""
    rows = [(name, ranged(value, 3 if value["median"] > 0.01 else 4)) for name, value in result["summary"].items()]
    return grid(("", "median (range)"), rows)


def together(result: dict[str, Any]) -> str:
    """Return seconds of a fit alone, and of each of several at once."""
    rows = [
        (name, ranged(times["alone"], 1), ranged(times["together"], 1)) for name, times in result["summary"].items()
    ]
    return grid(("", "a fit alone, s", f"each of {result['fits']} at once, s"), rows)


def recipes(result: dict[str, Any]) -> str:
    """Return the results of every recipe, pythae's below ours of the same name."""
    head = (
        "recipe",
        "-log p(x), nats",
        "Frechet, own prior",
        "Frechet, fitted prior",
        "squared error",
        "10-NN",
    )
    order, rows = list(every()), []
    for run in sorted(result["raw"], key=lambda run: order.index(run["name"])):
        bound = run.get("evidence")
        distances = (run.get(f"frechet_{samples}") for samples in ("samples", "later_samples"))
        rows.append((
            f"`{run['name']}`" if run["who"] == "latentmap" else f"{run['name']}, pythae",
            f"{-bound['mean']:.2f} ± {bound['error']:.2f}" if bound else "",
            *("" if distance is None else f"{distance:.2f}" for distance in distances),
            f"{run['mse']:.4f}",
            f"{run['knn_accuracy']:.3f}",
            run["active"],
            f"{run['seconds']:.0f}",
        ))  # fmt: skip
    return grid((*head, "active", "seconds"), rows)


def imputation(result: dict[str, Any]) -> str:
    """Return median errors of the removed cells, the least of each line in bold."""
    groups: dict[tuple[str, float], dict[str, list[float]]] = {}
    for run in result["raw"]:
        groups.setdefault((run["table"], run["rate"]), {}).setdefault(run["method"], []).append(run["nrmse"])
    rows, methods = [], list(next(iter(groups.values())))
    for (table, rate), errors in groups.items():
        medians = [median(errors[method]) for method in methods]
        cells = (f"**{value:.3f}**" if value == min(medians) else f"{value:.3f}" for value in medians)
        rows.append((table, f"{rate:.0%}", *cells))
    return grid(("table", "cells removed", *methods), rows)


def synthetic(result: dict[str, Any]) -> str:
    """Return median scores of models trained on drawn rows, the better generator in bold."""
    rows, (real, *methods) = [], list(next(iter(result["summary"].values())))
    for table, scores in result["summary"].items():
        best = max(scores[method] for method in methods)
        cells = (f"**{scores[m]:.3f}**" if scores[m] == best else f"{scores[m]:.3f}" for m in methods)
        rows.append((table, f"{scores[real]:.3f}", *cells))
    return grid(("table", "real rows", *methods), rows)


def formats(result: dict[str, Any]) -> str:
    """Return median seconds to read, and their fraction of a fit."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for run in result["raw"]:
        groups.setdefault(run["format"], []).append(run)
    rows = []
    for name, runs in groups.items():
        same = "yes" if all(run["same"] for run in runs) else "no"
        seconds, fraction = (median([run[key] for run in runs]) for key in ("seconds", "share_of_fit"))
        rows.append((f"`{name}`", f"{seconds:.2f}", f"{fraction:.1%}", same))
    return grid(("format", "seconds to read", "share of a fit", "the same numbers"), rows)


def explorer(result: dict[str, Any]) -> str:
    """Return how long the explorer takes to decode a code and to send its points, in milliseconds."""
    from benchmarks.explorer import MODELS

    rows = []
    for one in result["raw"]:
        points, late = one["whole"]["api/points"], sorted(one["loopback"])[int(0.99 * len(one["loopback"]))]
        seconds = (median(one["within"]), median(one["loopback"]), late, points["first"], points["last"])
        rows.append((MODELS[one["model"]], *(f"{1000 * value:.1f} ms" for value in seconds)))
    head = ("rows", "decoded within the server", "over loopback", "99% within", "points: first byte", "last byte")
    return grid(head, rows)


def anatomy(result: dict[str, Any]) -> str:
    """Return milliseconds of a step, and the fraction of each kind of work."""
    kinds = list(result["raw"][0]["shares"])
    rows = [
        (
            f"batch {run['batch']}, {'compiled' if run['compiled'] else 'eager'}",
            f"{run['ms_a_step']:.1f}",
            *(f"{run['shares'][kind]:.0%}" for kind in kinds),
        )
        for run in result["raw"]
    ]
    return grid(("", "ms a step", *kinds), rows)


def precision(result: dict[str, Any]) -> str:
    """Return the test -ELBO of each way to train, and the difference to the first."""
    rows, first = [], next(iter(result["summary"]))
    costs = {way: {r["seed"]: r["elbo"] for r in result["raw"] if r["way"] == way} for way in result["summary"]}
    for way, value in result["summary"].items():
        apart = [costs[way][seed] - costs[first][seed] for seed in costs[first]]
        rows.append((way, f"{value['mean']:.2f} ± {value['deviation']:.2f}", f"{sum(apart) / len(apart):+.2f}"))
    return grid(("", "test -ELBO, nats, mean and deviation", "beside the first, same seeds"), rows)


def sweep(result: dict[str, Any]) -> str:
    """Return the test -ELBO of each setting less that of the defaults, and its seconds as a multiple of theirs."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in result["raw"]:
        groups.setdefault(run["data"], {}).setdefault(run["setting"], []).append(run)
    base, *settings = next(iter(groups.values()))
    rows = []
    for name, runs in groups.items():
        cost, seconds = ({s: mean(r[key] for r in same) for s, same in runs.items()} for key in ("elbo", "seconds"))
        cells = [
            f"{cost[s] - cost[base]:+.3f}, {seconds[s] / seconds[base]:.1f}×" if s in cost else "" for s in settings
        ]
        machine = runs[base][0].get("machine", result["machine"])
        rows.append((name, len(runs[base]), precision_of(machine), f"{cost[base]:.3f}, {seconds[base]:.1f} s", *cells))
    return grid(("data", "seeds", "products in", base, *settings), rows)


def standardised(result: dict[str, Any]) -> str:
    """Return second moments, ELBO and Frechet distance before and after codes are standardised."""
    rows = [
        (
            f"{case['data']}, {case['components']} ({case['elbo_after']['runs']})",
            f"{case['lowest_moment']['low']:.2f} to {case['highest_moment']['high']:.2f}",
            f"{case['elbo_before']['median']:.2f} → {case['elbo_after']['median']:.2f}",
            f"{case['frechet_before']['median']:.1f} → {case['frechet_after']['median']:.1f}",
            f"{case['frechet_of_training_rows']['median']:.1f}",
        )
        for case in result["cases"]
    ]
    head = ("data, components (seeds)", "E[zᵢ²] before", "ELBO", "Fréchet distance", "of training rows")
    return grid(head, rows)


TABLES: tuple[Callable[[dict[str, Any]], str], ...] = (
    *(elbo, throughput, ratios, limits, costs, embedding, floors, anatomy, precision, recipes, overhead, together),
    *(imputation, imputation_mixed, larger, synthetic, formats, sweep, standardised, reading),
    *(explorer, parts, public_tables_summary, public_tables),
)
OF_PUBLIC = (public_tables_summary, public_tables)
OF_THROUGHPUT = (throughput, ratios, limits, costs, embedding, floors)
PAGES = dict.fromkeys(TABLES, "benchmarks") | {
    imputation: "missing",
    imputation_mixed: "missing",
    larger: "data",
    parts: "clusters",
    synthetic: "tables",
    formats: "data",
    sweep: "choices",
    standardised: "choices",
    reading: "data",
    public_tables: "public_tables",
    public_tables_summary: "public_tables",
}

if __name__ == "__main__":
    main()
