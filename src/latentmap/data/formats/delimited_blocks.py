"""Delimited text that is larger than memory: converted once, block by block, to parquet that is read in place."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from latentmap.data.checks import EXACT
from latentmap.data.columns import Cells, Requested, dropped_in
from latentmap.data.formats.arrays import joined_notes
from latentmap.data.formats.base import Request, Source
from latentmap.data.formats.delimited_arrow import diagnose, opened, options
from latentmap.data.formats.delimited_columns import samples_of
from latentmap.data.formats.delimited_fast import ISO, numbers_of, whole_numbers
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.formats.parquet import parquet_source
from latentmap.data.selection import Selection
from latentmap.exceptions import DataError

if TYPE_CHECKING:
    from latentmap.data.formats.delimited import Plan

ROWS = 2**16
"""The rows of a row group: few enough to shuffle well."""
BLOCK = 2**24
RETRIES = 3
"""How many columns may turn out to be other than their first cells, before all are read as text."""


def block_source(plan: Plan, request: Request) -> Source:
    """Return a source of a delimited file that stays on the disk, as parquet in a temporary folder.

    The folder is deleted with the source, and holds about half of what the file does.
    """
    columns = request.columns
    missing = columns.missing if columns is not None else ()
    folder = Path(tempfile.mkdtemp(prefix="latentmap-"))
    path = folder / "table.parquet"
    try:
        _convert(plan, path, missing)
        kept = Selection(wanted=tuple(plan.names[i] for i, one in plan.settings.items() if one.kind != "drop"))
        asked = columns.without(dropped_in(columns)) if isinstance(columns, Requested) else columns
        source = parquet_source(Request(path, request.labels, str(path), asked, selection=kept))
    except DataError as error:
        shutil.rmtree(folder, ignore_errors=True)
        raise DataError(str(error).replace(str(path), str(plan.file.path))) from error
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    weakref.finalize(source, shutil.rmtree, folder, ignore_errors=True)
    source.name = str(plan.file.path)
    source.remark = joined_notes([*plan.notes, source.remark])
    return source


class _OtherTypeError(Exception):
    """A column of numbers, ``i``, that holds something else."""

    def __init__(self, i: int) -> None:
        super().__init__(i)
        self.i = i


def _convert(plan: Plan, path: Path, missing: tuple[str, ...]) -> None:
    """Write the columns of a file as parquet; those that turn out to be others are written again as text."""
    lib = pyarrow_module("lib")
    text = lib.string()
    types = {i: _type_of(one) for i, one in samples_of(plan).items()}
    types |= {} if plan.label is None else {plan.label: text}
    others = 0
    for _ in range(len(types) + 2):
        try:
            _write(plan, path, types, missing)
            return
        except _OtherTypeError as error:
            others += 1
            types[error.i] = text
            if others >= RETRIES:
                types = {i: text if type_ in _numbers() else type_ for i, type_ in types.items()}
        except lib.ArrowInvalid as error:
            if "invalid UTF8" in str(error):
                raise UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid byte") from error
            if not (column := re.match(r"In CSV column #(\d+)", str(error))):
                diagnose(plan)
                raise
            types[int(column[1])] = text


def _type_of(sample: Cells) -> Any:
    """Return the type in which a column is read, as its first cells are."""
    lib = pyarrow_module("lib")
    if not sample.numeric or sample.note or not len(sample.present):
        return lib.string()
    if sample.format is None:
        return lib.int64() if sample.type == "Int64" else lib.float64()
    # times are read as text: pyarrow takes some without seconds, or days alone, as such
    return lib.date32() if sample.type == "Date" and sample.format.pattern == ISO else lib.string()


def _numbers() -> dict[Any, Callable[[Any], Any]]:
    """Return functions that read text as numbers, or return None, by their types."""
    lib = pyarrow_module("lib")

    def fractions(array: Any) -> Any:
        values = numbers_of(array, None)
        if values is None or ((np.abs(values) >= EXACT) & np.isfinite(values)).any():
            return None
        return lib.array(values, from_pandas=True)

    return {lib.int64(): whole_numbers, lib.float64(): fractions}


def _write(plan: Plan, path: Path, types: dict[int, Any], missing: tuple[str, ...]) -> None:
    csv, parquet, lib = (pyarrow_module(name) for name in ("csv", "parquet", "lib"))
    names = {str(i): plan.names[i] for i in sorted(types)}
    numbers = {str(i): _numbers()[type_] for i, type_ in types.items() if type_ in _numbers()}
    read = {i: lib.string() if str(i) in numbers else type_ for i, type_ in types.items()}
    with opened(plan) as stream:
        reader = csv.open_csv(stream, *options(plan, read, missing, multiline=True, block=BLOCK))
        schema = lib.schema([(names[field.name], types[int(field.name)]) for field in reader.schema])
        with parquet.ParquetWriter(path, schema) as writer:
            for batch in reader:
                columns = []
                for field, column in zip(reader.schema, batch.columns, strict=True):
                    columns.append(numbers.get(field.name, lambda text: text)(column))
                    if columns[-1] is None:
                        raise _OtherTypeError(int(field.name))
                writer.write_table(lib.Table.from_arrays(columns, schema=schema), row_group_size=ROWS)
