"""Callbacks that write the history of a fit: what lies in the files, what copies keep, and what a failed fit leaves."""

import copy
import csv
import os
import pickle
import sys

import numpy as np
import pytest
from sklearn.base import clone

from latentmap import VAE, callbacks, load, networks
from latentmap.exceptions import DataError, MissingExtraError, PartError

X = np.random.default_rng(0).normal(size=(100, 6))
pytestmark = [
    pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning"),
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),  # of trackers
    pytest.mark.filterwarnings("ignore::FutureWarning"),
]


def model(*given, **settings):
    mlp = networks.MLP((8,))
    return VAE(
        2,
        encoder=mlp,
        decoder=mlp,
        neighbors=None,
        **{"max_epochs": 40, "random_state": 0, "callbacks": given} | settings,
    )


def read(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def fail(row):
    raise RuntimeError("a callback failed")


class Note:
    """A context manager that notes what a fit does with it."""

    def __init__(self):
        self.events = []

    def __enter__(self):
        self.events.append("enter")
        return self

    def __call__(self, row, progress):
        self.events.append(progress.step)

    def __exit__(self, kind, error, traceback):
        self.events.append(kind)


def test_a_context_manager_is_open_during_the_fit_and_sees_its_error():
    note = Note()
    model(note).fit(X)
    assert note.events == ["enter", 20, 40, 60, 80, None]
    note = Note()
    with pytest.raises(RuntimeError, match="a callback failed"):
        model(note, fail).fit(X)
    assert note.events == ["enter", 20, RuntimeError]


def test_a_csv_file_holds_the_history_and_the_learning_rate(tmp_path):
    path = tmp_path / "new" / "history.csv"
    vae = model(callbacks.CSVLogger(path)).fit(X)
    rows = read(path)
    assert [{n: float(v) for n, v in row.items() if n != "learning_rate"} for row in rows] == vae.history_
    assert float(rows[-1]["learning_rate"]) < float(rows[0]["learning_rate"])
    assert [p.name for p in path.parent.iterdir()] == ["history.csv"]
    model(callbacks.CSVLogger(path), max_epochs=20, early_stopping=False).fit(X)
    assert {row["val_loss"] for row in read(path)} == {""}  # a file of its own, with empty cells


def test_a_csv_file_is_whole_at_any_time(tmp_path):
    seen = []
    log = callbacks.CSVLogger(tmp_path / "history.csv")
    model(log, lambda row: seen.append(read(log.path))).fit(X)
    assert [len(rows) for rows in seen] == [1, 2, 3, 4]
    with pytest.raises(RuntimeError, match="a callback failed"):
        model(log, fail).fit(X)
    assert len(read(log.path)) == 1


def test_a_csv_file_is_continued_where_columns_change(tmp_path):
    log = callbacks.CSVLogger(tmp_path / "history.csv", append=True)
    vae = model(log, warm_start=True).fit(X)
    vae.set_params(early_stopping=False, neighbors=5).fit(X)  # a map has the further part "neighbors"
    rows = read(log.path)
    assert len(rows) == 4 + len(vae.history_) and [row["neighbors"] for row in rows[:4]] == [""] * 4
    assert rows[0]["val_loss"] and not rows[-1]["val_loss"] and rows[-1]["neighbors"]
    before = len(rows)
    for _ in range(2):
        vae.partial_fit(X)
    assert len(read(log.path)) == before + 2


def test_a_csv_file_of_something_else_or_out_of_reach_is_refused_before_the_fit(tmp_path):
    other = tmp_path / "other.csv"
    other.write_text("a,b\n1,2\n")
    with pytest.raises(DataError, match="it is no history of a fit"):
        model(callbacks.CSVLogger(other, append=True)).fit(X)
    assert other.read_text() == "a,b\n1,2\n"
    other.write_bytes(b"\xff\xfe\x00step")
    with pytest.raises(DataError, match=r"cannot continue .*other\.csv"):
        model(callbacks.CSVLogger(other, append=True)).fit(X)
    seen = []
    with pytest.raises(DataError, match="cannot write"):
        model(callbacks.CSVLogger(other / "history.csv"), seen.append).fit(X)
    assert not seen


def test_copies_of_a_logger_log_and_saving_leaves_it_out(tmp_path):
    vae = model(callbacks.CSVLogger(tmp_path / "history.csv")).fit(X)
    for other in (clone(vae), copy.deepcopy(vae), pickle.loads(pickle.dumps(vae))):
        os.remove(tmp_path / "history.csv")
        other.fit(X)
        assert len(read(tmp_path / "history.csv")) == 4
    vae.save(tmp_path / "run")
    assert load(tmp_path / "run").callbacks is None
    assert repr(vae.callbacks[0]) == f"CSVLogger(path={tmp_path / 'history.csv'!r}, append=False)"


def test_a_logger_alone_is_refused_with_its_name(tmp_path):
    with pytest.raises(PartError, match="callbacks must be None or a list of functions, got CSVLogger"):
        VAE(2, callbacks=callbacks.CSVLogger(tmp_path / "history.csv")).fit(X)


@pytest.mark.parametrize(
    ("cls", "package"),
    [
        (callbacks.TensorBoardLogger, "tensorboard"),
        (callbacks.WandbLogger, "wandb"),
        (callbacks.MLflowLogger, "mlflow"),
    ],
)
@pytest.mark.parametrize("folder", [False, True], ids=["missing", "folder of runs"])
def test_a_package_that_is_missing_is_named_when_the_logger_is_made(cls, package, folder, tmp_path, monkeypatch):
    """A folder ``wandb`` of offline runs in the working directory is not the package."""
    for name in [name for name in sys.modules if name.partition(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    if folder:
        (tmp_path / package).mkdir()
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    with pytest.raises(MissingExtraError, match=rf'pip install "latentmap\[{package}\]"'):
        cls()


def test_tensorboard_shows_the_history(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    vae = clone(model(callbacks.TensorBoardLogger(tmp_path))).fit(X)
    events = accumulator.EventAccumulator(str(tmp_path)).Reload()
    assert set(events.Tags()["scalars"]) == {*vae.history_[0], "learning_rate"}
    found = [(event.step, event.value) for event in events.Scalars("val_loss")]
    np.testing.assert_allclose(found, [(row["step"], row["val_loss"]) for row in vae.history_], rtol=1e-6)
    pickle.dumps(vae)


@pytest.fixture
def mlflow(tmp_path, monkeypatch):
    monkeypatch.setenv("MLFLOW_DISABLE_TELEMETRY", "true")
    package = pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    package.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    yield package
    package.set_tracking_uri(None)


def test_mlflow_has_a_run_for_each_fit(mlflow):
    log = callbacks.MLflowLogger("digits", run_name="first", params={"n_components": 2})
    vae, client = clone(model(log)).fit(X), mlflow.MlflowClient()
    (run,) = client.search_runs([client.get_experiment_by_name("digits").experiment_id])
    assert run.info.status == "FINISHED" and run.data.params == {"n_components": "2"}
    found = [(m.step, m.value) for m in client.get_metric_history(run.info.run_id, "val_loss")]
    assert found == [(row["step"], row["val_loss"]) for row in vae.history_]
    with pytest.raises(RuntimeError):
        model(log, fail).fit(X)
    runs = client.search_runs([run.info.experiment_id])
    assert sorted(r.info.status for r in runs) == ["FAILED", "FINISHED"] and mlflow.active_run() is None
    with mlflow.start_run() as active:
        vae = model(callbacks.MLflowLogger()).fit(X)
        assert mlflow.active_run() is not None
    assert client.get_run(active.info.run_id).data.metrics["loss"] == vae.history_[-1]["loss"]


def test_wandb_has_a_run_for_each_fit(tmp_path, monkeypatch):
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    monkeypatch.setenv("WANDB_DIR", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    wandb = pytest.importorskip("wandb")
    vae = clone(model(callbacks.WandbLogger("digits", config={"n_components": 2}))).fit(X)
    assert wandb.run is None and len(list((tmp_path / "wandb").glob("offline-run-*"))) == 1
    pickle.dumps(vae)
    with wandb.init(project="digits") as run:
        model(callbacks.WandbLogger()).fit(X)
        assert wandb.run is run and run.summary["loss"] == vae.history_[-1]["loss"]
