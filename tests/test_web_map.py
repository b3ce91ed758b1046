"""The page on a map of pictures: what lies under the pointer, selections, ways, new rows, filters, keys."""

import io
import re

import numpy as np
import pytest

from browser import address, around, eventually, pixel, serious, served, shades, shoot, view


@pytest.fixture(scope="module")
def exploration(shown):
    """Digits on two components."""
    return shown


@pytest.fixture(scope="module")
def url(exploration):
    with served(exploration) as (url, _):
        yield url


@pytest.fixture
def page(pages, url):
    page = pages(url)
    page.get_by_role("heading", name="400 rows on 2 components").wait_for()
    return page


def outermost(exploration):
    """A row that lies alone, at the rim of the map."""
    away = np.linalg.norm(exploration.points - exploration.points.mean(0), axis=1)
    inner = away <= np.quantile(away, 0.97)
    return int(np.argmax(np.where(inner, away, 0)))


def emptiest(exploration):
    """The place on the map that lies farthest from all rows."""
    low, high = exploration.extent
    steps = np.linspace(0.02, 0.98, 25)
    places = low + np.stack(np.meshgrid(steps, steps), -1).reshape(-1, 2) * (high - low)
    away = np.linalg.norm(places[:, None] - exploration.points[:, :2], axis=2).min(1)
    return places[away.argmax()]


def test_the_place_under_the_pointer_is_decoded_with_its_density(page, exploration, tmp_path):
    shoot(page, "start", tmp_path)
    place = emptiest(exploration)
    page.mouse.move(*pixel(page, place))
    card = page.get_by_test_id("hover")
    answer = exploration.decode([place.tolist()])
    density, hole = float(answer.density[0]), bool(answer.hole[0])
    assert hole
    card.get_by_text("A hole: no rows lie here.").wait_for()
    shown = re.search(r"log-density (\S+) nats", card.inner_text())
    assert float(shown[1].replace("−", "-")) == pytest.approx(density, abs=0.2)  # the pointer is on whole pixels
    expected = answer.items[0].pixels.ravel().astype(int)
    paper = 255 - expected if exploration.meta()["item"]["paper"] else expected
    eventually(lambda: np.abs(np.array(shades(page.locator("[data-testid=hover] canvas"))) - paper).max() <= 12)
    shoot(page, "decode", tmp_path)
    page.mouse.move(1200, 500)
    card.wait_for(state="detached")


def test_a_point_shows_its_row_beside_its_reconstruction_and_stays_when_pressed(page, exploration, tmp_path):
    row = outermost(exploration)
    page.mouse.move(*pixel(page, exploration.points[row]))
    card = page.get_by_test_id("hover")
    card.get_by_text(re.compile(rf"Row {row}\b")).wait_for()
    assert card.locator("figcaption").all_inner_texts() == ["Here", "Row", "Reconstruction"]
    label = exploration.row(row).label
    assert f"Row {row} · {label}" in card.inner_text()
    shoot(page, "hover", tmp_path)
    page.mouse.down()
    page.mouse.up()
    panel = page.get_by_test_id("place")
    panel.get_by_role("heading", name=f"Row {row}").wait_for()
    panel.get_by_role("heading", name="Nearest rows in the data").wait_for()
    names = [button.get_attribute("title") for button in eventually(lambda: panel.locator(".thumb").all())]
    nearest = [int(re.match(r"Row (\d+)", name)[1]) for name in names]
    assert nearest == list(exploration.row(row).neighbours)
    shoot(page, "row", tmp_path)
    panel.get_by_role("button", name="Select the 20 nearest").click()
    page.get_by_test_id("selection").get_by_role("heading", name=re.compile("^21 rows")).wait_for()
    page.get_by_role("tab", name="Place").click()
    page.keyboard.press("Escape")
    panel.wait_for(state="detached")


def test_a_lasso_selects_what_lies_within_and_describes_it(page, exploration, tmp_path):
    middle = np.median(exploration.points, axis=0)
    x, y = pixel(page, middle)
    radius = 60
    page.keyboard.press("l")
    around(
        page, [(x - radius, y - radius), (x + radius, y - radius), (x + radius, y + radius), (x - radius, y + radius)]
    )
    panel = page.get_by_test_id("selection")
    counted = int(re.match(r"(\d+) row", panel.get_by_role("heading").first.inner_text())[1])
    scale = view(page)[3]
    away = np.abs(exploration.points - middle).max(1) * scale
    assert (away < radius - 2).sum() <= counted <= (away < radius + 2).sum() and counted > 5
    panel.get_by_role("heading", name="Labels").wait_for()
    panel.get_by_role("heading", name="Typical").wait_for()
    assert panel.locator(".thumb").count() > 2
    shoot(page, "selection", tmp_path)
    with page.expect_download() as saved:
        panel.get_by_role("button", name="Save rows (csv)").click()
    lines = saved.value.path().read_text().splitlines()
    assert saved.value.suggested_filename == "selection.csv" and len(lines) == counted + 1
    panel.get_by_role("button", name="Clear").click()
    page.get_by_role("heading", name="No rows selected").wait_for()


def test_a_path_is_decoded_step_by_step_and_saved(page, exploration, tmp_path):
    ends = [pixel(page, one) for one in np.quantile(exploration.points, (0.2, 0.8), axis=0)]
    page.keyboard.press("p")
    page.get_by_text("Press the first place or point.").wait_for()
    for end in ends:
        page.mouse.click(*end)
    strip = page.get_by_test_id("path")
    assert eventually(lambda: strip.locator("li").count()) == 12
    with page.expect_response(re.compile("api/path")) as answered:
        strip.get_by_label("Along the density").check()
    assert answered.value.request.post_data_json["along"] == "density" and len(answered.value.json()["items"]) == 12
    assert eventually(lambda: strip.locator("li").count()) == 12
    shoot(page, "path", tmp_path)
    kept = {}
    for name in "PNG", "GIF":
        with page.expect_download() as saved:
            strip.get_by_role("button", name=f"Save {name}").click()
        kept[name] = saved.value.path().read_bytes()
    from PIL import Image

    with Image.open(io.BytesIO(kept["PNG"])) as picture, Image.open(io.BytesIO(kept["GIF"])) as film:
        assert picture.format == "PNG" and picture.width == 12 * picture.height
        assert film.format == "GIF" and film.n_frames == 2 * 12 - 2
    strip.get_by_role("button", name="Close").click()
    strip.wait_for(state="detached")


def test_samples_are_placed_and_an_image_that_is_dropped_is_encoded(page, exploration, tmp_path, images):
    from PIL import Image

    page.get_by_role("tab", name="New rows").click()
    page.get_by_role("button", name="Draw 16").click()
    panel = page.get_by_test_id("new")
    eventually(lambda: panel.locator(".thumb").count() == 16)
    file = io.BytesIO()
    Image.fromarray((images[0] * 255 / 16).astype(np.uint8)).save(file, "PNG")
    drop = """
    (bytes) => {
      const data = new DataTransfer();
      data.items.add(new File([new Uint8Array(bytes)], "zero.png", { type: "image/png" }));
      const map = document.querySelector(".map");
      for (const name of ["dragover", "drop"]) {
        map.dispatchEvent(new DragEvent(name, { bubbles: true, cancelable: true, dataTransfer: data }));
      }
    }"""
    page.evaluate(drop, list(file.getvalue()))
    given = page.get_by_test_id("encoded")
    given.get_by_role("heading", name="zero.png").wait_for()
    assert given.locator("figcaption").all_inner_texts() == ["Given", "Reconstruction"]
    assert "log-evidence" in given.inner_text()
    shoot(page, "new", tmp_path)
    given.get_by_role("button", name="Remove").click()
    given.wait_for(state="detached")


def test_levels_of_the_legend_and_ranges_of_histograms_filter(page, exploration, tmp_path):
    counts = np.unique(exploration.field("label"), return_counts=True)[1]
    page.get_by_label("Colours").get_by_role("button", name=re.compile(r"^3")).click()
    page.get_by_text(f"{400 - counts[3]} of 400 rows", exact=True).wait_for()
    page.get_by_role("tab", name="Filters").click()
    bars = page.locator("[data-testid^=histogram]").first
    box = bars.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 20)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + 20, steps=5)
    page.mouse.up()
    key = bars.get_attribute("data-testid").removeprefix("histogram-")
    values = exploration.field(key)

    def kept():
        """The text of the rows in the range that the address keeps, which may follow the page."""
        if not (ends := re.search(r"range=([^,&]+),([^,&]+)", address(page))):
            return None
        inside = (values >= float(ends[1])) & (values <= float(ends[2])) & (exploration.field("label") != 3)
        return f"{inside.sum()} of 400 rows"

    eventually(lambda: (text := kept()) and page.get_by_text(text, exact=True).is_visible())
    shoot(page, "filters", tmp_path)
    text = kept()
    page.reload()
    page.get_by_text(text, exact=True).wait_for()
    page.get_by_role("button", name="Clear filters").click()
    page.get_by_text("400 rows", exact=True).wait_for()


def test_all_works_by_keys(page, exploration, tmp_path):
    page.keyboard.press("/")
    page.keyboard.type("17")
    page.get_by_role("option").first.wait_for()
    shoot(page, "search", tmp_path)
    page.keyboard.press("Enter")
    page.get_by_role("heading", name=re.compile(r"Row \d+")).wait_for()
    page.keyboard.press("Escape")
    for _ in range(6):
        page.keyboard.press("ArrowLeft")
    page.get_by_test_id("hover").wait_for()
    page.keyboard.press("Enter")
    page.get_by_test_id("place").wait_for()
    page.keyboard.press("+")
    before = eventually(lambda: re.search("view=[^&]+", address(page)))[0]
    page.keyboard.press("-")
    eventually(lambda: re.search("view=[^&]+", address(page))[0] != before)
    page.keyboard.press("l")
    assert page.get_by_role("button", name="Lasso").get_attribute("aria-pressed") == "true"
    for key in "Left", "Up", "Right", "Right", "Down", "Down":
        for _ in range(8):
            page.keyboard.press(f"Arrow{key}")
        page.keyboard.press(" ")
    page.keyboard.press("Enter")
    page.get_by_role("tab", name="Selection", selected=True).wait_for()
    page.keyboard.press("2")
    page.keyboard.press("?")
    page.get_by_role("dialog").get_by_text("search", exact=True).wait_for()
    page.keyboard.press("Escape")
    page.locator(".map").focus()
    page.keyboard.press("ArrowLeft")
    assert page.locator(".map").evaluate("map => getComputedStyle(map).outlineStyle") == "solid"


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(pages, url, scheme, tmp_path):
    page = pages(url, color_scheme=scheme)
    page.mouse.move(400, 400)
    page.get_by_test_id("hover").wait_for()
    page.mouse.click(400, 400)
    found = serious(page)
    for tab in page.get_by_role("tab").all()[1:]:
        tab.click()
        page.wait_for_timeout(150)
        found += serious(page)
    shoot(page, f"tabs-{scheme}", tmp_path)
    assert found == []


def test_colours_follow_the_system_until_they_are_chosen(pages, url, tmp_path):
    page = pages(url, color_scheme="dark")
    theme = lambda: page.locator("#latentmap").get_attribute("data-theme")  # noqa: E731
    assert theme() == "dark"
    page.wait_for_timeout(300)
    shoot(page, "dark", tmp_path)
    page.emulate_media(color_scheme="light")
    eventually(lambda: theme() == "light")
    page.get_by_test_id("theme").click()
    eventually(lambda: theme() == "dark")
    page.reload()
    page.wait_for_selector(".map")
    assert theme() == "dark"


def test_a_phone_has_a_sheet_below_the_map(pages, url, exploration, tmp_path):
    phone = {"viewport": {"width": 390, "height": 844}, "has_touch": True, "is_mobile": True, "device_scale_factor": 2}
    page = pages(url, **phone)
    assert page.evaluate("document.documentElement.scrollWidth") == 390
    page.touchscreen.tap(195, 500)
    page.get_by_test_id("hover").wait_for()
    shoot(page, "phone", tmp_path)
    page.get_by_role("tab", name="Filters").tap()
    page.get_by_test_id("filters").wait_for()
    page.wait_for_timeout(250)
    top = page.locator(".panel").bounding_box()["y"]
    assert top < 500
    shoot(page, "phone-sheet", tmp_path)
    page.get_by_role("button", name="Lower the panel").tap()
    eventually(lambda: page.locator(".panel").bounding_box()["y"] > 700)
