"""Sparse matrices: rows that stay sparse in memory, of which a block at a time is made dense."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from latentmap.data.checks import BEYOND, EXACT, place, require_numeric
from latentmap.data.formats.base import Request, Source
from latentmap.data.schema import RowIndex
from latentmap.exceptions import DataError

EXACT_SINGLE = 2**24
"""The largest magnitude up to which single precision holds every integer."""


def sparse_source(request: Request) -> Source | None:
    """Return a source of a sparse matrix of scipy."""
    if not type(request.data).__module__.startswith("scipy.sparse"):
        return None
    request.require_no_columns()
    return SparseSource(request.data, name=request.name, labels=request.labels)


class SparseSource(Source):
    """The rows of a sparse matrix (n, P) of scipy, whatever its layout.

    Whole numbers become single precision, which holds them exactly, or double where they are beyond 2^24.

    Examples
    --------
    >>> from scipy import sparse
    >>> source = SparseSource(sparse.coo_array(([3, 1], ([0, 1], [2, 0])), shape=(2, 3)))
    >>> source.read(slice(None)).tolist(), source.is_sparse
    ([[0.0, 0.0, 3.0], [1.0, 0.0, 0.0]], True)
    """

    is_sparse = tallies = True

    def __init__(
        self,
        matrix: Any,
        *,
        name: str = "X",
        names: Sequence[str] | None = None,
        labels: ArrayLike | None = None,
        label_name: str | None = None,
    ) -> None:
        from scipy import sparse  # slow to import, and not needed for anything else that is opened

        require_numeric(matrix.dtype, name)
        if len(matrix.shape) != 2 or 0 in matrix.shape:
            raise DataError(f"expected rows and features in {name}, got a sparse matrix of shape {matrix.shape}")
        _require_valid(matrix, name)
        rows = sparse.csr_array(matrix)
        rows.sum_duplicates()
        self.rows = rows.astype(_dtype(rows, name), copy=False)
        self.annotate(name, names, labels, label_name, width=matrix.shape[1])

    def __len__(self) -> int:
        return int(self.rows.shape[0])

    @property
    def bytes(self) -> int:
        """The memory of the sparse rows, in bytes."""
        return sum(int(part.nbytes) for part in (self.rows.data, self.rows.indices, self.rows.indptr))

    def read(self, rows: RowIndex) -> NDArray[Any]:
        """Return the rows of a slice or an integer array, dense."""
        dense: NDArray[Any] = self.rows[rows].toarray()
        return dense


def _require_valid(matrix: Any, name: str) -> None:
    """Raise if an index lies outside of the matrix, where scipy would read memory that is not its own."""
    try:
        if hasattr(matrix, "indptr") and (np.diff(matrix.indptr) < 0).any():  # not checked of a matrix without values
            raise ValueError("a row ends before it begins")
        if hasattr(matrix, "check_format"):
            type(matrix)(matrix).check_format(full_check=True)  # of a copy that shares its values
        elif hasattr(matrix, "coords"):
            for at, length in zip(matrix.coords, matrix.shape, strict=True):
                if at.size and not (0 <= at.min() and at.max() < length):
                    raise ValueError(f"indices must lie below {length}")
    except ValueError as error:
        raise DataError(f"{name} is no valid sparse matrix ({error}); make it anew") from error


def _dtype(rows: Any, name: str) -> np.dtype[Any]:
    """Return the type of the dense rows."""
    values = rows.data
    if values.dtype.kind == "f":
        return np.dtype(np.float32 if values.itemsize < 8 else np.float64)
    largest = max(abs(int(values.max())), abs(int(values.min()))) if values.size else 0
    if largest > EXACT:
        first = next(i for i, value in enumerate(values.tolist()) if abs(value) > EXACT)
        at = int(np.searchsorted(rows.indptr, first, "right")) - 1, int(rows.indices[first])
        raise DataError(f"{name}: {values[first]} at {place(at)} {BEYOND}")
    return np.dtype(np.float32 if largest <= EXACT_SINGLE else np.float64)
