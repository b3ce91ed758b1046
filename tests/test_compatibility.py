"""Runs and checkpoints of earlier versions: they load and answer as they did, or are refused in one line."""

import json
import shutil
import tomllib
from dataclasses import replace

import numpy as np
import pytest
import torch
from tools.compatibility import ROOT, lowest, requirements
from tools.saved_runs import CASES, CHECKPOINT, EMBEDDINGS, RUNS, answers, continued, read_rows

import latentmap
from latentmap import VAE, load
from latentmap.estimators.parameters import write_parameter
from latentmap.estimators.resuming import FREE
from latentmap.exceptions import ModelError
from latentmap.training.checkpoint import Checkpoints

WRITTEN = sorted(path.with_suffix("") for path in RUNS.glob("*.*.*/*.json"))
CHECKPOINTS = sorted(RUNS.glob(f"*.*.*/{CHECKPOINT}"))
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def opened(run):
    """Return a run with its rows, classes, and the answers that it gave."""
    found = json.loads(run.with_suffix(".json").read_text(encoding="utf-8"))
    y = None if found["y"] is None else np.array(found["y"])
    model = load(run, embeddings=EMBEDDINGS if run.name == "embedded" else None)
    return model, read_rows(found["rows"]), y, found


def assert_same(found, expected, tolerance=1e-4):
    """Compare answers: numbers to a tolerance of their own and of their size, everything else exactly."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value, tolerance)
    elif np.asarray(expected).dtype.kind in "fi":
        np.testing.assert_allclose(np.array(found, float), np.array(expected, float), rtol=tolerance, atol=tolerance)
    else:
        assert found == expected


def test_there_is_a_run_of_every_kind():
    """The control: a version that forgot to write its runs, or left some out."""
    assert {run.name for run in WRITTEN if run.parent.name == latentmap.__version__} == CASES.keys()
    assert CHECKPOINTS


@pytest.mark.parametrize("run", WRITTEN, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_runs_of_all_versions_answer_as_they_did(run):
    model, X, y, expected = opened(run)
    assert_same(answers(model, X, y), expected["answers"])
    with pytest.raises(AssertionError):  # the control
        assert_same(answers(model, X, y), expected["continued"])


def current(checkpoint, model):
    """Let a checkpoint be of this version."""
    parameters = {name: write_parameter(v) for name, v in model.get_params(deep=False).items() if name not in FREE}
    versions = {"latentmap": latentmap.__version__, "torch": torch.__version__, "numpy": np.__version__}
    checkpoint.facts.update(versions=versions, parameters=parameters)


@pytest.mark.parametrize("run", WRITTEN, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_runs_of_all_versions_go_on(run):
    model, X, y, expected = opened(run)
    if run.name == "interrupted":
        current(model.state_.trainer, model)
    elif "annealed_" not in json.loads((run / "config.json").read_text())["fitted"]:
        model.state_ = replace(
            model.state_, annealed=False
        )  # pieces learned at the full rate then, whatever came before
    assert_same(answers(continued(run.name, model, X, y), X, y), expected["continued"], 1e-2)


@pytest.mark.parametrize("folder", CHECKPOINTS, ids=lambda folder: folder.parent.name)
def test_checkpoints_of_other_versions_are_read_and_refused(folder, tmp_path, monkeypatch):
    shutil.copytree(folder, tmp_path / "c")
    saved = Checkpoints(tmp_path / "c").read()
    assert saved.state and saved.facts["versions"]["latentmap"] == folder.parent.name
    monkeypatch.setattr(latentmap, "__version__", "99.0")
    model, X, _, _ = opened(folder.with_name("interrupted"))
    rest = VAE(**model.get_params())
    with pytest.raises(ModelError, match=r"latentmap was '\d+\.\d+\.\d+', is '99.0'.* fit anew") as found:
        rest.fit(X, checkpoint=tmp_path / "c", resume=True)
    with pytest.raises(ModelError, match=r"latentmap was '\d+\.\d+\.\d+', is '99.0'"):
        model.fit(X, resume=True)
    assert "\n" not in str(found.value)


def test_the_oldest_versions_are_those_of_the_project():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    oldest = dict(one.split("==") for one in lowest(requirements()))
    assert f"numpy>={oldest['numpy']}" in project["dependencies"] and f"pandas>={oldest['pandas']}" in str(project)
    assert lowest(["a>=1.2,<3", "b[c]>=2; python_version>'3'", "d"]) == ["a==1.2", "b==2"]
