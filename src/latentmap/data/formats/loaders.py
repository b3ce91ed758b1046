"""A ``DataLoader`` of PyTorch: its data set is read, row by row, and batches are the fit's own."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from latentmap.data.formats.arrays import array_source
from latentmap.data.formats.base import Request, Source
from latentmap.data.formats.frames import frame_source
from latentmap.data.formats.items import items_source
from latentmap.exceptions import DataError

ADAPTERS = (array_source, frame_source, items_source)
NOTE = "the data set of a DataLoader, in its own order; batch_size= and random_state= set batches and their order"


def loader_source(request: Request) -> Source | None:
    """Return a source of the data set of a ``DataLoader``, with its transform, in the order of the data set.

    Raises
    ------
    DataError
        If the loader gives other rows than its data set: by a ``collate_fn`` or sampler of its own, or as a stream.
    """
    loader, utils = request.data, sys.modules.get("torch.utils.data")
    if utils is None:
        return None
    if isinstance(loader, utils.IterableDataset):
        raise DataError(f"{request.name} is a stream, an IterableDataset: {_countable(request.name)}")
    if not isinstance(loader, utils.DataLoader):
        return None
    name, data = request.name, loader.dataset
    if isinstance(data, utils.IterableDataset):
        raise DataError(f"{name} is a DataLoader of a stream, an IterableDataset: {_countable(name)}")
    if isinstance(data, Mapping) or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise DataError(
            f"{name} is a DataLoader of a {type(data).__name__}, which does not return rows by number: expected a data "
            "set with __len__ and __getitem__; give an array or a tensor"
        )
    if loader.collate_fn not in (utils.default_collate, utils.default_convert):
        raise DataError(
            f"{name} is a DataLoader with a collate_fn of its own, which makes rows from batches: expected rows that "
            f"the data set returns one by one; do it in its transform, or give {name}.dataset to leave it out"
        )
    if not _takes_every_row(loader, utils):
        raise DataError(
            f"{name} is a DataLoader whose {type(_sampler(loader)).__name__} chooses rows: expected one that takes "
            f"each row once; give torch.utils.data.Subset({name}.dataset, indices), or {name}.dataset for all rows"
        )
    inside = replace(request, data=data)
    source = next(made for adapt in ADAPTERS if (made := adapt(inside)) is not None)
    source.remark = NOTE if source.remark is None else f"{source.remark}; {NOTE}"
    return source


def _takes_every_row(loader: Any, utils: Any) -> bool:
    """Return whether a loader takes each row of its data set once in an epoch, whether or not it drops the last."""
    sampler = _sampler(loader)
    if isinstance(sampler, utils.RandomSampler):
        return not sampler.replacement and sampler.num_samples == len(loader.dataset)
    return isinstance(sampler, utils.SequentialSampler) and len(sampler) == len(loader.dataset)


def _sampler(loader: Any) -> Any:
    """Return what chooses the rows of a loader: the sampler, or whatever forms the batches by itself."""
    batches = loader.batch_sampler
    return loader.sampler if batches is None else getattr(batches, "sampler", batches)


def _countable(name: str) -> str:
    return (
        "expected a data set with __len__ and __getitem__, over which a fit goes many times; give an array, or a file "
        f"that is read by block, or fit each piece of {name} with partial_fit"
    )
