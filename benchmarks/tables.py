"""The tables of the documentation, but for those of maps and comparisons: python -m benchmarks.tables."""

from __future__ import annotations

import json
from collections.abc import Iterable
from statistics import median
from typing import Any

from benchmarks.common import HERE, RESULTS
from latentmap.recipes import every

DOCS = HERE.parent / "docs"


def main() -> None:
    """Rewrite what lies between the marks of each table, and leave the words around it alone."""
    here = (elbo, throughput, floors, anatomy, precision, recipes, overhead)
    elsewhere = {imputation: "missing", larger: "data", synthetic: "tables", formats: "data", sweep: "choices"}
    for table in (*here, *elsewhere):
        path = RESULTS / f"{'throughput' if table is floors else table.__name__}.json"
        page = DOCS / f"{elsewhere.get(table, 'benchmarks')}.md"
        if path.exists():
            page.write_text(between(page.read_text(), table.__name__, table(json.loads(path.read_text()))))


def between(text: str, name: str, table: str) -> str:
    """Put a table between its marks, which have to be there."""
    start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->"
    head, _, rest = text.partition(start)
    _, mark, tail = rest.partition(end)
    assert mark, f"the page has no {start.strip()} ... {end}"
    return f"{head}{start}{table}\n{end}{tail}"


def elbo(result: dict[str, Any]) -> str:
    """Seconds of training and the test -ELBO that they give."""
    summary = result["summary"]
    rows = [
        (f"latentmap, epochs: {epochs}", ranged(found["seconds"], 1), ranged(found["elbo"], 2))
        for epochs, found in summary["ours_by_epochs"].items()
    ]
    below, peers = f"below {result['target']}", summary["pythae"]
    rows += [(f"latentmap, {how}, {below}", ranged(found, 1), "") for how, found in summary["ours"].items()]
    rows += [(f"pythae, rate and batch {name}, {below}", ranged(found, 1), "") for name, found in peers.items()]
    rows += [
        (f"pythae, rate and batch {name}", f"not in {epochs}", "") for name, epochs in summary["short of it"].items()
    ]
    rows += [(f"**times as fast, {name}**", f"**{ranged(v, 1)}**", "") for name, v in summary["ratios"].items()]
    return grid(("", "seconds of training", "test -ELBO, nats"), rows)


def larger(result: dict[str, Any]) -> str:
    """Rate, share of that in memory, peak memory, and what is not training."""
    rows = [
        (
            name,
            f"{found['gigabytes']:.1f}",
            f"{found['rows_per_second']['median']:,.0f}",
            ranged(found["share"], 2),
            f"{found['peak_mb']['high']:,.0f}",
            f"{found['seconds_beside']['median']:.0f}",
            f"{found['info_seconds']['median']:.1f}",
        )
        for name, found in result["summary"].items()
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


def throughput(result: dict[str, Any]) -> str:
    """Rows a second of each contestant, ratios, and the share of the floor."""
    rows = []
    for case in result["cases"]:
        rate = {who: found["median"] for who, found in case["rates"].items()}
        floor = result["floors"].get(f"float32 products, batch {case['batch']}, operations a second")
        share = f"{case['operations'] * rate['compiled'] / floor:.0%}" if case["operations"] and floor else ""
        rows.append((
            case["case"],
            case["batch"],
            *(f"{rate[who]:,.0f}" if who in rate else "" for who in ("eager", "compiled", "loop", "pythae", "pyod")),
            *(f"{rate[who] / rate[peer]:.1f}" for peer in ("pythae", "loop") for who in ("eager", "compiled")),
            share,
        ))  # fmt: skip
    ratios = ("eager / pythae", "compiled / pythae", "eager / loop", "compiled / loop")
    head = ("network", "batch", "eager", "compiled", "plain loop", "pythae", "pyod", *ratios, "compiled, of the floor")
    return grid(head, rows)


def floors(result: dict[str, Any]) -> str:
    """The limits of the machine."""
    return grid(("limit", "in 10^9"), [(name, f"{value / 1e9:,.0f}") for name, value in result["floors"].items()])


def overhead(result: dict[str, Any]) -> str:
    """Seconds, or rows a second."""
    return grid(("", "median (range)"), [(name, ranged(value, 3)) for name, value in result["summary"].items()])


def recipes(result: dict[str, Any]) -> str:
    """What every recipe reaches, pythae's below ours of the same name."""
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
    """Median errors of the cells that were removed, the least of each line in bold."""
    found: dict[tuple[str, float], dict[str, list[float]]] = {}
    for run in result["raw"]:
        found.setdefault((run["table"], run["rate"]), {}).setdefault(run["method"], []).append(run["nrmse"])
    rows, methods = [], list(next(iter(found.values())))
    for (table, rate), errors in found.items():
        medians = [median(errors[method]) for method in methods]
        cells = (f"**{value:.3f}**" if value == min(medians) else f"{value:.3f}" for value in medians)
        rows.append((table, f"{rate:.0%}", *cells))
    return grid(("table", "cells removed", *methods), rows)


def synthetic(result: dict[str, Any]) -> str:
    """Median scores of what was learned from drawn rows, the better generator in bold."""
    rows, (real, *methods) = [], list(next(iter(result["summary"].values())))
    for table, scores in result["summary"].items():
        best = max(scores[method] for method in methods)
        cells = (f"**{scores[m]:.3f}**" if scores[m] == best else f"{scores[m]:.3f}" for m in methods)
        rows.append((table, f"{scores[real]:.3f}", *cells))
    return grid(("table", "real rows", *methods), rows)


def formats(result: dict[str, Any]) -> str:
    """Median seconds to read, and their share of a fit."""
    found: dict[str, list[dict[str, Any]]] = {}
    for run in result["raw"]:
        found.setdefault(run["format"], []).append(run)
    rows = []
    for name, runs in found.items():
        same = "yes" if all(run["same"] for run in runs) else "no"
        seconds, share = (median([run[key] for run in runs]) for key in ("seconds", "share_of_fit"))
        rows.append((f"`{name}`", f"{seconds:.2f}", f"{share:.1%}", same))
    return grid(("format", "seconds to read", "share of a fit", "the same numbers"), rows)


def anatomy(result: dict[str, Any]) -> str:
    """Milliseconds of a step, and the share of each kind of work."""
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
    """Test -ELBO of each way to train, and how much more it is than the first's."""
    rows, first = [], next(iter(result["summary"]))
    costs = {way: {r["seed"]: r["elbo"] for r in result["raw"] if r["way"] == way} for way in result["summary"]}
    for way, found in result["summary"].items():
        apart = [costs[way][seed] - costs[first][seed] for seed in costs[first]]
        rows.append((way, f"{found['mean']:.2f} ± {found['deviation']:.2f}", f"{sum(apart) / len(apart):+.2f}"))
    return grid(("", "test -ELBO, nats, mean and deviation", "beside the first, same seeds"), rows)


def sweep(result: dict[str, Any]) -> str:
    """How much the test -ELBO of a setting is above that of the defaults, and how many times their seconds it takes."""
    found: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in result["raw"]:
        found.setdefault(run["data"], {}).setdefault(run["setting"], []).append(run)
    settings, rows = list(next(iter(found.values()))), []
    for name, runs in found.items():
        cost, seconds = ({s: median([r[key] for r in same]) for s, same in runs.items()} for key in ("elbo", "seconds"))
        base = settings[0]
        cells = [f"{cost[s] - cost[base]:+.3f}, {seconds[s] / seconds[base]:.1f}×" for s in settings[1:]]
        rows.append((name, f"{cost[base]:.3f}, {seconds[base]:.1f} s", *cells))
    return grid(("data", *settings), rows)


def ranged(value: dict[str, float], digits: int) -> str:
    """Median, and the range over the runs."""
    digits = 0 if value["median"] > 1000 else digits
    return f"{value['median']:,.{digits}f} ({value['low']:,.{digits}f} to {value['high']:,.{digits}f})"


def grid(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Write a Markdown table."""
    head = list(head)
    lines = [head, ["---"] * len(head), *([str(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    main()
