"""The autoencoder, as a scikit-learn estimator."""

from __future__ import annotations

from typing import NoReturn

from torch import nn

from latentmap.estimators.base import GenerativeEstimator
from latentmap.exceptions import NoDensityError
from latentmap.model.autoencoder import Parts
from latentmap.model.likelihoods import Likelihood
from latentmap.model.networks import Network
from latentmap.model.posteriors import Deterministic
from latentmap.model.priors import FittedNormal
from latentmap.objectives.evidence import ELBO


class Autoencoder(GenerativeEstimator):
    r"""Autoencoder: an encoder z = e(x) and a decoder d(z), trained end to end so that d(e(x)) is close to x.

    It minimises the distortion alone, :math:`-\log p(x\,|\,z = e(x))`: the squared error, for a Gaussian likelihood.
    Codes may lie anywhere, with holes between them, and rows have no likelihood; `VAE` has the same methods without
    these limits. Parameters are those of `VAE`, without variational_family, prior and objective.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> X = load_breast_cancer().data
    >>> autoencoder = Autoencoder(2, max_epochs=5, random_state=0).fit(X)
    >>> autoencoder.reconstruct(X).shape
    (569, 30)
    """

    @property
    def score_samples(self) -> NoReturn:
        """Refuse: codes that are points leave rows without density."""
        raise NoDensityError(
            "Autoencoder has no density to score rows with, because its posterior is Deterministic; "
            "use VAE, or score() for the reconstruction error"
        )

    def _parts(self, encoder: Network | nn.Module, decoder: Network | nn.Module, likelihood: Likelihood) -> Parts:
        return Parts(encoder, decoder, Deterministic(), FittedNormal(), likelihood)

    def _objective(self, some_labels: bool = False) -> ELBO:
        return ELBO(beta=0.0)
