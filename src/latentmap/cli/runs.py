"""Runs: their models, the origin of their data, and rows for their models."""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import latentmap
from latentmap.cli.conditions import condition_in, conditions
from latentmap.cli.describe import shape_in_words
from latentmap.cli.outputs import or_elsewhere
from latentmap.cli.request import absolute
from latentmap.cli.terminal import UsageError, note, say
from latentmap.data.columns import Table
from latentmap.data.files import as_json, write_new
from latentmap.data.formats.unpacked import within
from latentmap.data.number_tables import is_open, table_of_numbers, typed
from latentmap.data.reading import read_json
from latentmap.data.rows import LazyRows
from latentmap.data.schema import content_hash
from latentmap.data.selection import INDEX, Selection, ignored_in_words
from latentmap.data.sources import open_source, require_finite
from latentmap.data.streaming import fits, read_memory, sampled
from latentmap.data.temporary import remove
from latentmap.data.typed import made
from latentmap.estimators.run_folder import CHECKPOINTS, REPORT, replaced_run, shell_command
from latentmap.exceptions import DataError, ModelError
from latentmap.messages import error_line

if TYPE_CHECKING:
    import numpy as np

    from latentmap.data.sources import Source
    from latentmap.data.writing import Key

ORIGIN = "data.json"

BLOCK_VALUES = 2**22
"""The values of rows that are read at a time, where not all fit in memory."""


@dataclass(frozen=True)
class Origin:
    """The origin of the rows of a run: path or name of the data, its labels, the names of its columns.

    ``skip_bad`` is whether images that cannot be read were left out, ``id`` the column that tells the rows apart.
    """

    data: str
    labels: str | None
    columns: list[str] | None
    skip_bad: bool = False
    id: str | None = None

    @classmethod
    def of(cls, data: str | Path, source: Source, *, skip_bad: bool = False, row_id: str | None = None) -> Origin:
        """Return the origin of a source that was opened by a path or name."""
        names = source.schema.names
        return cls(absolute(data), source.label_name, None if names is None else list(names), skip_bad, row_id)

    @classmethod
    def read(cls, run: Path) -> Origin | None:
        """Return the origin that `write` wrote to a run folder; None for a run that was saved in Python."""
        path = run / ORIGIN
        if not path.exists():
            return None
        try:
            return made(cls, read_json(path), "it")
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read ({error}); remove it, and give the data by name") from error

    def write(self, run: Path) -> None:
        """Write the origin to a new folder."""
        write_new(run / ORIGIN, as_json(asdict(self)))


def save_run(
    estimator: Any,
    origin: Origin,
    output: Path,
    draw: Callable[[Path], bool] | None = None,
    *,
    unfinished: bool = False,
    check: Callable[[], None] | None = None,
) -> Path | None:
    """Replace a run as a whole by a model, the origin of its rows, and its report, and return the path of the report.

    ``draw`` writes the report to a folder, and returns False for a model that has none. Where it fails, the model is
    kept without a report. The checkpoints of the fit stay where it is ``unfinished``. Where the folder cannot be
    written to, or a ``check`` of it fails, the model is written to another one, which the error names.
    """
    failure: BaseException | None = None
    drawn = False
    write, keep = partial(_write_run, estimator, origin), (CHECKPOINTS,) if unfinished else ()
    with or_elsewhere(output, write), _checked_run(output, keep, check) as folder:
        write(folder)
        try:
            drawn = draw is not None and draw(folder)
        except BaseException as error:  # Ctrl-C and `Stopped` too
            failure = error
            for name in REPORT:
                remove(folder / name)
    say(f"saved the run in {output}")
    if isinstance(failure, Exception):
        cause = f"{type(failure).__name__}: {error_line(failure)}".replace(str(folder), str(output))
        raise DataError(f"the run has no report ({cause}); {shell_command('report', output)} writes it") from failure
    if failure is not None:
        raise failure
    if not drawn:
        return None
    say(f"wrote {output / REPORT[0]}")
    return output / REPORT[0]


@contextlib.contextmanager
def _checked_run(output: Path, keep: Sequence[str], check: Callable[[], None] | None) -> Iterator[Path]:
    """Yield the new folder of a run, if a check of the old one passes."""
    if check is not None:
        check()
    with replaced_run(output, keep) as folder:
        yield folder


def _write_run(estimator: Any, origin: Origin, folder: Path) -> None:
    """Write a model, with the names of its columns, and the origin of its rows, to an empty folder."""
    from latentmap.estimators.persistence import write

    estimator = copy.copy(estimator)
    estimator.state_ = replace(estimator.state_, trainer=None)  # checkpoints hold it, where it is of use
    if origin.columns is not None:  # rows of numbers came to the fit without them
        schema = replace(estimator.data_schema_, names=tuple(origin.columns))
        estimator.state_ = replace(estimator.state_, data_schema=schema)
    write(estimator, folder)
    origin.write(folder)


def load_run(run: Path, given: str | None, embed: Sequence[str] = ()) -> Any:
    """Return the model of a run, for the values of ``--given`` and ``--embed``; that of a table takes numbers."""
    from latentmap.cli.embeddings import read_embeddings
    from latentmap.estimators.columns import numbers

    return condition_in(numbers(latentmap.load(run, embeddings=read_embeddings(embed)))[0], given)


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
    in_memory: bool
    key: Key | None = None
    """What tells the rows apart in the files that are written: the id, or their numbers where some were left out."""
    changed: bool = False
    """Whether they are known to differ from those that the run was fitted to, of which they have the name."""

    def number(self, row: int) -> int:
        """Return the number of a row in the data, from 1."""
        return 1 + (row if self.source.numbers is None else int(self.source.numbers[row]))

    def all(self) -> np.ndarray[Any, Any]:
        """Return all rows."""
        return self.source.read(slice(None))

    def blocks(self, part: range | None = None) -> Iterator[np.ndarray[Any, Any]]:
        """Yield blocks of all rows in order, or of a part of `Source.parts`."""
        if self.in_memory:
            yield self.source.read(slice(None) if part is None else slice(part.start, part.stop))
            return
        rows = LazyRows(self.source, self.source.first.size, missing=self.estimator.takes_missing_)
        for _, block in rows.pieces(max(1, BLOCK_VALUES // rows.shape[1]), part):
            yield block.reshape(len(block), *self.estimator.event_shape_)

    def with_labels(
        self, *, whole: bool = False, part: range | None = None
    ) -> Iterator[tuple[np.ndarray[Any, Any], Any]]:
        """Yield blocks of rows in order, or all rows at once, with labels if the model is conditioned on them."""
        labels = self.source.labels if self.estimator.condition_ is not None and self.estimator.given_ is None else None
        start = 0 if part is None else part.start
        for block in iter([self.all()]) if whole else self.blocks(part):
            yield block, None if labels is None else conditions(labels[start : start + len(block)])
            start += len(block)


def open_rows(
    run: Path,
    estimator: Any,
    data: str | Path | None = None,
    labels: str | None = None,
    row_id: str | None = None,
    beside: Sequence[str] = (),
    *,
    every: bool = False,
    by_block: bool = False,
    skip_bad: bool = False,
) -> RunRows:
    """Return rows for a run, by default its own: with the labels, the id and the order of columns of its own data.

    Columns that the run does not have are ignored, with a note; the values of those ``beside`` are in the source. With
    ``every`` column to be written again, row names are the key where there is no id, and labels that the model does not
    need are a column like any other. ``by_block`` reads and checks them so, though they may fit in memory. Images that
    cannot be read are left out with ``skip_bad``, or where the fit left out such.
    """
    origin = Origin.read(run)
    path = data if data is not None or origin is None else origin.data
    if path is None:
        raise UsageError(f"{run} does not say which data it was fitted to: give DATA after it")
    columns = _columns(origin, estimator)
    selection = _selection(origin, columns, row_id, beside)
    if (
        every
        and not selection.left_out
        and INDEX not in (*(columns or ()), *(estimator.table_.order if estimator.table_ is not None else ()))
    ):
        selection = replace(selection, beside=(*beside, INDEX), left_out=(INDEX,), optional=(INDEX,))
    named = replace(origin, labels=None) if every and origin is not None and not estimator.needs_y_ else origin
    skip_bad = skip_bad or (origin is not None and origin.skip_bad)
    with within(estimator.memory):
        source = _open(path, labels, named, estimator, selection, every=every, skip_bad=skip_bad)
    in_memory, changed = not by_block and fits(source, read_memory(estimator.memory)), False
    if estimator.needs_y_ and source.labels is None:
        raise UsageError(
            f"{run} is conditioned on {estimator.condition}, and {source.name} has none: "
            "name their column with --labels, or give one for all rows with --given"
        )
    if in_memory:
        require_finite(source, missing=estimator.takes_missing_)
        if changed := data is None and content_hash(source, source.schema) != estimator.data_fingerprint_:
            note(f"{source.name} has changed since the fit")
    if source.ignored:
        note(ignored_in_words(source.ignored, source.name))
    if source.converted:
        note(f"{source.name}: {source.converted}")
    event, fitted = source.first.shape[1:], tuple(estimator.event_shape_)
    if event != fitted and event != (estimator.n_features_in_,):  # images may come flat
        message = f"{source.name} has rows of {shape_in_words(event)}, expected {shape_in_words(fitted)}"
        raise DataError(f"{message}, as those that {run} was fitted to")
    return RunRows(source, estimator, in_memory, _key(source, row_id, origin), changed)


def _columns(origin: Origin | None, estimator: Any) -> list[str] | None:
    """Return the names of the columns of a fit, or None."""
    if origin is not None:
        return origin.columns
    names = getattr(estimator, "feature_names_in_", None)
    return None if names is None else list(names)


def _selection(
    origin: Origin | None, columns: list[str] | None, row_id: str | None, beside: Sequence[str]
) -> Selection:
    """Return the columns of new data to read."""
    expected = () if origin is None else tuple(name for name in (origin.labels, origin.id) if name is not None)
    own = None if origin is None else origin.id
    ids = tuple(name for name in (row_id or own,) if name is not None)
    optional = ids if row_id is None else ()
    wanted = None if columns is None else tuple(columns)
    return Selection((*ids, *beside), ids, wanted, expected, optional)


def _key(source: Source, row_id: str | None, origin: Origin | None) -> Key | None:
    """Return what tells the rows of a source apart, or None where it is their order."""
    from latentmap.data.writing import Key

    name = row_id or (None if origin is None else origin.id)
    if name is not None and name in source.beside:
        return Key(name, source.beside[name])
    if name is None and INDEX in source.beside:
        return Key(INDEX, source.beside[INDEX])
    if name is not None:
        note(f"{source.name} has no column {name!r}, the id of the fit; rows are written in their order, without one")
    return None if source.numbers is None else Key("row", source.numbers + 1)


def shown_rows(rows: RunRows) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any] | None, Any]:
    """Return the rows for a report, their labels, and their indices: a sample if not all fit in memory."""
    labels = rows.source.labels
    if rows.in_memory:
        return rows.all(), labels, slice(None)
    numbers, block = sampled(rows.source, 2 * BLOCK_VALUES)
    return block, None if labels is None else labels[numbers], numbers


def _open(
    path: str | Path,
    labels: str | None,
    origin: Origin | None,
    estimator: Any,
    selection: Selection,
    *,
    every: bool,
    skip_bad: bool,
) -> Source:
    """Open the data of a run, or like them; with ``every`` column of a table, also where the fit was one of numbers."""
    table: Table | None = estimator.table_
    options: dict[str, Any] = {"skip_bad": skip_bad, "selection": selection, "like": estimator.data_schema_}
    if every and table is None and selection.wanted is not None:
        with contextlib.suppress(DataError):  # of which the next call tells more
            source = _opened(path, labels, origin, table_of_numbers(selection.wanted), options)
            if source.table is not None and is_open(source.table):
                source.table = typed(source.table, source.cells)
            return source
    return _opened(path, labels, origin, table, options)


def _opened(
    path: str | Path, labels: str | None, origin: Origin | None, table: Table | None, options: dict[str, Any]
) -> Source:
    options = {"columns": table, "numeric": table is None, **options}
    if labels is None and origin is not None and origin.labels is not None:
        with contextlib.suppress(DataError):  # new rows may come without labels
            return open_source(path, origin.labels, **options)
    return open_source(path, labels, **options)
