"""A browser that shows the page, and explorers that serve it, for tests."""

import os
import re
import shutil
import threading
import time
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

#: WebGL2 without a graphics card, and no requests of the browser's own.
ARGUMENTS = [
    "--no-sandbox",
    "--headless",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
    "--disable-quic",
]


def chromium():
    """Return the path of Chromium; skip a test without it, or without the built page."""
    if not files("latentmap.explorer").joinpath("page", "index.html").is_file():
        pytest.skip("the page is not built: run `make page`")
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed: the page is not tested in a browser (apt-get install chromium)")
    return found


#: Advice of the driver, which depends on how fast the machine is and not on what the page did.
ADVICE = re.compile("GL Driver Message .*Performance")


class Watched:
    """A page of which every complaint of the browser, and every request to another host, is an error."""

    def __init__(self, page, url):
        self.page, self.complaints = page, []
        host = urlsplit(url).netloc
        page.on("console", lambda message: message.type in ("error", "warning") and self.complain(message.text))
        page.on("pageerror", lambda error: self.complain(str(error)))
        page.on("request", lambda request: self.check(request.url, host))

    def complain(self, text):
        if not ADVICE.search(text):
            self.complaints.append(text)

    def check(self, url, host):
        scheme, netloc, *_ = urlsplit(url)
        if scheme not in ("data", "blob", "file") and netloc != host:
            self.complain(f"request to {url}")

    def forgive(self, pattern):
        """Forget the complaints that a test brings about."""
        self.complaints = [text for text in self.complaints if not re.search(pattern, text)]


class Pages:
    """Opens pages in one browser, and checks at the end that none of them complained."""

    def __init__(self, browser):
        self.browser, self.opened = browser, []

    def __call__(self, url, *, wait=".map", script=None, **options):
        """Open a page, in a window of 1280 by 720 pixels, and wait until an element is there."""
        context = self.browser.new_context(**{"viewport": {"width": 1280, "height": 720}, **options})
        page = context.new_page()
        page.set_default_timeout(15_000)
        if script:
            page.add_init_script(script)
        page.watched = Watched(page, url)
        self.opened.append(page)
        page.goto(url)
        if wait:
            page.wait_for_selector(wait)
        return page

    def close(self):
        complaints = [text for page in self.opened for text in page.watched.complaints]
        for page in self.opened:
            page.context.close()
        assert complaints == [], complaints


def shades(canvas):
    """Return the red value of each pixel of a canvas, read from a copy: the page's own canvas stays as it is."""
    return canvas.evaluate(
        """canvas => {
            const { width, height } = canvas;
            const copy = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
            copy.drawImage(canvas, 0, 0);
            return Array.from(copy.getImageData(0, 0, width, height).data).filter((_, k) => k % 4 === 0);
        }"""
    )


def shoot(page, name, tmp_path):
    """Keep what the page looks like, in $LATENTMAP_SCREENSHOTS or the folder of the test."""
    folder = Path(os.environ.get("LATENTMAP_SCREENSHOTS") or tmp_path)
    folder.mkdir(parents=True, exist_ok=True)
    for tries in range(3):
        try:
            page.screenshot(path=folder / f"{name}.png")
            return
        except Exception:  # a busy machine may lose a frame
            if tries == 2:
                raise
            time.sleep(1)


def eventually(check, seconds=10.0):
    """Return what a check answers once it is true."""
    end = time.monotonic() + seconds
    while not (answer := check()):
        assert time.monotonic() < end, "it did not come true"
        time.sleep(0.02)
    return answer


def address(page):
    """Return the address of the page, which keeps the view."""
    return unquote(page.evaluate("location.href"))


def view(page):
    """Show the whole map; return where its middle is, and pixels for each unit, as the address keeps them."""
    page.locator(".map").first.focus()
    page.keyboard.press("0")
    found = eventually(lambda: re.search(r"view=([^&]+)", address(page)))
    return [float(value) for value in found[1].split(",")]


def pixel(page, place):
    """Return where a place of the whole map of two components lies in the window."""
    x, y, _, scale, *_ = view(page)
    box = page.locator(".map").first.bounding_box()
    middle = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    return float(middle[0] + (place[0] - x) * scale), float(middle[1] - (place[1] - y) * scale)


def around(page, corners):
    """Draw a closed line with the pointer."""
    page.mouse.move(*corners[0])
    page.mouse.down()
    for corner in [*corners[1:], corners[0]]:
        page.mouse.move(*corner, steps=4)
    page.mouse.up()


def serious(page):
    """Return what axe-core finds that bars people, as lines."""
    script = Path(__file__).parents[1] / "web" / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        pytest.skip("axe-core is not installed: `make page`")
    if page.evaluate("typeof axe") == "undefined":
        page.evaluate(script.read_text(encoding="utf-8"))
    found = page.evaluate("axe.run(document, { resultTypes: ['violations'] })")["violations"]
    return [
        f"{one['id']}: {node['target']} {node['failureSummary']}"
        for one in found
        if one["impact"] in ("serious", "critical")
        for node in one["nodes"]
    ]


@contextmanager
def served(*explorations):
    """Serve explorations as `latentmap explore` does, in a thread; yields the address and a function that stops."""
    uvicorn = pytest.importorskip("uvicorn")
    from latentmap.explorer.guard import Guard
    from latentmap.explorer.server import application
    from latentmap.explorer.serving import bound

    listening = bound("127.0.0.1", 0)
    port = listening.getsockname()[1]
    app = Guard(application(explorations), "token", {f"127.0.0.1:{port}"})
    config = uvicorn.Config(
        app, log_config=None, access_log=False, ws="none", lifespan="off", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    eventually(lambda: server.started)

    def stop():
        server.should_exit = True
        thread.join()
        listening.close()

    try:
        yield f"http://127.0.0.1:{port}/token/", stop
    finally:
        stop()
