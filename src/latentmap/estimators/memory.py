"""The memory that a fit needs, known before it starts."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

from latentmap.data.memory import bytes_in_words, free_memory
from latentmap.data.streaming import read_memory
from latentmap.exceptions import NotEnoughMemoryError
from latentmap.model.autoencoder import Parts
from latentmap.model.ladder import compose
from latentmap.model.networks import SpectralNorm
from latentmap.model.noise import generator_for
from latentmap.model.part import Sizes
from latentmap.model.posteriors import Gaussian
from latentmap.model.priors import Normal
from latentmap.model.processes import Processes
from latentmap.training.transfer import free_bytes

COPIES, PRECISE = 6, 3
"""Copies of the weights in a fit: themselves, gradients, two averages, the best and the last; and those in double
precision, with which rows in double precision are encoded."""
LAYERS = 1.5
"""Numbers that a step holds for each that a layer returns: itself, and gradients of some."""
WORD = 4
"""Bytes of a number in single precision."""
Amount = TypeVar("Amount", bound=str | int | None)


@dataclass(frozen=True)
class Needs:
    """Bytes that a fit needs beside what is there before.

    >>> str(Needs(rows=2e9, weights=12e9, batch=1e9))
    '15 GB: rows 2 GB, weights 12 GB (with gradients and averages), activations 1 GB'
    """

    rows: float = 0.0
    weights: float = 0.0
    batch: float = 0.0

    @property
    def total(self) -> float:
        """The sum."""
        return self.rows + self.weights + self.batch

    def __str__(self) -> str:
        parts = (
            f"rows {bytes_in_words(self.rows)}",
            f"weights {bytes_in_words(self.weights)} (with gradients and averages)",
            f"activations {bytes_in_words(self.batch)}",
        )
        return f"{bytes_in_words(self.total)}: {', '.join(parts)}"


def shared_memory(memory: Amount, processes: Processes) -> Amount | str:
    """Return the memory that each process of a fit has for rows: a given one, or its part of what is free by default.

    >>> shared_memory(None, Processes()), shared_memory("2GB", Processes())
    (None, '2GB')
    """
    if processes.world_size == 1 or memory is not None:
        return memory
    (least,) = processes.maximum([-float(read_memory(None) // processes.local_world_size)])  # the same in all
    return f"{max(1, int(-least) // 10**6)}MB"


def copied_bytes(size: int, dtype: np.dtype[Any]) -> int:
    """Return the bytes of the copies of rows in memory: chosen for training, and scaled; bytes are scaled in a batch.

    >>> copied_bytes(1000, np.dtype(np.float64)), copied_bytes(1000, np.dtype(np.uint8))
    (12000, 1000)
    """
    return size * (dtype.itemsize + (0 if dtype == np.uint8 else WORD))


def needs_of(parts: Parts, sizes: Sizes, batch_size: int, samples: int, rows: float, precise: bool) -> Needs:
    """Estimate what a fit of a model needs, without making the model.

    Parameters
    ----------
    parts : Parts
        Parts of the model.
    sizes : Sizes
        Sizes of the model.
    batch_size : int
        Rows in a batch.
    samples : int
        Draws of each row's code.
    rows : float
        Bytes of the copies of the rows.
    precise : bool
        Whether the rows are in double precision.
    """
    copies = WORD * (COPIES + PRECISE * precise)
    own = [part for part in (parts.encoder, parts.decoder) if isinstance(part, nn.Module)]
    if own:
        weights = sum(p.numel() for module in own for p in module.parameters() if not is_lazy(p))
        return Needs(rows, copies * weights, WORD * batch_size * sizes.features * (1 + samples))
    plain = {"posterior": Gaussian(), "prior": Normal(), "encoder": _plain(parts.encoder)}
    for some in (parts, replace(parts, decoder=_plain(parts.decoder), **plain)):  # some compute with initial values
        with contextlib.suppress(Exception):  # what is wrong with a model is said where it is made
            weights, values = _measured(some, sizes, batch_size, samples)
            return Needs(rows, copies * weights, WORD * LAYERS * values)
    return Needs(rows)


def require_memory(needs: Needs, device: torch.device) -> None:
    """Raise if a fit needs more memory than is free.

    Raises
    ------
    NotEnoughMemoryError
        With what is needed, what is free, and what to do.
    """
    free = free_bytes(device) if device.type == "cuda" else free_memory()
    if needs.total > free:
        advice = {
            "weights": "give a smaller network, such as encoder=MLP((256, 256)) and decoder=MLP((256, 256))",
            "batch": "give a smaller batch_size",
            "rows": "give fewer rows, or a file and memory=, to read it in blocks",
        }
        largest = max(advice, key=lambda name: float(getattr(needs, name)))
        raise NotEnoughMemoryError(f"this fit needs about {needs}; {bytes_in_words(free)} are free: {advice[largest]}")


def _measured(parts: Parts, sizes: Sizes, batch_size: int, samples: int) -> tuple[int, float]:
    """Return the numbers of a model and of what its layers return for a batch, from one that has no memory."""
    with torch.device("meta"), torch.no_grad():
        model = compose(parts, replace(sizes, condition=0, some_labels=False), generator_for(0)).eval()
        counted = _Activations(model.encoder, model.decoder)
        model.encode(torch.empty(batch_size, sizes.features))
        model.decode(torch.empty(samples, batch_size, sizes.latent + sum(sizes.below)))
    return sum(values.numel() for values in model.state_dict().values()), counted.values


def _plain(network: Any) -> Any:
    """Return the network that another one normalises."""
    return network.network if isinstance(network, SpectralNorm) else network


class _Activations:
    """Counts what layers return."""

    def __init__(self, *modules: nn.Module) -> None:
        self.values = 0.0
        for module in modules:
            for layer in module.modules():
                if not any(layer.children()):
                    layer.register_forward_hook(self._count)

    def _count(self, layer: nn.Module, inputs: Any, output: Tensor) -> None:
        self.values += output.numel()
