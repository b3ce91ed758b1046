"""The rows of a fit: which are held out, which stand for all, and how batches reach the device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.sparse import SparseSource
from latentmap.data.sampling import Indices, scattered, split_rows
from latentmap.data.sources import Source
from latentmap.data.streaming import MOST_HELD_OUT, Stream, read_memory
from latentmap.estimators.memory import copied_bytes
from latentmap.estimators.parameters import Parameters
from latentmap.estimators.rows import fits_memory
from latentmap.estimators.state import as_tensor
from latentmap.model.scaling import Affine
from latentmap.training.feed import Feed, Gathered, Resident, SparseRows, Streamed
from latentmap.training.transfer import fits_device, free_bytes

STATISTICS_ROWS = 20_000
"""Rows over which the codes of a fit are summarised, at the most."""
PIECE = 2**22
"""Values that are brought to the device at a time."""

Load = Callable[[Affine, torch.device], Tensor | Gathered | Streamed]
"""A function of scaling and device that returns the training rows there, or what brings batches of them there."""


@dataclass(frozen=True, eq=False)
class TrainingRows:
    """Rows for a fit.

    Attributes
    ----------
    source : Source
        All rows.
    train, held_out : ndarray of int
        Indices of training and held-out rows.
    held : ndarray of shape (m, P)
        The held-out rows.
    some : ndarray of shape (s, P)
        One of every so many rows, over which the codes of the fit are summarised.
    numbers : ndarray of int
        Their indices.
    training_some : ndarray of shape (t, P)
        Some of the training rows.
    load : callable
        Brings the training rows to the device, or batches of them.
    kept : bool
        Whether all rows stay in memory, so that neighbours can be searched among them.
    dense : ndarray of shape (n, P) or None
        All rows, where they lie in memory.
    memory : str or None
        How the rows are kept, in words, where not all at once on the device.
    block : int or None
        Rows that are read at a time, where not all are in memory.
    """

    source: Source
    train: Indices
    held_out: Indices
    held: NDArray[Any]
    some: NDArray[Any]
    numbers: Indices
    training_some: NDArray[Any]
    load: Load
    kept: bool = True
    dense: NDArray[Any] | None = None
    memory: str | None = None
    block: int | None = None

    def placed_held_out(self, scaling: Affine, device: torch.device) -> Tensor:
        """Return the held-out rows on the device, in the model's units but for bytes."""
        return placed(self.held, scaling, device)

    def feed(
        self,
        scaling: Affine,
        device: torch.device,
        graph: Tensor | None,
        positives: int,
        condition: Tensor | None,
        *,
        places: Tensor | None = None,
        sparse: bool,
    ) -> Feed:
        """Return the feed of training batches, with so many positives drawn from the neighbours of each row.

        With ``sparse``, batches of a sparse matrix are sparse, where zeros stay zeros in the units of the model.
        """
        data = self.load(scaling, device)
        if isinstance(data, Streamed):
            return data
        sparse = sparse and isinstance(data, SparseRows) and data.zeros is None
        return Resident(data, graph, condition, places=places, positives=positives, sparse=sparse)

    @property
    def copied_bytes(self) -> int:
        """Bytes of the copies of rows that are all brought to the device: chosen for training, and scaled."""
        dense = self.dense if self.memory is None else None
        return 0 if dense is None else copied_bytes(dense.size, dense.dtype)

    def batch_scaling(self, scaling: Affine) -> nn.Module:
        """Return what scales a batch: bytes stay bytes until they are in one, other rows are scaled before."""
        return scaling if self.some.dtype == np.uint8 else nn.Identity()


def training_rows(
    p: Parameters, source: Source, seed: int, device: torch.device, *, piece: bool = False
) -> TrainingRows:
    """Split rows, and choose how they are kept: on the device, in memory, sparse, or in their file.

    Parameters
    ----------
    p : Parameters
        Parameters of the estimator.
    source : Source
        All rows.
    seed : int
        Seed of the split.
    device : torch.device
        Where the model is trained.
    piece : bool, default=False
        Whether nothing is held out, as in a fit in pieces.
    """
    if piece or fits_memory(source, p.memory):
        return _dense(source, 0.0 if piece else p._held_out_fraction, seed, device)
    return _streamed(p, source, seed)


def some_of(n: int) -> Indices:
    """Return the indices of at most about `STATISTICS_ROWS` of n rows."""
    return scattered(n, max(1, n // STATISTICS_ROWS))


def placed(rows: NDArray[Any], scaling: Affine, device: torch.device) -> Tensor:
    """Bring rows to the device in the model's units, piece by piece; bytes stay bytes until they are in a batch."""
    if rows.dtype == np.uint8:
        return as_tensor(rows).to(device)
    result = torch.empty(rows.shape, device=device)
    size = PIECE // rows.shape[1] + 1
    for target, piece in zip(result.split(size), as_tensor(rows).split(size), strict=True):
        target.copy_(scaling(piece.to(device)))
    return result


def _prepare(scaling: Affine, dtype: np.dtype[Any]) -> Callable[[Tensor], Tensor]:
    """Return what is done to rows when they have come to the device."""
    return (lambda block: block) if dtype == np.uint8 else lambda block: scaling(block).float()


def _dense(source: Source, fraction: float, seed: int, device: torch.device) -> TrainingRows:
    rows = source.all_rows()
    resident = fits_device(rows.size * (1 if rows.dtype == np.uint8 else 4), free_bytes(device))
    train, held_out = split_rows(len(rows), fraction, seed, None if resident else MOST_HELD_OUT)
    some = some_of(len(rows))

    def load(scaling: Affine, device: torch.device) -> Tensor | Gathered:
        if resident:
            return placed(rows[train] if len(held_out) else rows, scaling, device)
        return Gathered(ArraySource(rows), train, _prepare(scaling, rows.dtype), device)

    return TrainingRows(
        source,
        train,
        held_out,
        rows[held_out],
        rows if len(some) == len(rows) else rows[some],
        some,
        rows[train[some_of(len(train))]],
        load,
        dense=rows,
        memory=None if resident else "rows stay in memory, brought to the device batch by batch",
    )


def _streamed(p: Parameters, source: Source, seed: int) -> TrainingRows:
    """Rows that are not all made dense: a sparse matrix in memory, or what does not fit there."""
    memory, n = read_memory(p.memory), len(source)
    stream = Stream(source, held_out=p._held_out_fraction, seed=seed, memory=memory)
    survey = stream.survey
    source.__dict__ |= {"schema": survey.schema, "moments": survey.moments}  # measured in one pass
    some, train = survey.some, np.delete(np.arange(n), stream.held_out)

    def load(scaling: Affine, device: torch.device) -> Gathered | Streamed:
        if isinstance(source, SparseSource):
            return SparseRows(source.rows, train, scaling, device)
        return Streamed(stream, _prepare(scaling, some.dtype), device)

    allowed = "given" if p.memory is not None else "chosen for a quarter of what is free"
    return TrainingRows(
        source,
        train,
        stream.held_out,
        survey.held_out,
        some,
        survey.numbers,
        stream.some[some_of(len(stream.some))],
        load,
        kept=source.is_sparse,
        memory="a sparse matrix, made dense batch by batch"
        if source.is_sparse
        else f"{memory / 1e6:,.0f} MB: rows are read in blocks of {stream.block:,} (as allowed ({allowed}))",
        block=None if source.is_sparse else stream.block,
    )
