"""Structural similarity of images: a distortion without density."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from latentmap.exceptions import PartError
from latentmap.model.distributions import Distortion
from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.modules import image_shape
from latentmap.model.part import Learned, Sizes, positive

SCALES = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weights of the scales, finest first, as Wang et al. measured them on observers."""
WINDOW, SPREAD = 11, 1.5
LUMINANCE, CONTRAST = 0.01**2, 0.03**2
"""Constants that keep the quotients stable where an image is dark or flat, for values from 0 to 1."""
FLOOR = 0.02


@dataclass(frozen=True)
class MSSSIM(Likelihood):
    r"""Multi-scale structural similarity (Wang et al. 2003): a distortion of images, without a density.

    .. math:: \text{distortion}(x|z) = w P\, (1 - \text{MS-SSIM}(x, d(z))), \qquad
              \text{MS-SSIM} = l_M^{a_M} \prod_{j=1}^M c_j^{a_j}

    with luminance l and contrast-structure c averaged over an 11 x 11 Gaussian window; each scale halves the image, for
    as long as it holds the window (five scales from 176 pixels on), and the weights a of those left sum to one.

    Parameters
    ----------
    weight : float, default=1.0
        Largest cost w of each of the P features of a row, in nats.

    Examples
    --------
    >>> part = MSSSIM()
    >>> p = part.distribution(part.build(Sizes((28, 28), 2)), torch.zeros(5, 784, 1))
    >>> p.cost(torch.full((5, 784), 0.5))
    tensor([0., 0., 0., 0., 0.])
    """

    weight: float = 1.0

    has_density: ClassVar[bool] = False
    support: ClassVar[tuple[float, float]] = (0.0, 1.0)

    def __post_init__(self) -> None:
        positive("weight", self.weight)

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for rows that are not images."""
        if len(sizes.event) not in (2, 3):
            raise PartError(
                f"likelihood MSSSIM takes images, rows of shape (height, width[, channels]), got {sizes.event}; "
                "use likelihoods.Gaussian()"
            )

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the module that compares images of this size."""
        return {"similarity": Similarity(image_shape(sizes))}

    def distribution(self, own: Learned, raw: Float[Tensor, "*S P H"]) -> Distortion:
        """Return images with grey values sigmoid(raw), and their distortion."""
        image = torch.sigmoid(raw[..., 0])
        most = self.weight * image.shape[-1]
        return Distortion("likelihood MSSSIM", image, lambda x: most * (1 - own.similarity(x, image)))


class Similarity(nn.Module):
    """MS-SSIM of flat images with values from 0 to 1, one number a row, the mean over channels."""

    window: Tensor

    def __init__(self, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.image = image
        width = min(WINDOW, *image[1:])
        place = torch.arange(width) - (width - 1) / 2
        window = torch.exp(-0.5 * (place / SPREAD) ** 2)
        self.register_buffer("window", window / window.sum())
        scales = SCALES[: 1 + int(math.log2(min(image[1:]) / width))]
        self.weights = [weight / sum(scales) for weight in scales]

    def forward(self, x: Float[Tensor, "*T P"], y: Float[Tensor, "*S P"]) -> Float[Tensor, "*S"]:
        """Return the similarity of rows; x may lack leading axes of y."""
        c, h, w = self.image
        with torch.autocast(y.device.type, enabled=False):  # variances are differences of like numbers
            a, b = (t.expand_as(y).reshape(-1, h, w, c).movedim(-1, 1).reshape(-1, 1, h, w) for t in (x, y))
            similarity = torch.ones_like(a[:, 0, 0, 0])
            for j, weight in enumerate(self.weights):
                if j:
                    a, b = (F.avg_pool2d(t, 2) for t in (a, b))
                luminance, contrast = self._compare(a, b)
                alike = contrast if j < len(self.weights) - 1 else luminance * contrast
                similarity = similarity * _raised(alike.mean((1, 2, 3))) ** weight
        return similarity.view(*y.shape[:-1], c).mean(-1)

    def _compare(self, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        """Return luminance and contrast-structure at every position of the window."""
        count = self.window.numel()
        rows = torch.cat([a, b, a * a, b * b, a * b])
        rows = F.conv2d(F.conv2d(rows, self.window.view(1, 1, count, 1)), self.window.view(1, 1, 1, count))
        ma, mb, aa, bb, ab = rows.chunk(5)
        luminance = (2 * ma * mb + LUMINANCE) / (ma**2 + mb**2 + LUMINANCE)
        contrast = (2 * (ab - ma * mb) + CONTRAST) / (aa - ma**2 + bb - mb**2 + CONTRAST)
        return luminance, contrast


def _raised(alike: Tensor) -> Tensor:
    """Replace values below 0.02 by an exponential, so that they stay positive and have a power."""
    return torch.where(alike > FLOOR, alike, FLOOR * torch.exp(alike / FLOOR - 1))
