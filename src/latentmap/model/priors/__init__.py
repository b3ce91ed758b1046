"""Priors p(z) over codes.

A new prior is one class here and one line in the law tests.
"""

from latentmap.model.priors.base import Conditional, Encode, FittedNormal, Normal, Prior, Uniform, WrappedNormal
from latentmap.model.priors.fitted import Autoregressive, TwoStage
from latentmap.model.priors.learned import Flow, Mixture, Vamp

PLAIN: dict[str, Prior] = {"flat": Normal(), "sphere": Uniform(), "ball": WrappedNormal()}
"""The prior without parameters of each latent space."""

__all__ = [
    "PLAIN",
    "Autoregressive",
    "Conditional",
    "Encode",
    "FittedNormal",
    "Flow",
    "Mixture",
    "Normal",
    "Prior",
    "TwoStage",
    "Uniform",
    "Vamp",
    "WrappedNormal",
]
