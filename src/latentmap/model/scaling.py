"""The change of units between the data and the model."""

from __future__ import annotations

import numpy as np
import torch
from jaxtyping import Float, Shaped
from numpy.typing import ArrayLike
from torch import Tensor, nn


class Affine(nn.Module):
    """Shift and scale, x' = (x - shift) / scale: one number each for all features, or one for every feature.

    Double precision stays double, so that large offsets lose no digits; anything else becomes single.

    >>> Affine(0.0, 255.0)(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    tensor([[0.0000, 0.2000, 1.0000]])
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, shift: ArrayLike, scale: ArrayLike) -> None:
        super().__init__()
        self.register_buffer("shift", torch.as_tensor(np.atleast_1d(np.asarray(shift, dtype=np.float64))))
        self.register_buffer("scale", torch.as_tensor(np.atleast_1d(np.asarray(scale, dtype=np.float64))))

    def forward(self, x: Shaped[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Data units to model units, in single precision."""
        if x.dtype == torch.float64:
            return (x - self.shift) / self.scale
        return (x.float() - self.shift.float()) * self.scale.reciprocal().float()

    def inverse(self, x: Float[Tensor, "*S P"]) -> Float[Tensor, "*S P"]:
        """Model units to data units, in double precision."""
        return x.double() * self.scale + self.shift

    def log_jacobian(self, x: Float[Tensor, "B P"]) -> Float[Tensor, " B"]:
        """Log-determinant of the change of units, nats: what a log-density in data units gains; missing cells none."""
        return -self.scale.log().expand_as(x).masked_fill(x.isnan(), 0.0).sum(-1).to(x.dtype)
