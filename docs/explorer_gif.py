"""Film the explorer while the pointer moves over a map: the first picture of README.md.

    python docs/explorer_gif.py

fits 5,000 pictures of MNIST, opens their map in Chromium, and writes docs/images/explorer.gif: ten seconds of live
decode, in less than 1 MB. With a folder as argument the fit is kept there for the next call. It needs Chromium,
Playwright's Python package, and the built page (`make page`).
"""

from __future__ import annotations

import io
import math
import queue
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image
from playwright.sync_api import Page, sync_playwright

from latentmap import VAE, load_dataset
from latentmap.explorer import Exploration, ExploredRows
from latentmap.explorer.serving import bound, serve

OUT = Path(__file__).parent / "images" / "explorer.gif"
SECONDS, RATE = 10, 7
SIZE = (1100, 600)
MOST = 1_000_000
"""Bytes at the most."""
COLOURS, GREYS = (240, 160, 112, 80), 32
"""Numbers of colours that are tried, until the film is small enough, and how many of them are greys."""
STOPS = [(0.42, 0.62), (0.50, 0.40), (0.58, 0.22), (0.70, 0.34), (0.86, 0.42), (0.74, 0.60), (0.72, 0.84), (0.54, 0.72)]
"""Places of the map that the pointer passes, as shares of its width and height."""


def fitted(folder: Path) -> Exploration:
    """Explore a map of some pictures of MNIST, fitted unless the folder has it."""
    X, y = load_dataset("mnist")
    chosen = np.random.default_rng(0).choice(len(X), 5000, replace=False)
    X, y = np.asarray(X)[chosen], np.asarray(y)[chosen]
    run = folder / "mnist"
    if not run.exists():
        VAE(2, random_state=0, max_epochs=30).fit(X).save(run)
    vae = VAE.load(run)
    return Exploration(vae, ExploredRows.of(vae, X, y), name="mnist")


def served(exploration: Exploration) -> str:
    """Serve an exploration until the process ends; return the address."""
    address: queue.Queue[str] = queue.Queue()
    given = [exploration], "127.0.0.1", bound("127.0.0.1", None), address.put
    threading.Thread(target=serve, args=given, daemon=True).start()
    return address.get(timeout=60)


def places(box: dict[str, float]) -> Iterator[tuple[float, float]]:
    """Places of the pointer, one for each picture, on a smooth closed line through the stops."""
    n, stops = SECONDS * RATE, np.array([*STOPS, *STOPS[:3]])
    for k in range(n):
        at = k / n * len(STOPS)
        i, t = math.floor(at), at % 1
        a, b, c, d = (stops[(i + j) % len(STOPS)] for j in range(4))
        x, y = 0.5 * (2 * b + t * (c - a) + t**2 * (2 * a - 5 * b + 4 * c - d) + t**3 * (3 * (b - c) + d - a))
        yield box["x"] + x * box["width"], box["y"] + y * box["height"]


def film(page: Page) -> list[Image.Image]:
    """Move the pointer, and picture the page at every place."""
    map_ = page.locator(".map")
    map_.wait_for()
    page.wait_for_timeout(2500)
    box = map_.bounding_box()
    assert box is not None
    pictures = []
    for x, y in places(box):
        page.mouse.move(x, y)
        page.wait_for_timeout(120)
        pictures.append(Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
    return pictures


def palette(picture: Image.Image, colours: int) -> Image.Image:
    """Colours of a picture, and greys in even steps for the pictures that are decoded."""
    found = picture.quantize(colours - GREYS, Image.Quantize.MAXCOVERAGE).getpalette() or []
    steps = np.linspace(0, 255, GREYS).round().astype(int)
    image = Image.new("P", (1, 1))
    image.putpalette([*found[: 3 * (colours - GREYS)], *np.repeat(steps, 3).tolist()])
    return image


def write(pictures: list[Image.Image]) -> int:
    """Write the film with as many colours as the size allows; return its bytes."""
    for colours in COLOURS:
        chosen = palette(pictures[len(pictures) // 2], colours)
        frames = [picture.quantize(palette=chosen, dither=Image.Dither.NONE) for picture in pictures]
        frames[0].save(OUT, save_all=True, append_images=frames[1:], duration=1000 // RATE, loop=0, optimize=True)
        if OUT.stat().st_size < MOST:
            break
    return OUT.stat().st_size


def main() -> None:
    """Fit, film and write."""
    with tempfile.TemporaryDirectory() as new, sync_playwright() as playwright:
        url = served(fitted(Path(sys.argv[1] if len(sys.argv) > 1 else new)))
        arguments = ["--no-sandbox", "--headless", "--use-gl=angle", "--use-angle=swiftshader"]
        arguments += ["--enable-unsafe-swiftshader", "--disable-background-networking"]
        path = shutil.which("chromium") or shutil.which("google-chrome")
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        page = browser.new_page(viewport={"width": SIZE[0], "height": SIZE[1]})
        page.goto(url)
        pictures = film(page)
        browser.close()
    print(f"{OUT.name}: {len(pictures)} pictures, {write(pictures):,} bytes")


if __name__ == "__main__":
    main()
