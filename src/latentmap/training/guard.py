"""The gradient guard: one bad batch must not ruin a fit."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

TOLERANCE = 5.0
"""A gradient longer than this many times the usual length is shortened to it."""


class GradientGuard:
    """Shortens exploding gradients and skips those that are not finite, without asking the device for a number.

    A fused optimizer takes both wishes as tensors (``grad_scale``, ``found_inf``), as it does from a gradient scaler.
    What it remembers stays in the same tensors, so that a step can be recorded.
    """

    def __init__(self, device: torch.device) -> None:
        self.usual = torch.zeros((), device=device)  # running mean of the gradient's length, zero before the first
        self.skipped = torch.zeros((), device=device)

    def apply(self, optimizer: Optimizer, gradients: Sequence[Tensor]) -> None:
        """Tell the optimizer how to treat these gradients in its next step."""
        norm = torch.nn.utils.get_total_norm(gradients)
        finite = torch.isfinite(norm)
        limit = torch.where(self.usual > 0, TOLERANCE * self.usual, norm)
        wishes = {"grad_scale": (norm / limit).nan_to_num(1.0).clamp(min=1.0), "found_inf": (~finite).float()}
        vars(optimizer).update(wishes)
        kept = torch.minimum(norm, limit)
        usual = torch.where(self.usual > 0, torch.lerp(self.usual, kept, 0.02), kept)
        self.usual.copy_(torch.where(finite, usual, self.usual))
        self.skipped.add_(~finite)
