"""The page in a browser: many points, no WebGL2, a server that is gone, errors, and the size of what is sent."""

import gzip
import io
import re
from importlib.resources import files

import numpy as np
from PIL import Image

from browser import address, chromium, eventually, pixel, served, shoot
from synthetic import Synthetic

NO_WEBGL = """
const get = HTMLCanvasElement.prototype.getContext;
HTMLCanvasElement.prototype.getContext = function (kind, ...rest) {
  return kind.startsWith("webgl") ? null : get.call(this, kind, ...rest);
};
"""
FRAMES = """
() => new Promise((done) => {
  const box = document.querySelector(".map").getBoundingClientRect();
  const map = document.querySelector(".map > canvas");
  const send = (name, k) => {
    const at = { clientX: box.left + 500 + 60 * Math.sin(k / 6), clientY: box.top + 300 + 40 * Math.cos(k / 6) };
    map.dispatchEvent(new PointerEvent(name, { bubbles: true, pointerId: 1, button: 0, ...at }));
  };
  HTMLElement.prototype.setPointerCapture = () => {};
  send("pointerdown", 0);
  let k = 0;
  let start = 0;
  const step = () => {
    k += 1;
    if (k === 30) start = performance.now();
    if (k < 70) { send("pointermove", k); requestAnimationFrame(step); }
    else { send("pointerup", k); done(40_000 / (performance.now() - start)); }
  };
  requestAnimationFrame(step);
})
"""


KEPT = "colour=amount", "view=", "layers="


def drawn(page):
    """Wait until points were drawn; return how many milliseconds after the start of the page."""
    frames = "document.querySelector('.map')?.dataset.frames"
    return eventually(lambda: page.evaluate(f"{frames} > 0 && performance.now()"))


def colours(page):
    """Kinds of colours of the points that are drawn, the background apart."""
    page.wait_for_timeout(200)

    box = page.locator(".map").bounding_box()
    image = (
        Image.open(io.BytesIO(page.screenshot(clip=box))).convert("RGB").resize((458, 334), Image.Resampling.NEAREST)
    )
    seen = np.asarray(image).reshape(-1, 3).astype(int)
    return seen[(seen.max(1) - seen.min(1)) > 60]


def test_a_million_points_appear_and_stay_fluid(pages, tmp_path):
    """The bounds hold on any machine; figures of an idle one are printed."""
    with served(Synthetic(1_000_000)) as (url, _):
        page = pages(url)
        took = drawn(page)
        page.get_by_text("1,000,000 rows", exact=True).wait_for()
        shoot(page, "million", tmp_path)
        rate = max(page.evaluate(FRAMES) for _ in range(2))
        print(f"a million points: {took / 1000:.2f} s to the first paint, {rate:.0f} frames a second")
        assert took < 30_000 and rate > 2
        page.mouse.move(*pixel(page, (0.0, 2.0)))
        page.get_by_test_id("hover").get_by_text(re.compile("Row .* north")).wait_for()


def test_without_webgl_points_are_drawn_on_a_canvas_which_is_said(pages, tmp_path):
    exploration = Synthetic(5000)
    with served(exploration) as (url, _):
        page = pages(url, script=NO_WEBGL)
        page.get_by_text("WebGL2 is missing here").wait_for()
        assert len(colours(page)) > 2000
        page.mouse.move(*pixel(page, exploration.points[7]))
        page.get_by_test_id("hover").get_by_text("Row 7 ").wait_for()
        page.mouse.move(600, 380)
        page.mouse.wheel(0, -400)
        shoot(page, "canvas", tmp_path)


def test_when_webgl_is_lost_a_canvas_goes_on(pages):
    with served(Synthetic(2000)) as (url, _):
        page = pages(url)
        drawn(page)
        before = len(colours(page))
        context = "document.querySelector('canvas.points').getContext('webgl2')"
        page.evaluate(f"{context}.getExtension('WEBGL_lose_context').loseContext()")
        page.get_by_text("WebGL2 is missing here").wait_for()
        page.mouse.move(1200, 500)
        assert len(colours(page)) > before / 3
        page.watched.forgive("WebGL|Context")


def test_a_server_that_is_gone_is_said_and_tried_again(pages, tmp_path):
    with served(Synthetic()) as (url, stop):
        page = pages(url)
        page.mouse.move(*pixel(page, (0.0, 2.0)))
        page.get_by_test_id("hover").wait_for()
        stop()
        page.mouse.move(*pixel(page, (1.0, 1.0)))
        problem = page.get_by_test_id("problem")
        problem.get_by_text("The explorer does not answer").wait_for()
        page.get_by_test_id("hover").wait_for(state="detached")  # what was decoded elsewhere is not shown here
        shoot(page, "lost", tmp_path)
        problem.get_by_role("button", name="Try again").click()
        page.wait_for_timeout(100)
        assert problem.is_visible()
        page.watched.forgive("ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE")


def test_a_page_without_an_answer_says_so_and_tries_again(pages, tmp_path):
    class Broken(Synthetic):
        broken = True

        def meta(self):
            if self.broken:
                from latentmap.exceptions import DataError

                raise DataError("the run cannot be read: try another")
            return super().meta()

    exploration = Broken()
    with served(exploration) as (url, _):
        page = pages(url, wait="h1")
        page.get_by_role("heading", name="The map could not be loaded").wait_for()
        page.get_by_text("the run cannot be read: try another").wait_for()
        shoot(page, "broken", tmp_path)
        exploration.broken = False
        page.get_by_role("button", name="Try again").click()
        page.wait_for_selector(".map")
        page.watched.forgive("status of 400")


def test_an_answer_that_fails_is_one_line_and_the_page_goes_on(pages):
    class Failing(Synthetic):
        def row(self, i):
            from latentmap.exceptions import DataError

            raise DataError("this row cannot be read")

    exploration = Failing()
    with served(exploration) as (url, _):
        page = pages(url)
        page.mouse.move(*pixel(page, exploration.points[3]))
        page.get_by_test_id("problem").get_by_text("this row cannot be read").wait_for()
        page.get_by_role("button", name="Dismiss").click()
        page.mouse.move(*pixel(page, (0.0, 0.0)))
        page.get_by_test_id("hover").get_by_text("A hole: no rows lie here.").wait_for()
        page.watched.forgive("status of 400")


def test_a_run_without_rows_is_explored_alone(pages, tmp_path):
    can = dict.fromkeys(("rows", "encode", "score", "density", "impute", "selection"), False)
    can |= {"decode": True, "samples": True, "path": True, "save": []}
    note = "the rows are not here"
    alone = Synthetic(0, can=can, fields=[], islands=[], notes=[note], range={"low": [-3.0, -3.0], "high": [3.0, 3.0]})
    with served(alone) as (url, _):
        page = pages(url)
        page.get_by_role("heading", name="The latent space alone").wait_for()
        page.get_by_text(note).wait_for()
        assert page.get_by_role("tab").all_inner_texts() == ["Place", "Sliders", "New rows"]
        page.mouse.move(*pixel(page, (1.0, 0.0)))
        page.get_by_test_id("hover").get_by_text("log-density −1 nats").wait_for()
        shoot(page, "alone", tmp_path)


def test_the_address_keeps_the_view(pages):
    with served(Synthetic(d=3)) as (url, _):
        page = pages(url)
        page.get_by_test_id("colour").select_option("amount")
        page.get_by_role("tab", name="Sliders").click()
        page.mouse.move(500, 400)
        page.mouse.wheel(0, -300)
        page.get_by_label("Labels", exact=True).uncheck()
        kept = eventually(lambda: all(word in address(page) for word in KEPT) and address(page))
        page.mouse.move(1200, 700)
        other = pages(kept)
        assert other.get_by_test_id("colour").input_value() == "amount"
        assert other.get_by_role("tab", name="Sliders").get_attribute("aria-selected") == "true"
        assert not other.get_by_label("Labels", exact=True).is_checked()
        other.wait_for_timeout(400)
        assert address(other) == address(page)


def test_more_levels_than_a_palette_have_colours_of_their_own(pages, tmp_path):
    exploration = Synthetic(3000)
    exploration.label = np.arange(3000, dtype=np.uint16) % 30
    exploration.fields["label"].values = exploration.label
    fields = Synthetic().meta()["fields"]
    exploration.changes["fields"] = [fields[0] | {"levels": [f"kind {k}" for k in range(30)]}, fields[1]]
    with served(exploration) as (url, _):
        page = pages(url)
        swatches = page.locator(".swatch").evaluate_all("all => all.map((one) => one.style.background)")
        assert len(swatches) == 30 and len(set(swatches)) == 30
        page.get_by_role("button", name=re.compile("^kind 7 ")).dblclick()
        page.get_by_text("100 of 3,000 rows", exact=True).wait_for()
        shoot(page, "levels", tmp_path)


def test_the_page_is_small_and_names_its_licenses():
    chromium()
    page = files("latentmap.explorer") / "page"
    sent = [page / "index.html", *(page / "assets").iterdir()]
    assert sum(len(gzip.compress(file.read_bytes())) for file in sent) < 400_000
    licenses = (page / "licenses.txt").read_text(encoding="utf-8")
    for name in "three", "preact", "kdbush", "gifenc", "d3-contour":
        assert re.search(rf"^{name} \d", licenses, re.MULTILINE), name


def test_the_page_asks_no_other_host_and_complaints_fail_a_test(pages):
    with served(Synthetic()) as (url, _):
        page = pages(url)
        page.evaluate("console.error('a complaint')")
        page.evaluate("fetch('http://192.0.2.1/elsewhere').catch(() => {})")
        eventually(lambda: page.evaluate("1") and len(page.watched.complaints) >= 2)
        assert page.watched.complaints[0] == "a complaint"
        assert all("Content Security Policy" in text for text in page.watched.complaints[1:])
        page.watched.forgive("")
