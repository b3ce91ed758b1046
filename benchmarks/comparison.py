"""The tables of docs/comparison.md and README.md, from results of `latentmap compare`.

latentmap compare digits --against pca,tsne -o DIGITS; latentmap compare mnist --against pca,tsne -o MNIST
python -m benchmarks.comparison DIGITS [MNIST]
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

from benchmarks.common import HERE
from benchmarks.tables import between

ROOT = HERE.parent
PICTURES = {"digits": ("latent_gaps", "decoded_grids", "lines", "random_points"), "mnist": ("random_points",)}


def main(digits: str, mnist: str | None = None) -> None:
    """Rewrite the tables of the comparison, and its pictures and that of the README."""
    page, images = ROOT / "docs" / "comparison.md", ROOT / "docs" / "images"
    text = page.read_text()
    for name, folder in (("digits", digits), ("mnist", mnist)):
        if folder is None:
            continue
        found = sections(Path(folder) / "comparison.md")
        for section, table in found.items():
            text = between(text, f"{name} {section.lower()}", table)
        for picture in PICTURES[name]:
            shutil.copy(Path(folder) / f"{picture}.png", images / f"{name}-{picture.replace('_', '-')}.png")
    page.write_text(text)
    readme, of_digits = ROOT / "README.md", sections(Path(digits) / "comparison.md")
    text = between(readme.read_text(), "digits", of_digits["Methods"])
    readme.write_text(between(text, "realistic", realistic(Path(digits))))
    shutil.copy(Path(digits) / "comparison.png", images / "digits.png")


def realistic(folder: Path) -> str:
    """Return what random points of both models amount to with the most components."""
    claims = json.loads((folder / "comparison.json").read_text())
    most = max(claims["settings"]["claims"])
    (sentence,) = (
        each
        for each in claims["conclusions"]
        if f"With {most} components, random points" in each and "Gaussian" not in each
    )
    return f"> {sentence}"


def sections(page: Path) -> dict[str, str]:
    """Return the sections of a page by their headings."""
    parts = page.read_text().split("## ")[1:]
    return {heading: text.strip() for heading, _, text in (part.partition("\n\n") for part in parts)}


if __name__ == "__main__":
    main(*sys.argv[1:])
