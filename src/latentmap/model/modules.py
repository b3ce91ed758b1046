"""Modules of the user's own as encoder and decoder: what they return, the heads that they lack, and their checks."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from latentmap.exceptions import PartError
from latentmap.messages import counted
from latentmap.model.part import Sizes
from latentmap.model.probe import Probe, described, require_rows

if TYPE_CHECKING:
    from latentmap.model.posteriors import Posterior

MEAN = ("embedding", "mean", "mu", "loc")
LOG_VARIANCE = ("log_covariance", "log_variance", "log_var", "logvar")
ROWS = ("reconstruction", "mean", "logits")
"""Names of outputs, in objects and dictionaries."""


class WithHeads(nn.Module):
    r"""Module of your own that returns the parameters of q(z|x) or p(x|z) itself, so that no layer is added to it.

    An encoder returns mean and log-variance of q(z|x), (N, D) each, as a pair, as one tensor (N, 2 D), or as an object
    or dictionary with ``embedding`` and ``log_covariance``, or ``mu`` and ``log_var``. The log-variance is exact
    between -13.8 and 13.8, and bounded there. For a `posteriors.Deterministic` it returns the code (N, D), for other
    posteriors the tensor (N, H) that their ``heads`` count.

    A decoder returns the parameters of p(x|z) in the units of the model: one tensor (N, P), or of images (N, C, H, W),
    for each head of the likelihood, as (N, P, heads) or as a tuple. `likelihoods.Gaussian` has one head, the mean;
    `likelihoods.Bernoulli` the logit, without a sigmoid.

    Parameters
    ----------
    module : Module
        The encoder or decoder.

    Examples
    --------
    >>> class Encoder(nn.Module):
    ...     def __init__(self):
    ...         super().__init__()
    ...         self.mean, self.log_variance = nn.Linear(8, 2), nn.Linear(8, 2)
    ...
    ...     def forward(self, x):
    ...         return self.mean(x), self.log_variance(x)
    >>> from latentmap import VAE
    >>> VAE(2, encoder=WithHeads(Encoder()), max_epochs=1).fit(torch.rand(50, 8)).choices_["encoder"]
    'WithHeads(Encoder) (given)'
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        if not isinstance(module, nn.Module) or isinstance(module, WithHeads):
            raise PartError(f"WithHeads takes an encoder or decoder, a torch module of your own, got {module!r}")
        self.module = module

    def forward(self, inputs: Tensor) -> Any:
        """Return what the module returns.

        Parameters
        ----------
        inputs : Tensor
            Rows or codes.

        Returns
        -------
        object
            Its output.
        """
        return self.module(inputs)


class ToImage(nn.Module):
    """Rows (B, H*W*C) to images (B, C, H, W)."""

    def __init__(self, image: tuple[int, int, int]) -> None:
        super().__init__()
        self.image = image

    def forward(self, x: Tensor) -> Tensor:
        """Return a view of the rows."""
        c, h, w = self.image
        return x.view(*x.shape[:-1], h, w, c).movedim(-1, -3)


class LayerAdded(nn.Sequential):
    """A module of the user's own, and the linear layer that the library adds to it."""

    note: str

    def __init__(self, body: nn.Module, width: int, out: int, what: str) -> None:
        super().__init__(body, nn.Linear(width, out))
        weights = f", {width * out:,} weights" if width * out > 10**6 else ""
        hint = "; networks.WithHeads would take them as they are" if width == out else ""
        self.note = f"a linear layer from its {width:,} features to {what} is added{weights}{hint}"


def module_name(module: nn.Module) -> str:
    """Return the name of a module's class, and of what it wraps.

    >>> module_name(nn.ReLU()), module_name(WithHeads(nn.ReLU()))
    ('ReLU', 'WithHeads(ReLU)')
    """
    name = type(module).__name__
    return f"{name}({module_name(module.module)})" if isinstance(module, WithHeads) else name


def adapt_encoder(module: nn.Module, sizes: Sizes, out: int, posterior: Posterior | None = None) -> nn.Module:
    """Return a user's encoder, of vectors (B, P) or images (B, C, H, W), with an output of ``out`` numbers a row.

    Its own heads have to be those of the posterior; to features, a linear layer is added.
    """
    rows = torch.zeros(2, sizes.features)
    view: nn.Module = nn.Identity() if len(sizes.event) == 1 else ToImage(image_shape(sizes))
    if isinstance(module, WithHeads):
        assert posterior is not None
        encoder = _PosteriorHeads(view, module, posterior, sizes.latent)
        Probe("encoder", module, view, "the parameters of q(z|x)").run(rows, encoder)
        return encoder
    width = Probe("encoder", module, view).run(rows, nn.Sequential(view, module, _Features("encoder")))
    body = nn.Sequential(view, module, nn.Flatten())
    return LayerAdded(body, width, out, f"the {out} numbers of q(z|x)" if posterior else f"{out} numbers")


def adapt_decoder(module: nn.Module, sizes: Sizes, heads: int) -> nn.Module:
    """Return a user's decoder of codes (..., D), with an output of ``heads`` numbers for each feature.

    Its own heads have to be those of the likelihood; to features, a linear layer is added.
    """
    shape = (sizes.features, heads)
    codes = torch.zeros(2, sizes.latent)
    if isinstance(module, WithHeads):
        decoder = _Rows(_LikelihoodHeads(module, sizes.event, heads), shape)
        Probe("decoder", module, nn.Identity(), "the parameters of p(x|z)").run(codes, decoder)
        return decoder
    width = Probe("decoder", module, nn.Identity()).run(codes, nn.Sequential(module, _Features("decoder")))
    out = math.prod(shape)
    numbers = f"the {sizes.features:,} x {heads} numbers of p(x|z)" if heads > 1 else f"the {out:,} numbers of p(x|z)"
    return _Rows(LayerAdded(nn.Sequential(module, nn.Flatten()), width, out, numbers), shape)


def note_of(module: nn.Module) -> str:
    """Return what was added to a user's module, in words; nothing for other networks."""
    return next((layer.note for layer in module.modules() if isinstance(layer, LayerAdded)), "")


class _Features(nn.Module):
    """Check of what a user's module returns as features."""

    def __init__(self, name: str) -> None:
        super().__init__()
        self.name = name

    def forward(self, output: Any) -> Tensor:
        what = "expected one tensor of features (N, ...)"
        if not isinstance(output, Tensor):
            encoder = self.name == "encoder"
            heads = "mean and log-variance" if encoder else "the parameters of p(x|z)"
            known = len(_named(output, MEAN, LOG_VARIANCE) if encoder else _named(output, ROWS))
            advice = f"declare {heads} by networks.WithHeads({self.name}), or " if 1 <= known <= 2 else ""
            raise PartError(f"your {self.name} returned {described(output)}: {what}; {advice}return one tensor")
        return require_rows(output, self.name, what)


class _PosteriorHeads(nn.Module):
    """A user's encoder with heads of its own, to the numbers that the posterior takes."""

    def __init__(self, view: nn.Module, module: nn.Module, posterior: Posterior, latent: int) -> None:
        super().__init__()
        self.view, self.module = view, module
        self.posterior, self.latent = posterior, latent

    def forward(self, x: Tensor) -> Tensor:
        output = self.module(self.view(x))
        tensors = _named(output, MEAN, LOG_VARIANCE)
        pair = self.posterior.takes_moments
        if pair and len(tensors) == 1 and tensors[0].ndim == 2 and tensors[0].shape[1] == 2 * self.latent:
            tensors = list(tensors[0].chunk(2, -1))
        heads = self.latent if pair else self.posterior.heads(self.latent)
        moments = f"mean and log-variance of q(z|x), (N, {heads}) each" if pair else f"one tensor (N, {heads})"
        what = f"{type(self.posterior).__name__} with n_components={self.latent} takes {moments}"
        if len(tensors) != (2 if pair else 1):
            raise PartError(f"your encoder returned {described(output)}: {what}; return these")
        tensors = [require_rows(tensor, "encoder", what).flatten(1) for tensor in tensors]
        if any(tensor.shape[1] != heads for tensor in tensors):
            raise PartError(f"your encoder returned {described(output)}: {what}; return these, or set n_components=")
        return self.posterior.from_moments(*tensors) if pair else tensors[0]


class _LikelihoodHeads(nn.Module):
    """A user's decoder with heads of its own, to (N, P * heads)."""

    def __init__(self, module: nn.Module, event: tuple[int, ...], heads: int) -> None:
        super().__init__()
        self.module = module
        self.event, self.heads = event, heads

    def forward(self, z: Tensor) -> Tensor:
        output = self.module(z)
        tensors = _named(output, ROWS)
        features = math.prod(self.event)
        if len(tensors) == 1 and tensors[0].shape[1:] == (features, self.heads):
            rows = [tensors[0].flatten(1)]
        else:
            rows = [row for tensor in tensors if (row := self._row(tensor)) is not None]
        if not tensors or len(rows) != len(tensors) or sum(row.shape[1] for row in rows) != features * self.heads:
            each = f"(N, {features})" + (f" or {self._image()}" if len(self.event) > 1 else "")
            many = f"{self.heads} tensors {each}, or one (N, {features}, {self.heads})"
            what = f"one tensor {each}" if self.heads == 1 else many
            raise PartError(
                f"your decoder returned {described(output)}: the likelihood takes {counted(self.heads, 'number')} for "
                f"each of {counted(features, 'feature')}, {what}; return these, or leave networks.WithHeads "
                "away, and a layer is added"
            )
        rows = [require_rows(row, "decoder", "expected the parameters of p(x|z)") for row in rows]
        return rows[0] if len(rows) == 1 else torch.stack(rows, -1).flatten(1)

    def _row(self, tensor: Tensor) -> Tensor | None:
        """Return rows (N, P) from vectors or images; None from other shapes."""
        if tensor.ndim == 2:
            return tensor
        if len(self.event) == 1:
            return None
        height, width, *channels = self.event
        depth = channels[0] if channels else 1
        if tensor.shape[1:] == (depth, height, width):
            return tensor.movedim(1, -1).flatten(1)
        return tensor.flatten(1) if depth == 1 and tensor.shape[1:] == (height, width) else None

    def _image(self) -> str:
        height, width, *channels = self.event
        return f"(N, {channels[0] if channels else 1}, {height}, {width})"


class _Rows(nn.Module):
    """Module that takes (N, D), made to take any leading shape and to return a trailing one."""

    def __init__(self, module: nn.Module, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.module = module
        self.shape = shape

    def forward(self, z: Tensor) -> Tensor:
        raw: Tensor = self.module(z.flatten(0, -2))
        return raw.view(*z.shape[:-1], *self.shape)


def image_shape(sizes: Sizes) -> tuple[int, int, int]:
    """Return (channels, height, width) of image rows; raise a `PartError` for other rows."""
    if len(sizes.event) not in (2, 3):
        raise PartError(
            f"network Conv takes images, rows of shape (height, width[, channels]), got {sizes.event}; use MLP()"
        )
    height, width, *channels = sizes.event
    return (channels[0] if channels else 1, height, width)


def _named(output: Any, *names: Sequence[str]) -> list[Tensor]:
    """Return the tensors of an output: itself, those of a pair, or those with one of the names of each kind."""
    if isinstance(output, Tensor):
        return [output]
    if isinstance(output, tuple | list) and all(isinstance(value, Tensor) for value in output):
        return list(output)
    entries = dict(output) if isinstance(output, Mapping) else getattr(output, "__dict__", {})
    found = [next((entries[name] for name in kind if name in entries), None) for kind in names]
    return [value for value in found if isinstance(value, Tensor)]
