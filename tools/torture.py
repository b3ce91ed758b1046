"""Kill fits, saves and outputs, damage models and files, and count what is lost: ``python -m tools.torture``.

Each command runs in a process of its own, which is killed (SIGKILL) at a moment that a seed draws. What it was writing
must be whole afterwards: the old run or file, or the new one. A fit is resumed until it ends, and must end with the
weights, bit for bit, of a fit that was never killed. Saves and outputs are also killed at each of their calls
(`tests/kills.py`), and damaged models and files opened (`tools.fuzz`). The tables are written into docs/torture.md.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import mmap
import os
import shutil
import subprocess
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from benchmarks.markdown import grid
from tools.killing import ROWS, Tally, call, comparisons, kill_in_turn, killed, pieces, took, weights

from latentmap import VAE, load, networks
from latentmap.training.checkpoint import Checkpoints

ROOT = Path(__file__).parent.parent
DOCUMENT = ROOT / "docs" / "torture.md"
KILLS = ROOT / "tests" / "kills.py"
FUZZ = ROOT / "benchmarks" / "results" / "fuzz.json"
RESULT = ROOT / "benchmarks" / "results" / "torture.json"
BEGIN, END = "<!-- torture -->", "<!-- end of torture -->"
EVERY = "0.2s"
"""Interval of the checkpoints of the fits that are killed."""
SETTINGS = (
    *("--n-components", "3", "--epochs", "60", "--set", "compile=false", "--set", "batch_size=32"),
    *("--set", "encoder=MLP(hidden=(32,))", "--set", "decoder=MLP(hidden=(32,))", "--set", "early_stopping=false"),
)


class Progress:
    """The last step of a fit in another process, and the seconds that its fit has taken, in memory that both share."""

    def __init__(self, path: Path) -> None:
        path.write_bytes(bytes(16))
        self.file = path.open("r+b")
        self.memory = mmap.mmap(self.file.fileno(), 16)

    @property
    def step(self) -> int:
        """The last step."""
        return int.from_bytes(self.memory[:8], "little")

    @property
    def seconds(self) -> float:
        """Seconds of training."""
        return float(np.frombuffer(self.memory[8:])[0])

    def set(self, step: int, seconds: float) -> None:
        """Tell the other process."""
        self.memory[:] = step.to_bytes(8, "little") + np.float64(seconds).tobytes()


def digest(run: Path) -> str:
    """Return a hash of all that a run holds but for times, after loading it."""
    vae = load(run)
    weights = b"".join(value.numpy().tobytes() for value in vae.model_.state_dict().values())
    return hashlib.sha256(weights + str(vae.n_iter_).encode() + (run / "data.json").read_bytes()).hexdigest()


def fits(folder: Path, kills: int, rng: np.random.Generator) -> Tally:
    """Kill a fit and its resumption, again and again until it ends, and compare it with one that was not killed."""
    tally, data = Tally(), folder / "X.npy"
    np.save(data, ROWS)
    progress = Progress(folder / "step")
    write = Checkpoints.after_step

    def after_step(self: Checkpoints, trainer) -> None:  # type: ignore[no-untyped-def]  # noqa: ANN001
        progress.set(trainer.step, trainer.seconds)
        write(self, trainer)

    Checkpoints.after_step = after_step  # type: ignore[method-assign]
    try:
        whole_seconds = took(call("fit", data, "-o", folder / "whole", *SETTINGS, "--no-report"))
        whole = digest(folder / "whole")
        while tally.kills < kills:
            run = folder / f"run{tally.ended}"
            fit = call("fit", data, "-o", run, *SETTINGS, "--no-report", "--checkpoint-every", EVERY)
            while tally.kills < kills:
                unfinished = (run / "checkpoint" / "fit.json").exists()
                kept = _kept(run)
                progress.set(*kept)
                if not killed(call("resume", run) if unfinished else fit, rng.uniform(0, whole_seconds)):
                    break
                tally.kills += 1
                _count_lost(tally, progress, _kept(run), kept)
            work = call("resume", run) if (run / "checkpoint" / "fit.json").exists() else fit
            if not (run / "config.json").exists():
                took(work)
            tally.lost += not (run / "config.json").exists() or digest(run) != whole
            tally.ended += 1
            shutil.rmtree(run, ignore_errors=True)
    finally:
        Checkpoints.after_step = write  # type: ignore[method-assign]
    return tally


def _kept(run: Path) -> tuple[int, float]:
    """Return the step and the seconds of the last checkpoint of a run."""
    saved = Checkpoints(run / "checkpoint").read()
    return (0, 0.0) if saved is None else (saved.state["counters"]["step"], saved.state["seconds"])


def _count_lost(tally: Tally, progress: Progress, kept: tuple[int, float], begun: tuple[int, float]) -> None:
    """Count the steps and seconds since the last checkpoint."""
    step, seconds = max(kept, begun)
    lost = max(0, progress.step - step)
    tally.steps += lost
    tally.most_steps = max(tally.most_steps, lost)
    tally.most_seconds = max(tally.most_seconds, progress.seconds - seconds)


def replaced(folder: Path, kills: int, rng: np.random.Generator, how: str) -> Tally:
    """Kill what writes a run or a file over another one, and tell which of them is there."""
    tally, data, target = Tally(), folder / "X.npy", folder / "target"
    np.save(data, ROWS)
    one, other, parts = (
        folder / "one",
        folder / "other",
        {"encoder": networks.MLP((32,)), "decoder": networks.MLP((32,))},
    )
    quick = ("--n-components", "3", "--set", "encoder=MLP(hidden=(32,))", "--set", "decoder=MLP(hidden=(32,))",
             "--set", "compile=false", "--epochs", "2")  # fmt: skip
    for path, seed in ((one, 1), (other, 2)):
        took(call("fit", data, "-o", path, *quick, "--seed", seed))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        models = [VAE(3, **parts, max_epochs=1, random_state=seed).fit(ROWS) for seed in (1, 2)]
    if how == "save":
        saved: list[str] = []
        for model in models:
            model.save(target)
            saved.append(weights(target))
        work: list[Callable[[], object]] = [lambda: models[0].save(target), lambda: models[1].save(target)]
        state: Callable[[], str] = lambda: weights(target)  # noqa: E731
        allowed = set(saved)
    elif how == "fit":
        shutil.copytree(other, target)
        work = [call("fit", data, "-o", target, *quick, "--seed", seed, "--overwrite") for seed in (1, 2)]
        state, allowed = (lambda: _run(target)), {_run(one), _run(other)}  # type: ignore[assignment]
    else:
        name = target.with_suffix(".npy" if how == "transform" else ".csv")
        extra = () if how == "transform" else (("-n", "2000") if how == "sample" else ())
        work = [call(how, path, *(() if how == "sample" else (data,)), "-o", name, *extra) for path in (one, other)]
        contents = set()
        for each in work:
            took(each)
            contents.add(hashlib.sha256(name.read_bytes()).hexdigest())
        state, allowed = (lambda: hashlib.sha256(name.read_bytes()).hexdigest()), contents  # type: ignore[assignment]
    kill_in_turn(tally, work, kills, rng, state, allowed, folder)
    return tally


def _run(run: Path) -> str:
    """Return a hash of a run; its files must be of one fit, and its report too."""
    vae, config = load(run), json.loads((run / "config.json").read_text())
    origin = json.loads((run / "data.json").read_text())
    report = (run / "report.html").exists()
    return f"{vae.seed_} {config['weights_sha256']} {Path(origin['data']).name} {report}"


KINDS: dict[str, Callable[[Path, int, np.random.Generator], Tally]] = {
    "fit, then resume": fits,
    "save over a run": lambda folder, kills, rng: replaced(folder, kills, rng, "save"),
    "fit --overwrite": lambda folder, kills, rng: replaced(folder, kills, rng, "fit"),
    "transform -o": lambda folder, kills, rng: replaced(folder, kills, rng, "transform"),
    "impute -o": lambda folder, kills, rng: replaced(folder, kills, rng, "impute"),
    "sample -o": lambda folder, kills, rng: replaced(folder, kills, rng, "sample"),
    "partial_fit and save": pieces,
    "compare -o": comparisons,
}
SHARES = {"fit, then resume": 0.4, "save over a run": 0.15, "fit --overwrite": 0.15, "partial_fit and save": 0.06}
OTHERS = 0.06
"""Share of the kills of each other kind."""


@contextlib.contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder that is removed afterwards."""
    path = Path(tempfile.mkdtemp(prefix="torture-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def torture(kills: int, seed: int = 0) -> dict[str, Tally]:
    """Return what came of so many kills, by kind."""
    import torch

    torch.set_num_threads(1)  # as threads do not survive a fork
    result = {}
    for name, kind in KINDS.items():
        share = max(1, round(kills * SHARES.get(name, OTHERS)))
        with scratch() as folder:
            result[name] = kind(folder, share, np.random.default_rng(seed))
        print(name, result[name].to_json(), file=sys.stderr, flush=True)
    return result


def at_calls() -> dict[str, int]:
    """Return at how many of their calls saves, fits, reports and outputs were killed, all of which they survived."""
    memory = Path("/dev/shm")  # where syncing takes no time
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else None) as folder:
        done = subprocess.run([sys.executable, KILLS, folder], stdout=subprocess.PIPE, text=True, check=True)
    calls: dict[str, int] = json.loads(done.stdout)
    calls.pop("files one by one are noticed")  # the control
    return calls


def mutations(count: int) -> dict[str, dict[str, int]]:
    """Return what came of so many damaged models, and as many damaged files."""
    command = [sys.executable, "-m", "tools.fuzz", "--models", str(count), "--files", str(count), "--out", str(FUZZ)]
    subprocess.run(command, cwd=ROOT, check=False)
    found: dict[str, dict[str, int]] = json.loads(FUZZ.read_text())
    return {name: found[name] for name in ("models", "files")}


def memory_of_fits() -> float:
    """Return by how many bytes resident memory grows over 100 fits."""
    command = [sys.executable, "-c", "from tools.torture_memory import growth; print(growth(100)[0])"]
    return float(subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True).stdout.split()[-1])


def tables(result: dict[str, Any]) -> str:
    """Return the tables of the document."""
    kills, calls, fuzz = result["kills"], result["calls"], result["mutations"]
    fit = kills["fit, then resume"]
    injected = sum(tally["kills"] for tally in kills.values()) + sum(calls.values())
    lost = sum(tally["lost"] for tally in kills.values())
    totals = [
        ("faults injected", f"{injected:,}"),
        ("survived", f"{injected - lost:,}"),
        ("steps of work lost at a kill of a fit, mean", f"{fit['steps'] / fit['kills']:.1f}"),
        ("steps of work lost at a kill of a fit, most", fit["most_steps"]),
        ("seconds of work lost at a kill of a fit, most", f"{fit['most_seconds']:.2f}"),
        ("mutations of models and files", f"{sum(one['mutations'] for one in fuzz.values()):,}"),
        ("unexpected exceptions", sum(one["unexpected"] for one in fuzz.values())),
        ("hangs", sum(one["hangs"] for one in fuzz.values())),
        ("growth of resident memory over 100 fits", f"{result['memory'] / 1e6:.0f} MB"),
    ]
    rows = [(name, tally["kills"], tally["lost"]) for name, tally in kills.items()]
    rows += [(f"{name}, at each call", number, 0) for name, number in calls.items()]
    return f"{grid(['', ''], totals)}\n\n{grid(['what is killed', 'kills', 'lost'], rows)}"


def main_torture() -> int:
    """Run everything, write the raw result and the tables, and return whether anything was lost."""
    parser = argparse.ArgumentParser(description=str(__doc__).partition(":")[0])
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--mutations", type=int, default=20_000, help="damaged models, and as many damaged files")
    options = parser.parse_args()
    kills = {name: tally.to_json() for name, tally in torture(options.kills).items()}
    result = {"kills": kills, "calls": at_calls(), "mutations": mutations(options.mutations)}
    result["memory"] = memory_of_fits()
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    text = DOCUMENT.read_text()
    DOCUMENT.write_text(f"{text[: text.index(BEGIN)]}{BEGIN}\n{tables(result)}\n{text[text.index(END) :]}")
    print(tables(result))
    lost = any(tally["lost"] for tally in kills.values())
    return int(lost or any(one["unexpected"] or one["hangs"] for one in result["mutations"].values()))


if __name__ == "__main__":
    sys.exit(main_torture())
