"""The child process of `tools.fuzz`: damages and opens one specimen after the other, and prints what came of it."""

from __future__ import annotations

import json
import resource
import signal
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tools.fuzz import copy_of, draw_for, remove
from tools.mutations import mutate_data, mutate_run
from tools.specimens import write_data, write_runs

from latentmap import load
from latentmap.data.sources import open_source
from latentmap.exceptions import LatentmapError

MEMORY = "200MB"
MOST_ADDRESSES = 2**34
FORBIDDEN = (
    *("pickle.find_class", "os.system", "os.exec", "os.posix_spawn", "os.fork"),
    *("os.spawn", "subprocess.Popen", "socket.connect", "socket.bind", "socket.getaddrinfo", "ctypes.dlopen"),
    *("code.__new__", "shutil.unpack_archive", "urllib.Request", "webbrowser.open"),
)
"""Events of Python's audit that opening a file never causes."""
HERE = tuple({path for path in sys.path if path} | {sys.prefix, sys.base_prefix, "<frozen", "<string>"})


class Hang(BaseException):
    """A case takes too long."""


class Guard:
    """Notes code that is unpickled or run, processes and connections, while it is armed."""

    def __init__(self) -> None:
        self.armed = False
        self.seen: list[str] = []
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        """Note an event."""
        if not self.armed:
            return
        if event in FORBIDDEN or (event == "exec" and not arguments[0].co_filename.startswith(HERE)):
            self.seen.append(f"{event} {arguments!r:.100}")


def encode(run: Path) -> None:
    """Load a model and encode rows, which have to be finite."""
    model = load(run)
    rows = 1 + len(model.event_shape_)
    if model.table_ is not None:
        codes = model.transform(model.sample(3, random_state=0))
    else:
        codes = model.transform(np.ones((3,) * (rows > 0) + model.event_shape_), **_given(model))
    if not np.isfinite(np.asarray(codes, dtype=float)).all():
        raise ValueError("codes are not finite")


def _given(model: Any) -> dict[str, Any]:
    if model.condition_ is None:
        return {}
    one = model.classes_[0] if model.condition == "labels" else np.ones(model.condition_.width)
    return {"y": np.array([one] * 3)}


def read(path: Path) -> None:
    """Read all rows of a file, but no more than a few million values."""
    source = open_source(path, memory=MEMORY)
    values = 0
    for _, block in source.blocks():
        values += block.size
        if values > 10**7:
            break


def attempt(act: Callable[[Path], None], path: Path, seconds: float, guard: Guard) -> dict[str, Any]:
    """Return what comes of opening a path."""
    resource_reset()
    before, started = peak(), time.monotonic()
    signal.setitimer(signal.ITIMER_REAL, seconds)
    guard.seen, guard.armed = [], True
    outcome, error = "loaded", ""
    try:
        act(path)
    except LatentmapError as caught:
        outcome, error = "refused" if "\n" not in str(caught) else "several lines", str(caught)
    except Hang:
        outcome = "hang"
    except BaseException as caught:
        outcome, error = type(caught).__name__, str(caught)
    finally:
        guard.armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
    if guard.seen:
        outcome, error = "code", "; ".join(guard.seen[:3])
    return {
        "outcome": outcome,
        "error": error[:300],
        "seconds": round(time.monotonic() - started, 3),
        "megabytes": round((peak() - before) / 2**10),
    }


def resource_reset() -> None:
    """Let the kernel count the largest memory anew."""
    Path("/proc/self/clear_refs").write_text("5")


def peak() -> int:
    """Return the largest memory, in KiB."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM")))


def main(kind: str, folder: Path, start: int, stop: int, seed: int, seconds: float, runs: str) -> None:
    """Run cases and print a line for each."""
    whole, scratch = folder / kind, folder / "case"
    if not whole.exists():
        whole.mkdir()
        if kind == "files":
            write_data(whole)
        elif runs:
            for path in sorted(path for path in Path(runs).iterdir() if path.is_dir()):
                copy_of(path, whole / path.name)
        else:
            write_runs(whole)
    scratch.mkdir(exist_ok=True)
    specimens, act = sorted(whole.iterdir()), encode if kind == "models" else read
    guard = Guard()
    for path in specimens:  # which imports what is needed
        act(path)
    signal.signal(signal.SIGALRM, _hang)
    resource.setrlimit(resource.RLIMIT_AS, (MOST_ADDRESSES, MOST_ADDRESSES))
    print(json.dumps({"ready": len(specimens)}), flush=True)
    for case in range(start, stop):
        draw = draw_for(seed, kind, case)
        path = draw.choice(specimens)
        made = copy_of(path, scratch / path.name)
        done = mutate_data(made, draw) if kind == "files" else mutate_run(made, draw.choice(specimens), draw)
        outcome = attempt(act, made, seconds, guard)
        print(json.dumps({"case": case, "specimen": path.name, "mutation": done[:200]} | outcome), flush=True)
        remove(made)


def _hang(*_: object) -> None:
    raise Hang


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    kind, folder, start, stop, seed, seconds, runs = sys.argv[1:]
    main(kind, Path(folder), int(start), int(stop), int(seed), float(seconds), runs)
