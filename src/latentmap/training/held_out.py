"""Held-out rows, and their loss."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from latentmap.model.noise import generator_for
from latentmap.model.processes import Processes, alone
from latentmap.training.feed import Batch, Feed
from latentmap.training.step import GradientStep

ROWS = 4096
VALUES = 2**26
"""Decoder outputs in one pass over held-out rows, at most: rows x features x heads x draws."""


@dataclass(frozen=True, eq=False)
class HeldOut:
    """Held-out rows (M, P), with neighbours (M, k) among the training rows, condition (M, C) and places (M, D)."""

    rows: Tensor
    graph: Tensor | None = None
    condition: Tensor | None = None
    places: Tensor | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def total(self, step: GradientStep, feed: Feed, size: int, seed: int) -> Tensor:
        """Return the sum of the loss of the rows and of its parts, with the same noise at each evaluation.

        Each of several processes measures its rows of a batch, and all measure the whole of the last one where that
        cannot be divided: it is the sum over the processes that is of all rows, as one process has it.

        Parameters
        ----------
        step
            What measures a batch.
        feed
            Training rows, among which the neighbours are.
        size
            Rows of a batch of a map, as in training.
        seed
            Seed of the noise.
        """
        step.model.eval()
        generator, order = generator_for(seed, feed.device), self.order(seed)
        total = torch.zeros_like(step.sums[:-1])
        for count, batch, processes in self._batches(step, feed, size, order, generator):
            total += step.measure(batch, generator, processes) * (count / step.processes.world_size)
        return total

    def order(self, seed: int) -> Int[Tensor, " M"]:
        """Return the order in which rows are taken: those of a batch, which may be contrasted, are not to be alike."""
        return torch.randperm(len(self.rows), generator=generator_for(seed)).to(self.rows.device)

    def _batches(
        self, step: GradientStep, feed: Feed, size: int, order: Int[Tensor, " M"], generator: torch.Generator
    ) -> Iterator[tuple[int, Batch, Processes]]:
        """Yield batches with their numbers of rows, and the processes among which these are divided.

        With positives, batches are as large as those of training; these and others can be divided, but for the last.
        """
        if self.graph is None:
            size = min(ROWS, max(1, VALUES // (step.model.outputs * step.objective.samples)))
            size = size - size % step.processes.world_size or size
        for whole in order.split(size):
            processes = alone if len(whole) % step.processes.world_size else step.processes
            index = processes.share(whole)
            condition, places = (None if part is None else part[index] for part in (self.condition, self.places))
            batch = Batch(self.rows[index], condition, places)
            if self.graph is not None:
                batch = feed.with_positives(self.graph[index], batch, generator, processes)
            yield len(whole), batch, processes
