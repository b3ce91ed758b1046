"""The tables of docs/comparison.md and README.md, from results of `latentmap compare`.

latentmap compare digits --seed 0 -o DIGITS; latentmap compare mnist --seed 0 -o MNIST
python -m benchmarks.comparison DIGITS [MNIST]
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from benchmarks.common import HERE
from benchmarks.tables import between, grid

ROOT = HERE.parent


def main(digits: str, mnist: str | None = None) -> None:
    """Rewrite the tables of the comparison, and the picture of the README."""
    page = ROOT / "docs" / "comparison.md"
    text = page.read_text()
    for name, folder in (("digits", digits), ("mnist", mnist)):
        if folder is None:
            continue
        comparison = json.loads((Path(folder) / "comparison.json").read_text())
        text = between(text, f"{name} methods", methods(comparison))
        text = between(text, f"{name} verdicts", verdicts(comparison))
        text = between(text, f"{name} claims", claims(comparison))
    page.write_text(text)
    readme = ROOT / "README.md"
    readme.write_text(
        between(readme.read_text(), "digits", methods(json.loads((Path(digits) / "comparison.json").read_text())))
    )
    shutil.copy(Path(digits) / "maps.png", ROOT / "docs" / "images" / "digits.png")


def methods(comparison: dict[str, Any]) -> str:
    """Return one row per method."""
    head = (
        "",
        "10-NN accuracy",
        "trustworthiness",
        "reconstruction error",
        "seconds to fit",
        "seconds to place new rows",
    )
    return grid(head, map(method, comparison["methods"]))


def method(row: dict[str, Any]) -> Iterable[str]:
    accuracy = None if row["neighbor_accuracy"] is None else row["neighbor_accuracy"]["10"]
    trust = number(row["trustworthiness"], ".3f") + (" (training rows)" if row["rows"] == "training" else "")
    return (
        row["method"],
        number(accuracy, ".3f"),
        trust,
        number(row["reconstruction_error"], ".4f"),
        number(row["fit_seconds"], ".1f"),
        number(row["embed_seconds"], ".3f"),
    )


def verdicts(comparison: dict[str, Any]) -> str:
    """Return the number of measures that hold, by claim."""
    lines = (", ".join(f"{n} {verdict}" for verdict, n in counts.items()) for counts in comparison["verdicts"].values())
    return "\n".join(f"* {claim}: {counts}" for claim, counts in zip(comparison["verdicts"], lines))


def claims(comparison: dict[str, Any]) -> str:
    """Return one row per measure."""
    head = ("claim", "measure", "autoencoder", "VAE", "real rows", "expected of the VAE", "")
    rows = (
        (
            c["claim"],
            c["text"],
            number(c["autoencoder"]),
            number(c["vae"]),
            number(c["real"], blank=""),
            c["expected"],
            c["verdict"],
        )
        for c in comparison["claims"]
    )
    return grid(head, rows)


def number(value: float | None, style: str = ".3g", blank: str = "cannot") -> str:
    return blank if value is None else format(value, style)


if __name__ == "__main__":
    main(*sys.argv[1:])
