"""The folder of a run: which names it owns, what may be replaced, and how it is replaced as a whole."""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from latentmap.data.folders import atomic_folder, fixed
from latentmap.data.reading import FAILING, read_json
from latentmap.data.temporary import clean
from latentmap.exceptions import DataError

CONFIG = "config.json"
"""The file that makes a folder a run."""
MODEL = ("model.safetensors", "README.md", "history.jsonl", "neighbors.safetensors", "trainer.safetensors", CONFIG)
"""Files of a model, those first that can be told from files of others."""
REPORT = ("report.html", "figures")
"""Files of a report."""
CHECKPOINTS = "checkpoint"
"""Folder of the request and the checkpoints of a fit that has not ended."""
UNFINISHED = Path(CHECKPOINTS) / "fit.json"
"""The request of a fit that has not ended."""
RUN = (*MODEL, "data.json", *REPORT, CHECKPOINTS)
"""Files and folders of a run, which go with it when it is replaced; all others in its folder stay."""
CHECKPOINT = re.compile(r"\..*|fit\.json|\d+-[0-9a-f]+\.safetensors")
"""Names in the folder of checkpoints."""
MOST_HEADER = 2**24
"""Bytes of a header of safetensors, at most."""


def is_run(folder: Path) -> bool:
    """Return whether a folder holds a run, of this version or another."""
    try:
        if not folder.exists():
            clean(folder)
        config = read_json(folder / CONFIG)
    except (OSError, ValueError) as error:
        return _unless_failing(folder / CONFIG, error)
    return isinstance(config, dict) and {"format", "class"} <= config.keys()


def is_unfinished(folder: Path) -> bool:
    """Return whether a folder holds a fit that has not ended, which can be resumed."""
    return (folder / UNFINISHED).is_file()


def shell_command(name: str, folder: str | os.PathLike[str]) -> str:
    """Return a command of latentmap on the folder of a run, for a shell.

    >>> shell_command("resume", "my run"), shell_command("report", "-x")
    ("latentmap resume 'my run'", 'latentmap report ./-x')
    """
    path = os.fspath(folder)
    return f"latentmap {name} {shlex.quote(f'./{path}' if path.startswith('-') else path)}"


def is_remainder(folder: Path) -> bool:
    """Return whether all that a folder holds is a part of a run, as a fit that was killed leaves it.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "checkpoint").mkdir()
    ...     alone = is_remainder(Path(folder))
    ...     _ = (Path(folder) / "README.md").write_text("My project")
    ...     alone, is_remainder(Path(folder))
    (True, False)
    """
    names = {path.name for path in folder.iterdir() if not path.name.startswith(".")}
    return names <= set(RUN) and _are_parts(folder, names)


@contextlib.contextmanager
def replaced_run(folder: str | os.PathLike[str], keep: Collection[str] = ()) -> Iterator[Path]:
    """Yield a new folder, which replaces a run as a whole when the block ends without an error.

    Two processes must not do so at once: see `latentmap.data.locks.locked`. Names to ``keep`` of the older run stay,
    such as the checkpoints of a fit that has not ended.
    """
    require_replaceable(folder)
    with atomic_folder(folder, _owned(Path(folder)), CONFIG, keep) as new:
        yield new


def require_replaceable(folder: str | os.PathLike[str]) -> None:
    """Raise a `DataError` if a run cannot be written to a folder, or other files would be lost."""
    path = Path(folder)
    clean(path)
    if is_run(path):
        if reason := fixed(path):
            raise DataError(
                f"cannot replace the run in {folder}, since {reason}; choose a folder inside it, or another"
            )
        if blocked := [name for name in MODEL if (path / name).is_dir()]:
            raise DataError(f"cannot write to {folder}: its {blocked[0]} is a folder; choose another folder")
    elif there := [name for name in MODEL if os.path.lexists(path / name)]:
        if not _are_parts(path, there):
            raise DataError(
                f"cannot write to {folder}: its {', '.join(there)} would be lost and are not a run of latentmap; "
                "choose another folder"
            )


def _are_parts(folder: Path, names: Collection[str]) -> bool:
    """Return whether files of these names come from a run that is not complete."""
    known = [PARTS[name](folder / name) for name in names if name in PARTS]
    return CONFIG not in names and bool(known) and all(known)


def _owned(folder: Path) -> tuple[str, ...]:
    """Return the names that go when a run takes a folder: all of a run's, or those that it writes."""
    if not folder.is_dir() or not (is_run(folder) or is_remainder(folder)):
        return MODEL
    others = {"data.json"} if not _is_origin(folder / "data.json") else set()
    if not (folder / "report.html").exists() and not is_remainder(folder):
        others.add("figures")
    return tuple(name for name in RUN if name not in others)


def _is_origin(path: Path) -> bool:
    """Return whether a file tells the origin of the data of a run."""
    try:
        origin = read_json(path)
    except (OSError, ValueError) as error:
        return _unless_failing(path, error)
    return isinstance(origin, dict) and {"data", "labels", "columns"} <= origin.keys()


def _unless_failing(path: Path, error: Exception) -> bool:
    """Return False where an error says that a file is none of a run; raise where the file cannot be read now."""
    if isinstance(error, OSError) and error.errno in FAILING:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    return False


def _is_weights(path: Path) -> bool:
    """Return whether a file holds the weights or the neighbours of a model."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            header = json.loads(file.read(min(int.from_bytes(file.read(8), "little"), MOST_HEADER)))
    except (OSError, ValueError, RecursionError) as error:
        return _unless_failing(path, error)
    names = set(header) - {"__metadata__"} if isinstance(header, dict) else set()
    return names == {"graph", "held_out_graph", "key"} or (
        "scaling.scale" in names and all(name.startswith(("model.", "scaling.")) for name in names)
    )


def _is_card(path: Path) -> bool:
    """Return whether a file is the card of a model."""
    if not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return re.match(rb"# \w+ with \d+ components\n", file.read(200)) is not None
    except OSError as error:
        return _unless_failing(path, error)


def _is_checkpoints(path: Path) -> bool:
    """Return whether a folder holds checkpoints alone."""
    return path.is_dir() and all(CHECKPOINT.fullmatch(name) for name in os.listdir(path))


PARTS: dict[str, Callable[[Path], bool]] = {
    "model.safetensors": _is_weights,
    "neighbors.safetensors": _is_weights,
    "README.md": _is_card,
    CHECKPOINTS: _is_checkpoints,
}
"""Parts of a run that can be told from files of others."""
