"""A run is replaced as a whole, with its origin and its report; what is not a run is left alone."""

import itertools
import json
import os
import shutil
import threading
import time

import numpy as np
import pytest

import latentmap
import latentmap.report
from command import ask, must
from faults import contents
from latentmap.cli import main
from latentmap.cli.outputs import claimed_run
from latentmap.cli.runs import Origin, save_run
from latentmap.data import folders
from latentmap.data.locks import locked
from latentmap.estimators import persistence, run_files
from latentmap.exceptions import DataError, ModelError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
SMALL = ("--set", "max_epochs=2", "--set", "encoder=MLP(hidden=(4,))", "--set", "decoder=MLP(hidden=(4,))")
QUICK = (*SMALL, "--no-report")


def quick_report(estimator, X, y=None, folder=".", *given, **options):
    """Write something like a report, without drawing."""
    (folder / "figures").mkdir()
    (folder / "figures" / "map.png").write_text(f"map of {estimator.random_state}")
    (folder / "report.html").write_text(f"report of {estimator.random_state}")


@pytest.fixture(scope="module", autouse=True)
def _quick():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(latentmap.report, "write_report", quick_report)
        yield


@pytest.fixture(scope="module")
def base(tmp_path_factory, _quick):
    """Rows, and a run of theirs with a report."""
    folder = tmp_path_factory.mktemp("replaced")
    np.savetxt(folder / "rows.csv", np.random.default_rng(0).normal(size=(40, 3)), "%.3f", ",", header="a,b,c")
    np.save(folder / "rows.npy", np.random.default_rng(0).normal(size=(40, 3)))
    assert main(["fit", str(folder / "rows.npy"), "-o", str(folder / "run"), *SMALL]) == 0
    return folder


@pytest.fixture
def run(base, tmp_path):
    """A copy of the run."""
    shutil.copytree(base / "run", tmp_path / "run")
    return tmp_path / "run"


def fit(capsys, base, run, *options):
    return ask(capsys, "fit", base / "rows.npy", "-o", run, *options)


# ---- a fit over a run


@pytest.mark.parametrize(
    "error", [RuntimeError("no font"), MemoryError("figure"), DataError("no rows"), KeyboardInterrupt()]
)
def test_a_report_that_fails_keeps_the_new_model(capsys, monkeypatch, base, run, error):
    before = contents(run)

    def failing(estimator, X, y, folder, **options):
        (folder / "figures").mkdir()
        (folder / "figures" / "map.png").write_text("half")
        raise error

    monkeypatch.setattr(latentmap.report, "write_report", failing)
    answer = fit(capsys, base, run, *SMALL, "--seed", "1", "--overwrite")
    if isinstance(error, KeyboardInterrupt):
        assert answer.code == 130
    else:
        said = f"{type(error).__name__}: {error}); latentmap report {run} writes it"
        assert answer.code == 1 and said in answer.errors[0] and "Traceback" not in answer.err
    assert f"saved the run in {run}" in answer.err
    assert not {"report.html", "figures"} & set(os.listdir(run))
    assert latentmap.load(run).random_state == 1 and contents(run)["config.json"] != before["config.json"]
    assert os.listdir(run.parent) == ["run"]


def test_files_of_the_user_stay_in_a_run(capsys, base, run):
    (run / "notes.txt").write_text("mine")
    (run / ".01234567-config.json").write_text("half of version 0.1")
    assert fit(capsys, base, run, *QUICK, "--overwrite").code == 0
    expected = {"README.md", "config.json", "data.json", "history.jsonl", "model.safetensors", "neighbors.safetensors"}
    assert set(os.listdir(run)) == expected | {"notes.txt"}


@pytest.mark.parametrize("unfinished", [True, False])
def test_checkpoints_stay_until_the_fit_has_ended(base, run, unfinished):
    model = latentmap.load(run)
    for first in (False, True):  # over the run, and over the checkpoints of a first fit
        if first:
            shutil.rmtree(run)
            run.mkdir()
        (run / "checkpoint").mkdir(exist_ok=True)
        (run / "checkpoint" / "fit.json").write_text("{}")
        number = run.stat().st_ino
        save_run(model, Origin("rows.npy", None, None), run, unfinished=unfinished)
        assert (run / "checkpoint" / "fit.json").exists() == unfinished and run.stat().st_ino != number
        assert latentmap.load(run).n_features_in_ == 3 and not (run / "report.html").exists()


def test_two_fits_of_one_run_do_not_meet(capsys, base, run, tmp_path):
    before = contents(run)
    for folder in (run, tmp_path / "fresh"):
        with locked(folder):
            answer = fit(capsys, base, folder, *QUICK, "--overwrite")
        message = f"error: {folder} is being written by another process; wait for it or choose another folder"
        assert (answer.code, answer.err) == (1, message + "\n")
    assert contents(run) == before and os.listdir(tmp_path) == ["run"]
    with locked(run):
        assert "is being written" in ask(capsys, "report", run).errors[0]


def test_a_fit_claims_its_folder_while_it_trains_and_removes_it_if_it_fails(capsys, monkeypatch, base, tmp_path):
    seen = []

    def failing(self, X, y=None, **options):
        with pytest.raises(DataError, match="another process"):
            locked(tmp_path / "new" / "run").__enter__()
        seen.append((tmp_path / "new" / "run").is_dir())
        raise DataError("bad rows")

    monkeypatch.setattr(latentmap.VAE, "fit", failing)
    assert fit(capsys, base, tmp_path / "new" / "run", *QUICK).code == 1
    assert seen == [True] and not os.listdir(tmp_path)


def test_a_save_waits_for_another_process(monkeypatch, vae, run):
    monkeypatch.setattr(persistence, "WAIT", 0.2)
    with locked(run), pytest.raises(DataError, match="is being written by another process"):
        vae.save(run)
    monkeypatch.setattr(persistence, "WAIT", 30.0)
    inside = threading.Event()

    def hold():
        with locked(run):
            inside.set()
            time.sleep(0.2)

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    vae.save(run)
    thread.join()
    assert latentmap.load(run).n_features_in_ == 64


# ---- places that are special


def test_a_run_in_the_current_folder(capsys, monkeypatch, base, tmp_path):
    monkeypatch.chdir(tmp_path)
    assert fit(capsys, base, ".", *SMALL).code == 0
    assert latentmap.load(".").n_features_in_ == 3 and (tmp_path / "report.html").exists()
    before = contents(tmp_path)
    answer = fit(capsys, base, ".", *QUICK, "--overwrite")
    reason = "it is the current folder, or holds it; choose a folder inside it, or another"
    message = f"error: cannot replace the run in ., since {reason}"
    assert (answer.code, answer.err) == (1, message + "\n") and contents(tmp_path) == before
    must(capsys, "report", ".")
    with pytest.raises(DataError, match="cannot replace the run in"):
        latentmap.load(".").save(tmp_path)


def test_a_run_among_other_files_leaves_the_folder_in_its_place(vae, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.png").write_text("mine")
    (tmp_path / "data.json").write_text("[1, 2]")
    mine, number = contents(tmp_path), tmp_path.stat().st_ino
    vae.save(tmp_path)
    assert tmp_path.stat().st_ino == number
    for _ in range(2):  # the second time it replaces a run
        assert contents(tmp_path).items() >= mine.items() and len(os.listdir(tmp_path)) == 3 + 5
        vae.save(tmp_path)
    assert latentmap.load(tmp_path).n_features_in_ == 64


# ---- half-written folders


def parts_of(run):
    """Every set of parts that version 0.1, or a removal that was cut short, can leave without the configuration."""
    names = ["neighbors.safetensors", "README.md", "history.jsonl", "model.safetensors", "report.html", "figures"]
    yield from (names[:count] for count in range(1, len(names) + 1))
    yield from itertools.combinations(["model.safetensors", "figures", "data.json", "checkpoint"], 2)
    yield ["checkpoint"]


def test_half_a_run_never_blocks_its_repetition(run, tmp_path):
    (run / "checkpoint").mkdir()
    (run / "checkpoint" / "000000005-0123456789abcdef.safetensors").write_text("state")
    half = tmp_path / "half"
    saved = latentmap.load(run)
    for names in parts_of(run):
        if set(names) == {"figures", "data.json"}:
            continue  # which may be of anybody
        shutil.rmtree(half, ignore_errors=True)
        half.mkdir()
        for name in names:
            (shutil.copytree if (run / name).is_dir() else shutil.copy)(run / name, half / name)
        (half / ".01234567-config.json").write_text("half")
        with claimed_run(half, overwrite=False):
            save_run(saved, Origin("rows.npy", None, None), half)
        files = ["README.md", "config.json", "data.json", "history.jsonl", "model.safetensors", "neighbors.safetensors"]
        assert sorted(os.listdir(half)) == files, names
        assert latentmap.load(half).n_features_in_ == 3


STRANGERS = {
    "README.md": b"# My project\n",
    "model.safetensors": b"\x08\x00\x00\x00\x00\x00\x00\x00{}      ",
    "checkpoint/epoch=3.ckpt": b"weights",
    "figures/paper.png": b"figure",
    "data.json": b"{}",
    "config.json": b'{"model_type": "bert"}',
}


@pytest.mark.parametrize("name", STRANGERS)
def test_files_like_those_of_a_run_are_left_alone(capsys, base, vae, tmp_path, name):
    path = tmp_path / "run" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(STRANGERS[name])
    answer = fit(capsys, base, tmp_path / "run", *QUICK, "--overwrite")
    assert answer.code == 2 and "holds files and is not a run of latentmap, so it is left alone" in answer.err
    if "/" not in name and name != "data.json":
        with pytest.raises(DataError, match=f"{name} would be lost and are not a run"):
            vae.save(tmp_path / "run")
    assert contents(tmp_path / "run") == {name: STRANGERS[name]}


# ---- readers, reports and comparisons


def test_a_reader_sees_one_run_or_the_other(vae, autoencoder, tmp_path):
    run, stop = tmp_path / "run", threading.Event()
    vae.save(run)

    def replace():
        for model in itertools.cycle([autoencoder, vae]):
            if stop.is_set():
                break
            model.save(run)
            time.sleep(0.02)

    thread = threading.Thread(target=replace)
    thread.start()
    try:
        for _ in range(60):
            read = latentmap.load(run)
            assert read.history_ == (vae if isinstance(read, latentmap.VAE) else autoencoder).history_
    finally:
        stop.set()
        thread.join()


def test_a_run_that_changes_while_it_is_read_is_read_again(monkeypatch, vae, autoencoder, tmp_path):
    vae.save(tmp_path / "run")
    read, calls = run_files._read, []

    def slow(path, *most):
        if not calls:
            calls.append(path)
            autoencoder.save(tmp_path / "run")
        return read(path, *most)

    monkeypatch.setattr(run_files, "_read", slow)
    assert isinstance(latentmap.load(tmp_path / "run"), latentmap.Autoencoder)
    (tmp_path / "run" / "model.safetensors").write_bytes(b"other")
    with pytest.raises(ModelError, match="does not belong to its config"):
        latentmap.load(tmp_path / "run")


@pytest.mark.parametrize("exchanges", [True, False])
def test_a_report_replaces_the_one_before_as_a_whole(capsys, monkeypatch, base, run, exchanges):
    if not exchanges:
        monkeypatch.setattr(folders, "exchange", lambda one, other: False)
    (run / "figures" / "map_1_gone.png").write_text("of a colour")
    before = contents(run)

    def failing(estimator, X, y, folder, *given, **options):
        (folder / "report.html").write_text("half")
        raise DataError("no rows")

    monkeypatch.setattr(latentmap.report, "write_report", failing)
    assert ask(capsys, "report", run).code == 1 and contents(run) == before
    monkeypatch.setattr(latentmap.report, "write_report", quick_report)
    said = must(capsys, "report", run, "--json").json
    after = contents(run)
    assert said["report"] == str(run / "report.html") and str(run / "figures" / "map.png") in said["figures"]
    assert set(before) - set(after) == {"figures/map_1_gone.png"} and os.listdir(run.parent) == ["run"]
    assert all(after[name] == before[name] for name in ("config.json", "model.safetensors", "data.json"))


def test_a_report_of_no_run_makes_no_folder(capsys, tmp_path):
    assert ask(capsys, "report", tmp_path / "none").code == 1
    assert not os.listdir(tmp_path)


def test_a_run_that_was_moved_away_is_opened(capsys, base, run):
    os.rename(run, run.parent / ".run.old-01234567")
    assert must(capsys, "info", run, "--json").json
    os.rename(run, run.parent / ".run.old-01234567")
    assert latentmap.load(run).n_features_in_ == 3
    assert json.loads((run / "data.json").read_text())["data"] == str(base / "rows.npy")
