"""Reduction over the processes of a fit: the one place through which gradients, sums and held-out totals pass."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class Reducer:
    """Reduction over a single process, which changes nothing; a subclass may reduce over several.

    Gradients are reduced before the gradient guard sees them, so that every process skips the same steps, and the
    criterion of an evaluation before it is compared, so that every process keeps the same weights.
    """

    def average_gradients(self, gradients: Sequence[Tensor]) -> None:
        """Average gradients over the processes, in place."""

    def mean(self, total: Tensor, count: int) -> Tensor:
        """Return the mean of values with this total and count in each process, over all processes."""
        return total / count
