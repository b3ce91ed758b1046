"""Runs: their models, the origin of their data, and rows for their models."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import latentmap
from latentmap.cli.conditions import condition_in, conditions
from latentmap.cli.describe import shape_in_words
from latentmap.cli.terminal import UsageError, note
from latentmap.data.datasets import DATASETS
from latentmap.data.fetching import is_remote
from latentmap.data.files import read_json, write_json
from latentmap.data.rows import LazyRows
from latentmap.data.schema import content_hash
from latentmap.data.sources import open_source, require_finite
from latentmap.data.streaming import fits, read_memory, sampled
from latentmap.exceptions import DataError, ModelError

if TYPE_CHECKING:
    import numpy as np

    from latentmap.data.columns import Table
    from latentmap.data.sources import Source

ORIGIN = "data.json"

BLOCK_VALUES = 2**22
"""The values of rows that are read at a time, where not all fit in memory."""


@dataclass(frozen=True)
class Origin:
    """The origin of the rows of a run: path or name of the data, its labels, the names of its columns.

    ``skip_bad`` is whether images that cannot be read were left out.
    """

    data: str
    labels: str | None
    columns: list[str] | None
    skip_bad: bool = False

    @classmethod
    def of(cls, data: str | Path, source: Source, *, skip_bad: bool = False) -> Origin:
        """Return the origin of a source that was opened by a path or name."""
        names = source.schema.names
        path = str(data) if data in DATASETS or is_remote(data) else os.path.abspath(os.path.expanduser(data))
        return cls(path, source.label_name, None if names is None else list(names), skip_bad)

    @classmethod
    def read(cls, run: Path) -> Origin | None:
        """Return the origin that `write` wrote to a run folder; None for a run that was saved in Python."""
        path = run / ORIGIN
        if not path.exists():
            return None
        try:
            origin = cls(**read_json(path))
            named = origin.columns is None or all(isinstance(name, str) for name in origin.columns)
            if not (isinstance(origin.data, str) and isinstance(origin.labels, str | None) and named):
                raise ValueError("expected names")
        except (OSError, TypeError, ValueError) as error:
            raise ModelError(f"{path} cannot be read ({error}); remove it, and give the data by name") from error
        return origin

    def write(self, run: Path) -> None:
        """Write the origin to a run folder."""
        write_json(run / ORIGIN, asdict(self))


def save_run(estimator: Any, origin: Origin, folder: Path) -> None:
    """Save a model and the origin of its rows; an existing run is replaced, and its report deleted."""
    fresh = not folder.exists()
    try:
        estimator.save(folder)
    finally:
        if fresh:
            with contextlib.suppress(OSError):  # the folder holds a run
                folder.rmdir()
    (folder / "report.html").unlink(missing_ok=True)
    shutil.rmtree(folder / "figures", ignore_errors=True)
    origin.write(folder)


def load_run(run: Path, given: str | None) -> Any:
    """Return the model of a run, for the value of ``--given``; that of a table takes rows of numbers, as in files."""
    from latentmap.estimators.columns import numbers

    return condition_in(numbers(latentmap.load(run))[0], given)


def load_decoder(run: Path, given: str | None) -> Any:
    """Return a model that decodes; a conditional model needs ``--given``."""
    estimator = load_run(run, given)
    if estimator.needs_y_:
        condition = "one of its labels" if estimator.has_labels_ else "its covariates"
        raise UsageError(f"{run} is conditioned on {estimator.condition}: give {condition} with --given")
    return estimator


def column_names(run: Path, estimator: Any) -> list[str]:
    """Return the names of the features, by default x0, x1, ..."""
    origin = Origin.read(run)
    if origin is not None and origin.columns is not None:
        return origin.columns
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{i}" for i in range(estimator.n_features_in_)] if names is None else list(names)


@dataclass(frozen=True)
class RunRows:
    """Rows for the model of a run: all at once, or block by block if they do not fit in memory."""

    source: Source
    estimator: Any
    order: list[int] | None
    """The index in the source of each column of the fit, if both have names."""
    in_memory: bool

    def all(self) -> np.ndarray[Any, Any]:
        """Return all rows."""
        return self._ordered(self.source.read(slice(None)))

    def blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        """Yield blocks of all rows in order."""
        if self.in_memory:
            yield self.all()
            return
        rows = LazyRows(self.source, self.estimator.n_features_in_, missing=self.estimator.takes_missing_)
        for _, block in rows.pieces(max(1, BLOCK_VALUES // rows.shape[1])):
            yield self._ordered(block).reshape(len(block), *self.estimator.event_shape_)

    def with_labels(self, *, whole: bool = False) -> Iterator[tuple[np.ndarray[Any, Any], Any]]:
        """Yield blocks of rows in order, or all rows at once, with labels if the model is conditioned on them."""
        labels = self.source.labels if self.estimator.condition_ is not None and self.estimator.given_ is None else None
        start = 0
        for block in iter([self.all()]) if whole else self.blocks():
            yield block, None if labels is None else conditions(labels[start : start + len(block)])
            start += len(block)

    def _ordered(self, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return block if self.order is None else block[:, self.order]


def open_rows(run: Path, estimator: Any, data: str | Path | None = None, labels: str | None = None) -> RunRows:
    """Return rows for a run, by default its own: with the labels and the order of columns of its own data."""
    origin = Origin.read(run)
    path = data if data is not None or origin is None else origin.data
    if path is None:
        raise UsageError(f"{run} does not say which data it was fitted to: give DATA after it")
    source = _open(path, labels, origin, estimator.table_)
    in_memory = fits(source, read_memory(estimator.memory))
    if estimator.needs_y_ and source.labels is None:
        raise UsageError(
            f"{run} is conditioned on {estimator.condition}, and {source.name} has none: "
            "name their column with --labels, or give one for all rows with --given"
        )
    if in_memory:
        require_finite(source, missing=estimator.takes_missing_)
        if data is None and content_hash(source, source.schema) != estimator.data_fingerprint_:
            note(f"{source.name} has changed since the fit")
    columns, names = None if origin is None else origin.columns, source.names
    if columns is not None and names is not None:
        _check_columns(source.name, names, columns)
        return RunRows(source, estimator, [names.index(name) for name in columns], in_memory)
    event, fitted = source.first.shape[1:], tuple(estimator.event_shape_)
    if event != fitted and event != (estimator.n_features_in_,):  # images may come flat
        message = f"{source.name} has rows of {shape_in_words(event)}, expected {shape_in_words(fitted)}"
        raise DataError(f"{message}, as those that {run} was fitted to")
    return RunRows(source, estimator, None, in_memory)


def shown_rows(rows: RunRows) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, Any]:
    """Return the rows for a report, their labels, and their indices: a sample if not all fit in memory."""
    labels = rows.source.labels
    if rows.in_memory:
        return rows.all(), labels, slice(None)
    numbers, block = sampled(rows.source, 2 * BLOCK_VALUES)
    order = slice(None) if rows.order is None else rows.order
    return block[:, order], None if labels is None else labels[numbers], numbers


def _check_columns(name: str, names: Sequence[str], expected: Sequence[str]) -> None:
    for verb, columns, others, end in (("lacks", expected, names, ""), ("has", names, expected, " not; drop them")):
        differing = [repr(column) for column in columns if column not in others]
        if differing:
            listed = f"{'column' if len(differing) == 1 else 'columns'} {', '.join(differing[:5])}"
            raise DataError(f"{name} {verb} {listed}, which the data of the run had{end}")


def _open(path: str | Path, labels: str | None, origin: Origin | None, table: Table | None) -> Source:
    skip = origin is not None and origin.skip_bad
    if labels is None and origin is not None and origin.labels is not None:
        with contextlib.suppress(DataError):  # new rows may come without labels
            return open_source(path, origin.labels, table, skip_bad=skip, numeric=table is None)
    return open_source(path, labels, table, skip_bad=skip, numeric=table is None)
