"""The clock of the system may jump by days: intervals, budgets, locks and leftovers do not depend on it."""

import itertools
import os
import time

import numpy as np
import pytest

from command import ask, must
from faults import hidden
from latentmap.cli import main
from latentmap.data.locks import locked
from latentmap.exceptions import DataError
from latentmap.training.checkpoint import Checkpoints
from test_cli_disks import FIT, OFTEN, Killed, at_steps, end, rows, weights, whole

__all__ = ["rows", "whole"]
DAYS = 86400.0


@pytest.fixture(params=[-400 * DAYS, 400 * DAYS], ids=["back", "ahead"])
def jumping(request, monkeypatch):
    """A clock of the system that jumps by days whenever it is read."""
    begun, jumps = time.time(), itertools.count(1)

    def now():
        return begun + request.param * next(jumps) % (10**4 * DAYS)

    monkeypatch.setattr(time, "time", now)
    monkeypatch.setattr(time, "time_ns", lambda: int(now() * 1e9))
    return now


def test_checkpoints_come_at_their_interval(rows, jumping, tmp_path, monkeypatch):
    written, write = [], Checkpoints.write

    def counted(self, trainer):
        written.append(trainer.step)
        write(self, trainer)

    monkeypatch.setattr(Checkpoints, "write", counted)
    waits = (5, 10, 15)
    at_steps(monkeypatch, {step: lambda: time.sleep(2.0) for step in waits})
    assert main(["fit", str(rows), "-o", str(tmp_path / "run"), *FIT, "--checkpoint-every", "1.9s"]) == 0
    assert set(waits) <= set(written) and len(written) < 10
    assert jumping() != pytest.approx(jumping(), abs=DAYS / 2)  # the control: the clock does jump


def test_a_budget_is_spent_in_seconds(rows, whole, jumping, tmp_path, capsys):
    must(capsys, "fit", rows, "-o", tmp_path / "run", *FIT, "--budget", "10min")
    assert weights(tmp_path / "run") == whole


def test_a_fit_is_resumed_whatever_the_time_of_its_files(rows, whole, jumping, tmp_path, monkeypatch, capsys):
    run = tmp_path / "run"
    left = tmp_path / ".run.new-01234567", tmp_path / ".rows.csv.new-89abcdef"

    def stamp():
        for path in left:
            path.mkdir(exist_ok=True)
        for path in (*run.rglob("*"), *left):
            os.utime(path, (jumping() % 4e9, jumping() % 4e9))

    at_steps(monkeypatch, dict.fromkeys(range(3, 9), stamp) | {9: end})
    with pytest.raises(Killed):
        main(["fit", str(rows), "-o", str(run), *FIT, *OFTEN])
    assert Checkpoints(run / "checkpoint").last_step() == 8
    must(capsys, "resume", run)
    assert weights(run) == whole and [str(path) for path in left[1:]] == hidden(tmp_path)


def test_a_lock_waits_for_seconds(jumping, tmp_path):
    begun = time.monotonic()
    with locked(tmp_path), pytest.raises(DataError, match="another process"), locked(tmp_path, wait=0.3):
        pass
    assert 0.3 <= time.monotonic() - begun < 30


def test_files_are_written_in_any_year(rows, whole, tmp_path, monkeypatch, capsys):
    table = np.load(rows)
    for year in (6e8, 4e9):  # 1989 and 2096
        monkeypatch.setattr(time, "time", lambda year=year: year)
        for name in ("z.npz", "z.xlsx", "z.parquet"):
            answer = ask(capsys, "transform", rows.parent / "whole", rows, "-o", tmp_path / name)
            assert answer.code == 0 and len(table) == 40, answer.err
