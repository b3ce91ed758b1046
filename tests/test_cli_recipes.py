"""Every recipe with two components through the command: a run has its report, and what a model cannot do it says."""

import inspect

import numpy as np
import pytest
from sklearn.datasets import load_digits

from command import ask
from latentmap import load, recipes

NETWORK = "MLP(hidden=(8,))"
TINY = {"k": 2, "groups": 2, "network": NETWORK, "centres": 3, "codes": 8, "inputs": 5, "components": 3, "steps": 1}
"""Settings of recipes, where they have them."""
POINTS = {"ae", "wae", "aae", "rae_l2", "rae_gp", "rae_sn", "vq", "rvq", "fsq"}
NO_SCORE = POINTS | {"msssim"}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Sixty digits with their labels, as a file."""
    digits, path = load_digits(), tmp_path_factory.mktemp("recipes") / "digits.npz"
    np.savez(path, X=digits.images[:60].astype(np.uint8), y=digits.target[:60] % 3)
    return path


def fit(capsys, data, run, name, *more):
    """Fit a recipe for an epoch, as small as it goes."""
    known = {"max_epochs": 1, "encoder": NETWORK}
    if name not in ("rae_l2", "rae_sn"):  # which have a decoder of their own
        known["decoder"] = NETWORK
    known |= {key: TINY[key] for key in inspect.signature(recipes.every()[name]).parameters if key in TINY}
    if name == "ladder":
        known["below"] = "(3,)"
    settings = [part for key, value in known.items() for part in ("--set", f"{key}={value}")]
    labels = ["--labels", "y"] if name == "conditional" else []
    return ask(capsys, "fit", data, "-o", run, "--recipe", name, *settings, *labels, *more)


@pytest.mark.parametrize("name", recipes.every())
def test_every_recipe_has_its_report_and_answers_or_says_in_one_line_what_it_cannot(
    name, capsys, tmp_path, data, unrendered
):
    run, codes, given = tmp_path / "run", tmp_path / "z.npy", ["--given", "1"] if name == "conditional" else []
    details = ["transform", run, "-o", tmp_path / "details.csv", "--details"]
    answers = {
        "fit": fit(capsys, data, run, name),
        "transform": ask(capsys, "transform", run, "-o", codes),
        "details": ask(capsys, *details),
        "score": ask(capsys, "score", run),
        "inverse": ask(capsys, "inverse", run, codes, "-o", tmp_path / "x.npy", *given),
        "sample": ask(capsys, "sample", run, "-n", "3", "-o", tmp_path / "s.npy", *given),
        "picture": ask(capsys, "sample", run, "-n", "3", "-o", tmp_path / "s.png", *given),
        "info": ask(capsys, "info", run),
    }
    refused = {what for what, answer in answers.items() if answer.code}
    assert refused == ({"score"} if name in NO_SCORE else {"details"} if name == "conditional" else set())
    for what, answer in answers.items():
        assert "Traceback" not in answer.err and "nan" not in answer.err, what
        assert len(answer.errors) == (what in refused), answer.err
    if name in NO_SCORE:
        assert "has no density to score rows with" in answers["score"].err
    page = (run / "report.html").read_text()
    assert {path.stem for path in (run / "figures").iterdir()} >= {"map", "decoded_grid", "samples", "interpolations"}
    assert ("An autoencoder encodes each row" in page) == (name in POINTS)
    assert np.load(codes).shape == (60, 2) and np.load(tmp_path / "x.npy").shape == (60, 8, 8)
    for written in (codes, tmp_path / "x.npy", tmp_path / "s.npy"):
        assert np.isfinite(np.load(written)).all()
    if name != "conditional":
        table = np.loadtxt(tmp_path / "details.csv", delimiter=",", skiprows=1)
        assert table.shape == (60, 8) and np.isfinite(table).all()
    assert load(run).has_rate_ == (name not in POINTS) and load(run).has_score_ == (name not in NO_SCORE)


@pytest.mark.parametrize("name", ["wae", "poincare"])
def test_reports_of_unlike_models_are_drawn_again_from_their_runs(name, capsys, tmp_path, data):
    run = tmp_path / "run"
    assert fit(capsys, data, run, name, "--no-report").code == 0 and not (run / "report.html").exists()
    answer = ask(capsys, "report", run)
    assert answer.code == 0 and "Traceback" not in answer.err
    assert (run / "figures" / "map.png").read_bytes().startswith(b"\x89PNG") and (run / "report.html").exists()
