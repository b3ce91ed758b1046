"""The map in a report: to explore where scripts run, a picture in print and elsewhere."""

import html
import re

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from browser import shoot
from command import must
from latentmap import VAE
from latentmap.explorer.export_page import is_built
from latentmap.report import write_report
from latentmap.report.interactive import MOST_BYTES, MOST_ROWS, interactive_map

pytestmark = [
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning"),
    pytest.mark.skipif(not is_built(), reason="the page is not built: run make page"),
]
DIGITS = load_digits()
QUICK = {"max_epochs": 2, "neighbors": None, "random_state": 0}


@pytest.fixture(scope="module")
def vae():
    return VAE(2, **QUICK).fit(DIGITS.images[:300])


@pytest.fixture(scope="module")
def report(vae, tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    return write_report(vae, DIGITS.images[:300], DIGITS.target[:300], folder, interactive=True)


def frame_of(text):
    """Return the page in the frame of a report."""
    return html.unescape(re.search(r'<iframe [^>]*srcdoc="([^"]*)"></iframe>', text, re.S)[1])


def test_the_frame_holds_a_page_of_its_own(report):
    text = report.read_text(encoding="utf-8")
    page = frame_of(text)
    assert page.startswith("<!doctype html>") and "default-src 'none'" in page
    assert text.count("<iframe") == 1 and "<script" not in re.sub(r'srcdoc="[^"]*"', "", text)
    assert len(page.encode()) < MOST_BYTES


def test_it_is_explored_offline(report, browser, tmp_path):
    context = browser.new_context(offline=True, viewport={"width": 1280, "height": 800})
    page, complaints = context.new_page(), []
    page.on("console", lambda message: message.type == "error" and complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{report.as_uri()}#map")
    frame = page.frame_locator("iframe.explorer")
    frame.locator(".map[data-frames]").wait_for()
    box = frame.locator(".map").bounding_box()
    page.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)
    frame.get_by_test_id("hover").wait_for()
    shoot(page, "report-map", tmp_path)
    assert not page.locator("#map .picture").is_visible() and complaints == []
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the screen"
    page.emulate_media(media="print")
    assert page.locator("#map .picture").is_visible() and not page.locator("iframe").is_visible()
    context.close()


def test_without_javascript_the_picture_stays(report, browser):
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(report.as_uri())
    assert page.locator("#map .picture img").is_visible() and not page.locator("iframe").is_visible()
    context.close()


def test_the_commands_embed_it(capsys, tmp_path, unrendered, monkeypatch):
    np.savez(tmp_path / "X.npz", X=DIGITS.images[:200], digit=DIGITS.target[:200])
    made = ("--labels", "digit", "--set", "max_epochs=1", "--set", "neighbors=none")
    must(capsys, "fit", f"{tmp_path / 'X.npz'}::X", "-o", tmp_path / "run", *made)
    page = tmp_path / "run" / "report.html"
    assert '"n":200' in frame_of(page.read_text(encoding="utf-8"))
    assert str(tmp_path) not in page.read_text(encoding="utf-8").partition("srcdoc")[2].partition("</iframe>")[0]
    monkeypatch.setattr("latentmap.explorer.export_page.is_built", lambda: False)
    must(capsys, "report", tmp_path / "run")
    assert "<iframe" not in page.read_text(encoding="utf-8")


def test_tables_with_missing_cells_and_sparse_rows_have_one(vae):
    from scipy.sparse import csr_matrix

    frame = pd.DataFrame({"a": np.arange(90.0), "b": list("xyz") * 30})
    frame.loc[3, "a"] = np.nan
    table = VAE(2, **QUICK).fit(frame)
    from latentmap.estimators.columns import numbers

    assert '"n":90' in interactive_map(*numbers(table, frame), None, "t")
    counts = csr_matrix(np.random.default_rng(0).poisson(1.0, (60, 12)))
    assert '"n":60' in interactive_map(VAE(2, **QUICK).fit(counts), counts, None, "s")


def test_many_rows_are_sampled(vae):
    images = np.resize(DIGITS.images, (6000, 8, 8))
    page = interactive_map(vae, images, None, "many")
    assert f'"n":{MOST_ROWS}' in page and len(page.encode()) < MOST_BYTES
    assert "5,000 of 6,000 rows are in this file" in page
