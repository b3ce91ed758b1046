"""latentmap: learn the low-dimensional surface your data lies on, and encode, decode, sample and score with it.

Names are imported when first used, so ``import latentmap`` loads neither torch nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Autoencoder": "estimators.autoencoder",
    "VAE": "estimators.vae",
    "load": "estimators.persistence",
    "load_dataset": "data.datasets",
    "plot": "plot",
    "recipes": "recipes",
    "exceptions": "exceptions",
    # networks
    "MLP": "model.networks",
    "ResidualMLP": "model.networks",
    "Conv": "model.networks",
    # posteriors
    "Deterministic": "model.posteriors",
    "GaussianPosterior": "model.posteriors",
    # priors
    "Normal": "model.priors",
    "FittedNormal": "model.priors",
    # likelihoods
    "Bernoulli": "model.likelihoods",
    "ContinuousBernoulli": "model.likelihoods",
    "Gaussian": "model.likelihoods",
    # objectives
    "ELBO": "objectives.evidence",
}

__all__ = ["__version__", *_HOME]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'latentmap' has no attribute {name!r}")
    module = importlib.import_module(f"latentmap.{_HOME[name]}")
    value = module if _HOME[name] == name else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    pass
