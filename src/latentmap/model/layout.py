"""Initial codes of maps: principal components of the rows, whatever the seed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.components import principal_axes
from latentmap.model.ladder import Ladder
from latentmap.model.networks import MLP, WithHeads
from latentmap.model.posteriors import Deterministic, Gaussian

SPREAD = 0.02
"""Initial standard deviation of the codes: so close that rows can still pass each other, as t-SNE's do."""
RIDGE = 1e-3
"""Fraction of the mean variance of the features that is added to each, as they may be many and correlated."""
FAINT = 1e-4
"""Deviation, relative to the values, that is rounding: such values are all equal."""


@torch.no_grad()
def start_at_components(model: GenerativeAutoencoder, x: Float[Tensor, "N P"]) -> bool:
    r"""Initialise the encoder's last layer such that codes are the leading principal components of rows, scaled down.

    .. math:: W = \arg\min_W \|H W - Y\|^2 + \lambda \|W\|^2

    with the initial features H before that layer, and the components Y as columns; the sign of each makes the largest
    of its loadings positive. So maps of refits start alike, with the global structure of the data (Kobak and Linderman
    2021, of t-SNE and UMAP). Layers of an `MLP` are first scaled to unit variance, so that the signal does not vanish.
    Return whether it applies: codes have to be flat and the last layer linear.

    >>> from latentmap.model import likelihoods, networks, posteriors, priors
    >>> from latentmap.model.autoencoder import Parts
    >>> from latentmap.model.part import Sizes
    >>> mlp = networks.MLP((64,))
    >>> parts = Parts(mlp, mlp, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian())
    >>> model, x = GenerativeAutoencoder(parts, Sizes((5,), 2)), torch.randn(500, 5) * torch.tensor([9.0, 3, 1, 1, 1])
    >>> start_at_components(model, x), model.encode(x).mean.T.corrcoef()[0, 1].abs().item() < 0.1
    (True, True)
    """
    layers = [layer for layer in model.encoder.modules() if isinstance(layer, nn.Linear)]
    flat = isinstance(model.parts.posterior, Gaussian | Deterministic) and not isinstance(model, Ladder)
    declared = isinstance(model.parts.encoder, WithHeads)  # its last layer may be trained already
    if declared or not flat or not layers or layers[-1].out_features != model.parts.posterior.heads(model.sizes.latent):
        return False
    last, taken = layers[-1], []
    handles = [last.register_forward_pre_hook(lambda layer, inputs: taken.append(inputs[0]))]
    if isinstance(model.parts.encoder, MLP):  # a user's own module may be trained already
        handles += [layer.register_forward_hook(_to_unit_variance) for layer in layers[:-1]]
    mode = model.training
    model.eval().encode(x)  # without dropout and running statistics
    model.train(mode)
    for handle in handles:
        handle.remove()
    features = taken[0].reshape(len(x), -1)
    inputs = model.encoder_inputs(x)
    centre, axes = principal_axes(inputs, model.sizes.latent)
    axes = axes[:, : model.sizes.latent]
    axes = axes * axes.gather(0, axes.abs().argmax(0, keepdim=True)).sign()
    goal = (inputs - centre) @ axes
    spread = goal[:, :1].std(0)
    goal = torch.where(spread > FAINT * inputs.abs().amax(), SPREAD * goal / spread, 0.0)  # rows may all be equal
    mean = features.mean(0)
    h = (features - mean).double()
    gram = h.T @ h
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-12)
    weight = torch.linalg.solve(gram, h.T @ goal.double()).T.to(last.weight)  # (D, F)
    last.weight[: len(weight)] = weight
    if last.bias is not None:
        last.bias[: len(weight)] = -weight @ mean
    return True


def _to_unit_variance(layer: nn.Linear, inputs: tuple[Tensor], out: Tensor) -> Tensor:
    """Scale a layer to an output of unit variance, and return that (Mishkin and Matas 2016); equal rows leave it."""
    deviation, size = out.std(0).square().mean().sqrt(), out.square().mean().sqrt()
    layer.weight.div_(torch.where(deviation > FAINT * size, deviation, 1.0))
    scaled: Tensor = layer.forward(inputs[0])
    return scaled
