"""Runs: their models, where their rows came from, and rows that fit them."""

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
"""Values of rows that are taken at a time where not all fit in memory."""


@dataclass(frozen=True)
class Origin:
    """Where the rows of a run came from: a path or the name of a data set, its labels, the names of its columns.

    And whether images that cannot be read were left out.
    """

    data: str
    labels: str | None
    columns: list[str] | None
    skip_bad: bool = False

    @classmethod
    def of(cls, data: str, source: Source, *, skip_bad: bool = False) -> Origin:
        """Describe a source that was opened by a path or name."""
        names = source.schema.names
        place = data if data in DATASETS else os.path.abspath(os.path.expanduser(data))
        return cls(place, source.label_name, None if names is None else list(names), skip_bad)

    @classmethod
    def read(cls, run: Path) -> Origin | None:
        """Read what `write` left in a run folder; None in a run that was saved in Python."""
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
        """Leave it in a run folder."""
        write_json(run / ORIGIN, asdict(self))


def save_run(estimator: Any, origin: Origin, folder: Path) -> None:
    """Save a model and where its rows came from; a run that is there is replaced, and its report goes."""
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


def load_run(run: Path, given: str | None) -> Any:
    """Load the model of a run, for the value of ``--given``; one of a table takes numbers, which is what files hold."""
    from latentmap.estimators.columns import numbers

    return condition_in(numbers(latentmap.load(run))[0], given)


def load_decoder(run: Path, given: str | None) -> Any:
    """Load a model that is to decode; a conditional one needs ``--given``."""
    estimator = load_run(run, given)
    if estimator.needs_y_:
        what = "one of its labels" if estimator.has_labels_ else "its covariates"
        raise UsageError(f"{run} is conditioned on {estimator.condition}: give {what} with --given")
    return estimator


def column_names(run: Path, estimator: Any) -> list[str]:
    """Return the names of the features: those of the data, else numbered."""
    origin = Origin.read(run)
    if origin is not None and origin.columns is not None:
        return origin.columns
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{i}" for i in range(estimator.n_features_in_)] if names is None else list(names)


@dataclass(frozen=True)
class RunRows:
    """Rows for a run, as its model takes them: all at once, or block by block where they do not fit in memory."""

    source: Source
    estimator: Any
    order: list[int] | None
    """Where each column of the fit is among those of the source, if both have names."""
    in_memory: bool

    def all(self) -> np.ndarray[Any, Any]:
        """Every row."""
        return self._ordered(self.source.read(slice(None)))

    def blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        """All rows in order."""
        if self.in_memory:
            yield self.all()
            return
        rows = LazyRows(self.source, self.estimator.n_features_in_, missing=self.estimator.takes_missing_)
        for _, block in rows.pieces(max(1, BLOCK_VALUES // rows.shape[1])):
            yield self._ordered(block).reshape(len(block), *self.estimator.event_shape_)

    def with_labels(self, *, whole: bool = False) -> Iterator[tuple[np.ndarray[Any, Any], Any]]:
        """All rows in order, or as a whole, with their labels where the model is conditioned on labels."""
        labels = self.source.labels if self.estimator.condition_ is not None and self.estimator.given_ is None else None
        start = 0
        for block in iter([self.all()]) if whole else self.blocks():
            yield block, None if labels is None else conditions(labels[start : start + len(block)])
            start += len(block)

    def _ordered(self, block: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        return block if self.order is None else block[:, self.order]


def open_rows(run: Path, estimator: Any, data: str | None = None, labels: str | None = None) -> RunRows:
    """Open data for a run: with the label column that its own data had, and its columns in their order.

    Without data, those of the run.
    """
    origin = Origin.read(run)
    place = data if data is not None or origin is None else origin.data
    if place is None:
        raise UsageError(f"{run} does not say which data it was fitted to: give DATA after it")
    source = _open(place, labels, origin, estimator.table_)
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
        came = f"{source.name} has rows of {shape_in_words(event)}"
        raise DataError(f"{came}, expected {shape_in_words(fitted)}, as those that {run} was fitted to")
    return RunRows(source, estimator, None, in_memory)


def shown_rows(rows: RunRows) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None]:
    """Return the rows that a report shows, and their labels: some of them where not all fit in memory."""
    labels = rows.source.labels
    if rows.in_memory:
        return rows.all(), labels
    numbers, block = sampled(rows.source, 2 * BLOCK_VALUES)
    order = slice(None) if rows.order is None else rows.order
    return block[:, order], None if labels is None else labels[numbers]


def _check_columns(name: str, names: Sequence[str], expected: Sequence[str]) -> None:
    for verb, some, others, end in (("lacks", expected, names, ""), ("has", names, expected, " not; drop them")):
        odd = [repr(column) for column in some if column not in others]
        if odd:
            columns = f"{'column' if len(odd) == 1 else 'columns'} {', '.join(odd[:5])}"
            raise DataError(f"{name} {verb} {columns}, which the data of the run had{end}")


def _open(place: str, labels: str | None, origin: Origin | None, table: Table | None) -> Source:
    skip = origin is not None and origin.skip_bad
    if labels is None and origin is not None and origin.labels is not None:
        with contextlib.suppress(DataError):  # new rows may come without labels
            return open_source(place, origin.labels, table, skip_bad=skip)
    return open_source(place, labels, table, skip_bad=skip)
