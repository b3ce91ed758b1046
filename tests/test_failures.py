"""Errors of the disk at any call leave the old or the new, whole, and say in one line where and why."""

import os
import re
import shutil
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from failing import FAILURES, at_every_call
from faults import contents, hidden
from kills import TEMPORARY, Place, compared, fitted, old_comparison, old_run, report
from latentmap.cli.outputs import write_blocks
from latentmap.estimators.run_folder import REPORT, is_run
from latentmap.exceptions import LatentmapError

ROWS = np.random.default_rng(1).normal(size=(30, 2))
KEPT = re.compile(r"run\.new-[0-9a-f]{8}")
"""Where the new run lies that could not take its name."""


@pytest.fixture(scope="module")
def place():
    """A folder in memory, where syncing takes no time, with models to save."""
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as base:
        yield Place(Path(base) / "place")


def file_of(place):
    (place.folder / "z.csv").write_bytes(b"old")


ACTIONS = {
    "save": (None, lambda place: place.new.save(place.run)),
    "save over a run": (partial(old_run, report=False), lambda place: place.new.save(place.run)),
    "fit over a run": (old_run, lambda place: fitted(place, place.new)),
    "report": (old_run, report),
    "compare": (old_comparison, compared),
    "output": (file_of, lambda place: write_blocks(place.folder / "z.csv", [ROWS, ROWS], ["a", "b"])),
}


@pytest.mark.parametrize("name", ACTIONS)
@pytest.mark.parametrize("failure", FAILURES)
def test_the_old_or_the_new_is_there_and_the_reason_is_named(place, name, failure, tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))  # where a run goes that has no other place
    make, act = ACTIONS[name]
    action, failure = partial(act, place), FAILURES[failure]
    place.begin(None if make is None else partial(make, place))
    kept = place.folder.with_name("kept")
    shutil.rmtree(kept, ignore_errors=True)
    shutil.copytree(place.folder, kept)
    old = contents(place.folder)
    action()
    new = contents(place.folder)
    bare = {path: data for path, data in new.items() if not path.removeprefix("run/").startswith(REPORT)}
    place.restore(kept)
    count = 0
    for n, error in at_every_call(place.folder, failure, action):
        count += 1
        left = hidden(place.folder)
        is_run(place.run)  # as a command that opens it: what it puts back counts
        seen = contents(place.folder)
        seen = {path: data for path, data in seen.items() if not (TEMPORARY.search(path) or KEPT.match(path))}
        without_report = error is not None and "has no report" in str(error)
        assert seen in (old, new) or (without_report and seen == bare), (n, sorted(seen))
        if error is not None:
            said = str(error)
            known = LatentmapError if name != "fit over a run" else LatentmapError | OSError  # as the command takes it
            assert isinstance(error, known) and failure.reason in said and str(place.folder) in said, (n, said)
            assert "\n" not in said and "[(" not in said and ".new-" not in KEPT.sub("", said), (n, said)
        if len(failure.calls) == len(FAILURES["full disk"].calls):  # where files can still be removed
            assert not left, (n, left)
        action()
        assert {path: data for path, data in contents(place.folder).items() if not KEPT.match(path)} == new, n
        assert not hidden(place.folder), (n, hidden(place.folder))
        place.restore(kept)
    assert count > 4
