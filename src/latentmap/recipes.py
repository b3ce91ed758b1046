"""Published models by name: each recipe returns the parameters of `latentmap.VAE` that make one.

A recipe is a plain dictionary of parts, so every part of it can be inspected and changed. It is the paper's model, so
it has no neighbor term; a map adds it: ``VAE(2, **recipes.vae() | {"neighbors": 15})``.

>>> from latentmap import VAE, recipes
>>> VAE(10, **recipes.beta_vae(beta=6)).objective.beta
6
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from latentmap.exceptions import PartError
from latentmap.messages import suggest
from latentmap.model import posteriors, priors
from latentmap.model.likelihoods import MSSSIM
from latentmap.model.networks import MLP, Network, SpectralNorm
from latentmap.objectives import (
    ELBO,
    IWAE,
    MMD,
    PIWAE,
    VAEGAN,
    CodeNorm,
    DecoderGradient,
    DecoderNorm,
    DReG,
    FactorCritic,
    Objective,
    PriorCritic,
    TotalCorrelation,
)

NETWORK = MLP((256, 256))
"""Default of critics and other networks that a recipe adds."""

Recipe = dict[str, Any]
"""Parameters of `latentmap.VAE`."""

_PARAMETERS = {
    "alpha": "Fraction of the rate that the MMD replaces.",
    "below": "Components of the levels below the top one, from the top down.",
    "beta": "Weight of the rate; in `beta_tc` that of the total correlation.",
    "capacity": "Rate to hold, in nats a row.",
    "centres": "Centres of the metric.",
    "code": "Weight of the norm of the codes.",
    "codes": "Vectors of a codebook.",
    "components": "Gaussians of the mixture.",
    "decoder": "Weight of the norm of the decoder's weights.",
    "gamma": "Weight of the cost that the critic measures.",
    "gradient": "Weight of the norm of the decoder's gradient.",
    "groups": "Bounds, of k draws each.",
    "inputs": "Pseudo-inputs.",
    "k": "Draws of a bound.",
    "levels": "Levels of each component.",
    "mix": "Weight of the ELBO.",
    "network": "Network of the critic; in `rae_sn` the decoder.",
    "pieces": "Equal pieces of the components, each with a codebook.",
    "stages": "Stages of quantisation.",
    "steps": "Leapfrog steps.",
    "transforms": "Transforms in sequence.",
    "warmup": "Fraction of the fit over which the weight of the rate, or the capacity, rises.",
    "weight": "Weight of the penalty; in `info` the paper's lambda.",
    "width": "Width of the hidden layers of the transforms.",
}
"""Descriptions of the recipes' parameters, which `_document` adds to their docstrings."""


def every() -> dict[str, Callable[..., Recipe]]:
    """Return every recipe by its name.

    >>> len(every()) > 10, every()["vae"]()["objective"]
    (True, ELBO(beta=1.0, ...))
    """
    public = {name: value for name, value in globals().items() if not name.startswith("_")}
    return {name: f for name, f in public.items() if getattr(f, "__annotations__", {}).get("return") == "Recipe"}


def ae() -> Recipe:
    """Autoencoder: distortion alone, codes that are points (Hinton and Salakhutdinov 2006)."""
    return _points(ELBO(beta=0.0))


def vae() -> Recipe:
    """Variational autoencoder (Kingma and Welling 2014; Rezende et al. 2014)."""
    return _densities(ELBO())


def beta_vae(beta: float = 4.0) -> Recipe:
    """Weight on the rate, so that each component encodes one factor (Higgins et al. 2017)."""
    return _densities(ELBO(beta=beta))


def annealed_vae(capacity: float = 25.0, beta: float = 10.0, warmup: float = 0.5) -> Recipe:
    """Rate held at a capacity that rises over the fit (Burgess et al. 2018)."""
    return _densities(ELBO(beta=beta, capacity=capacity, warmup=warmup))


def beta_tc(beta: float = 6.0) -> Recipe:
    """Weight on the total correlation of the components alone (Chen et al. 2018)."""
    return _densities(ELBO(penalties=(TotalCorrelation(beta - 1.0),)))


def factor(gamma: float = 6.4, network: Network = NETWORK) -> Recipe:
    """Total correlation, estimated by a critic: FactorVAE (Kim and Mnih 2018)."""
    return _densities(ELBO(penalties=(FactorCritic(gamma, network=network),)))


def info(alpha: float = 0.5, weight: float = 10.0) -> Recipe:
    """Part of the rate replaced by the MMD between codes and prior: InfoVAE (Zhao et al. 2019)."""
    return _densities(ELBO(beta=1.0 - alpha, penalties=(MMD(alpha + weight - 1.0),)))


def wae(weight: float = 100.0) -> Recipe:
    """Autoencoder whose codes match the prior by MMD: Wasserstein autoencoder (Tolstikhin et al. 2018)."""
    return _points(ELBO(beta=0.0, penalties=(MMD(weight),))) | {"prior": priors.Normal()}


def aae(weight: float = 10.0, network: Network = NETWORK) -> Recipe:
    """Autoencoder whose codes match the prior by a critic: adversarial autoencoder (Makhzani et al. 2016)."""
    return _points(ELBO(beta=0.0, penalties=(PriorCritic(weight, network=network),))) | {"prior": priors.Normal()}


def vae_gan(gamma: float = 1.0, network: Network = NETWORK) -> Recipe:
    """Distortion in the features of a critic that discriminates samples from rows: VAE/GAN (Larsen et al. 2016)."""
    return _densities(VAEGAN(gamma=gamma, network=network))


def iwae(k: int = 50) -> Recipe:
    """Importance-weighted bound of k draws (Burda et al. 2016)."""
    return _densities(IWAE(k=k))


def miwae(k: int = 8, groups: int = 8) -> Recipe:
    """Mean of several importance-weighted bounds (Rainforth et al. 2018)."""
    return _densities(IWAE(k=k, groups=groups))


def ciwae(k: int = 50, mix: float = 0.05) -> Recipe:
    """Importance-weighted bound mixed with the ELBO (Rainforth et al. 2018)."""
    return _densities(IWAE(k=k, mix=mix))


def piwae(k: int = 8, groups: int = 8) -> Recipe:
    """Decoder trained by one bound of all draws, encoder by the mean of several (Rainforth et al. 2018)."""
    return _densities(PIWAE(k=k, groups=groups))


def dreg(k: int = 50) -> Recipe:
    """Importance-weighted bound with doubly reparameterised gradients (Tucker et al. 2019)."""
    return _densities(DReG(k=k))


def rae_l2(code: float = 1e-2, decoder: float = 1e-6) -> Recipe:
    """Regularised autoencoder: norms of codes and of the decoder's weights (Ghosh et al. 2020)."""
    return _points(ELBO(beta=0.0, penalties=(CodeNorm(code), DecoderNorm(decoder))))


def rae_gp(code: float = 1e-2, gradient: float = 1e-3) -> Recipe:
    """Regularised autoencoder: norms of codes and of the decoder's gradient (Ghosh et al. 2020)."""
    return _points(ELBO(beta=0.0, penalties=(CodeNorm(code), DecoderGradient(gradient))))


def rae_sn(code: float = 1e-2, network: Network = NETWORK) -> Recipe:
    """Regularised autoencoder: norms of codes, decoder of bounded slope by spectral norms (Ghosh et al. 2020)."""
    return _points(ELBO(beta=0.0, penalties=(CodeNorm(code),))) | {"decoder": SpectralNorm(network)}


def vq(codes: int = 512, pieces: int = 2) -> Recipe:
    """Quantised codes, by a learned codebook for each piece of the components: VQ-VAE (van den Oord et al. 2017)."""
    return _points(ELBO(beta=0.0)) | {"variational_family": posteriors.Quantized(codes, pieces=pieces)}


def rvq(codes: int = 64, stages: int = 4) -> Recipe:
    """Residual quantisation: each stage quantises the residual of those before it (Lee et al. 2022)."""
    return _points(ELBO(beta=0.0)) | {"variational_family": posteriors.Quantized(codes, stages=stages)}


def fsq(levels: int = 8) -> Recipe:
    """Finite scalar quantisation: components rounded to a few levels (Mentzer et al. 2024)."""
    return _points(ELBO(beta=0.0)) | {"variational_family": posteriors.FiniteScalar(levels)}


def msssim(beta: float = 1.0) -> Recipe:
    """Distortion by structural similarity on several scales, for images (Snell et al. 2017)."""
    return _densities(ELBO(beta=beta)) | {"likelihood": MSSSIM()}


def iaf(transforms: int = 3, width: int = 64) -> Recipe:
    """Posterior transformed by an inverse autoregressive flow (Kingma et al. 2016)."""
    return _densities(ELBO()) | {"variational_family": posteriors.Flow("iaf", transforms, width)}


def maf(transforms: int = 3, width: int = 64) -> Recipe:
    """Posterior transformed by a masked autoregressive flow (Papamakarios et al. 2017)."""
    return _densities(ELBO()) | {"variational_family": posteriors.Flow("maf", transforms, width)}


def hvae(steps: int = 3) -> Recipe:
    """Posterior draws moved towards the true posterior: Hamiltonian VAE (Caterini et al. 2018)."""
    return _densities(ELBO()) | {"variational_family": posteriors.Hamiltonian(steps)}


def rhvae(steps: int = 3, centres: int = 20) -> Recipe:
    """Hamiltonian draws on a curved space, whose metric is learned (Chadebec et al. 2020)."""
    return _densities(ELBO()) | {"variational_family": posteriors.RiemannianHamiltonian(steps, centres=centres)}


def sphere(warmup: float = 0.3) -> Recipe:
    """Unit sphere as the latent space, for directions (Davidson et al. 2018; De Cao and Aziz 2020)."""
    return _densities(ELBO(warmup=warmup)) | {"variational_family": posteriors.Sphere(), "prior": priors.Uniform()}


def poincare() -> Recipe:
    """Poincare ball as the latent space, for trees (Mathieu et al. 2019; Nagano et al. 2019)."""
    return _densities(ELBO()) | {"variational_family": posteriors.Poincare(), "prior": priors.WrappedNormal()}


def gmm(components: int = 10) -> Recipe:
    """Prior of several Gaussians, learned with the model (Dilokthanakul et al. 2016)."""
    return _densities(ELBO()) | {"prior": priors.Mixture(components)}


def vamp(inputs: int = 100) -> Recipe:
    """Mixture of the posteriors of learned pseudo-inputs as the prior: VampPrior (Tomczak and Welling 2018)."""
    return _densities(ELBO()) | {"prior": priors.Vamp(inputs)}


def flow_prior(transforms: int = 3, width: int = 64) -> Recipe:
    """Prior that is a normalising flow (Chen et al. 2017)."""
    return _densities(ELBO()) | {"prior": priors.Flow("maf", transforms, width)}


def ladder(below: tuple[int, ...] = (16,), warmup: float = 0.3) -> Recipe:
    """Hierarchy of codes, inferred from the top down: ladder VAE (Sonderby et al. 2016)."""
    return _densities(ELBO(warmup=warmup)) | {"ladder": below}


def conditional() -> Recipe:
    """Encoder, decoder and prior conditioned on each row's label (Kingma et al. 2014; Sohn et al. 2015)."""
    return _densities(ELBO()) | {"condition": "labels", "prior": priors.Conditional()}


def find(name: str) -> Callable[..., Recipe]:
    """Return a recipe by its name.

    Parameters
    ----------
    name : str
        Name, with - or _.

    Returns
    -------
    callable
        The recipe.

    Raises
    ------
    PartError
        If there is none; the message suggests the nearest.

    Examples
    --------
    >>> find("beta-tc").__name__
    'beta_tc'
    """
    known, key = every(), name.replace("-", "_")
    if key not in known:
        raise PartError(f"no recipe is called {name!r}: {suggest(key, known)}")
    return known[key]


def _densities(objective: Objective) -> Recipe:
    return {"objective": objective, "neighbors": None}


def _points(objective: Objective) -> Recipe:
    """Return a model of codes without density; a Gaussian is fitted to them afterwards, to draw samples from."""
    return {
        "variational_family": posteriors.Deterministic(),
        "prior": priors.FittedNormal(),
        "objective": objective,
        "neighbors": None,
    }


def _document(recipe: Callable[..., Recipe]) -> None:
    """Add the sections on parameters and the return value to a docstring."""
    parameters = inspect.signature(recipe).parameters.values()
    entries = [f"{p.name} : {p.annotation}, default={p.default}\n    {_PARAMETERS[p.name]}" for p in parameters]
    sections = ["Parameters\n----------\n" + "\n".join(entries)] if entries else []
    sections.append("Returns\n-------\ndict\n    Parameters of `latentmap.VAE`.")
    recipe.__doc__ = "\n\n".join([recipe.__doc__ or "", *sections])


for _recipe in every().values():
    _document(_recipe)
