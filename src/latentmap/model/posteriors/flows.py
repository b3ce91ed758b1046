"""Posteriors transformed by a normalising flow."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from latentmap.exceptions import PartError
from latentmap.model.noise import Noise
from latentmap.model.part import MOST_LAYERS, Learned, Sizes, whole
from latentmap.model.posteriors.base import Draw, Gaussian, LogJoint, Posterior
from latentmap.model.transforms import FlowKind, Pushforward, autoregressive, flowing, planar


@dataclass(frozen=True)
class Flow(Posterior):
    r"""Normalising flow of a diagonal Gaussian, for posteriors that bend and correlate (Rezende and Mohamed 2015).

    .. math:: z = f(u;\ h(x)), \quad u \sim \mathcal{N}(\mu(x), \mathrm{diag}\,\sigma^2(x)), \qquad
              \log q(z|x) = \log \mathcal{N}(u) - \log \left| \det \frac{\partial f}{\partial u} \right|

    The rate has no closed form, and q does not factorise.

    Parameters
    ----------
    kind : {"iaf", "maf", "nsf", "planar"}, default="iaf"
        Inverse autoregressive, affine, with one pass for a draw (Kingma et al. 2016); masked autoregressive, affine,
        with a pass for each component (Papamakarios et al. 2017); as "iaf" with rational-quadratic splines (Durkan et
        al. 2019); or planar, with the density of its own draws alone. All but "planar" need ``latentmap[flows]``.
    transforms : int, default=3
        Transforms in sequence.
    width : int, default=64
        Width of their two hidden layers; not used by "planar".
    context : int, default=16
        Numbers h that the encoder returns besides mu and sigma; for "planar" it returns the planes instead.

    Examples
    --------
    >>> Flow("iaf").heads(latent=3)
    22
    """

    kind: FlowKind = "iaf"
    transforms: int = 3
    width: int = 64
    context: int = 16

    def __post_init__(self) -> None:
        if self.kind not in ("iaf", "maf", "nsf", "planar"):
            raise PartError(f"kind must be 'iaf', 'maf', 'nsf' or 'planar', got {self.kind!r}")
        whole("transforms", self.transforms, most=MOST_LAYERS)
        for name in ("width", "context"):
            whole(name, getattr(self, name))

    @property
    def evaluates(self) -> bool:
        """Whether the flow has an inverse."""
        return self.kind != "planar"

    def heads(self, latent: int) -> int:
        """Return the numbers of mu, s and h."""
        return 2 * latent + (self.transforms * (2 * latent + 1) if self.kind == "planar" else self.context)

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return the networks of the transforms."""
        if self.kind == "planar":
            return {}
        return {"flow": autoregressive(self.kind, sizes.latent, self.context, self.transforms, self.width)}

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Pushforward:
        """Return the distribution of f(u)."""
        if self.kind == "planar":
            latent = (raw.shape[-1] - self.transforms) // (2 + 2 * self.transforms)
            moments, planes = raw[..., : 2 * latent], raw[..., 2 * latent :]
            return Pushforward(Gaussian().distribution(own, moments), planar(planes, self.transforms))
        moments, h = raw.split([raw.shape[-1] - self.context, self.context], -1)
        return flowing(own.flow, Gaussian().distribution(own, moments), h, inverse=self.kind == "maf")

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Return f(mu(x) + sigma(x) * noise)."""
        q = self.distribution(own, raw)
        return q.push(q.base.mean + q.base.stddev * noise((k, *q.base.mean.shape), raw)), q, {}
