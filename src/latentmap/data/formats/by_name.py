"""Columns of a fit, found by name in a source that reads all columns that its data have."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import Source
from latentmap.data.formats.chunked import ChunkedSource
from latentmap.data.formats.sparse import SparseSource
from latentmap.data.selection import Selection, require_columns


def columns_by_name(source: Source, selection: Selection) -> Source:
    """Return a source of the columns of a fit, in its order; one without names, or of a table, stays as it is.

    Raises
    ------
    DataError
        If a column of the fit is missing.

    Examples
    --------
    >>> source = ArraySource(np.array([[1.0, 2.0, 3.0]]), names=["b", "c", "a"])
    >>> chosen = columns_by_name(source, Selection(wanted=("a", "b")))
    >>> chosen.read(slice(None)).tolist(), chosen.ignored
    ([[3.0, 1.0]], ('c',))
    """
    wanted, names = selection.wanted, source.names
    if wanted is None or names is None or names == wanted or source.table is not None:
        return source
    require_columns(wanted, names, source.name)
    places = {name: i for i, name in enumerate(names)}
    order = np.array([places[name] for name in wanted], dtype=np.intp)
    annotations: dict[str, Any] = {"name": source.name, "names": wanted, "labels": source.labels}
    annotations["label_name"] = source.label_name
    chosen: Source
    if isinstance(source, SparseSource):
        chosen = SparseSource(source.rows[:, order], **annotations)
    elif isinstance(source, ChunkedSource):
        whole, shape = source, (len(source), len(order), *source.shape[2:])

        def fetch(start: int, stop: int) -> NDArray[Any]:
            return np.asarray(whole.fetch(start, stop)[:, order])

        chosen = ChunkedSource(fetch, shape, source.dtype, source.chunk, **annotations)
    else:
        chosen = ArraySource(source.read(slice(None))[:, order], **annotations)
    chosen.tallies, chosen.remark, chosen.beside, chosen.numbers = (
        source.tallies, source.remark, source.beside, source.numbers,
    )  # fmt: skip
    chosen.in_memory, chosen.files = source.in_memory, source.files
    chosen.ignored = selection.ignored(names, source.label_name)
    return chosen
