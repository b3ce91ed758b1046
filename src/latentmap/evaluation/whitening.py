"""The affine map that whitens latent codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from jaxtyping import Float

from latentmap.exceptions import DataError

__all__: list[str] = []  # helpers of this project, which may change


@dataclass(frozen=True, eq=False)
class Whitening:
    """The affine map to zero mean and unit covariance; axes without variance keep their scale."""

    mean: Float[np.ndarray, " d"]
    axes: Float[np.ndarray, "d d"]
    scale: Float[np.ndarray, " d"]

    @classmethod
    def of(cls, codes: Float[np.ndarray, "n d"]) -> Self:
        """Fit to codes. Raise if all are equal."""
        values, axes = np.linalg.eigh(np.atleast_2d(np.cov(codes.T, bias=True)))
        if not values[-1] > 0:
            raise DataError("all codes are equal: a latent space that has collapsed to a point has no shape")
        return cls(codes.mean(axis=0), axes, np.sqrt(np.where(values > 1e-12 * values[-1], values, 1)))

    def __call__(self, z: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Return codes whitened: of mean zero and unit covariance."""
        return np.asarray((z - self.mean) @ self.axes / self.scale)

    def colour(self, w: Float[np.ndarray, "n d"]) -> Float[np.ndarray, "n d"]:
        """Transform vectors of unit covariance to the covariance of the codes, without their mean."""
        return np.asarray((w * self.scale) @ self.axes.T)
