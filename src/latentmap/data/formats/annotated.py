"""Matrices of cells and genes: `anndata.AnnData` in memory, and its files ``.h5ad``."""

from __future__ import annotations

import collections
import contextlib
import importlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import require_known
from latentmap.data.formats.annotated_groups import matrices, table
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, Request, Source, plain_labels, reading
from latentmap.data.formats.chunked import LAZY, ChunkedSource, require_chunks, stored
from latentmap.data.formats.sparse import SparseSource
from latentmap.data.formats.unpacked import require_room, room
from latentmap.data.selection import INDEX
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import suggest

STORED_INDEX = "_index"
"""The name under which files hold the names of cells, where they have no other."""
LARGEST = 2**30
"""Bytes of a sparse matrix, beyond which it stays in its file."""
COLLECTION = b"GCOL\x01\0\0\0"
LONGEST = 2**26
"""Bytes of a text that is read as it is in any file."""
COPIES = 4
"""How many copies of the values of some rows are made, to read them."""
CHUNK = 1024
"""Rows of a sparse matrix in a file that are read together."""


def h5ad_source(path: Path, labels: LabelSpec = None, member: str | None = None) -> Source:
    """Return a source of a ``.h5ad`` file: its matrix X, or ``member``; labels are a column of obs.

    ``member`` is a layer, ``raw``, or an entry of obsm such as ``X_pca``. Files of all versions of anndata are read.
    A sparse matrix stays sparse in memory; one of more than 1 GB, or a dense one of more than 256 MB, stays in its
    file. Nothing else is read.
    """
    anndata_module()
    import h5py

    with undamaged(path, ".h5ad"):
        _require_sound(path)
        file = h5py.File(path)
        return group_source(file, path, labels, member)


def group_source(group: Any, path: Path, labels: LabelSpec = None, member: str | None = None) -> Source:
    """Return a source of a group of HDF5 or Zarr that anndata wrote."""
    read = anndata_module().io.read_elem
    known = matrices(group, read)
    if member is None and "X" not in known:
        raise DataError(f"{path} has no matrix X; name another, as in {path}::NAME: {', '.join(known) or 'none'}")
    require_known(member or "X", known, f"{path} has no matrix")
    for name in ("obs", "var", "raw.var", "raw/var"):
        if name in group:
            _require_table(group[name], str(path))
    matrix, names = known[member or "X"]()
    obs = table(group["obs"], read, group.get("uns")) if isinstance(labels, str) else None
    annotations = _annotations(obs, names, labels, str(path))
    if not hasattr(matrix, "dtype"):
        matrix = anndata_module().io.sparse_dataset(matrix)
    return _with_remark(_matrix_source(matrix, annotations), list(known), member)


def _require_table(stored: Any, name: str) -> None:
    """Raise if the columns of a table need more memory than they may take."""
    columns = [stored] if hasattr(stored, "dtype") else [stored[key] for key in stored]
    for column in columns:
        if hasattr(column, "dtype"):
            require_chunks(column, name)
            require_room(name, column.size * max(8, column.dtype.itemsize), "has columns beside its matrix that take")


def annotated_source(request: Request) -> Source | None:
    """Return a source of the matrix of an ``AnnData``, which is known by its attributes."""
    data, name = request.data, request.name
    if not is_annotated(data):
        return None
    request.require_no_columns()
    if data.X is None:
        raise DataError(f"{name} has no matrix X: give one of its layers, with its own")
    matrix = data.X[...] if data.isbacked and hasattr(data.X, "dtype") and not hasattr(data.X, "tocsr") else data.X
    source = _matrix_source(matrix, _annotations(data.obs, data.var_names, request.labels, name))
    return _with_remark(source, list(data.layers), None)


def is_annotated(data: Any) -> bool:
    """Return whether data are an ``AnnData``."""
    return all(hasattr(data, attribute) for attribute in ("X", "obs", "var_names", "layers"))


def _annotations(obs: Any, var_names: Any, labels: LabelSpec, name: str) -> dict[str, Any]:
    """Return the name, names, labels and label_name of a source."""
    names = [str(known) for known in var_names]
    counts = collections.Counter(names)  # several genes may have the same symbol
    names = [f"{known} ({i})" if counts[known] > 1 else known for i, known in enumerate(names)]
    label_name = labels if isinstance(labels, str) else None
    if label_name is not None:
        column = _of_obs(obs, label_name, name)
        labels = plain_labels((column.astype(object) if str(column.dtype) == "category" else column).to_numpy())
    return {"name": name, "names": names, "labels": labels, "label_name": label_name}


def _of_obs(obs: Any, column: str, name: str) -> Any:
    """Return a column of obs, or its index by its own name or that of any column of row names."""
    if column in obs:
        return obs[column]
    if column in (obs.index.name, STORED_INDEX, INDEX):
        return obs.index
    raise DataError(f"{name} has no column {column!r} in obs: {suggest(column, [*obs, INDEX])}")


def _with_remark(source: Source, layers: Sequence[str], member: str | None) -> Source:
    """Remark on the layer of raw counts, where there is one and X holds fractions."""
    first = source.first
    if member is None and "counts" in layers and not (first == np.floor(first)).all():
        source.remark = f"X is taken; the layer of raw counts is {source.name}::counts"
    return source


@contextlib.contextmanager
def undamaged(path: Path, what: str) -> Iterator[None]:
    """Turn any error while a file is read into one line, as `reading`; without warnings of the reader."""
    with reading(path, what), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _require_sound(path: Path) -> None:
    """Raise if the lengths of text are damaged, on which the library of HDF5 loops forever, or takes gigabytes.

    Text lies in collections: 16 bytes that begin with GCOL and end with the number of bytes, then objects: 16 bytes
    that begin with an index and end with a length, and the content, padded to a multiple of 8. An object with index 0
    is free space, its 16 bytes included. A cell of text is a length, the place of the collection and the index of the
    object. Files of more than 1 GB are not checked.
    """
    if not path.is_file() or path.stat().st_size > LARGEST:
        return
    content = path.read_bytes()
    start, sizes = content.find(COLLECTION), dict[tuple[int, int], int]()
    while start >= 0:
        end, at = start + int.from_bytes(content[start + 8 : start + 16], "little"), start + 16
        if end > len(content):
            raise DataError(f"{path}: damaged: its text at byte {start} ends after the file; copy it again")
        while at + 16 <= min(end, len(content)):
            used, size = any(content[at : at + 2]), int.from_bytes(content[at + 8 : at + 16], "little")
            if not used and size < 16:
                raise DataError(f"{path}: damaged: its text at byte {at} has no length; copy or download it again")
            if used:
                sizes[start, int.from_bytes(content[at : at + 2], "little")] = size
            at += 16 + -(-size // 8) * 8 if used else size
        start = content.find(COLLECTION, start + 16)
    total = 0
    for at, length, size in _texts(content, sizes):
        if length > max(LONGEST, len(content)):  # what is shorter may be no text, but looks like it
            raise DataError(f"{path}: damaged: the text at byte {at} is to have {length:,} bytes, and has {size:,}")
        total += length if length <= size else 0
    require_room(path, total, "holds text that takes")


def _texts(content: bytes, sizes: Mapping[tuple[int, int], int]) -> Iterator[tuple[int, int, int]]:
    """Yield the place of each cell of text, its length, and the size of its object by collection and index."""
    starts = np.array(sorted({start for start, _ in sizes}), np.uint64)
    for shift in range(8) if len(starts) else ():
        words = np.frombuffer(content, "<u8", (len(content) - shift) // 8, shift)
        some = np.flatnonzero((words >= starts[0]) & (words <= starts[-1]))
        for i in some[np.isin(words[some], starts)].tolist():
            at = shift + 8 * i
            length, index = (int.from_bytes(content[k : k + 4], "little") for k in (at - 4, at + 8))
            if at >= 4 and (size := sizes.get((int(words[i]), index))) is not None:
                yield at, length, size


def _matrix_source(matrix: Any, annotations: dict[str, Any]) -> Source:
    if isinstance(matrix, np.ndarray):
        return _dense_source(matrix, annotations)
    if hasattr(matrix, "tocsr"):
        return SparseSource(matrix, **annotations)
    if not hasattr(matrix, "to_memory"):  # a dense matrix in its file
        require_chunks(matrix, annotations["name"])
        small = matrix.size * matrix.dtype.itemsize <= min(LAZY, room())
        return _dense_source(np.asarray(matrix[...]), annotations) if small else stored(matrix, **annotations)
    backed = matrix
    for part in ("data", "indices", "indptr"):
        require_chunks(backed.group[part], annotations["name"])
    _require_stored(backed, annotations["name"])
    if _bytes(backed) <= min(LARGEST, room()) or backed.format != "csr":  # columns in a file cannot be read by rows
        return SparseSource(backed.to_memory(), **annotations)
    dtype = np.dtype(np.float32 if backed.dtype.kind in "biu" or backed.dtype.itemsize < 8 else np.float64)
    ends, most = np.asarray(backed.group["indptr"][...], np.int64), len(backed.group["data"]) * room() // _bytes(backed)

    def fetch(start: int, stop: int) -> NDArray[Any]:
        if stop - start > 1 and ends[stop] - ends[start] > most // COPIES:
            middle = (start + stop) // 2
            return np.concatenate([fetch(start, middle), fetch(middle, stop)])
        return SparseSource(backed[start:stop], name=annotations["name"]).read(slice(None)).astype(dtype, copy=False)

    source = ChunkedSource(fetch, backed.shape, dtype, CHUNK, **annotations)
    source.tallies = True
    return source


def _require_stored(backed: Any, name: str) -> None:
    """Raise if a sparse matrix in a file stores more values than it has cells, or a part does not fit in memory."""
    rows, columns = map(int, backed.shape)
    stored, ends = int(backed.group["data"].size), backed.group["indptr"]
    if stored > rows * columns:
        raise DataError(f"{name} stores {stored:,} values of {rows:,} x {columns:,} cells: copy or save it again")
    require_room(name, 8 * columns, "has rows that take")
    require_room(name, 8 * int(ends.size), "has rows that take")
    longest = stored if backed.format != "csr" else int(np.diff(ends[...]).max(initial=0))
    require_room(name, longest * _bytes(backed) // max(1, stored), "stores values that take")


def _dense_source(matrix: NDArray[Any], annotations: dict[str, Any]) -> Source:
    """Return a source of a dense matrix; counts that are mostly 0 become sparse."""
    if matrix.ndim == 2 and matrix.dtype.kind in "biuf" and np.count_nonzero(matrix) < matrix.size / 2:
        if (matrix >= 0).all() and (matrix == np.floor(matrix)).all():
            return SparseSource(matrix, **annotations)
    return ArraySource(matrix, **annotations)


def _bytes(backed: Any) -> int:
    """Return the bytes of the values and indices of a sparse matrix in a file."""
    return sum(int(backed.group[part].size * backed.group[part].dtype.itemsize) for part in ("data", "indices"))


def anndata_module() -> Any:
    """Import anndata."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("anndata")
    except ImportError as error:
        raise MissingExtraError("anndata", "bio") from error
