"""Networks from rows to the parameters of a posterior, and from codes to those of a likelihood.

A network is a frozen dataclass that builds two modules: an encoder from rows (B, P) and a decoder from codes (..., D).
A user's own module can replace either; docs/networks.md says what it maps.
"""

from __future__ import annotations

import contextlib
import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

import torch
from torch import Tensor, nn

from latentmap.exceptions import PartError
from latentmap.model.modules import ToImage, WithHeads, image_shape
from latentmap.model.part import MOST_LAYERS, MOST_UNITS, Part, Sizes, whole
from latentmap.model.sparse import SparseLinear

__all__ = ["MLP", "Conv", "Fourier", "Network", "ResidualMLP", "SpectralNorm", "WithHeads"]

Activation = Literal["relu", "silu", "gelu", "tanh"]
_ACTIVATIONS: dict[str, type[nn.Module]] = {"relu": nn.ReLU, "silu": nn.SiLU, "gelu": nn.GELU, "tanh": nn.Tanh}


@dataclass(frozen=True)
class Network(Part, ABC):
    """Base of networks; a subclass defines `encoder` and `decoder`."""

    @abstractmethod
    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return a module from rows (B, P) to (B, out).

        Parameters
        ----------
        sizes : Sizes
            Sizes of the rows.
        out : int
            Numbers to return for each row.

        Returns
        -------
        Module
            The encoder.
        """

    @abstractmethod
    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return a module from codes (..., D) to (..., P, heads).

        Parameters
        ----------
        sizes : Sizes
            Sizes of codes and rows.
        heads : int
            Numbers to return for each feature.

        Returns
        -------
        Module
            The decoder.
        """


@dataclass(frozen=True)
class MLP(Network):
    """Fully connected layers, mirrored in the decoder; the default for vectors and small images.

    Parameters
    ----------
    hidden : tuple of int, default=(512, 256)
        Widths of the encoder's hidden layers.
    activation : {"silu", "relu", "gelu", "tanh"}, default="silu"
        Activation between layers.

    Examples
    --------
    >>> MLP((32,)).encoder(Sizes((8,), 2), out=4)(torch.zeros(5, 8)).shape
    torch.Size([5, 4])
    """

    hidden: tuple[int, ...] = (512, 256)
    activation: Activation = "silu"

    def __post_init__(self) -> None:
        _check_widths("hidden", self.hidden)
        _check_activation(self.activation)

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return P -> hidden -> out."""
        return self._layers(sizes.features, *self.hidden, out, first=SparseLinear)

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return D -> hidden, reversed -> P x heads."""
        layers = self._layers(sizes.latent, *reversed(self.hidden), sizes.features * heads)
        return nn.Sequential(layers, nn.Unflatten(-1, (sizes.features, heads)))

    def _layers(self, *widths: int, first: type[nn.Linear] = nn.Linear) -> nn.Sequential:
        layers: list[nn.Module] = [first(widths[0], widths[1])]
        for a, b in pairwise(widths[1:]):
            layers += [_ACTIVATIONS[self.activation](), nn.Linear(a, b)]
        return nn.Sequential(*layers)


@dataclass(frozen=True)
class ResidualMLP(Network):
    """Pre-norm residual blocks of one width, which train well when deep (He et al. 2016; Gorishniy et al. 2021).

    Parameters
    ----------
    width : int, default=256
        Width of the blocks, whose inner layer is twice as wide.
    blocks : int, default=3
        Blocks in sequence.
    activation : {"silu", "relu", "gelu", "tanh"}, default="silu"
        Activation within a block.

    Examples
    --------
    >>> ResidualMLP(width=16, blocks=2).decoder(Sizes((8,), 2), heads=1)(torch.zeros(3, 5, 2)).shape
    torch.Size([3, 5, 8, 1])
    """

    width: int = 256
    blocks: int = 3
    activation: Activation = "silu"

    def __post_init__(self) -> None:
        whole("width", self.width)
        whole("blocks", self.blocks, most=MOST_LAYERS)
        _check_activation(self.activation)

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return P -> width -> blocks -> out."""
        return self._layers(sizes.features, out)

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return D -> width -> blocks -> P x heads."""
        layers = self._layers(sizes.latent, sizes.features * heads)
        return nn.Sequential(layers, nn.Unflatten(-1, (sizes.features, heads)))

    def _layers(self, first: int, last: int) -> nn.Sequential:
        blocks = [ResidualBlock(self.width, _ACTIVATIONS[self.activation]()) for _ in range(self.blocks)]
        return nn.Sequential(
            nn.Linear(first, self.width), *blocks, nn.LayerNorm(self.width), nn.Linear(self.width, last)
        )


class ResidualBlock(nn.Module):
    """A layer norm, two linear layers and an activation between them, added to their input."""

    def __init__(self, width: int, activation: nn.Module) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 2 * width), activation, nn.Linear(2 * width, width)
        )

    def forward(self, h: Tensor) -> Tensor:
        body: Tensor = self.body(h)
        return h + body


@dataclass(frozen=True)
class Conv(Network):
    """Strided convolutions in the encoder, upsampling and convolutions in the decoder; for images of any size.

    Parameters
    ----------
    channels : tuple of int, default=(32, 64, 128)
        Channels after each convolution, which halves the image.
    width : int, default=256
        Width of the hidden layer between the smallest image and the code.
    activation : {"silu", "relu", "gelu", "tanh"}, default="silu"
        Activation between layers.

    Examples
    --------
    >>> net = Conv((8, 16))
    >>> net.encoder(Sizes((9, 7, 3), 2), out=4)(torch.zeros(5, 9 * 7 * 3)).shape
    torch.Size([5, 4])
    >>> net.decoder(Sizes((9, 7, 3), 2), heads=1)(torch.zeros(5, 2)).shape
    torch.Size([5, 189, 1])
    """

    channels: tuple[int, ...] = (32, 64, 128)
    width: int = 256
    activation: Activation = "silu"

    def __post_init__(self) -> None:
        _check_widths("channels", self.channels)
        whole("width", self.width)
        _check_activation(self.activation)

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return image -> halved by each convolution -> width -> out."""
        image = image_shape(sizes)
        layers: list[nn.Module] = [ToImage(image)]
        for a, b in pairwise((image[0], *self.channels)):
            layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), self._activation()]
        c, h, w = self.channels[-1], *_pyramid(image[1:], len(self.channels))[-1]
        layers += [nn.Flatten(), nn.Linear(c * h * w, self.width), self._activation(), nn.Linear(self.width, out)]
        return nn.Sequential(*layers)

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return code -> width -> smallest image -> upsampled to each size of the encoder's pyramid in turn."""
        image = image_shape(sizes)
        pyramid = _pyramid(image[1:], len(self.channels))
        up = tuple(reversed(self.channels))
        first = (up[0], *pyramid[-1])
        layers: list[nn.Module] = [nn.Linear(sizes.latent, self.width), self._activation()]
        layers += [nn.Linear(self.width, math.prod(first)), self._activation(), nn.Unflatten(-1, first)]
        for (a, b), size in zip(pairwise((*up, up[-1])), reversed(pyramid[:-1]), strict=True):
            layers += [nn.Upsample(size=size), nn.Conv2d(a, b, 3, padding=1), self._activation()]
        layers += [nn.Conv2d(up[-1], image[0] * heads, 3, padding=1)]
        return ImageDecoder(nn.Sequential(*layers), heads)

    def _activation(self) -> nn.Module:
        return _ACTIVATIONS[self.activation]()


@dataclass(frozen=True)
class Fourier(Network):
    r"""Another network, whose decoder takes random Fourier features of the code with it (Tancik et al. 2020).

    .. math:: z \to (z,\ \sin(W z + b)), \qquad W_{ij} \sim \mathcal{N}(0, s^2), \quad b_i \sim U(0, 2 \pi)

    A network of few inputs learns what changes slowly with them first, and detail only late (Rahaman et al. 2019).
    The decoder of a map, of two numbers, learns several times faster this way. W and b are learned with it.

    Parameters
    ----------
    network : Network
        The network to extend.
    frequencies : int, default=128
        Number of features.
    scale : float, default=4.0
        Standard deviation s of the frequencies, in radians per unit of the code.

    Examples
    --------
    >>> Fourier(MLP((32,))).decoder(Sizes((8,), 2), heads=1)(torch.zeros(5, 2)).shape
    torch.Size([5, 8, 1])
    """

    network: Network
    frequencies: int = 128
    scale: float = 4.0

    def __post_init__(self) -> None:
        whole("frequencies", self.frequencies, most=MOST_UNITS)
        if not 0 < self.scale < math.inf:
            raise PartError(f"scale must be a positive number, got {self.scale!r}")

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return the network's encoder, as it is."""
        return self.network.encoder(sizes, out)

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return the network's decoder, after the features."""
        features = FourierFeatures(sizes.latent, self.frequencies, self.scale)
        wider = replace(sizes, latent=sizes.latent + self.frequencies)
        return nn.Sequential(features, self.network.decoder(wider, heads))


class FourierFeatures(nn.Module):
    """Inputs (..., D) and their Fourier features: (..., D + frequencies)."""

    def __init__(self, inputs: int, frequencies: int, scale: float) -> None:
        super().__init__()
        self.phase = nn.Linear(inputs, frequencies)
        nn.init.normal_(self.phase.weight, std=scale)
        nn.init.uniform_(self.phase.bias, 0.0, 2 * math.pi)

    def forward(self, z: Tensor) -> Tensor:
        device = z.device.type
        exact = contextlib.nullcontext() if device == "meta" else torch.autocast(device, enabled=False)
        with exact:  # phases of many radians need all digits
            z = z.to(self.phase.weight.dtype)
            return torch.cat([z, self.phase(z).sin()], -1)


@dataclass(frozen=True)
class SpectralNorm(Network):
    r"""Another network, with each weight of its decoder divided by its largest singular value (Miyato et al. 2018).

    .. math:: W \to W / \sigma_{\max}(W)

    It bounds the decoder's Lipschitz constant (RAE-SN, Ghosh et al. 2020). The singular value comes from one power
    iteration a step; the kernel of a convolution counts as a matrix of its output channels.

    Parameters
    ----------
    network : Network
        The network to normalise.

    Examples
    --------
    >>> SpectralNorm(MLP((32,))).decoder(Sizes((8,), 2), heads=1)(torch.zeros(5, 2)).shape
    torch.Size([5, 8, 1])
    """

    network: Network

    def encoder(self, sizes: Sizes, out: int) -> nn.Module:
        """Return the network's encoder, as it is."""
        return self.network.encoder(sizes, out)

    def decoder(self, sizes: Sizes, heads: int) -> nn.Module:
        """Return the network's decoder, normalised."""
        return _normalised(self.network.decoder(sizes, heads))


def _normalised(module: nn.Module) -> nn.Module:
    if isinstance(module, nn.Linear | nn.Conv2d):
        return SpectralLayer(module)
    for name, child in module.named_children():
        setattr(module, name, _normalised(child))
    return module


class SpectralLayer(nn.Module):
    """Layer with its weight divided by its largest singular value; torch's cannot be pickled."""

    u: Tensor

    def __init__(self, layer: nn.Linear | nn.Conv2d) -> None:
        super().__init__()
        self.layer = layer
        self.register_buffer("u", torch.randn(len(layer.weight)))
        for _ in range(20):
            self._iterate()

    def forward(self, x: Tensor) -> Tensor:
        """Return the output of the layer with the divided weight."""
        output: Tensor = torch.func.functional_call(self.layer, {"weight": self.normalised()}, x)
        return output

    def normalised(self) -> Tensor:
        """Return the divided weight; in training after one more power iteration."""
        weight: Tensor = self.layer.weight
        u, v = self._iterate() if self.training else self._vectors()
        with torch.autocast(weight.device.type, enabled=False):
            sigma = u @ weight.flatten(1) @ v
        return weight / sigma

    @torch.no_grad()
    def _iterate(self) -> tuple[Tensor, Tensor]:
        u, v = self._vectors()
        self.u.copy_(u)
        return u, v

    @torch.no_grad()
    def _vectors(self) -> tuple[Tensor, Tensor]:
        """Return singular vectors (left, right) after one more power iteration."""
        matrix = self.layer.weight.flatten(1)
        with torch.autocast(matrix.device.type, enabled=False):
            v = nn.functional.normalize(matrix.mT @ self.u, dim=0)
            return nn.functional.normalize(matrix @ v, dim=0), v


def _pyramid(size: tuple[int, int], levels: int) -> list[tuple[int, int]]:
    sizes = [size]
    for _ in range(levels):
        sizes.append(((sizes[-1][0] + 1) // 2, (sizes[-1][1] + 1) // 2))
    return sizes


class ImageDecoder(nn.Module):
    """Codes (..., D) through an image network to (..., H*W*C, heads)."""

    def __init__(self, layers: nn.Module, heads: int) -> None:
        super().__init__()
        self.layers = layers
        self.heads = heads

    def forward(self, z: Tensor) -> Tensor:
        x: Tensor = self.layers(z.flatten(0, -2))  # (N, C*heads, H, W)
        x = x.unflatten(1, (-1, self.heads)).permute(0, 3, 4, 1, 2)  # (N, H, W, C, heads)
        return x.reshape(*z.shape[:-1], -1, self.heads)


def _check_widths(name: str, widths: tuple[int, ...]) -> None:
    if not all(isinstance(w, int) and w > 0 for w in widths):
        raise PartError(f"{name} must be positive whole numbers, got {widths!r}")
    if len(widths) > MOST_LAYERS or max(widths, default=0) > MOST_UNITS:
        found = f"{len(widths):,}, the widest of {max(widths):,}"
        raise PartError(f"{name} must be at most {MOST_LAYERS:,} layers of at most {MOST_UNITS:,} units, got {found}")


def _check_activation(name: str) -> None:
    if name not in _ACTIVATIONS:
        raise PartError(f"activation must be one of {', '.join(_ACTIVATIONS)}, got {name!r}")
