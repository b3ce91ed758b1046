"""Priors p(z): where codes are expected to lie.

A new prior is one class here and one line in the law tests.
"""

from latentmap.model.priors.base import Conditional, Encode, FittedNormal, Normal, Prior
from latentmap.model.priors.fitted import Autoregressive, TwoStage
from latentmap.model.priors.learned import Flow, Mixture, Vamp

__all__ = [
    "Autoregressive",
    "Conditional",
    "Encode",
    "FittedNormal",
    "Flow",
    "Mixture",
    "Normal",
    "Prior",
    "TwoStage",
    "Vamp",
]
