"""The page on tables, on many components, and on two runs beside each other."""

import re

import numpy as np
import pandas as pd
import pytest

import explorers
from browser import around, eventually, pixel, served, shades, shoot
from conftest import fit
from latentmap import VAE
from latentmap.explorer import Exploration, ExploredRows
from synthetic import Synthetic


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """A table of trees, some cells of which are missing, explored."""
    from latentmap.data.sources import open_source

    vae, path = explorers.table(tmp_path_factory.mktemp("trees"))
    rows = ExploredRows.of_source(vae, open_source(path))
    return Exploration(vae, rows, name="trees")


def test_a_row_of_a_table_is_shown_with_units_and_filled_cells(pages, table, tmp_path):
    with served(table) as (url, _):
        page = pages(url)
        page.mouse.move(*pixel(page, np.median(table.points, axis=0)))
        card = page.get_by_test_id("hover")
        card.get_by_role("rowheader", name="kind").wait_for()
        assert re.search(r"(elm|oak|ash) \d+\s%", card.inner_text())
        shoot(page, "table", tmp_path)
        page.keyboard.press("/")
        page.keyboard.type("4")
        page.get_by_role("option", name=re.compile(r"^4\b|\b4$|row 4\b", re.IGNORECASE)).first.click()
        panel = page.get_by_test_id("place")
        panel.get_by_role("heading", name=re.compile("^Row 4$")).wait_for()
        panel.get_by_text("missing", exact=True).wait_for()
        panel.get_by_role("heading", name="Missing cells, filled").wait_for()
        filled = table.row(4).imputed[0]
        assert filled.text in panel.inner_text() and f"90 % from {filled.low} to {filled.high}" in panel.inner_text()
        assert filled.text and panel.get_by_role("columnheader", name="Mean or likeliest").is_visible()
        shoot(page, "missing", tmp_path)


def test_dates_are_dates_wherever_they_stand_and_a_row_fits_beside_its_reconstruction(pages, table):
    with served(table) as (url, _):
        page = pages(url)
        page.get_by_test_id("colour").select_option(label="planted")
        legend = page.get_by_role("region", name="Colours")
        legend.get_by_text(re.compile("2001-01-11")).wait_for()
        assert "days since" not in legend.inner_text()
        page.get_by_role("tab", name="Filters").click()
        least = page.get_by_label("planted, at least")
        assert least.input_value() == "2001-01-11"
        least.fill("2001-05-01")
        page.get_by_text(re.compile("of 120 rows shown")).wait_for()
        months = [1 + i % 9 for i in range(120)]
        page.get_by_text(f"{sum(month >= 5 for month in months)} of 120", exact=False).first.wait_for()
        page.mouse.move(*pixel(page, table.points[8]))
        card = page.get_by_test_id("hover")
        card.get_by_role("columnheader", name="Reconstruction").wait_for()
        assert card.evaluate("card => card.scrollWidth <= card.clientWidth")


@pytest.mark.parametrize("width", [320, 375])
def test_a_row_and_its_reconstruction_fit_on_a_phone(width, pages, table):
    """The last column lay beyond the edge of the card, and of the page."""
    with served(table) as (url, _):
        page = pages(url, viewport={"width": width, "height": 667}, has_touch=True, is_mobile=True)
        x, y = pixel(page, table.points[8])
        page.touchscreen.tap(x, y)
        card = page.get_by_test_id("hover")
        last = card.get_by_role("columnheader", name="Reconstruction")
        last.wait_for()
        box, right = last.bounding_box(), card.bounding_box()["x"] + card.bounding_box()["width"]
        assert box["x"] + box["width"] <= right <= width
        assert card.evaluate("card => card.scrollWidth <= card.clientWidth")


def test_numbers_of_any_size_and_names_of_any_script(pages, tmp_path):
    """Ends of ranges were written as -0.000000 and cut; the percentage went into a name that is read from the right."""
    from latentmap.data.sources import open_source

    rng = np.random.default_rng(0)
    names = np.array(["عربي", "اسم"])[np.arange(60) % 2]
    numbers = {"tiny": rng.normal(size=60) * 1e-30, "large": 1.6e9 + 500_000.5 * np.arange(60)}
    frame = pd.DataFrame({**numbers, "نوع": names})
    frame.to_csv(tmp_path / "x.csv", index=False)
    vae = fit(VAE(2, max_epochs=1, random_state=0), frame)
    rows = ExploredRows.of_source(vae, open_source(tmp_path / "x.csv"))
    with served(Exploration(vae, rows, name="x")) as (url, _):
        page = pages(url)
        page.get_by_test_id("colour").select_option(label="large")
        legend = page.get_by_role("region", name="Colours")
        legend.get_by_text("1.60000e9").wait_for()
        legend.get_by_text("1.62950e9").wait_for()
        page.mouse.move(*pixel(page, vae.transform(frame)[0]))
        value = page.get_by_test_id("hover").locator(".value").filter(has_text="%").first
        value.wait_for()
        share, left = value.evaluate("""value => {
            const range = document.createRange();
            range.selectNodeContents(value.querySelector("small"));
            const rects = [...range.getClientRects()].filter(one => one.width > 0);
            range.selectNode(value.firstChild);
            return [Math.min(...rects.map(one => one.left)), range.getBoundingClientRect().left];
        }""")
        assert left < share, "the name stands before its percentage"
        page.get_by_role("tab", name="Filters").click()
        ends = [float(page.get_by_label(f"tiny, at {which}").input_value()) for which in ("least", "most")]
        assert ends == pytest.approx([frame.tiny.min(), frame.tiny.max()], rel=1e-2)


def test_where_a_row_lies_no_hole_is_said_to_be_without_rows(pages, table):
    rarest = int(np.argmin(table.fields["density"].values))
    with served(table) as (url, _):
        page = pages(url)
        page.mouse.move(*pixel(page, table.points[rarest]))
        card = page.get_by_test_id("hover")
        card.get_by_text("A sparse place: 99 % of the rows lie denser.").wait_for()
        card.get_by_text(f"Row {rarest}", exact=False).first.wait_for()
        assert "no rows lie here" not in card.inner_text()


def test_a_row_that_is_pasted_is_placed_and_flagged(pages, table, tmp_path):
    with served(table) as (url, _):
        page = pages(url)
        page.get_by_role("tab", name="New rows").click()
        given = page.get_by_test_id("encoded")
        usual = "kind,height,planted,alive,price\noak,15.5,2001-04-11,True,$1200.00"
        for k, text in enumerate((usual, '{"kind": "elm", "height": 900}')):
            page.get_by_test_id("given").fill(text)
            page.get_by_role("button", name="Place on the map").click()
            given.nth(k).wait_for()
        given.first.get_by_text("Unlike the rows of the fit.").wait_for()  # the latest is the first
        assert page.get_by_text("Unlike the rows of the fit.").count() == 1
        shoot(page, "pasted", tmp_path)
        page.get_by_test_id("given").fill("no, row")
        page.get_by_role("button", name="Place on the map").click()
        page.get_by_test_id("problem").wait_for()
        page.watched.forgive("status of 400")


def test_a_selection_of_a_table_says_what_tells_it_apart(pages, table, tmp_path):
    with served(table) as (url, _):
        page = pages(url)
        left, top = pixel(page, (table.points[:, 0].min(), table.points[:, 1].max()))
        right, bottom = pixel(page, (np.median(table.points[:, 0]), table.points[:, 1].min()))
        page.keyboard.press("l")
        around(page, [(left - 5, top - 5), (right, top - 5), (right, bottom + 5), (left - 5, bottom + 5)])
        panel = page.get_by_test_id("selection")
        panel.get_by_role("heading", name="What tells them apart").wait_for()
        rows = np.flatnonzero(table.points[:, 0] < np.median(table.points[:, 0]))
        names = [one.name for one in table.selection(rows).columns]
        section = panel.locator("section", has_text="What tells")
        shown = [name.strip() for name in section.locator("tbody th").all_inner_texts()]
        assert set(shown) == set(names[:12]) and len(shown) > 3
        shoot(page, "apart", tmp_path)


def test_sliders_set_the_components_that_are_not_on_the_axes(pages, tmp_path):
    exploration = Synthetic(600, 6)
    with served(exploration) as (url, _):
        page = pages(url)
        page.get_by_role("tab", name="Sliders").click()
        panel = page.get_by_test_id("components")
        assert panel.locator("tbody tr").count() == 6
        canvas = panel.locator("canvas")
        panel.get_by_test_id("slider-4").fill("2")
        expected = np.clip(128 + 40 * np.resize([0, 0, 0, 0, 2, 0], 36), 0, 255)
        eventually(lambda: np.abs(np.array(shades(canvas)) - expected).max() <= 2)
        shoot(page, "sliders", tmp_path)
        page.keyboard.press("Escape")
        panel.get_by_title("Put z₄ on the x axis").click()
        page.get_by_text("→ z₄").wait_for()
        page.mouse.move(*pixel(page, exploration.points[5, [3, 1]]))
        page.get_by_test_id("hover").get_by_text(re.compile("^Row \\d+ · ")).wait_for()
        page.get_by_role("button", name="Three dimensions").click()
        page.get_by_text(re.compile("↗ z")).wait_for()
        page.mouse.move(450, 400)
        page.mouse.down()
        page.mouse.move(520, 370, steps=5)
        page.mouse.up()
        page.wait_for_timeout(300)
        shoot(page, "three", tmp_path)


def test_two_runs_of_the_same_rows_share_selections(pages, rows, tmp_path):
    labels = np.arange(len(rows)) % 3
    explorations = []
    for name, seed in ("one", 0), ("two", 1):
        vae = fit(VAE(2, max_epochs=2, random_state=seed), rows)
        explorations.append(Exploration(vae, ExploredRows.of(vae, rows, labels), name=name))
    with served(*explorations) as (url, _):
        page = pages(url)
        page.get_by_role("button", name="Compare with two").click()
        page.get_by_test_id("map-1").wait_for()
        page.wait_for_timeout(300)
        before = page.get_by_test_id("map-1").get_attribute("data-frames")
        low, middle = explorations[0].points.min(0) - 1, np.median(explorations[0].points, axis=0)
        (left, bottom), (right, top) = pixel(page, low), pixel(page, middle)
        page.keyboard.press("l")
        around(page, [(max(left, 5), top), (right, top), (right, min(bottom, 640)), (max(left, 5), min(bottom, 640))])
        page.get_by_test_id("selection").wait_for()
        eventually(lambda: page.get_by_test_id("map-1").get_attribute("data-frames") != before)
        shoot(page, "compare", tmp_path)


def test_one_component_is_shown_as_a_band(pages, rows, tmp_path):
    vae = fit(VAE(1, max_epochs=2, random_state=0), rows)
    with served(Exploration(vae, ExploredRows.of(vae, rows, np.arange(len(rows)) % 3), name="line")) as (url, _):
        page = pages(url)
        page.get_by_role("heading", name="400 rows on 1 component").wait_for()
        page.mouse.move(560, 380)
        page.get_by_test_id("hover").wait_for()
        shoot(page, "one", tmp_path)
