"""Posteriors q(z|x): how an encoder's output becomes a distribution over codes.

A new posterior is one class here and one line in the law tests.
"""

from latentmap.model.posteriors.base import Deterministic, Gaussian, Posterior
from latentmap.model.posteriors.curved import Poincare, Sphere
from latentmap.model.posteriors.flows import Flow
from latentmap.model.posteriors.hamiltonian import Hamiltonian
from latentmap.model.posteriors.quantizers import FiniteScalar, Quantized, Quantizer
from latentmap.model.posteriors.riemannian import RiemannianHamiltonian

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
