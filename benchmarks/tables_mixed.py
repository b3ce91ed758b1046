"""Tables of the documentation about tables of mixed columns."""

from __future__ import annotations

import re
from math import inf
from statistics import mean, median, stdev
from typing import Any

from benchmarks.markdown import grid, ranged
from benchmarks.public_tables import by_hand
from latentmap.evaluation.intervals import paired_difference


def imputation_mixed(result: dict[str, Any]) -> str:
    """Return errors beside the mean or the commonest value, the least and those even with it in bold; and coverage."""
    groups: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for run in result["raw"]:
        groups.setdefault(run["table"], {}).setdefault(run["method"], []).append(run)
    methods, rows = [name for name in next(iter(groups.values())) if name != "mean or mode"], []
    for table, runs in groups.items():
        errors = {m: [run["error"] for run in runs[m] if "error" in run] for m in methods}
        whole = {m: values for m, values in errors.items() if len(values) == len(runs[m])}
        best = min(whole, key=lambda m: mean(whole[m]))
        even = {m for m in whole if m == best or not paired_difference(whole[m], whole[best]).exceeds}
        cells = (f"**{_spread(v)}**" if m in even else _spread(v) if m in whole else "fails" for m, v in errors.items())
        inside = [column for run in runs["latentmap"] for column in run["coverage"]]
        seconds = (_finite(mean(run.get("seconds", inf) for run in runs[m]), 0) for m in ("miceforest", "latentmap"))
        rows.append((table, *cells, f"{mean(inside):.0%}" if inside else "", *seconds))
    head = (f"table ({len(runs['latentmap'])} seeds)", *methods, "coverage of 90%", "seconds, miceforest", "latentmap")
    return grid(head, rows)


def _spread(values: list[float]) -> str:
    return f"{mean(values):.2f} ± {stdev(values):.2f}"


def public_tables(result: dict[str, Any]) -> str:
    """Return for each table its size, what was left out, the kinds as a person says, and the cells filled better."""
    hand, rows = by_hand(), []
    for run in result["raw"]:
        name = run["table"].removesuffix(".csv").replace("vega_datasets/_data", "vega").replace("/data/", "/")
        name = re.sub(r"statsmodels/datasets/\w+", "statsmodels", name)
        if "refused" in run:
            rows.append((name, "", "", f"refused: {run['refused']}", "", "", ""))
            continue
        kinds, person = run["kinds"], hand[run["table"]]
        other = [f"{c}: {kinds[c]}, not {said}" for c, said in person.items() if kinds.get(c) not in said.split(" or ")]
        left = ", ".join(column for column, kind in kinds.items() if kind == "left out")
        same = f"{len(person) - len(other)} of {len(person)}"
        rows.append((name, f"{run['rows']:,}", len(kinds) + len(run["lost"]), left, same, "; ".join(other),
                     f"{run['better']:.0%}", f"{run['seconds']:.0f}"))  # fmt: skip
    return grid(("table", "rows", "columns", "left out", "kinds alike", "other kinds", "better", "seconds"), rows)


def public_tables_summary(result: dict[str, Any]) -> str:
    """Return the totals over all tables."""
    hand, read = by_hand(), [run for run in result["raw"] if "kinds" in run]
    columns = [(run["kinds"].get(c), said.split(" or ")) for run in read for c, said in hand[run["table"]].items()]
    refused, lost = len(result["raw"]) - len(read), sum(bool(run["lost"]) for run in read)
    alike = sum(kind in said for kind, said in columns)
    better, cells = sum(run["better"] * run["cells"] for run in read), sum(run["cells"] for run in read)
    wins = sum(run["better"] > 0.5 for run in read)
    rows = [
        ("tables refused, of all", f"{refused} of {len(result['raw'])}"),
        ("tables with a column that is neither read nor named as left out", f"{lost} of {len(read)}"),
        ("columns of a kind that a person says", f"{alike} of {len(columns)} ({alike / len(columns):.0%})"),
        ("cells filled better than by the mean or the commonest value", f"{better / cells:.0%} of {cells:,}"),
        ("tables of which more cells are filled better than worse", f"{wins} of {len(read)}"),
        ("seconds of a fit, median and most", "{:.0f}, {:.0f}".format(*_middle([run["seconds"] for run in read]))),
    ]
    return grid(("", ""), rows)


def _middle(values: list[float]) -> tuple[float, float]:
    return median(values), max(values)


def reading(result: dict[str, Any]) -> str:
    """Return seconds to read a large text table, and the rate beside pyarrow's."""
    size, raw, summary = result["bytes"] / 1e9, result["raw"], result["summary"]
    rates = [ranged(summary[name], 2) for name in ("rate_beside_pyarrow", "rate_beside_pyarrow_of_a_core")]
    rows = []
    for method in ("pyarrow", "latentmap"):
        seconds, of_cores = (median(r[key] for r in raw if r["method"] == method) for key in ("seconds", "processor"))
        beside = ["1", "1"] if method == "pyarrow" else rates
        rows.append((method, f"{seconds:.1f}", beside[0], f"{of_cores:.1f}", beside[1]))
    head = (
        f"{size:.1f} GB of text",
        "seconds",
        "rate beside pyarrow",
        "seconds of all cores",
        "rate beside pyarrow, a core",
    )
    return grid(head, rows)


def _finite(value: float, digits: int = 2) -> str:
    return f"{value:.{digits}f}" if value < inf else "fails"
