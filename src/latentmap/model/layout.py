"""Initial codes of maps: places of the rows, or their principal components, whatever the seed."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor, nn

from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.components import signed_axes
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
def start_at_components(
    model: GenerativeAutoencoder, x: Float[Tensor, "N P"], places: Float[Tensor, "N D"] | None = None
) -> bool:
    r"""Initialise the encoder's last layer such that codes are the leading principal components of rows, scaled down.

    Or such that they are near to the places of the rows, where these are known:

    .. math:: W = \arg\min_W \|H W - Y\|^2 + \lambda \|W\|^2

    with the initial features H before that layer, and the components or places Y as columns; the sign of each component
    makes the largest of its loadings positive. So maps of refits start alike, with the global structure of the data
    (Kobak and Linderman 2021, of t-SNE and UMAP). Layers of an `MLP` are first scaled to unit variance, so that the
    signal does not vanish. Return whether it applies: codes have to be flat and the last layer linear.

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
    if places is None:
        goal, weights = _components(model.encoder_inputs(x), model.sizes.latent), torch.ones_like(x[:, :1])
    else:
        goal, weights = places, _usual(features)
    goal, share = goal.double(), weights.double() / weights.sum()
    mean, middle = (share * features).sum(0), (share * goal).sum(0)
    h = features.double() - mean
    gram = (weights * h).T @ h
    gram.diagonal().add_(RIDGE * gram.diagonal().mean() + 1e-12)
    weight = torch.linalg.solve(gram, (weights * h).T @ (goal - middle)).T.to(last.weight)  # (D, F)
    last.weight[: len(weight)] = weight
    if last.bias is not None:
        last.bias[: len(weight)] = (middle - weight.double() @ mean).to(weight)
    return True


def _usual(features: Float[Tensor, "N F"]) -> Float[Tensor, "N 1"]:
    """Return weights of rows that fall with their distance from the others, so that a few far ones decide little."""
    apart = (features - features.median(0).values).norm(dim=1, keepdim=True)
    usual = apart.median()
    return 1 / (1 + (apart / usual).square()) if usual > 0 else torch.ones_like(apart)


def _components(x: Float[Tensor, "N P"], n: int) -> Float[Tensor, "N n"]:
    """Return the leading principal components of rows, scaled down."""
    centre, axes = signed_axes(x, n)
    goal = (x - centre) @ axes
    spread = goal[:, :1].std(0)
    return torch.where(spread > FAINT * x.abs().amax(), SPREAD * goal / spread, 0.0)  # rows may all be equal


def _to_unit_variance(layer: nn.Linear, inputs: tuple[Tensor], out: Tensor) -> Tensor:
    """Scale a layer to an output of unit variance, and return that (Mishkin and Matas 2016); equal rows leave it."""
    deviation, size = out.std(0).square().mean().sqrt(), out.square().mean().sqrt()
    layer.weight.div_(torch.where(deviation > FAINT * size, deviation, 1.0))
    scaled: Tensor = layer.forward(inputs[0])
    return scaled
