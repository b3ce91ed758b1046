"""What a group of HDF5 or Zarr that anndata wrote holds: matrices by name, and tables, of old layouts as well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.unpacked import require_room

Read = Callable[[Any], Any]
"""Function of anndata that reads an element."""
Matrix = Callable[[], tuple[Any, Sequence[str]]]
"""Function that returns an array, or the group of a sparse matrix, and the names of its columns."""


def matrices(group: Any, read: Read) -> dict[str, Matrix]:
    """Return the matrices of a group by name: X, the layers, raw and the entries of obsm.

    Before anndata 0.7 obs, var and obsm were compound arrays, and ``raw.X`` and ``raw.var`` lay beside X.
    """
    found: dict[str, Matrix] = {}
    if "X" in group:
        found["X"] = partial(_of_genes, group, "X", "var", read)
    for name in group.get("layers", ()):
        found.setdefault(name, partial(_of_genes, group, f"layers/{name}", "var", read))
    for mark in "/.":
        if f"raw{mark}X" in group:
            found.setdefault("raw", partial(_of_genes, group, f"raw{mark}X", f"raw{mark}var", read))
    obsm = group.get("obsm", {})
    for name in getattr(getattr(obsm, "dtype", None), "names", None) or (obsm if hasattr(obsm, "keys") else ()):
        found.setdefault(name, partial(_of_obsm, obsm, name, read))
    return found


def _of_genes(group: Any, name: str, var: str, read: Read) -> tuple[Any, Sequence[str]]:
    return group[name], table(group[var], read).index


def _of_obsm(obsm: Any, name: str, read: Read) -> tuple[Any, Sequence[str]]:
    """Return an entry of obsm; the columns of an array are numbered from 1."""
    stored = obsm[name]
    if getattr(stored, "attrs", {}).get("encoding-type") == "dataframe":
        frame = read(stored)
        return frame.to_numpy(), list(map(str, frame.columns))
    if not hasattr(stored, "keys") and len(stored.shape) == 1:
        stored = np.asarray(stored[...])[:, None]
    shape = stored.attrs["shape"] if hasattr(stored, "keys") else stored.shape
    require_room(name, 64 * int(shape[1]), "has columns that take")
    return stored, [f"{name} {i + 1}" for i in range(int(shape[1]))]


def table(stored: Any, read: Read, categories: Any = None) -> Any:
    """Return obs or var as a data frame of pandas.

    Parameters
    ----------
    stored
        A group, or a compound array whose first field is the index.
    read
        Function of anndata that reads a group.
    categories
        The group with the categories of a compound array, called ``NAME_categories``; or None.
    """
    import pandas as pd

    if getattr(getattr(stored, "dtype", None), "names", None) is None:
        return read(stored)
    rows = stored[...]
    columns = {name: _decoded(rows[name]) for name in rows.dtype.names}
    for name, codes in columns.items():
        if (kept := f"{name}_categories") in (categories or ()) and codes.dtype.kind in "iu":
            columns[name] = pd.Categorical.from_codes(codes, _decoded(np.atleast_1d(categories[kept][...])))
    return pd.DataFrame(columns).set_index(rows.dtype.names[0])


def _decoded(values: NDArray[Any]) -> NDArray[Any]:
    """Return bytes as text."""
    if values.dtype.kind not in "SO":
        return values
    return np.array([v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values], dtype=object)
