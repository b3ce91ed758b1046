"""What kills leave: at every call of a save, of a fit over a run, of a report and of every output, the old or the new.

python tests/kills.py FOLDER prints {case: number of kills}; the first loss ends it with an error.
"""

import contextlib
import copy
import io
import json
import re
import shutil
import sys
import time
import warnings
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

import latentmap
from faults import at_every_call, contents, hidden
from latentmap import VAE, Autoencoder
from latentmap.cli import main
from latentmap.cli.compare import write_comparison
from latentmap.cli.outputs import claimed_run, write_blocks
from latentmap.cli.runs import Origin, save_run
from latentmap.data import folders
from latentmap.data.files import write_text
from latentmap.data.folders import atomic_folder
from latentmap.data.locks import locked
from latentmap.estimators.persistence import write
from latentmap.estimators.run_folder import REPORT, is_run
from latentmap.training.checkpoint import Checkpoints

TEMPORARY = re.compile(r"\.(new|old)-[0-9a-f]{8}/")


class Place:
    """A folder with an old run and what a new one writes over it."""

    def __init__(self, folder):
        self.folder, self.run = folder, folder / "run"
        X = np.random.default_rng(0).normal(size=(40, 3))
        small = latentmap.networks.MLP((4,))
        settings = {"encoder": small, "decoder": small, "max_epochs": 1, "random_state": 0}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.old, self.new = Autoencoder(2, **settings).fit(X), VAE(2, **settings).fit(X)

    def begin(self, make=None):
        """Empty the folder, but for what is made."""
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir()
        if make is not None:
            make()

    def restore(self, kept):
        """Put back what was there at first."""
        shutil.rmtree(self.folder)
        shutil.copytree(kept, self.folder)

    def whole(self, make, action, *, partial_allowed=False, first=1, between=()):
        """Kill an action at every call: what is left is the old or the new, and the action can be repeated.

        An action of several steps may leave what is ``between`` them, too.
        """
        self.begin(make)
        kept, old = self.folder.with_name("kept"), contents(self.folder)
        shutil.rmtree(kept, ignore_errors=True)
        shutil.copytree(self.folder, kept)
        action()
        new = contents(self.folder)
        assert old != new
        for folder in (kept / "run", self.run):  # so that files like these load
            if is_run(folder):
                latentmap.load(folder)

        def check(n):
            is_run(self.run)  # as a command that opens it: what it puts back counts
            seen = {name: data for name, data in contents(self.folder).items() if not TEMPORARY.search(name)}
            assert seen in (old, new, *between) or (partial_allowed and not is_run(self.run)), (n, sorted(seen))
            action()
            assert contents(self.folder) == new and not hidden(self.folder), (n, hidden(self.folder))

        return at_every_call(action, partial(self.restore, kept), check, first)


class Picture:
    """Something like a picture."""

    def __init__(self, text):
        self.text = text

    def save(self, path):
        """Write it."""
        write_text(path, self.text)


def drawn(name, folder):
    """Write something like a report."""
    (folder / "figures").mkdir()
    for file in ("map.png", "samples.png"):
        (folder / "figures" / file).write_text(f"{file} of {name}")
    (folder / "report.html").write_text(f"report of {name}")
    return True


def fitted(place, model):
    """End a fit as the command does."""
    name = type(model).__name__
    with claimed_run(place.run, overwrite=True), contextlib.redirect_stderr(io.StringIO()):
        save_run(model, Origin(f"{name}.csv", None, ["a", "b", "c"]), place.run, partial(drawn, name))


def old_run(place, *, report=True):
    """Make a run, with notes of its user."""
    fitted(place, place.old) if report else place.old.save(place.run)
    (place.run / "notes").mkdir()
    (place.run / "notes" / "mine.txt").write_text("kept")


def report(place):
    """Write a report into a run as the command does."""
    with locked(place.run), atomic_folder(place.run, REPORT, REPORT[0]) as folder:
        drawn("another", folder)


def one_by_one(place):
    """Write the files of a run in their place, as version 0.1 does: the control of the others."""
    with locked(place.run):
        write(place.new, place.run)


@contextlib.contextmanager
def without_exchange():
    """Stand on a file system that cannot exchange two folders."""
    real, folders.exchange = folders.exchange, lambda one, other: False
    try:
        yield
    finally:
        folders.exchange = real


def runs(place):
    """Yield cases of runs, each with its kills."""
    old, save = partial(old_run, place), partial(place.new.save, place.run)
    yield "save", place.whole(None, save)
    yield "save over a run", place.whole(partial(old, report=False), save)
    yield "fit over a run", place.whole(old, partial(fitted, place, place.new))
    yield "report", place.whole(old, partial(report, place))
    with without_exchange():  # the first calls are those of the case above
        yield "fit over a run, without exchange", place.whole(old, partial(fitted, place, place.new), first=36)

    def shared():
        place.run.mkdir()
        (place.run / "mine.txt").write_text("kept")

    try:
        place.whole(old, partial(one_by_one, place))
    except AssertionError:
        yield "files one by one are noticed", 1
    yield "save among other files", place.whole(shared, save, partial_allowed=True)


def pieces(place):
    """Yield the cases of what `partial_fit` and `save` leave in turn, each with its kills."""
    rows, stages = np.random.default_rng(3).normal(size=(3, 20, 3)), []
    model = VAE(2, encoder=latentmap.networks.MLP((4,)), decoder=latentmap.networks.MLP((4,)), random_state=0)
    for piece in rows:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stages.append(copy.copy(model.partial_fit(piece)))  # its state is replaced by each piece
    place.begin(partial(stages[1].save, place.run))
    between = contents(place.folder)

    def loop():
        latentmap.load(place.run)
        for stage in stages[1:]:
            stage.save(place.run)

    assert "run/trainer.safetensors" in between
    yield "pieces, saved in turn", place.whole(partial(stages[0].save, place.run), loop, between=[between])


class Steps:
    """Something like a trainer, after a step."""

    interrupted = within_step = False

    def __init__(self, step):
        self.step = step

    def unsaved(self):
        """Return nothing."""
        return []

    def state_dict(self):
        """Return the step."""
        return {"step": self.step}


def checkpoints(place):
    """Yield the case of a fit that is resumed and writes checkpoints, with its kills: the last one is always whole."""
    folder = place.run / "checkpoint"

    def write(*steps):
        saves = Checkpoints(folder, beside={"fit.json": b"{}"})
        saves.read()
        saves.begin()
        for step in steps:
            saves.write(Steps(step))

    def check(n):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            assert Checkpoints(folder).read().state["step"] in (2, 3, 4), n
        assert (folder / "fit.json").read_bytes() == b"{}", n
        write(3, 4)
        assert len(contents(folder)) == 3 and not hidden(place.folder), (n, hidden(place.folder))

    yield "checkpoints", at_every_call(partial(write, 3, 4), partial(place.begin, partial(write, 1, 2)), check)


def compared(place, text="new", names=("comparison", "vae-samples")):
    """Write the files of a comparison as the command does."""
    numbers = SimpleNamespace(to_json=lambda: {"text": text}, to_markdown=lambda: text)
    with contextlib.redirect_stderr(io.StringIO()):
        write_comparison(numbers, {name: Picture(f"{name} {text}") for name in names}, place.run)


def old_comparison(place):
    """Write another comparison, with notes of its user."""
    compared(place, "old", ["comparison", "lines"])
    (place.run / "mine.txt").write_text("kept")


def comparisons(place):
    """Yield the cases of the files of a comparison, each with its kills."""
    yield "compare", place.whole(None, partial(compared, place))
    yield "compare over another", place.whole(partial(old_comparison, place), partial(compared, place))


def outputs(place):
    """Yield cases of files, each with its kills."""
    rows = np.random.default_rng(1).normal(size=(30, 2))
    for suffix in ("csv", "npy", "npz", "parquet", "jsonl"):
        target = place.folder / f"z.{suffix}"
        write = partial(write_blocks, target, [rows, rows], ["a", "b"])
        yield f"z.{suffix}", place.whole(partial(target.write_bytes, b"old"), write)
    target = place.folder / "z.xlsx"  # which holds the time
    place.begin()
    write_blocks(target, [rows], ["a", "b"])
    yield (
        "z.xlsx",
        at_every_call(
            partial(write_blocks, target, [rows], ["a", "b"]), partial(place.begin, None), partial(_opens, target)
        ),
    )


def _opens(target, n):
    import pandas as pd

    assert not target.exists() or len(pd.read_excel(target)) == 30, n


def commands(place, elsewhere):
    """Yield cases of commands, each with its kills."""
    table = elsewhere / "rows.csv"
    np.savetxt(table, np.random.default_rng(2).normal(size=(8, 3)), delimiter=",", header="a,b,c", comments="")
    place.new.save(elsewhere / "model")
    called = {
        "transform": ("transform", elsewhere / "model", table, "-o", place.folder / "z.csv"),
        "score": ("score", elsewhere / "model", table, "-o", place.folder / "s.csv"),
        "sample": ("sample", elsewhere / "model", "-n", "3", "-o", place.folder / "s.npy"),
        "sample as a picture": ("sample", elsewhere / "model", "-n", "1", "-o", place.folder / "s.png"),
    }
    for name, arguments in called.items():
        yield name, place.whole(None, partial(_succeeds, [str(argument) for argument in arguments]))


def _succeeds(arguments):
    with contextlib.redirect_stderr(io.StringIO()):
        assert main(arguments) == 0


if __name__ == "__main__":
    torch.set_num_threads(1)  # as threads do not survive a fork
    base = Path(sys.argv[1])
    elsewhere = base / "elsewhere"
    elsewhere.mkdir()
    place, table = Place(base / "place"), {}
    saved = (runs(place), pieces(place), checkpoints(place), comparisons(place))
    for cases in (*saved, outputs(place), commands(place, elsewhere)):
        begun = time.perf_counter()
        for name, kills in cases:
            table[name] = kills
            print(f"{name}: {kills} kills, {time.perf_counter() - begun:.1f} s", file=sys.stderr)
            begun = time.perf_counter()
    print(json.dumps(table))
