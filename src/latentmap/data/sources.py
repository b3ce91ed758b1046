"""One function that opens all data: arrays, tensors, frames, files, data sets by name; and checks of what it opens."""

from __future__ import annotations

import contextlib
import os
import shutil
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmap.data.checks import invalid, place, require_known
from latentmap.data.columns import ColumnSpec, Requested, Table
from latentmap.data.datasets import DATASETS, dataset_source
from latentmap.data.fetching import fetched, is_remote
from latentmap.data.formats.annotated import annotated_source, h5ad_source
from latentmap.data.formats.arrays import ArraySource, any_array, array_source
from latentmap.data.formats.base import Request, Source, reading
from latentmap.data.formats.by_name import columns_by_name
from latentmap.data.formats.databases import database_source
from latentmap.data.formats.delimited import delimited_source
from latentmap.data.formats.frames import frame_source
from latentmap.data.formats.idx import IdxSource
from latentmap.data.formats.images import ENDINGS, ImageFolderSource, image_files
from latentmap.data.formats.items import items_source
from latentmap.data.formats.json_tables import json_source
from latentmap.data.formats.loaders import loader_source
from latentmap.data.formats.npy import NpySource
from latentmap.data.formats.npz import NpzSource
from latentmap.data.formats.parquet import parquet_files, parquet_source
from latentmap.data.formats.signatures import PACKED, require_ending
from latentmap.data.formats.sparse import sparse_source
from latentmap.data.formats.tables import arrow_source
from latentmap.data.formats.unpacked import within
from latentmap.data.formats.workbooks import workbook_source
from latentmap.data.formats.zarr import zarr_source
from latentmap.data.frames import empty_frame
from latentmap.data.reading import require_plain
from latentmap.data.remote import is_local, remote_path
from latentmap.data.schema import Schema, blocks
from latentmap.data.selection import ALL_COLUMNS, Selection
from latentmap.exceptions import DataError
from latentmap.messages import suggest

__all__ = ["FORMATS", "Source", "holds_rows", "open_source", "require_finite", "require_values"]

TEXTS = (".csv", ".tsv", ".txt", ".dat", ".tab", ".fwf", ".data")
"""The endings of text tables, and of compressed ones after them."""

FORMATS: dict[str, Callable[..., Source]] = {
    ".npy": NpySource,
    ".npz": NpzSource,
    **{name + end: delimited_source for name in TEXTS for end in ("", *PACKED)},
    **dict.fromkeys(PACKED, delimited_source),
    ".parquet": parquet_source,
    ".arrow": arrow_source,
    ".feather": arrow_source,
    ".h5ad": h5ad_source,
    ".zarr": zarr_source,
    **dict.fromkeys((".xlsx", ".xlsm", ".xlsb", ".xls", ".ods"), workbook_source),
    **dict.fromkeys((".json", ".jsonl", ".ndjson", ".json.gz", ".jsonl.gz", ".ndjson.gz"), json_source),
    **dict.fromkeys((".sqlite", ".sqlite3", ".db", ".duckdb"), database_source),
    "-ubyte": IdxSource,
    "-ubyte.gz": IdxSource,
}
"""Functions that open a file, by the end of its name; all their errors are `LatentmapError`s."""

ADAPTERS: tuple[Callable[[Request], Source | None], ...] = (
    array_source,
    frame_source,
    sparse_source,
    annotated_source,
    loader_source,
    items_source,
)
"""Functions that open data in memory, tried in this order; a new kind of input is one adapter."""

KNOWN = f"files that end in {', '.join(end for end in FORMATS if not end.endswith(PACKED))}"
TABLES = (delimited_source, parquet_source, arrow_source, workbook_source, json_source, database_source)
"""Those of a `Request`; the others are of path and labels."""
MANY = (NpzSource, h5ad_source, zarr_source, workbook_source, database_source)
"""Those of files of several arrays or tables, of which ``PATH::NAME`` takes one."""


def open_source(
    data: Any,
    labels: str | ArrayLike | None = None,
    columns: ColumnSpec = None,
    *,
    skip_bad: bool = False,
    numeric: bool = False,
    name: str = "X",
    selection: Selection = ALL_COLUMNS,
    memory: str | int | None = None,
    like: Schema | None = None,
) -> Source:
    """Return a source of data of any kind.

    Parameters
    ----------
    data
        An array or tensor of shape (n, *event), a data frame, a sparse matrix, an ``AnnData``, a map-style data set of
        PyTorch or Hugging Face, a ``DataLoader`` of one, a `Source`, the path of a file or of a folder of images or
        ``.parquet`` files, or the name of a data set; ``-`` is a text table on standard input, and addresses such as
        ``https://...`` are fetched by fsspec. ``PATH::NAME`` takes one array or table of a file of several: a layer of
        a ``.h5ad`` or a sheet of an ``.xlsx``, for instance.
    labels
        The name of the column (or ``.npz`` member) with the labels, or one label a row.
    columns
        For a table: the columns of the fit, or settings of columns.
    skip_bad
        Whether to leave out the images of a folder that cannot be read, and list them in ``remark``.
    numeric
        Whether a data frame must hold only numbers, as that of the fit did.
    name
        What errors call data in memory.
    selection
        Columns of a table to read, and those whose values are read beside the rows; by default all, or with the columns
        of a fit only these.
    memory
        Memory that the content of a packed file, or a block of a larger one, may take; by default a quarter of what is
        free.
    like
        The schema of a fit, in whose size and colours images of a folder are read.

    Raises
    ------
    DataError
        If there is no such file or data set, its format is unknown, or it does not hold rows of numbers.

    Examples
    --------
    >>> source = open_source("digits")
    >>> source.schema.event_shape, source.labels[:3].tolist()
    ((8, 8), [0, 1, 2])
    """
    if isinstance(columns, Table):
        selection = selection.of_table(columns)
    if isinstance(columns, Requested):
        columns = columns.without([*selection.left_out, *([labels] if isinstance(labels, str) else [])])
    if isinstance(data, str) and data in DATASETS:
        return _with_beside(dataset_source(data, labels=labels), data, selection)
    options: dict[str, Any]
    if is_remote(data):
        if (remote := _in_place(data)) is not None:
            path, member = remote
            with within(memory), reading(path, path.suffix or "data"):
                options = {"labels": labels, "columns": columns, "selection": selection, "numeric": numeric}
                if path.suffix.lower() == ".zarr" or path.is_file():
                    return _open_file(path, member, named=False, **options)
                return _open_folder(path, **options)
        with fetched(data) as path:
            options = {"skip_bad": skip_bad, "numeric": numeric, "selection": selection, "memory": memory, "like": like}
            source = open_source(path, labels, columns, **options)
        weakref.finalize(source, shutil.rmtree, path.parent, ignore_errors=True)
        source.name, source.files = data, ()  # a copy, whose time says nothing
        return source
    if isinstance(data, str | os.PathLike):
        path = Path(data).expanduser()
        with within(memory), reading(path, path.suffix or "data"):
            named = isinstance(data, str) and data == path.name
            path, member = (path, None) if path.exists() else _member(path)
            if path.is_file() and path.suffix.lower() in ENDINGS:
                return _open_images(path, labels, selection, skip_bad=skip_bad, like=like)
            if path.is_dir() and path.suffix.lower() != ".zarr":
                options = {"skip_bad": skip_bad, "numeric": numeric, "like": like}
                return _open_folder(path, labels, columns, selection, **options)
            return _open_file(
                path, member, named=named, labels=labels, columns=columns, selection=selection, numeric=numeric
            )
    if isinstance(data, Source):
        if labels is not None:
            raise DataError(f"{data.name} is a source with labels of its own: give labels where it is opened")
        return columns_by_name(data, selection)
    request = Request(data, labels, name, columns, numeric, selection)
    source = next((made for adapt in ADAPTERS if (made := adapt(request)) is not None), None) or any_array(request)
    source.in_memory = not isinstance(data, np.memmap)
    return columns_by_name(_with_beside(source, data, selection), selection)


def require_finite(
    data: Source | NDArray[Any], name: str | None = None, *, missing: bool = False, advice: str = ""
) -> None:
    """Raise if a value is infinite or, unless values may be ``missing``, NaN.

    Examples
    --------
    >>> require_finite(np.array([[0.0, 1.0], [np.nan, 2.0]]), "X")
    Traceback (most recent call last):
    latentmap.exceptions.DataError: X contains 1 NaN value, the first at index [1, 0]; fill or drop it before fitting
    """
    source: Source = ArraySource(data, name=name or "X") if isinstance(data, np.ndarray) else data
    schema = source.schema
    nan = 0 if missing else schema.missing
    bad = nan + schema.infinite
    if not bad:
        return
    masks = ((start, invalid(block, missing=missing)) for start, block in blocks(source))
    first = next(place(np.argwhere(mask)[0], start, schema.names) for start, mask in masks if mask.any())
    kinds = " and ".join(f"{count} {kind}" for count, kind in ((nan, "NaN"), (schema.infinite, "infinite")) if count)
    values, them = ("value", "it") if bad == 1 else ("values", "them")
    advice = advice if nan and advice else f"fill or drop {them} before fitting"
    raise DataError(f"{name or source.name} contains {kinds} {values}, the first at {first}; {advice}")


def require_values(source: Source) -> None:
    """Raise if all values of a column are missing.

    >>> require_values(ArraySource(np.array([[1.0, np.nan], [2.0, np.nan]]), name="X"))
    Traceback (most recent call last):
    latentmap.exceptions.DataError: X holds no value in column 1: drop what is missing in every row
    """
    if not source.schema.missing:
        return
    some = np.logical_or.reduce([~np.isnan(block).all(0) for _, block in blocks(source)])
    if some.all():
        return
    names = source.schema.names
    empty = [", ".join(map(str, at)) if names is None else repr(names[at[0]]) for at in np.argwhere(~some)[:5]]
    raise DataError(f"{source.name} holds no value in column {', '.join(empty)}: drop what is missing in every row")


def holds_rows(folder: Path) -> bool:
    """Return whether a folder is one that `open_source` reads: of images, of ``.parquet`` files, or of Zarr."""
    return folder.suffix == ".zarr" or bool(parquet_files(folder) or image_files(folder))


def _in_place(data: str) -> tuple[Any, str | None] | None:
    """Return path and member of remote data that are read where they lie, or None of those that are copied."""
    file, mark, member = data.rpartition("::")
    address, name = (file, member) if mark and "://" not in member else (data, None)
    if (path := remote_path(address)) is None:
        return None
    lies = path.suffix.lower() in (".parquet", ".zarr") or (path.is_dir() and parquet_files(path))
    return (path, name) if lies else None


def _member(path: Path) -> tuple[Path, str | None]:
    """Return path and name of PATH::NAME."""
    file, mark, member = str(path).rpartition("::")
    return (Path(file), member) if mark else (path, None)


def _open_folder(
    path: Path,
    labels: str | ArrayLike | None,
    columns: ColumnSpec,
    selection: Selection,
    *,
    numeric: bool,
    skip_bad: bool = False,
    like: Schema | None = None,
) -> Source:
    """Return a source of a folder of ``.parquet`` files or images."""
    if parquet_files(path):
        request = Request(path, labels, str(path), columns, numeric, selection)
        source = _checked(parquet_source(request), columns, selection, numeric)
        source.files = source.files or (path,)
        return source
    if image_files(path):
        return _open_images(path, labels, selection, skip_bad=skip_bad, like=like)
    message = f"{path} is a folder without images or .parquet files (hidden ones do not count)"
    raise DataError(f"{message}: expected one with them, or one of the {KNOWN}")


def _open_images(
    path: Path, labels: str | ArrayLike | None, selection: Selection, *, skip_bad: bool, like: Schema | None
) -> Source:
    """Return a source of an image, or of a folder of them."""
    source = ImageFolderSource(path, labels, skip_bad=skip_bad, like=like)
    source.files = (path,)
    for name in selection.beside:
        if name not in selection.optional:
            require_known(name, source.beside, f"{path} is a folder of images and has no column")
    return source


def _open_file(
    path: Path,
    member: str | None,
    *,
    named: bool,
    labels: str | ArrayLike | None,
    columns: ColumnSpec,
    selection: Selection,
    numeric: bool,
) -> Source:
    """Return a source of a file by the end of its name; ``named`` if the user may have meant a data set."""
    if not path.exists():
        if path.suffix or not named:
            raise DataError(f"no such file: {path}")
        raise DataError(f"no data set or file is called {path.name!r}: {suggest(path.name, DATASETS)}; or {KNOWN}")
    ends = [end for end in FORMATS if path.name.lower().endswith(end)]
    if not ends:
        raise DataError(f"{path}: format not known: expected one of the {KNOWN}")
    if is_local(path) and not path.is_dir():
        require_plain(path)
    if path.is_file() and not path.stat().st_size:
        raise DataError(f"{path} is empty (0 bytes)")
    end = max(ends, key=len)
    opener = FORMATS[end]
    if member is not None and opener not in MANY:
        raise DataError(f"{path} holds one array, so none is called {member!r}: leave out ::{member}")
    if path.is_file():
        require_ending(path, end)
    if opener in TABLES:
        source = opener(Request(path, labels, str(path), columns, numeric, selection, member))
        source = _checked(source, columns, selection, numeric)
    elif isinstance(columns, Requested):
        raise DataError(f"{path} has no named columns: leave out the settings of columns")
    else:
        source = opener(path, labels) if member is None else opener(path, labels, member)
        source = columns_by_name(_with_beside(source, path, selection), selection)
    source.files = source.files or (path,)
    return source


def _checked(source: Source, columns: ColumnSpec, selection: Selection, numeric: bool) -> Source:
    """Return a source of a table; of numbers alone, as the fit had, or raise if a column holds anything else."""
    if columns is not None or (table := source.table) is None or not (numeric or selection.wanted is not None):
        return source
    kinds: dict[str, str] = {c.name: c.kind for c in table.columns if c.categories or c.kind == "date"}
    kinds |= dict.fromkeys([] if selection.wanted is None else table.dropped, "left out")
    if kinds:
        name, kind = next(iter(kinds.items()))
        message = f"{source.name}: expected numeric columns, as in fit, got {name!r}, which is {kind}"
        raise DataError(f"{message}; drop it, or encode it as numbers")
    source.table = None
    source.header = None if source.names is None else empty_frame(source.names)
    return source


def _with_beside(source: Source, data: Any, selection: Selection) -> Source:
    """Return a source with values beside its rows, each found as labels are."""
    beside = dict(source.beside)
    for name in selection.beside:
        if name in beside:
            continue
        if name in (source.names or ()):
            column = (source.names or ()).index(name)
            beside[name] = np.concatenate([block[:, column] for _, block in source.blocks()])
            continue
        with contextlib.suppress(*([DataError] if name in selection.optional else [])):
            labels = open_source(data, name).labels
            assert labels is not None
            beside[name] = labels
    source.beside = beside
    return source
