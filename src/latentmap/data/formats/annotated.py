"""Cells and genes: `anndata.AnnData` in memory, and its files ``.h5ad``."""

from __future__ import annotations

import collections
import contextlib
import importlib
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, Request, Source, plain_labels, reading
from latentmap.data.formats.chunked import LAZY, ChunkedSource, stored
from latentmap.data.formats.sparse import SparseSource
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import suggest

LARGEST = 2**30
"""Bytes of a sparse matrix, beyond which it stays in its file."""
COLLECTION = b"GCOL\x01\0\0\0"
CHUNK = 1024
"""Rows of a sparse matrix that are read together."""


def h5ad_source(path: Path, labels: LabelSpec = None, member: str | None = None) -> Source:
    """Read a ``.h5ad`` file: its matrix X, or the layer that ``member`` names; labels are a column of obs.

    A sparse matrix stays sparse in memory; one of more than 1 GB, or a dense one of more than 256 MB, stays in its
    file. Nothing else is read.

    Raises
    ------
    DataError
        If the file is damaged, or has no such layer or column.
    MissingExtraError
        If anndata is not installed.
    """
    anndata_module()
    import h5py

    with undamaged(path, ".h5ad"):
        _require_sound(path)
        file = h5py.File(path)
        return group_source(file, path, labels, member)


def group_source(group: Any, path: Path, labels: LabelSpec = None, member: str | None = None) -> Source:
    """Make a source of what anndata wrote into a group of HDF5 or Zarr."""
    layers, read = list(group.get("layers", ())), anndata_module().io.read_elem
    if member is None and "X" not in group:
        raise DataError(f"{path} has no matrix X; name a layer, as in {path}::LAYER: {', '.join(layers) or 'none'}")
    _require(member, layers, str(path))
    matrix = group["X"] if member in (None, "X") else group["layers"][member]
    if not hasattr(matrix, "dtype"):
        matrix = anndata_module().io.sparse_dataset(matrix)
    obs = read(group["obs"]) if isinstance(labels, str) else None
    beside = _beside(obs, read(group["var"]).index, labels, str(path))
    return _described(_matrix_source(matrix, beside), layers, member)


def annotated_source(request: Request) -> Source | None:
    """Make a source of the matrix of an ``AnnData``, which is told by what it has."""
    data, name = request.data, request.name
    if not all(hasattr(data, attribute) for attribute in ("X", "obs", "var_names", "layers")):
        return None
    request.require_no_columns()
    if data.X is None:
        raise DataError(f"{name} has no matrix X: give one of its layers, with its own")
    matrix = data.X[...] if data.isbacked and hasattr(data.X, "dtype") and not hasattr(data.X, "tocsr") else data.X
    source = _matrix_source(matrix, _beside(data.obs, data.var_names, request.labels, name))
    return _described(source, list(data.layers), None)


def _require(member: str | None, layers: Sequence[str], name: str) -> None:
    if member not in (None, "X", *layers):
        raise DataError(f"{name} has no layer {member!r}: {suggest(str(member), ['X', *layers])}")


def _beside(obs: Any, var_names: Any, labels: LabelSpec, name: str) -> dict[str, Any]:
    """Name rows and columns."""
    beside: dict[str, Any] = {"labels": labels, "label_name": None, "name": name}
    if isinstance(labels, str):
        if labels not in obs:
            raise DataError(f"{name} has no column {labels!r} in obs: {suggest(labels, list(obs))}")
        values = obs[labels]
        plain = values.astype(object) if str(values.dtype) == "category" else values
        beside |= {"labels": plain_labels(plain.to_numpy()), "label_name": labels}
    names = [str(known) for known in var_names]
    if len(set(names)) < len(names):  # of genes, several may share a symbol
        often = collections.Counter(names)
        names = [f"{known} ({i})" if often[known] > 1 else known for i, known in enumerate(names)]
    return beside | {"names": names}


def _described(source: Source, layers: Sequence[str], member: str | None) -> Source:
    """Point at raw counts, where there are such and they were not taken."""
    first = source.first
    if member is None and "counts" in layers and not (first == np.floor(first)).all():
        source.remark = f"X is taken; the layer of raw counts is {source.name}::counts"
    return source


@contextlib.contextmanager
def undamaged(path: Path, what: str) -> Iterator[None]:
    """Say which file cannot be read, and why, in one line; without what its reader says of older files."""
    with reading(path, what), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _require_sound(path: Path) -> None:
    """Refuse text whose lengths are damaged, on which the library of HDF5 goes round for ever.

    It lies in collections: 16 bytes that begin with GCOL and end with how many bytes there are, then objects of 16
    bytes, their index first and their length last, and what they hold up to a multiple of 8; one with index 0 is what
    is free, with its own 16 bytes. Files of more than 1 GB are not looked at.
    """
    if not path.is_file() or path.stat().st_size > LARGEST:
        return
    content = path.read_bytes()
    start = content.find(COLLECTION)
    while start >= 0:
        end, at = start + int.from_bytes(content[start + 8 : start + 16], "little"), start + 16
        while at + 16 <= min(end, len(content)):
            used, size = any(content[at : at + 2]), int.from_bytes(content[at + 8 : at + 16], "little")
            if not used and size < 16:
                raise DataError(f"{path}: damaged: its text at byte {at} has no length; copy or download it again")
            at += 16 + -(-size // 8) * 8 if used else size
        start = content.find(COLLECTION, start + 16)


def _matrix_source(matrix: Any, beside: dict[str, Any]) -> Source:
    if isinstance(matrix, np.ndarray):
        return _dense_source(matrix, beside)
    if hasattr(matrix, "tocsr"):
        return SparseSource(matrix, **beside)
    if not hasattr(matrix, "to_memory"):  # a dense matrix in its file
        small = matrix.size * matrix.dtype.itemsize <= LAZY
        return _dense_source(np.asarray(matrix[...]), beside) if small else stored(matrix, **beside)
    backed = matrix
    if _bytes(backed) <= LARGEST or backed.format != "csr":  # columns in a file cannot be read by rows
        return SparseSource(backed.to_memory(), **beside)
    dtype = np.dtype(np.float32 if backed.dtype.kind in "biu" or backed.dtype.itemsize < 8 else np.float64)

    def fetch(start: int, stop: int) -> NDArray[Any]:
        return SparseSource(backed[start:stop], name=str(beside["name"])).read(slice(None)).astype(dtype, copy=False)

    source = ChunkedSource(fetch, backed.shape, dtype, CHUNK, **beside)
    source.tallies = True
    return source


def _dense_source(matrix: NDArray[Any], beside: dict[str, Any]) -> Source:
    """Keep counts that are mostly 0 as a sparse matrix, as they come in other files."""
    if matrix.ndim == 2 and matrix.dtype.kind in "biuf" and np.count_nonzero(matrix) < matrix.size / 2:
        if (matrix >= 0).all() and (matrix == np.floor(matrix)).all():
            return SparseSource(matrix, **beside)
    return ArraySource(matrix, **beside)


def _bytes(backed: Any) -> int:
    """Bytes that the values and places of a sparse matrix in a file take."""
    return sum(int(backed.group[part].size * backed.group[part].dtype.itemsize) for part in ("data", "indices"))


def anndata_module() -> Any:
    """Import anndata."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return importlib.import_module("anndata")
    except ImportError as error:
        raise MissingExtraError("anndata", "bio") from error
