"""The tables of docs/comparison.md and README.md, from results of `latentmap compare`.

latentmap compare digits --against pca,tsne -o DIGITS; latentmap compare mnist --against pca,tsne -o MNIST
python -m benchmarks.comparison DIGITS [MNIST]
"""

from __future__ import annotations

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
    readme.write_text(between(readme.read_text(), "digits", of_digits["Methods"]))
    shutil.copy(Path(digits) / "comparison.png", images / "digits.png")


def sections(page: Path) -> dict[str, str]:
    """Return the sections of a page by their headings."""
    parts = page.read_text().split("## ")[1:]
    return {heading: text.strip() for heading, _, text in (part.partition("\n\n") for part in parts)}


if __name__ == "__main__":
    main(*sys.argv[1:])
