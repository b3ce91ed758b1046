"""Run folders: where one may be written, where its rows came from, and rows that fit it."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.outputs import check_writable
from latentmap.cli.terminal import UsageError, note
from latentmap.cli.words import shape_in_words

if TYPE_CHECKING:
    import numpy as np

    from latentmap.data.columns import Table
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
    LatentmapError
        If nothing can be written there, or a run of a newer version is.
    """
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: expected a new folder for the run; give another -o")
    if folder.is_dir() and not is_run(folder) and any(not file.name.startswith(".") for file in folder.iterdir()):
        raise UsageError(f"{folder} holds files and is not a run of latentmap, so it is left alone; give another -o")
    if is_run(folder):
        if not overwrite:
            raise UsageError(f"{folder} holds a run already: give --overwrite to replace it, or another -o")
        from latentmap.estimators.persistence import read_config

        read_config(folder)  # refuses a run of a newer version, as saving would after the fit
    check_writable(folder)


def save_run(estimator: Any, origin: Origin, folder: Path) -> None:
    """Save a model and where its rows came from; a run that is there is replaced, and its report goes.

    Raises
    ------
    DataError
        If the folder cannot be written; what was there stays.
    """
    import shutil

    fresh = not folder.exists()
    try:
        estimator.save(folder)
    finally:
        if fresh:
            with contextlib.suppress(OSError):  # which is what a folder that holds the run raises
                folder.rmdir()
    (folder / "report.html").unlink(missing_ok=True)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    origin.write(folder)


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
    source = _open(place, labels, origin, estimator.table_)
    require_finite(source, missing=estimator.takes_missing_)
    if data is None and content_hash(source, source.schema) != estimator.data_fingerprint_:
        note(f"{source.name} has changed since the fit")
    columns, names = None if origin is None else origin.columns, source.schema.names
    if columns is not None and names is not None:
        _check_columns(source.name, names, columns)
        return source, source.read(slice(None))[:, [names.index(name) for name in columns]]
    event, fitted = source.schema.event_shape, tuple(estimator.event_shape_)
    if event != fitted and event != (estimator.n_features_in_,):  # images may come flat
        found = f"{source.name} has rows of {shape_in_words(event)}"
        raise DataError(f"{found}, expected {shape_in_words(fitted)}, as those that {run} was fitted to")
    return source, source.read(slice(None))


def _check_columns(name: str, found: Sequence[str], expected: Sequence[str]) -> None:
    from latentmap.exceptions import DataError

    for verb, some, others, end in (("lacks", expected, found, ""), ("has", found, expected, " not; drop them")):
        odd = [repr(column) for column in some if column not in others]
        if odd:
            columns = f"{'column' if len(odd) == 1 else 'columns'} {', '.join(odd[:5])}"
            raise DataError(f"{name} {verb} {columns}, which the data of the run had{end}")


def _open(place: str, labels: str | None, origin: Origin | None, table: Table | None) -> Source:
    from latentmap.data.sources import open_source
    from latentmap.exceptions import DataError

    if labels is None and origin is not None and origin.labels is not None:
        with contextlib.suppress(DataError):  # new rows may come without labels
            return open_source(place, origin.labels, table)
    return open_source(place, labels, table)
