"""Run folders: where one may be written, where its rows came from, and rows that fit it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.outputs import check_writable
from latentmap.cli.terminal import UsageError, note

if TYPE_CHECKING:
    import numpy as np

    from latentmap.data.sources import Source

ORIGIN = "data.json"


@dataclass(frozen=True)
class Origin:
    """Where the rows of a run came from: a path or the name of a data set, its labels, the names of its columns."""

    data: str
    labels: str | None
    columns: list[str] | None

    @classmethod
    def of(cls, data: str, source: Source) -> Origin:
        """Describe a source that was opened by a path or name."""
        from latentmap.data.datasets import DATASETS

        names = source.schema.names
        place = data if data in DATASETS else os.path.abspath(os.path.expanduser(data))
        return cls(place, source.label_name, None if names is None else list(names))

    @classmethod
    def read(cls, run: Path) -> Origin | None:
        """Read what `write` left in a run folder; None in a run that was saved in Python."""
        from latentmap.exceptions import ModelError

        path = run / ORIGIN
        if not path.exists():
            return None
        try:
            return cls(**json.loads(path.read_text(encoding="utf-8")))
        except (OSError, TypeError, ValueError) as error:
            raise ModelError(f"{path} cannot be read ({error}); remove it, and give the data by name") from error

    def write(self, run: Path) -> None:
        """Leave it in a run folder."""
        from latentmap.data.files import write_json

        write_json(run / ORIGIN, asdict(self))


def is_run(folder: Path) -> bool:
    """Whether a folder holds a run, of this version or another."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and {"format", "class"} <= config.keys()


def check_run(folder: Path, *, overwrite: bool) -> None:
    """Refuse to write a run where something else is, or another run that is not to be replaced.

    Raises
    ------
    UsageError
        If something is there.
    DataError
        If nothing can be written there.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: expected a new folder for the run; give another -o")
    if folder.is_dir() and not is_run(folder) and any(not file.name.startswith(".") for file in folder.iterdir()):
        raise UsageError(f"{folder} holds files and is not a run of latentmap, so it is left alone; give another -o")
    if is_run(folder) and not overwrite:
        raise UsageError(f"{folder} holds a run already: give --overwrite to replace it, or another -o")
    check_writable(folder / ORIGIN)


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """Yield a folder inside ``folder``; what is written there moves up when the block ends without an error.

    A run is therefore complete or not there, and one that is replaced stays whole while the new one is being written.
    """
    from latentmap.exceptions import DataError

    stage = folder / f".{secrets.token_hex(4)}"
    fresh = not folder.exists()
    try:
        stage.mkdir(parents=True)
        yield stage
        for report in (folder / "report.html", folder / "figures"):  # of the run that is replaced
            shutil.rmtree(report, ignore_errors=True) if report.is_dir() else report.unlink(missing_ok=True)
        for file in sorted(stage.iterdir(), key=lambda file: file.name == "config.json"):  # which makes a run of it
            os.replace(file, folder / file.name)
    except OSError as error:
        raise DataError(f"cannot write {folder}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(stage, ignore_errors=True)
        if fresh:
            with contextlib.suppress(OSError):  # unless it holds a run by now
                folder.rmdir()


def rows_for(run: Path, estimator: Any, data: str | None, labels: str | None) -> tuple[Source, np.ndarray[Any, Any]]:
    """Open data for a run: with the label column that its own data had, and its columns in their order.

    Without data, those of the run.

    Raises
    ------
    DataError
        If the data cannot be used, or named columns are not those of the run.
    """
    from latentmap.data.schema import content_hash
    from latentmap.data.sources import require_finite
    from latentmap.exceptions import DataError

    origin = Origin.read(run)
    place = data if data is not None or origin is None else origin.data
    if place is None:
        raise UsageError(f"{run} does not say which data it was fitted to: give DATA after it")
    source = _open(place, labels, origin)
    require_finite(source)
    if data is None and content_hash(source, source.schema) != estimator.data_fingerprint_:
        note(f"{source.name} has changed since the fit")
    rows = source.read(slice(None))
    names = source.schema.names
    if origin is None or origin.columns is None or names is None:
        return source, rows
    for kind, some, others in (("lacks", origin.columns, names), ("has", names, origin.columns)):
        odd = [repr(name) for name in some if name not in others]
        if odd:
            what = "column" if len(odd) == 1 else "columns"
            end = ", on which the run was fitted" if kind == "lacks" else ", on which the run was not fitted: drop it"
            raise DataError(f"{source.name} {kind} {what} {', '.join(odd[:5])}{end}")
    return source, rows[:, [names.index(name) for name in origin.columns]]


def _open(place: str, labels: str | None, origin: Origin | None) -> Source:
    from latentmap.data.sources import open_source
    from latentmap.exceptions import DataError

    if labels is None and origin is not None and origin.labels is not None:
        with contextlib.suppress(DataError):  # new rows may come without labels
            return open_source(place, origin.labels)
    return open_source(place, labels)
