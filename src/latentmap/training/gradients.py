"""Gradients between the backward pass and the optimizer: averaged over processes, clipped, or skipped."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

TOLERANCE = 5.0
"""Multiple of the running mean norm at which the norm of a gradient is clipped."""
LARGEST = 1e18
"""Norm from which on the squares of a gradient, which the optimizer averages, may overflow single precision."""


class GradientGuard:
    """Adaptive clipping of gradients, and skipping of those that overflow or are not finite.

    Neither synchronizes with the device.

    A fused optimizer takes both as tensors (``grad_scale``, ``found_inf``), as from a gradient scaler.

    Attributes
    ----------
    usual
        Running mean of the gradient's norm, zero before the first.
    skipped
        Number of updates skipped.
    """

    def __init__(self, device: torch.device) -> None:
        self.usual = torch.zeros((), device=device)
        self.skipped = torch.zeros((), device=device)

    def apply(self, optimizer: Optimizer, gradients: Sequence[Tensor]) -> None:
        """Set scale and validity of these gradients in the optimizer, for its next step."""
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = norm < LARGEST
        limit = torch.where(self.usual > 0, TOLERANCE * self.usual, norm)
        vars(optimizer)["grad_scale"] = (norm / limit).nan_to_num(1.0).clamp(min=1.0)
        vars(optimizer)["found_inf"] = (~finite).float()
        kept = torch.minimum(norm, limit)
        usual = torch.where(self.usual > 0, torch.lerp(self.usual, kept, 0.02), kept)
        self.usual.copy_(torch.where(finite, usual, self.usual))
        self.skipped.add_(~finite)


def has_finite_weights(module: nn.Module) -> bool:
    """Return whether all parameters are finite and no buffer holds NaN, as running statistics of a bad batch do.

    >>> layer = nn.Linear(2, 1)
    >>> has_finite_weights(layer), has_finite_weights(nn.Sequential(layer.requires_grad_(False), nn.BatchNorm1d(1)))
    (True, True)
    >>> _ = layer.weight.fill_(torch.inf)
    >>> has_finite_weights(layer)
    False
    """
    sound = [parameter.isfinite().all() for parameter in module.parameters()]
    sound += [~buffer.isnan().any() for buffer in module.buffers()]
    return not sound or bool(torch.stack(sound).all())
