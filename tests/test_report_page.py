"""The page: what each figure is of, its contents, its alternative texts, and its pictures for any screen."""

import base64
import html
import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.datasets import load_digits, load_wine

from command import must
from latentmap import VAE, load
from latentmap.evaluation.compare import compare
from latentmap.plot.style import Display
from latentmap.report import write_report
from latentmap.report.figures import MAX_BYTES, section

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS, WINE = load_digits(), load_wine(as_frame=True)
QUICK = {"max_epochs": 2, "neighbors": None, "random_state": 0}


@pytest.fixture(scope="module")
def vae():
    return VAE(2, **QUICK).fit(DIGITS.images[:300])


def page(estimator, X, y=None, *, folder, **options):
    return html.unescape(write_report(estimator, X, y, folder, **options).read_text())


def rows_of(text):
    """Return what each figure says of its rows, by the figure."""
    found = re.findall(r'<section id="(\w+)">(?:(?!</section>).)*?<span class="rows">Rows: (.*?)</span>', text, re.S)
    return dict(found)


def test_every_figure_says_which_rows_it_is_of(vae, tmp_path, unrendered):
    text = page(vae, DIGITS.images[:300], DIGITS.target[:300], folder=tmp_path)
    of = rows_of(text)
    assert of.keys() == {path.stem for path in (tmp_path / "figures").glob("*.png")}
    assert of["map"] == "300 rows of the fit, 270 trained on and 30 held out."
    assert of["reconstructions"] == "some of 30 held-out rows."
    assert "none, but draws from the model" in of["samples"] and "none, but decoded codes" in of["decoded_grid"]
    assert "Held-out rows take no part in training" in text and "New rows" not in text
    new = page(vae, DIGITS.images[300:400], folder=tmp_path)
    assert rows_of(new)["reconstructions"] == "some of 100 new rows." and "rows other than the 300 rows" in new
    assert "Of the fit and its rows: 300 rows of the fit, 270 trained on" in new
    assert rows_of(new)["learning_curves"] == rows_of(text)["learning_curves"] == of["map"]


def test_reconstructions_are_of_held_out_rows(vae, tmp_path, monkeypatch, unrendered):
    shown = []
    monkeypatch.setattr("latentmap.plot.reconstructions", lambda estimator, X, **_: shown.append(X) or blank())
    write_report(vae, DIGITS.images[:300], folder=tmp_path)
    from latentmap.data.sampling import split_rows

    np.testing.assert_array_equal(shown[0], DIGITS.images[split_rows(300, 0.1, 0)[1]])


def blank():
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2, 1))
    return Display(figure, figure.subplots(), np.zeros(1), "A caption.")


def test_rows_of_a_comparison_are_told_apart(tmp_path, unrendered):
    X, y = DIGITS.images[:250], DIGITS.target[:250]
    comparison = compare(X, y, methods=("pca", "autoencoder"), random_state=0)
    of = rows_of(page(comparison.estimators["autoencoder"], X, y, folder=tmp_path, comparison=comparison))
    assert of["map"] == "200 rows of the fit, 180 trained on and 20 held out; 50 new rows."
    assert of["reconstructions"] == "some of 50 new rows."


def test_the_contents_link_to_every_section(vae, tmp_path, unrendered):
    text = page(vae, DIGITS.images[:300], folder=tmp_path)
    links = re.findall(r'<a href="#(\w+)">', text)
    assert links == re.findall(r'<section id="(\w+)">', text) and {"facts", "map", "choices"} <= set(links)
    assert "<script" not in text


def test_two_or_three_rates_are_no_figure(vae, tmp_path, unrendered):
    assert 'id="rates"' not in page(vae, DIGITS.images[:300], folder=tmp_path)
    assert 'id="rates"' in page(VAE(4, **QUICK).fit(DIGITS.data[:100]), DIGITS.data[:100], folder=tmp_path)


def test_missing_cells_of_figures_are_said_to_be_imputed(tmp_path, unrendered):
    holes = WINE.data.mask(np.random.default_rng(0).random(WINE.data.shape) < 0.2)
    vae = VAE(2, **QUICK).fit(holes)
    of = rows_of(page(vae, holes, folder=tmp_path))
    assert all("imputed by the model" in of[name] for name in ("map", "map_quality", "reconstructions"))
    assert "imputed" not in rows_of(page(vae, WINE.data, folder=tmp_path))["map"]


@pytest.mark.parametrize("n", [1, 2, 11])
def test_few_rows_set_no_ranges(vae, tmp_path, n, unrendered):
    of = rows_of(page(vae, DIGITS.images[300 : 300 + n], folder=tmp_path))
    assert "samples of the model" in of["decoded_grid"] and "samples of the model" in of["samples"]
    assert ("interpolations" in of) == (n > 1) and "map_quality" not in of


@pytest.mark.parametrize(
    "y", [["red"] * 60, np.linspace(0, 1, 60), [f"class {i % 30}" for i in range(60)], [None, "a"] * 30]
)
def test_labels_of_any_kind_have_a_report(tmp_path, y, unrendered):
    X = WINE.data[:60]
    assert "Summary" in page(VAE(1, **QUICK).fit(X), X, y, folder=tmp_path)


class Themed(Display):
    """A figure with a picture of its own for dark screens."""

    def png(self, dpi=150, theme=None, width=None):
        return b"\x89PNG" + bytes(12) + (10 * dpi).to_bytes(4) + (b"dark" if theme == "dark" else b"")


def test_pictures_for_dark_screens_stand_beside_the_others(tmp_path):
    plain, dark = section(tmp_path, "a", "A", blank_as(Themed, "")), blank_as(Themed, "Two islands.")
    assert [one.media for one in plain.others] == ["(prefers-color-scheme: dark)"] and plain.alt == "A: A caption."
    assert section(tmp_path, "b", "B", dark).alt == "B: Two islands."
    assert (plain.picture.width, plain.fits_phone) == (1080, False)


def blank_as(kind, alt):
    one = blank()
    display = kind(one.figure_, one.ax_, one.data_, one.caption)
    object.__setattr__(display, "alt", alt)
    return display


def test_figures_that_hold_too_much_are_drawn_coarser(tmp_path):
    display = blank()
    display.ax_.imshow(np.random.default_rng(0).random((400, 800, 3)), interpolation="nearest", aspect="auto")
    display.figure_.set_size_inches(7, 5)
    assert len(display.png(150)) > MAX_BYTES >= 3 / 4 * len(section(tmp_path, "noise", "Noise", display).picture.data)
    display.ax_.clear()
    display.ax_.imshow(np.random.default_rng(0).random((100, 160)), interpolation="bicubic", aspect="auto")
    few = section(tmp_path, "smooth", "Smooth", display).picture
    with (
        Image.open(io.BytesIO(base64.b64decode(few.data))) as page,
        Image.open(tmp_path / "figures/smooth.png") as file,
    ):
        assert (page.mode, file.mode) == ("P", "RGBA") and page.size == file.size, "fewer colours before fewer pixels"


def test_the_command_tells_its_own_rows_from_new_ones(capsys, tmp_path, unrendered):
    np.save(tmp_path / "X.npy", WINE.data.to_numpy())
    np.save(tmp_path / "new.npy", WINE.data.to_numpy()[:50] + 0.1)
    quick = ("--set", "max_epochs=2", "--set", "neighbors=none")
    fitted = must(capsys, "fit", tmp_path / "X.npy", "-o", tmp_path / "run", *quick, "--json")
    assert "on 18 held-out rows" in fitted.json["facts"]["Reconstruction"]["note"]
    assert "18 held out" in rows_of((tmp_path / "run" / "report.html").read_text())["map"]
    must(capsys, "report", tmp_path / "run")
    assert "18 held out" in rows_of((tmp_path / "run" / "report.html").read_text())["map"]
    must(capsys, "report", tmp_path / "run", tmp_path / "new.npy")
    assert rows_of((tmp_path / "run" / "report.html").read_text())["map"] == "50 new rows."
    assert load(tmp_path / "run").n_iter_ == 2


def test_the_rows_of_one_label_keep_their_kinds(capsys, tmp_path, unrendered):
    np.savez(tmp_path / "X.npz", X=DIGITS.data[:300], y=DIGITS.target[:300])
    made = ("--labels", "y", "--set", "condition=labels", "--set", "max_epochs=1")
    must(capsys, "fit", f"{tmp_path / 'X.npz'}::X", "-o", tmp_path / "run", *made)
    for more in ((), ("--given", "3")):
        must(capsys, "report", tmp_path / "run", *more)
        told = rows_of((tmp_path / "run" / "report.html").read_text())["map"]
        n, trained, held = map(int, re.fullmatch(r"(\d+) rows of the fit, (\d+) .* (\d+) held out\.", told).groups())
        assert n == trained + held < 40


def test_the_examples_of_its_documentation_run(tmp_path, monkeypatch, unrendered):
    monkeypatch.chdir(tmp_path)
    found = {}
    text = (Path(__file__).parents[1] / "docs" / "report.md").read_text(encoding="utf-8")
    for code in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(compile(code.replace("VAE(2,", "VAE(2, max_epochs=1,"), "docs/report.md", "exec"), found)
    assert f"print(rows)     # {found['rows']}\n" in text
