"""The change of units between the data and the model."""

from __future__ import annotations

import math

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from numpy.typing import ArrayLike
from torch import Tensor, nn

ROUNDING = 1e-3, 1e-6
"""Tolerance of whole numbers after a change of units and back: absolute, and relative."""
REACH = 16
"""Scales from the shift that values on a logarithmic scale are expected to reach."""
TINY, HUGE, DROWNING = 1e-30, 1e30, 2.0**11
"""Scales and offsets with which single precision neither vanishes nor overflows; and offsets, in scales, up to which it
resolves a thousandth of a scale."""


class Affine(nn.Module):
    r"""Shift and scale, x' = (x - shift) / scale: one number each for all features, or one for every feature.

    Features that are ``stretched`` are first put on a logarithmic scale, :math:`\log(1 + x / u)` with ``unit`` u.
    Double precision stays double, so that large offsets lose no digits; anything else becomes single. Rows are
    `excluded` for values at or below -u there, and between whole numbers for features that are ``whole``; the encoder
    still reads them.

    >>> Affine(0.0, 255.0)(torch.tensor([[0, 51, 255]], dtype=torch.uint8))
    tensor([[0.0000, 0.2000, 1.0000]])
    """

    shift: Tensor
    scale: Tensor
    stretched: Tensor | None
    whole: Tensor | None
    unit: Tensor | None

    def __init__(
        self,
        shift: ArrayLike,
        scale: ArrayLike,
        stretched: ArrayLike | None = None,
        whole: ArrayLike | None = None,
        unit: ArrayLike | None = None,
    ) -> None:
        super().__init__()
        self.register_buffer("shift", torch.as_tensor(np.atleast_1d(np.asarray(shift, dtype=np.float64))))
        self.register_buffer("scale", torch.as_tensor(np.atleast_1d(np.asarray(scale, dtype=np.float64))))
        for name, given in (("stretched", stretched), ("whole", whole)):
            mask = np.atleast_1d(np.asarray(given, dtype=bool)) if given is not None else None
            self.register_buffer(name, torch.as_tensor(mask) if mask is not None and mask.any() else None)
        units = np.atleast_1d(np.asarray(1.0 if unit is None else unit, dtype=np.float64))
        self.register_buffer("unit", torch.as_tensor(units) if (units != 1).any() else None)

    def forward(self, x: Shaped[Tensor, "B P"]) -> Float[Tensor, "B P"]:
        """Return data in model units, in single precision."""
        if self.stretched is not None:
            x = x if x.is_floating_point() else x.float()
            amounts = x if self.unit is None else (x / self.unit).to(x.dtype)
            x = torch.where(self.stretched, amounts.clamp_min(torch.finfo(x.dtype).eps / 2 - 1).log1p(), x)
        if x.dtype == torch.float64:
            return (x - self.shift) / self.scale
        if x.is_floating_point() and not self.fits_single:
            return ((x.double() - self.shift) / self.scale).float()
        return (x.float() - self.shift.float()).mul_(self.scale.reciprocal().float())  # one pass less through memory

    def of(self, features: Int[Tensor, " Q"]) -> Affine:
        """Return the change of units of some features, each as often as it is named."""
        shift, scale, *others = (
            one if one is None or len(one) == 1 else one[features]
            for one in (self.shift, self.scale, self.stretched, self.whole, self.unit)
        )
        assert shift is not None and scale is not None
        return Affine(shift, scale, *others)

    @property
    def fits_single(self) -> bool:
        """Whether single precision holds the scaled data: no extreme range, and no offset large against its range."""
        scale, shift = self.scale, self.shift.abs()
        fits = (scale > TINY) & (scale < HUGE) & (shift < HUGE) & (shift < DROWNING * scale)
        if self.stretched is not None:
            unit = torch.ones_like(scale) if self.unit is None else self.unit
            fits &= ~self.stretched | ((shift + REACH * scale + unit.log() < math.log(HUGE)) & (unit > TINY))
        return bool(fits.all())

    def restored(self, x: Float[Tensor, "*S P"], like: torch.dtype) -> Float[Tensor, "*S P"]:
        """Return data units from model units, in the precision of ``like``, or in double where single is too little."""
        return self.rounded(self.inverse(x), like)

    def rounded(self, x: Float[Tensor, "*S P"], like: torch.dtype) -> Float[Tensor, "*S P"]:
        """Return data units in the precision of ``like``, or as they are where single precision is too little."""
        return x.to(like) if like.is_floating_point and self.fits_single else x

    def inverse(self, x: Float[Tensor, "*S P"]) -> Float[Tensor, "*S P"]:
        """Return data units from model units, in double precision."""
        x = x.to(torch.float64, copy=True).mul_(self.scale).add_(self.shift)
        if self.stretched is None:
            return x
        return torch.where(self.stretched, x.expm1() if self.unit is None else x.expm1() * self.unit, x)

    def excluded(self, x: Shaped[Tensor, "B P"]) -> Bool[Tensor, " B"]:
        """Return which rows, in data units, hold a value that the change of units excludes: it has no density."""
        excluded = torch.zeros(len(x), dtype=torch.bool, device=x.device)
        if self.stretched is not None:
            excluded = excluded | (self.stretched & (x <= (-1 if self.unit is None else -self.unit))).any(-1)
        if self.whole is not None and x.is_floating_point():
            off = (x - x.round()).abs() > ROUNDING[0] + ROUNDING[1] * x.abs()
            excluded = excluded | (self.whole & off).any(-1)
        return excluded

    def varies(self, missing: bool, but: Bool[Tensor, " P"]) -> bool:
        """Return whether rows differ in `log_jacobian`, as they do with missing cells or on a logarithmic scale."""
        scaled = (self.scale != 1) | (False if self.stretched is None else self.stretched)
        return bool((scaled & ~but).any()) and (missing or self.stretched is not None)

    def log_jacobian(self, x: Float[Tensor, "B P"], but: Bool[Tensor, " P"] | None = None) -> Float[Tensor, " B"]:
        """Return the log-determinant of the change of units, nats, to add to a log-density for data units.

        Missing cells add nothing, nor do the features in ``but``, those with a mass, which no unit changes.
        """
        log_scale = self.scale.log().expand_as(x)
        if self.stretched is not None:
            log_unit = 0.0 if self.unit is None else self.unit.log()
            log_scale = torch.where(self.stretched, log_scale + x * self.scale + self.shift + log_unit, log_scale)
        left = x.isnan() if but is None else x.isnan() | but
        return -log_scale.masked_fill(left, 0.0).sum(-1).to(x.dtype)
