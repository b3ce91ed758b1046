"""Likelihoods p(x|z), which interpret a decoder's output as a distribution over data.

Data arrive scaled (see `latentmap.data.scaling`); a new likelihood is one class here and one line in the law tests.
"""

from latentmap.model.likelihoods.base import Likelihood
from latentmap.model.likelihoods.circular import VonMises
from latentmap.model.likelihoods.counts import NegativeBinomial, Poisson, ZeroInflated
from latentmap.model.likelihoods.heterogeneous import Heterogeneous
from latentmap.model.likelihoods.incomplete import Incomplete
from latentmap.model.likelihoods.levels import Categorical, DiscretizedLogistic, LogisticMixture
from latentmap.model.likelihoods.real import Gaussian, Laplace, StudentT
from latentmap.model.likelihoods.similarity import MSSSIM
from latentmap.model.likelihoods.unit import Bernoulli, ContinuousBernoulli

__all__ = [
    "MSSSIM",
    "Bernoulli",
    "Categorical",
    "ContinuousBernoulli",
    "DiscretizedLogistic",
    "Gaussian",
    "Heterogeneous",
    "Incomplete",
    "Laplace",
    "Likelihood",
    "LogisticMixture",
    "NegativeBinomial",
    "Poisson",
    "StudentT",
    "VonMises",
    "ZeroInflated",
]
