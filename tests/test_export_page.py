"""The exported file: complete in itself, small, strict, and usable in a browser without a network."""

import base64
import hashlib
import io
import json
import re

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits

from browser import shoot
from command import ask, must
from latentmap import VAE
from latentmap.exceptions import ModelError
from latentmap.explorer import Exploration, ExploredRows, export_page
from latentmap.explorer.export_page import as_script, asset, is_built, write_map

pytestmark = [
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning"),
    pytest.mark.skipif(not is_built(), reason="the page is not built: run make page"),
]
DIGITS = load_digits()
EVIL = "</script><script>alert(1)</script><!--"


@pytest.fixture(scope="module")
def exploration():
    vae = VAE(2, max_epochs=20, neighbors=None, random_state=0).fit(DIGITS.images[:500])
    labels = np.array([EVIL if label == 0 else str(label) for label in DIGITS.target[:500]])
    return Exploration(vae, ExploredRows.of(vae, DIGITS.images[:500], labels), name="digits & more")


@pytest.fixture(scope="module")
def file(exploration, tmp_path_factory):
    path = tmp_path_factory.mktemp("export") / "map.html"
    assert write_map(exploration, path) == path.stat().st_size < 2_000_000
    return path


def data_of(text):
    return json.loads(re.search(r'<script type="application/json" id="latentmap-data">(.*?)</script>', text, re.S)[1])


def test_the_file_is_complete_in_itself(file):
    text = file.read_text(encoding="utf-8")
    policy = re.search(r'<meta http-equiv="Content-Security-Policy" content="([^"]+)">', text)[1]
    assert policy.startswith("default-src 'none'; ") and "unsafe" not in policy and "http" not in policy
    scripts = re.findall(r"<script>(.*?)</script>", text, re.S)
    styles = re.findall(r"<style>(.*?)</style>", text, re.S)
    assert (len(scripts), len(styles)) == (1, 2)
    for content in (*scripts, *styles):
        assert base64.b64encode(hashlib.sha256(content.encode()).digest()).decode() in policy
    assert not re.search(r'(src|href)="(?!data:)', text) and text.count("<script") == 2


def test_labels_stay_text(file):
    text = file.read_text(encoding="utf-8")
    label = next(one for one in data_of(text)["meta"]["fields"] if one["key"] == "label")
    assert EVIL in label["levels"] and EVIL not in text
    assert "<title>digits &amp; more: a latent map</title>" in text
    assert json.loads(as_script({"a": EVIL + "\u2028"})) == {"a": EVIL + "\u2028"}


def test_code_and_style_that_would_end_their_element_do_not(tmp_path, monkeypatch):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "map.js").write_text("a = '</script><!--'")
    monkeypatch.setattr(export_page, "files", lambda _: tmp_path)
    assert asset("map.js") == r"a = '\x3c/script>\x3c!--'"


def test_without_javascript_there_is_a_picture(file, browser, tmp_path):
    context = browser.new_context(java_script_enabled=False, viewport={"width": 1280, "height": 720})
    page = context.new_page()
    page.goto(file.as_uri())
    shown = page.locator("noscript img, img").first
    box = shown.bounding_box()
    shoot(page, "export-without-javascript", tmp_path)
    assert box["width"] > 400 and box["height"] > 200 and "point" in shown.get_attribute("alt")
    context.close()
    text = file.read_text(encoding="utf-8")
    png = base64.b64decode(re.search(r"<noscript>.*?data:image/png;base64,([^\"]+)", text, re.S)[1])
    with Image.open(io.BytesIO(png)) as image:
        assert image.width > 400


def test_it_decodes_under_the_pointer_offline(file, exploration, pages, tmp_path):
    page = pages(file.as_uri(), offline=True)
    page.wait_for_function("document.querySelector('.map').dataset.frames > 0")
    opened = page.evaluate("performance.now()")
    box = page.locator(".map").bounding_box()
    card = page.get_by_test_id("hover")
    seen = set()
    for share in (0.45, 0.55):
        page.mouse.move(box["x"] + share * box["width"], box["y"] + 0.5 * box["height"])
        card.wait_for()
        page.wait_for_function("document.querySelector('[data-testid=hover] canvas')?.width > 0")
        page.wait_for_timeout(200)
        seen.add(page.evaluate("document.querySelector('[data-testid=hover] canvas').toDataURL()"))
    shoot(page, "export-decode", tmp_path)
    assert len(seen) == 2 and opened < 30_000  # two seconds on a machine that does nothing else
    assert "log-density" in card.inner_text()


def test_it_searches_and_colours_offline(file, pages, tmp_path):
    page = pages(file.as_uri(), offline=True)
    page.get_by_role("combobox", name="Search rows").fill("499")
    page.get_by_role("option").first.click()
    page.get_by_text("Row 499").first.wait_for()
    page.get_by_test_id("colour").select_option("evidence")
    page.wait_for_timeout(300)
    shoot(page, "export-colour", tmp_path)
    assert page.locator("script:not([type])").count() == 1, "no code came from a label"


def test_the_command_writes_it(capsys, tmp_path):
    np.savez(tmp_path / "X.npz", X=DIGITS.images[:200], digit=DIGITS.target[:200])
    must(
        capsys, "fit", f"{tmp_path / 'X.npz'}::X", "--labels", "digit", "-o", tmp_path / "run", "--set", "max_epochs=2"
    )
    answer = must(capsys, "export", tmp_path / "run", "--html", tmp_path / "map.html", "--rows", "50", "--json")
    text = (tmp_path / "map.html").read_text(encoding="utf-8")
    assert answer.json == {"output": str(tmp_path / "map.html"), "bytes": len(text.encode())}
    meta = data_of(text)["meta"]
    assert meta["n"] == 50 and "50 of 200 rows are in this file, evenly spaced" in meta["notes"]
    assert str(tmp_path) not in text, "no folder of its author"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (("--html", "map.pdf"), 2, ".html"),
        (("--html", "."), 2, "expected a name that ends in .html"),
        (("--html", "map.html", "--rows", "0"), 2, "--rows must be at least 1, got 0"),
        ((), 2, "--html"),
    ],
)
def test_what_cannot_be_written_is_said(capsys, tmp_path, arguments, code, said):
    answer = ask(capsys, "export", tmp_path / "run", *arguments)
    assert answer.code == code and len(answer.errors) == 1 and said in answer.errors[0]
    assert list(tmp_path.iterdir()) == []


def test_no_run_and_no_page_are_one_line(capsys, tmp_path, monkeypatch):
    answer = ask(capsys, "export", tmp_path / "nothing", "--html", tmp_path / "map.html")
    assert answer.code == 1 and len(answer.errors) == 1
    monkeypatch.setattr(export_page, "files", lambda _: tmp_path)
    answer = ask(capsys, "export", tmp_path / "nothing", "--html", tmp_path / "map.html")
    assert answer.code == 1 and "make page" in answer.errors[0] and list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_refused(exploration, tmp_path):
    with pytest.raises(ModelError, match="give fewer --rows"):
        write_map(exploration, tmp_path / "map.html", most=300_000)
    assert list(tmp_path.iterdir()) == []


def test_sixty_thousand_points_with_pictures_take_less_than_five_megabytes(exploration, tmp_path):
    generator = np.random.default_rng(0)
    images = DIGITS.images[generator.integers(0, 1797, 60_000)] + generator.normal(0, 0.5, (60_000, 8, 8))
    rows = ExploredRows.of(exploration.estimator, images, generator.integers(0, 10, 60_000))
    size = write_map(Exploration(exploration.estimator, rows), tmp_path / "map.html")
    data = data_of((tmp_path / "map.html").read_text(encoding="utf-8"))
    assert size < 5_000_000 and data["points"]["shape"] == [60_000, 2] and data["originals"]["rows"] is None
    assert data["decoder"] is not None
