"""Fits of the command that are stopped by signals or killed, and resumed, as real processes."""

import fcntl
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import termios
import time

import numpy as np
import pytest

import latentmap
from command import ask, must
from latentmap.cli import main

START = [sys.executable, "-W", "ignore", "-m", "latentmap"]
SETTINGS = ["--n-components", "3", "--set", "compile=false", "--set", "batch_size=64", "--no-report"]
LONG = [*SETTINGS, "--epochs", "100000", "--set", "early_stopping=false"]


def started(*arguments, **options):
    return subprocess.Popen([*START, *map(str, arguments)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)


def checkpoints(run):
    return sorted(path.name for path in (run / "checkpoint").glob("[0-9]*.safetensors"))


def until(condition, process, seconds=120):
    end = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end, "nothing came"
        time.sleep(0.02)


def refused(capsys, code, *arguments):
    """Call the command, which must fail with this code and one line."""
    answer = ask(capsys, *arguments)
    assert answer.code == code and "Traceback" not in answer.err, answer.err
    (line,) = [line for line in answer.err.splitlines() if line.startswith("error: ")]
    return line


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("rows") / "X.npy"
    np.save(path, np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32))
    return path


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_a_signal_ends_a_fit_with_a_checkpoint(name, rows, tmp_path, capsys):
    run, number = tmp_path / "run", getattr(signal, name)
    process = started("fit", rows, "-o", run, *LONG, "--json")
    until(lambda: checkpoints(run), process)
    process.send_signal(number)
    out, err = process.communicate(timeout=120)
    assert process.returncode == 128 + number, err
    last = err.decode().splitlines()[-1]
    assert last == f"stopped by {name}; the best weights so far are saved; continue with: latentmap resume {run}"
    assert json.loads(out) == {"run": str(run), "stopped": name, "resumable": True}
    model = latentmap.load(run)
    assert model.interrupted_ and np.isfinite(model.transform(np.load(rows))).all()
    assert "holds a fit that has not ended" in refused(capsys, 2, "fit", rows, "-o", run, *LONG)
    must(capsys, "resume", run, "--finish")
    assert latentmap.load(run).interrupted_ and not (run / "checkpoint").exists()
    said = refused(capsys, 1, "resume", run)
    assert "has ended, so there is nothing to resume" in said


def test_a_second_signal_ends_the_process_at_once(rows, tmp_path):
    run = tmp_path / "run"
    code = """
import glob, sys, time
from latentmap.training.step import GradientStep
take = GradientStep.__call__
def slow(self, *given):
    take(self, *given)
    if glob.glob(sys.argv[4] + "/checkpoint/*.safetensors"):
        print("slow", file=sys.stderr, flush=True)
        time.sleep(600)
GradientStep.__call__ = slow
from latentmap.cli import main
sys.exit(main(sys.argv[1:]))
"""
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", code, "fit", str(rows), "-o", str(run), *LONG], stderr=subprocess.PIPE
    )
    while process.stderr.readline() != b"slow\n":
        pass
    process.send_signal(signal.SIGINT)
    assert b"again to stop at once" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert process.wait(timeout=20) == -signal.SIGINT
    process.stderr.close()
    assert checkpoints(run)


def test_a_terminal_that_is_closed_ends_a_fit(rows, tmp_path):
    run = tmp_path / "run"
    screen, side = pty.openpty()

    def own():
        os.setsid()
        fcntl.ioctl(side, termios.TIOCSCTTY, 0)

    environment = os.environ | {"TERM": "xterm"}
    process = subprocess.Popen(
        [*START, "fit", str(rows), "-o", str(run), *LONG], stdin=side, stdout=side, stderr=side, preexec_fn=own,
        env=environment,
    )  # fmt: skip
    os.close(side)
    until(lambda: checkpoints(run), process)
    os.close(screen)
    assert process.wait(timeout=120) == 128 + signal.SIGHUP
    assert latentmap.load(run).interrupted_ and checkpoints(run)


def test_a_finished_run_stays_until_the_fit_in_its_place_has_ended(rows, tmp_path, capsys):
    run = tmp_path / "run"
    must(capsys, "fit", rows, "-o", run, *SETTINGS, "--epochs", "2")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    process = started("fit", rows, "-o", run, *LONG, "--overwrite")
    until(lambda: checkpoints(run), process)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 143 and f"the run that {run} held before is kept; continue with" in err
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    must(capsys, "resume", run, "--finish")
    assert latentmap.load(run).interrupted_ and not (run / "checkpoint").exists()


def test_a_killed_fit_is_resumed_bit_for_bit(rows, tmp_path, capsys):
    settings = [*SETTINGS, "--epochs", "300", "--checkpoint-every", "0.05", "--set", "early_stopping=false"]
    must(capsys, "fit", rows, "-o", tmp_path / "whole", *settings)
    run = tmp_path / "run"
    process = started("fit", rows, "-o", run, *settings)
    until(lambda: checkpoints(run), process)
    process.kill()
    process.communicate()
    assert "has not ended: continue it with latentmap resume" in refused(capsys, 1, "score", run)
    must(capsys, "resume", run)
    whole, resumed = latentmap.load(tmp_path / "whole"), latentmap.load(run)
    for one, other in zip(whole.model_.state_dict().values(), resumed.model_.state_dict().values(), strict=True):
        assert np.array_equal(one.numpy(), other.numpy())
    assert not (run / "checkpoint").exists() and whole.n_iter_ == resumed.n_iter_


@pytest.fixture
def stopped(rows, tmp_path, monkeypatch, capsys):
    """A folder with a fit that was killed after its first checkpoint, and its data."""
    data = tmp_path / "X.npy"
    shutil.copy(rows, data)
    run = tmp_path / "run"
    process = started("fit", data, "-o", run, *LONG)
    until(lambda: checkpoints(run), process)
    process.kill()
    process.communicate()
    return run, data


def test_what_has_changed_is_named(stopped, capsys, monkeypatch):
    run, data = stopped
    before = checkpoints(run)
    values = np.load(data)
    np.save(data, values + 1e-3)
    assert "the data have changed" in refused(capsys, 1, "resume", run)
    data.unlink()
    assert "X.npy" in refused(capsys, 1, "resume", run)
    np.save(data, values)
    request = run / "checkpoint" / "fit.json"
    value = json.loads(request.read_text())
    request.write_text(json.dumps(value | {"settings": ["batch_size=32"]}))
    assert "batch_size was 64, is 32" in refused(capsys, 1, "resume", run)
    request.write_text("{")
    assert "fit.json cannot be read" in refused(capsys, 1, "resume", run)
    request.write_text(json.dumps(value | {"data": 3}))
    assert "fit.json cannot be read" in refused(capsys, 1, "resume", run)
    request.write_text(json.dumps(value))
    assert checkpoints(run) == before
    for path in (run / "checkpoint").glob("*.safetensors"):
        path.write_bytes(path.read_bytes()[:100])
    assert "is damaged" in refused(capsys, 1, "resume", run)
    must(capsys, "fit", data, "-o", run, *SETTINGS, "--epochs", "1", "--overwrite")
    assert not (run / "checkpoint").exists()


def test_a_fit_without_a_checkpoint_begins_anew(stopped, capsys):
    run, _ = stopped
    for path in (run / "checkpoint").glob("*.safetensors"):
        path.unlink()
    assert "there are no weights to end with" in refused(capsys, 1, "resume", run, "--finish")
    request = run / "checkpoint" / "fit.json"
    request.write_text(json.dumps(json.loads(request.read_text()) | {"max_epochs": 2}))
    assert "no checkpoint was written" in must(capsys, "resume", run).err
    assert latentmap.load(run).n_iter_ == 2


def test_folders_that_hold_nothing_to_resume(tmp_path, capsys):
    (tmp_path / "other").mkdir()
    assert "is not a run of latentmap" in refused(capsys, 1, "resume", tmp_path / "other")
    assert "does not exist" in refused(capsys, 1, "resume", tmp_path / "none")

    def interrupt(row, progress):
        raise KeyboardInterrupt

    with pytest.warns(latentmap.exceptions.DiagnosisWarning):
        vae = latentmap.VAE(2, max_epochs=50, callbacks=[interrupt], neighbors=None)
        vae.fit(np.random.default_rng(0).normal(size=(100, 3)))
    vae.save(tmp_path / "saved")
    assert "saved in Python" in refused(capsys, 1, "resume", tmp_path / "saved")


def test_a_fit_that_fails_leaves_nothing(rows, tmp_path, capsys):
    refused(capsys, 1, "fit", rows, "-o", tmp_path / "run", "--set", "supervised=0.5", "--labels", "y")
    refused(capsys, 2, "fit", rows, "-o", tmp_path / "run", "--set", "likelihood=Bernoulli")
    assert not (tmp_path / "run").exists()


def test_handlers_of_signals_are_as_before(rows, tmp_path):
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    assert main(["fit", str(rows), "-o", str(tmp_path / "run"), *SETTINGS, "--epochs", "1"]) == 0
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)] == before


def test_functions_that_a_run_names_are_not_imported(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.py").write_text(
        "def embed(texts):\n    return [[len(text), text.count('a')] for text in texts]\n"
    )
    words = ["a long word", "an apple", "a b c", "banana bread", "no", "yes please"]
    lines = [f"{i % 7}.5,{words[i % 6]} {i % 11}" for i in range(120)]
    (tmp_path / "t.csv").write_text("\n".join(["x,text", *lines]))
    embed = ["--embed", "text=mine:embed"]
    process = started("fit", "t.csv", "-o", "run", *LONG, *embed)
    until(lambda: checkpoints(tmp_path / "run"), process)
    process.kill()
    process.communicate()
    assert "a run imports nothing: give --embed text=mine:embed again" in refused(capsys, 2, "resume", "run")
    must(capsys, "resume", "run", "--finish", *embed)


def test_a_finished_run_is_kept_over_several_fits_that_do_not_end(rows, tmp_path, capsys):
    run = tmp_path / "run"
    must(capsys, "fit", rows, "-o", run, *SETTINGS, "--epochs", "2")
    before = (run / "model.safetensors").read_bytes()
    for number in (signal.SIGKILL, signal.SIGTERM):
        process = started("fit", rows, "-o", run, *LONG, "--overwrite")
        until(lambda: checkpoints(run), process)
        process.send_signal(number)
        process.communicate(timeout=120)
        assert (run / "model.safetensors").read_bytes() == before


def test_a_run_whose_folder_cannot_be_replaced_ends_there(rows, tmp_path, capsys, monkeypatch):
    """The current folder, as that of a container volume, cannot be exchanged with another."""
    (tmp_path / "run").mkdir()
    process = started("fit", rows, "-o", ".", *LONG, cwd=tmp_path / "run")
    until(lambda: checkpoints(tmp_path / "run"), process)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=120)[1].decode()
    assert process.returncode == 143 and err.splitlines()[-1] == (
        "stopped by SIGTERM; continue with: latentmap resume ."
    )
    monkeypatch.chdir(tmp_path / "run")
    must(capsys, "resume", ".", "--finish")
    assert latentmap.load(".").interrupted_


HOSTILE = {
    "recipe": 5, "columns": ["a"], "model": "zzz", "skip_bad": "x", "every": "x", "seed": True, "data": "",
    "settings": "abc", "replaces": 3, "another": 1,
}  # fmt: skip


def test_options_of_strangers_are_refused(rows, tmp_path, capsys):
    run = tmp_path / "run"
    process = started("fit", rows, "-o", run, *LONG)
    until(lambda: checkpoints(run), process)
    process.kill()
    process.communicate()
    path = run / "checkpoint" / "fit.json"
    value = json.loads(path.read_text())
    for name, wrong in HOSTILE.items():
        path.write_text(json.dumps(value | {name: wrong}))
        assert "cannot be read" in refused(capsys, 1, "resume", run), name
    path.unlink()
    os.mkfifo(path)
    assert "error" in refused(capsys, 1, "resume", run)


def test_commands_to_continue_are_quoted(rows, tmp_path, capsys):
    process = started("fit", rows, "-o", "my run", *LONG, cwd=tmp_path)
    until(lambda: checkpoints(tmp_path / "my run"), process)
    process.send_signal(signal.SIGTERM)
    err = process.communicate(timeout=120)[1].decode()
    assert err.splitlines()[-1].endswith("continue with: latentmap resume 'my run'")
    run = tmp_path / "my run"
    assert f"continue it with latentmap resume '{run}'" in refused(capsys, 2, "fit", rows, "-o", run, *LONG)
    (run / "config.json").unlink()
    assert f"continue it with latentmap resume '{run}'" in refused(capsys, 1, "score", run)
