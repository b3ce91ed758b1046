"""Posteriors q(z|x), which interpret an encoder's output as a distribution over codes.

A new posterior is one class here and one line in the law tests.
"""

from latentmap.model.posteriors.base import Deterministic, Gaussian, Posterior
from latentmap.model.posteriors.curved import Poincare, Sphere
from latentmap.model.posteriors.flows import Flow
from latentmap.model.posteriors.hamiltonian import Hamiltonian, RiemannianHamiltonian
from latentmap.model.posteriors.quantizers import FiniteScalar, Quantized, Quantizer

__all__ = [
    "Deterministic",
    "FiniteScalar",
    "Flow",
    "Gaussian",
    "Hamiltonian",
    "Poincare",
    "Posterior",
    "Quantized",
    "Quantizer",
    "RiemannianHamiltonian",
    "Sphere",
]
