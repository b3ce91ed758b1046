"""Disks that fail while a fit runs: folders that go away, fill up or can only be read. No work is lost."""

import gc
import hashlib
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import latentmap
from command import ask, must
from failing import FAILURES, Failing
from faults import contents, hidden
from latentmap.cli import main
from latentmap.cli.request import Request
from latentmap.training.checkpoint import Checkpoint, Checkpoints

SMALL = (
    "encoder=MLP(hidden=(4,))",
    "decoder=MLP(hidden=(4,))",
    "compile=false",
    "batch_size=20",
    "early_stopping=false",
)
FIT = ("--n-components", "3", "--epochs", "10", *(text for one in SMALL for text in ("--set", one)), "--no-report")
OFTEN = ("--checkpoint-every", "0.000001")


class Killed(BaseException):
    """What stands for the end of the process."""


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    path = tmp_path_factory.mktemp("disks") / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(40, 3)))
    return path


@pytest.fixture(scope="module")
def whole(rows):
    """The weights of a fit that nothing disturbed."""
    assert main(["fit", str(rows), "-o", str(rows.parent / "whole"), *FIT]) == 0
    return weights(rows.parent / "whole")


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """The folder of temporary files."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def weights(run):
    return {name: value.numpy().tobytes() for name, value in latentmap.load(run).model_.state_dict().items()}


def at_steps(monkeypatch, acts):
    """Let something happen after steps of a fit, before their checkpoints."""
    write = Checkpoints.after_step

    def after_step(self, trainer):
        acts.pop(trainer.step, int)()
        write(self, trainer)

    monkeypatch.setattr(Checkpoints, "after_step", after_step)


def end():
    raise Killed


# ---- folders that change


def test_checkpoints_that_are_removed_while_a_fit_runs_are_written_again(rows, whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    at_steps(monkeypatch, {4: lambda: shutil.rmtree(run / "checkpoint"), 9: end})
    with pytest.raises(Killed):
        main(["fit", str(rows), "-o", str(run), *FIT, *OFTEN])
    must(capsys, "resume", run)
    assert weights(run) == whole and not (run / "checkpoint").exists()


def test_a_run_that_is_renamed_while_its_fit_runs_is_written_anew(rows, whole, tmp_path, monkeypatch, capsys):
    run, moved = tmp_path / "run", tmp_path / "moved"
    at_steps(monkeypatch, {4: lambda: run.rename(moved)})
    must(capsys, "fit", rows, "-o", run, *FIT, *OFTEN)
    must(capsys, "resume", moved)
    assert weights(run) == weights(moved) == whole and not hidden(tmp_path)


def test_a_file_in_the_place_of_the_run_is_left_alone(rows, whole, tmp_path, elsewhere, monkeypatch, capsys):
    run, moved = tmp_path / "run", tmp_path / "moved"

    def replace():
        run.rename(moved)
        run.write_text("mine")

    at_steps(monkeypatch, {4: replace})
    answer = ask(capsys, "fit", rows, "-o", run, *FIT, *OFTEN)
    (line,) = answer.errors
    (saved,) = elsewhere.iterdir()
    assert answer.code == 1 and line == f"error: cannot write {run}: Not a directory; it was written to {saved} instead"
    assert run.read_text() == "mine" and weights(saved) == whole
    must(capsys, "resume", moved)
    assert weights(moved) == whole


@pytest.mark.parametrize("linked", [False, True], ids=["renamed", "linked anew"])
def test_a_run_that_takes_the_name_of_another_is_left_alone(
    rows, whole, tmp_path, elsewhere, monkeypatch, capsys, linked
):
    run, first, other = tmp_path / "run", tmp_path / "first", tmp_path / "other"
    must(capsys, "fit", rows, "-o", other, *FIT, "--seed", "1")
    before = contents(other)
    if linked:
        first.mkdir()
        run.symlink_to(first)

    def exchange():
        if linked:
            run.unlink()
            run.symlink_to(other)
        else:
            run.rename(first)
            other.rename(run)

    at_steps(monkeypatch, {4: exchange})
    answer = ask(capsys, "fit", rows, "-o", run, *FIT, *OFTEN)
    (line,), (saved,) = answer.errors, elsewhere.iterdir()
    message = f"{run} is another folder than when the fit began, and holds files of others"
    assert answer.code == 1 and line == f"error: {message}; it was written to {saved} instead"
    assert answer.err.count(f"no checkpoint was written: {message}") == 1
    assert contents(run) == before and weights(saved) == whole
    must(capsys, "resume", first)
    assert weights(first) == whole


def test_a_folder_that_comes_back_is_the_same_one(rows, whole, tmp_path, monkeypatch, capsys):
    """A network folder that is mounted again has another number."""
    run = tmp_path / "run"
    must(capsys, "fit", rows, "-o", run, *FIT, "--seed", "1")

    def again():
        shutil.copytree(run, tmp_path / "copy")
        shutil.rmtree(run)
        (tmp_path / "copy").rename(run)

    at_steps(monkeypatch, {4: again})
    answer = must(capsys, "fit", rows, "-o", run, *FIT, *OFTEN, "--overwrite")
    assert "no checkpoint" not in answer.err and weights(run) == whole


def test_a_fit_that_another_process_has_just_ended_is_not_begun_anew(rows, whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    at_steps(monkeypatch, {9: end})
    with pytest.raises(Killed):
        main(["fit", str(rows), "-o", str(run), *FIT, *OFTEN])
    module, read, ended = sys.modules["latentmap.cli.resume"], Request.read.__func__, []

    def slow(cls, path):
        request = read(cls, path)
        if not ended:
            ended.append(True)
            must(capsys, "resume", run)
        return request

    monkeypatch.setattr(module.Request, "read", classmethod(slow))
    answer = ask(capsys, "resume", run)
    assert answer.code == 1 and "has ended, so there is nothing to resume" in answer.errors[0]
    assert weights(run) == whole


def test_the_current_folder_changes_and_is_removed_while_a_fit_runs(rows, whole, tmp_path, monkeypatch, capsys):
    run, gone = tmp_path / "run", tmp_path / "gone"
    monkeypatch.chdir(tmp_path)

    def leave():
        gone.mkdir()
        os.chdir(gone)
        gone.rmdir()

    first, second = ["fit", str(rows), "-o", "run", *FIT, *OFTEN], ["resume", str(run)]
    for command, acts, expected in ((first, {4: leave, 9: end}, "killed"), (second, {12: leave}, 0)):
        at_steps(monkeypatch, acts)
        try:
            code = main(command)
        except Killed:
            code = "killed"
        finally:
            os.chdir(tmp_path)
        said = capsys.readouterr().err
        assert code == expected and "no checkpoint" not in said, said
    assert weights(run) == whole and os.listdir(tmp_path) == ["run"]


def test_a_current_folder_that_was_removed_is_said_in_one_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "gone").mkdir()
    monkeypatch.chdir(tmp_path / "gone")
    (tmp_path / "gone").rmdir()
    answer = ask(capsys, "info", "digits")
    os.chdir(tmp_path)
    message = "error: the current folder cannot be used (No such file or directory); change to another one\n"
    assert (answer.code, answer.err) == (1, message)


# ---- disks that fail


@pytest.mark.parametrize("name", ["full disk", "quota", "read-only", "lost folder"])
def test_a_fit_outlives_its_disk(rows, whole, tmp_path, elsewhere, monkeypatch, capsys, name):
    disk = tmp_path / "disk"
    run, failing = disk / "run", Failing(disk, FAILURES[name], 1)
    at_steps(monkeypatch, {4: failing.__enter__})
    try:
        answer = ask(capsys, "fit", rows, "-o", run, *FIT, *OFTEN)
    finally:
        failing.__exit__()
    assert answer.code == 1 and "Traceback" not in answer.err
    (line,) = answer.errors
    (saved,) = elsewhere.iterdir()
    assert str(run) in line and f"{FAILURES[name].reason}; it was written to {saved} instead" in line
    assert answer.err.count("no checkpoint was written: cannot write") == 1, answer.err
    assert weights(saved) == whole and saved.stat().st_mode & 0o077 == 0
    if name != "lost folder":  # in which nothing can be looked up
        assert f"note: the fit is kept up to step 3: latentmap resume {run} continues it" in answer.err
    must(capsys, "resume", run)
    assert weights(run) == whole and not hidden(disk)


def test_checkpoints_are_written_again_when_the_disk_is_back(rows, whole, tmp_path, monkeypatch, capsys):
    run, failing = tmp_path / "run", Failing(tmp_path / "run", FAILURES["quota"], 1)
    at_steps(monkeypatch, {4: failing.__enter__, 9: failing.__exit__, 12: end})
    with pytest.raises(Killed):
        main(["fit", str(rows), "-o", str(run), *FIT, *OFTEN])
    said = capsys.readouterr().err
    assert said.count("no checkpoint was written") == said.count("checkpoints are written again") == 1
    assert Checkpoints(run / "checkpoint").last_step() == 11
    must(capsys, "resume", run)
    assert weights(run) == whole


def test_nothing_is_written_elsewhere_where_nothing_can_be(rows, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    failing = Failing(tmp_path, FAILURES["full disk"], 1)
    at_steps(monkeypatch, {4: failing.__enter__})
    try:
        answer = ask(capsys, "fit", rows, "-o", "run", *FIT)
    finally:
        failing.__exit__()
    assert answer.code == 1 and len(answer.errors) == 1 and "instead" not in answer.err
    assert os.listdir(tmp_path) == []


# ---- a fit in the place of one that has not ended


def test_a_fit_that_fails_at_once_leaves_the_one_that_has_not_ended(rows, whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    at_steps(monkeypatch, {9: end})
    with pytest.raises(Killed):
        main(["fit", str(rows), "-o", str(run), *FIT, *OFTEN])
    answer = ask(capsys, "fit", rows, "-o", run, *FIT, "--set", "likelihood=Bernoulli", "--overwrite")
    assert answer.code == 2 and "the fit is kept up to step 8" in answer.err
    must(capsys, "resume", run)
    assert weights(run) == whole


def test_a_fit_in_its_place_is_the_one_that_is_resumed(rows, whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    for options in ("--seed", "1"), ():
        at_steps(monkeypatch, {9: end})
        with pytest.raises(Killed):
            main(["fit", str(rows), "-o", str(run), *FIT, *OFTEN, *options, "--overwrite"])
    must(capsys, "resume", run)
    assert weights(run) == whole


# ---- real file systems, in memory


@pytest.fixture
def mount(tmp_path):
    """A function that mounts two megabytes of memory, and unmounts them at the end."""
    places = []

    def mounted(name):
        place = tmp_path / name
        place.mkdir()
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m", "none", place], capture_output=True, text=True)
        if done.returncode:
            pytest.skip(f"file systems cannot be mounted here: {done.stderr.strip()}")
        places.append(place)
        return place

    if sys.platform != "linux" or os.geteuid():
        pytest.skip("only root on Linux can mount file systems")
    yield mounted
    for place in places:
        subprocess.run(["umount", "-l", place], capture_output=True)


def fill(disk):
    with (disk / "filling").open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def test_a_disk_that_fills_up_keeps_the_run_that_was_there(rows, whole, mount, elsewhere, monkeypatch, capsys):
    disk = mount("disk")
    run = disk / "run"
    must(capsys, "fit", rows, "-o", run, *FIT, "--seed", "1")
    before = {path.name: path.read_bytes() for path in run.iterdir()}
    at_steps(monkeypatch, {4: lambda: fill(disk)})
    answer = ask(capsys, "fit", rows, "-o", run, *FIT, *OFTEN, "--overwrite")
    assert answer.code == 1 and re.search(r"No space left on device; it was written to .* instead", answer.errors[0])
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before and not hidden(disk)
    (saved,) = elsewhere.iterdir()
    assert weights(saved) == whole
    (disk / "filling").unlink()
    must(capsys, "resume", run)
    assert weights(run) == whole


def test_outputs_on_a_full_disk_keep_the_files_that_were_there(rows, mount, monkeypatch, capsys):
    disk, run = mount("disk"), rows.parent / "model"
    assert main(["fit", str(rows), "-o", str(run), *FIT, "--overwrite"]) == 0
    monkeypatch.setattr("latentmap.cli.outputs.PROBE", 0)  # which tells of a full disk before the work
    suffixes = ("csv", "npy", "npz", "parquet", "jsonl", "xlsx")
    for command, target in [("transform", f"z.{suffix}") for suffix in suffixes] + [("score", "s.csv")]:
        (disk / target).write_bytes(b"old")
        fill(disk)
        answer = ask(capsys, command, run, rows, "-o", disk / target)
        assert answer.code == 1 and answer.err == f"error: cannot write {disk / target}: No space left on device\n"
        gc.collect()  # what is still open then would be told on standard error
        (disk / "filling").unlink()
        assert (disk / target).read_bytes() == b"old" and not hidden(disk)


def test_a_folder_that_is_unmounted_while_a_fit_runs(rows, whole, mount, monkeypatch, capsys):
    disk = mount("disk")
    at_steps(monkeypatch, {4: lambda: subprocess.run(["umount", "-l", disk], check=True)})
    must(capsys, "fit", rows, "-o", disk / "run", *FIT, *OFTEN)
    assert weights(disk / "run") == whole


def test_a_run_on_another_file_system_than_temporary_files(rows, whole, mount, monkeypatch, capsys):
    disk, link = mount("disk"), mount("other") / "link"
    link.symlink_to(disk / "run")
    for _ in range(2):
        must(capsys, "fit", rows, "-o", link, *FIT, "--overwrite")
        assert weights(disk / "run") == whole and link.is_symlink()
    assert Path(os.readlink(link)) == disk / "run" and not hidden(disk) and os.listdir(link.parent) == ["link"]


# ---- another machine


def test_a_fit_from_another_processor_is_resumed_with_a_note(rows, whole, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    at_steps(monkeypatch, {9: end})
    with pytest.raises(Killed):
        main(["fit", str(rows), "-o", str(run), *FIT, *OFTEN])
    saves = Checkpoints(run / "checkpoint")
    saved = saves.read()
    here = platform.machine()
    for path in (run / "checkpoint").glob("*.safetensors"):
        path.unlink()
    facts = saved.facts | {"machine": saved.facts["machine"] | {"processor": "alpha"}}
    content = Checkpoint(facts, saved.state).to_bytes()
    (run / "checkpoint" / f"000000008-{hashlib.sha256(content).hexdigest()[:16]}.safetensors").write_bytes(content)
    answer = ask(capsys, "resume", run)
    message = (
        f"note: processor was 'alpha', is {here!r}: the resumed fit may differ in its last digits from an uninterrupted"
    )
    assert answer.code == 0 and message in answer.err and weights(run) == whole
