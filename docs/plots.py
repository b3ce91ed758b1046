"""Run the code of docs/plots.md, which draws its pictures.

    python docs/plots.py

writes docs/images/plots/*.png, with 256 colours each, which keeps them small.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from PIL import Image

PAGE = Path(__file__).with_suffix(".md")
IMAGES = PAGE.parent / "images" / "plots"


def main() -> None:
    """Run the blocks of the page, one after the other, in the folder of its pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    known: dict[str, object] = {}
    with contextlib.chdir(IMAGES):
        for code in re.findall(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL):
            exec(compile(code, PAGE, "exec"), known)
    for path in IMAGES.glob("*.png"):
        Image.open(path).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)


if __name__ == "__main__":
    main()
