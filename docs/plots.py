"""Run the code of docs/plots.md, which draws its pictures.

    python docs/plots.py

writes docs/images/plots/*.png, with 256 colours each, which keeps them small, and what is seen on them into the page.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any
from unittest import mock

from PIL import Image

from latentmap.plot.style import Display

PAGE = Path(__file__).with_suffix(".md")
IMAGES = PAGE.parent / "images" / "plots"


def main() -> None:
    """Run the blocks of the page, one after the other, in the folder of its pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    text = PAGE.read_text(encoding="utf-8")
    known: dict[str, object] = {}
    seen: dict[str, str] = {}
    save = Display.save

    def recorded(display: Display, path: Any, *args: Any, **kwargs: Any) -> Path:
        seen[Path(path).name] = display.alt
        return save(display, path, *args, **kwargs)

    with contextlib.chdir(IMAGES), mock.patch.object(Display, "save", recorded):
        for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
            exec(compile(code, PAGE, "exec"), known)
    for path in IMAGES.glob("*.png"):
        Image.open(path).convert("RGB").quantize(256, Image.Quantize.FASTOCTREE).save(path, optimize=True)
    for name, alt in seen.items():
        if alt:
            image = f"(images/plots/{name})"
            text = re.sub(rf"!\[[^]]*\]{re.escape(image)}", f"![{alt}]{image}", text)
    PAGE.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
