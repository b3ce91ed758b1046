"""latentmap: learn the low-dimensional surface your data lies on, and encode, decode, sample and score with it.

Names are imported when first used, so ``import latentmap`` loads neither torch nor scikit-learn.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOME = {
    "Autoencoder": "estimators.autoencoder",
    "Columns": "estimators.columns",
    "Embedder": "embedding.embedder",
    "VAE": "estimators.vae",
    "fit_aligned": "estimators.aligned",
    "load": "estimators.persistence",
    "load_dataset": "data.datasets",
    "plot": "plot",
    "callbacks": "training.callbacks",
    "explore": "explorer.notebook",
    "purpose": "estimators.purposes",
    "exceptions": "exceptions",
    "networks": "model.networks",
    "posteriors": "model.posteriors",
    "priors": "model.priors",
    "likelihoods": "model.likelihoods",
    "objectives": "objectives",
    "recipes": "recipes",
}

__all__ = [
    "VAE",
    "Autoencoder",
    "Columns",
    "Embedder",
    "__version__",
    "callbacks",
    "exceptions",
    "explore",
    "fit_aligned",
    "likelihoods",
    "load",
    "load_dataset",
    "networks",
    "objectives",
    "plot",
    "posteriors",
    "priors",
    "purpose",
    "recipes",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'latentmap' has no attribute {name!r}")
    module = importlib.import_module(f"latentmap.{_HOME[name]}")
    value = module if _HOME[name].endswith(name) else getattr(module, name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from latentmap import exceptions, objectives, plot, recipes
    from latentmap.data.datasets import load_dataset
    from latentmap.embedding.embedder import Embedder
    from latentmap.estimators.aligned import fit_aligned
    from latentmap.estimators.autoencoder import Autoencoder
    from latentmap.estimators.columns import Columns
    from latentmap.estimators.persistence import load
    from latentmap.estimators.purposes import purpose
    from latentmap.estimators.vae import VAE
    from latentmap.explorer.notebook import explore
    from latentmap.model import likelihoods, networks, posteriors, priors
    from latentmap.training import callbacks
