"""Processes that are killed, and what came of it, as `tools.torture` counts it."""

from __future__ import annotations

import hashlib
import os
import signal
import time
import warnings
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from latentmap import VAE, load, networks
from latentmap.cli import main
from latentmap.cli.compare import drawn, run_comparison, write_comparison
from latentmap.data.sources import open_source
from latentmap.evaluation.comparison import Comparison

PIECES = 8
"""Pieces of the rows, for `partial_fit`."""
ROWS = np.random.default_rng(0).normal(size=(600, 8)).astype(np.float32)


@dataclass
class Tally:
    """What came of the kills of one kind of command."""

    kills: int = 0
    ended: int = 0
    lost: int = 0
    steps: int = 0
    most_steps: int = 0
    most_seconds: float = 0.0
    outcomes: Counter[str] = field(default_factory=Counter)

    def to_json(self) -> dict[str, object]:
        """Return plain JSON."""
        return vars(self) | {"outcomes": dict(self.outcomes)}


def killed(work: Callable[[], object], after: float) -> bool:
    """Run work in another process, and return whether it was killed before it ended."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for stream in (1, 2):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                code = int(work() or 0)
        finally:
            os._exit(code)
    end = time.monotonic() + after
    while time.monotonic() < end:
        if os.waitpid(pid, os.WNOHANG)[0]:
            return False
        time.sleep(min(0.001, max(0.0, end - time.monotonic())))
    os.kill(pid, signal.SIGKILL)
    _, status = os.waitpid(pid, 0)
    return os.WIFSIGNALED(status)


def call(*arguments: object) -> Callable[[], int]:
    """Return the command with these arguments as a function."""
    return lambda: main([str(argument) for argument in arguments])


def took(work: Callable[[], object]) -> float:
    """Return the seconds that work takes in another process."""
    begun = time.monotonic()
    if killed(work, 600):
        raise RuntimeError("the work does not end")
    return time.monotonic() - begun


def kill_in_turn(
    tally: Tally,
    work: Sequence[Callable[[], object]],
    kills: int,
    rng: np.random.Generator,
    state: Callable[[], str],
    allowed: Collection[str],
    folder: Path,
) -> None:
    """Kill one work after the other at random moments, and count how often what is left is not allowed.

    The work is done once more in the end, after which nothing of it may be left in a folder.
    """
    seconds = [took(each) for each in work]
    while tally.kills < kills:
        which = tally.kills % len(work)
        if not killed(work[which], rng.uniform(0, 1.1 * seconds[which])):
            tally.ended += 1
        tally.kills += 1
        try:
            found = state()
        except Exception as error:  # what was there cannot be read
            found = f"{type(error).__name__}: {error}"
        tally.outcomes["whole" if found in allowed else found] += 1
        tally.lost += found not in allowed
    took(work[0])
    tally.outcomes["left behind"] += sum(path.name.startswith(".") for path in folder.iterdir())


def weights(run: Path) -> str:
    """Return a hash of the weights of a run, after loading it."""
    load(run)
    return hashlib.sha256((run / "model.safetensors").read_bytes()).hexdigest()


def pieces(folder: Path, kills: int, rng: np.random.Generator) -> Tally:
    """Kill a loop of `partial_fit` and `save`, go on from what is saved, and compare with one that was not killed."""
    tally, small = Tally(), networks.MLP((32,))

    def loop(run: Path) -> None:
        saved = (run / "config.json").exists()
        vae = load(run) if saved else VAE(3, encoder=small, decoder=small, random_state=0)
        for piece in range(vae.n_iter_ if saved else 0, PIECES):
            vae.partial_fit(ROWS[piece::PIECES])
            vae.save(run)

    seconds = took(lambda: loop(folder / "whole"))
    whole = weights(folder / "whole")
    while tally.kills < kills:
        run = folder / f"run{tally.ended}"
        while tally.kills < kills and killed(partial(loop, run), rng.uniform(0, seconds)):
            tally.kills += 1
        took(partial(loop, run))
        tally.lost += weights(run) != whole
        tally.ended += 1
    return tally


def comparisons(folder: Path, kills: int, rng: np.random.Generator) -> Tally:
    """Kill what draws and writes the pictures and numbers of one comparison over another one."""
    tally, target = Tally(), folder / "target"
    source = open_source(ROWS[:120])
    given: dict[str, Any] = {"methods": ("pca", "vae"), "seeds": 1, "claims": (), "n_components": 3}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        results = [run_comparison(source, random_state=seed, **given) for seed in (1, 2)]

    def written(one: Comparison) -> None:
        write_comparison(one, drawn(one, source), target)

    work = [partial(written, one) for one in results]

    def state() -> str:
        files = {path.name: path.read_bytes() for path in sorted(target.iterdir())}
        return hashlib.sha256(repr(files).encode()).hexdigest()

    allowed = []
    for each in work:
        took(each)
        allowed.append(state())
    kill_in_turn(tally, work, kills, rng, state, allowed, folder)
    return tally
