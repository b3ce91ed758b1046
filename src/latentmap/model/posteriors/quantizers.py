"""Quantising posteriors: the encoder's output is replaced by the nearest of finitely many codes."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor

from latentmap.exceptions import PartError
from latentmap.model.distributions import Delta
from latentmap.model.noise import Noise
from latentmap.model.part import MOST_LAYERS, MOST_UNITS, Learned, Sizes, positive, whole
from latentmap.model.posteriors.base import Draw, LogJoint, Posterior

DEAD = 0.03
"""Usage, relative to an even one, below which a vector of a codebook is dead; a restarted one counts twice that."""


@dataclass(frozen=True)
class Quantizer(Posterior):
    """Base of posteriors on finitely many points, each with L indices; they have no density."""

    has_density: ClassVar[bool] = False

    @abstractmethod
    def alphabet(self, latent: int) -> tuple[int, int]:
        """Return the number of indices of a code, and the number of values of each.

        Parameters
        ----------
        latent : int
            Number D of latent components.

        Returns
        -------
        tuple of int
            L, and the number of values.
        """

    @abstractmethod
    def embed(self, own: Learned, indices: Int[Tensor, "*S L"]) -> Float[Tensor, "*S D"]:
        """Return the points with these indices.

        Parameters
        ----------
        own, indices : Learned, Tensor of shape (*S, L)
            State of this posterior, and indices.

        Returns
        -------
        Tensor of shape (*S, D)
            Points.
        """

    @abstractmethod
    def indices(self, own: Learned, raw: Float[Tensor, "B H"]) -> Int[Tensor, "B L"]:
        """Return the indices of the nearest point.

        Parameters
        ----------
        own, raw : Learned, Tensor of shape (B, H)
            As for `distribution`.

        Returns
        -------
        Tensor of shape (B, L)
            Indices.
        """

    def _bounded(self, raw: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        """Return the values to quantise; gradients pass straight through the rounding (Bengio et al. 2013)."""
        return raw

    def distribution(self, own: Learned, raw: Float[Tensor, "B H"]) -> Delta:
        """Return the point mass at the nearest point."""
        bounded = self._bounded(raw)
        return Delta(bounded + (self.embed(own, self.indices(own, raw)) - bounded).detach(), type(self).__name__)

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Return the point k times."""
        q = self.distribution(own, raw)
        return q.loc.expand(k, *q.loc.shape), q, {}


@dataclass(frozen=True)
class Quantized(Quantizer):
    r"""Nearest vector of a learned codebook: VQ-VAE (van den Oord et al. 2017), and residual in several stages.

    .. math:: z = e_j, \quad j = \arg\min_i |h(x) - e_i|^2, \qquad
              \text{cost of a row} = -\log p(x|z) + \beta\, |h(x) - \mathrm{sg}(z)|^2

    Codebooks are not trained by gradients: a vector is the running mean of the encoder's outputs that are nearest to
    it, and one that hardly any row is nearest to restarts at a row of the batch.

    Parameters
    ----------
    codes : int, default=512
        Vectors of a codebook.
    pieces : int, default=1
        Equal pieces of the D components, each with a codebook.
    stages : int, default=1
        Each stage after the first quantises the residual of those before it (Lee et al. 2022).
    commitment : float, default=0.25
        Beta.
    decay : float, default=0.95
        Weight of earlier batches in the running means.

    Examples
    --------
    >>> Quantized(512, pieces=4).alphabet(16)
    (4, 512)
    """

    codes: int = 512
    pieces: int = 1
    stages: int = 1
    commitment: float = 0.25
    decay: float = 0.95

    def __post_init__(self) -> None:
        for name, least, most in (("codes", 2, MOST_UNITS), ("pieces", 1, MOST_UNITS), ("stages", 1, MOST_LAYERS)):
            whole(name, getattr(self, name), least=least, most=most)
        positive("commitment", self.commitment, zero=True)
        if not 0 <= self.decay < 1:
            raise PartError(f"decay is the weight of earlier batches, at least 0 and below 1, got {self.decay!r}")

    def check(self, sizes: Sizes) -> None:
        """Raise a `PartError` for components that the pieces do not divide."""
        if sizes.latent % self.pieces:
            raise PartError(f"n_components must be a multiple of pieces={self.pieces}, got {sizes.latent}")

    def init(self, sizes: Sizes) -> dict[str, Any]:
        """Return codebooks, and the usage of each vector: none, so that the first batch initialises them all."""
        shape = self.stages, self.pieces, self.codes
        return {"book": torch.randn(*shape, sizes.latent // self.pieces), "usage": torch.zeros(shape)}

    def alphabet(self, latent: int) -> tuple[int, int]:
        """Return stages times pieces, and codes."""
        return self.stages * self.pieces, self.codes

    def indices(self, own: Learned, raw: Float[Tensor, "B H"]) -> Int[Tensor, "B L"]:
        """Return the indices of the nearest vectors, stage by stage."""
        return self._search(own, raw)

    def embed(self, own: Learned, indices: Int[Tensor, "*S L"]) -> Float[Tensor, "*S D"]:
        """Return the sum of the stages' vectors."""
        stage = torch.arange(self.stages, device=indices.device)[:, None]
        piece = torch.arange(self.pieces, device=indices.device)
        vectors: Tensor = own.book[stage, piece, indices.unflatten(-1, (self.stages, self.pieces))]  # (*S, S, G, d)
        return vectors.sum(-3).flatten(-2)

    def draw(self, own: Learned, raw: Float[Tensor, "B H"], k: int, noise: Noise, log_joint: LogJoint) -> Draw:
        """Return the point k times, with its commitment cost; in training, update the codebooks."""
        if own.training and torch.is_grad_enabled():
            self._search(own, raw, noise)
        z, q, _ = super().draw(own, raw, k, noise, log_joint)
        return z, q, {"commitment": self.commitment * (raw - z[0].detach()).square().sum(-1)}

    @torch.no_grad()
    def _search(self, own: Learned, raw: Tensor, noise: Noise | None = None) -> Tensor:
        """Return the indices of the nearest vectors; with noise, update the codebooks."""
        rest = raw.unflatten(-1, (self.pieces, -1)).transpose(0, 1).to(own.book)  # (G, B, d)
        chosen = []
        for stage in range(self.stages):
            centre = own.book[stage].mean(1, keepdim=True)  # an offset would cancel in the products of cdist
            index = torch.cdist(rest - centre, own.book[stage] - centre).argmin(-1)  # (G, B)
            if noise is not None:
                with torch.autocast(rest.device.type, enabled=False):  # running means need all digits
                    self._learn(own, stage, rest, index, noise)
            rest = rest - own.book[stage].gather(1, index[..., None].expand_as(rest))
            chosen.append(index.T)
        return torch.cat(chosen, 1)

    def _learn(self, own: Learned, stage: int, h: Tensor, index: Tensor, noise: Noise) -> None:
        """Set each vector to the running mean of the outputs nearest to it, and dead ones to rows of the batch."""
        book, usage = own.book[stage], own.usage[stage]  # (G, N, d), (G, N)
        h, index = own.processes.gather(h, 1), own.processes.gather(index, 1)
        assigned = torch.nn.functional.one_hot(index, self.codes).to(book) / h.shape[1]  # (G, B, N)
        counts = usage.lerp(assigned.sum(1), 1 - self.decay)
        sums = (usage[..., None] * book).lerp(assigned.transpose(1, 2) @ h, 1 - self.decay)
        dead = counts < DEAD / self.codes
        fresh = h[:, (noise.uniform((self.codes,), h) * h.shape[1]).long().clamp_max(h.shape[1] - 1)]
        moved = torch.where(dead[..., None], fresh, sums / counts.clamp_min(1e-12)[..., None])
        sound = h.isfinite().all()
        own.book[stage] = torch.where(sound, moved, book)
        own.usage[stage] = torch.where(sound, torch.where(dead, 2 * DEAD / self.codes, counts), usage)


@dataclass(frozen=True)
class FiniteScalar(Quantizer):
    r"""Finite scalar quantisation (Mentzer et al. 2024): each component rounded to one of L levels from -1 to 1.

    .. math:: z_d = \frac{2}{L - 1} \operatorname{round}\left(\frac{L - 1}{2} (\tanh h_d(x) + 1)\right) - 1

    Parameters
    ----------
    levels : int, default=8
        Number L of levels, at least 2.

    Examples
    --------
    >>> FiniteScalar(levels=3).distribution(Learned(), torch.tensor([[-9.0, 0.1, 0.4]])).mean
    tensor([[-1.,  0.,  0.]])
    """

    levels: int = 8

    def __post_init__(self) -> None:
        whole("levels", self.levels, least=2)

    def alphabet(self, latent: int) -> tuple[int, int]:
        """Return an index for each component, of L values."""
        return latent, self.levels

    def _bounded(self, raw: Float[Tensor, "B H"]) -> Float[Tensor, "B D"]:
        return raw.tanh()

    def indices(self, own: Learned, raw: Float[Tensor, "B H"]) -> Int[Tensor, "B L"]:
        """Return the nearest levels, from 0 to L - 1."""
        return ((self.levels - 1) / 2 * (self._bounded(raw) + 1)).round().long()

    def embed(self, own: Learned, indices: Int[Tensor, "*S L"]) -> Float[Tensor, "*S D"]:
        """Return the values of levels, from -1 to 1."""
        return indices * (2 / (self.levels - 1)) - 1
