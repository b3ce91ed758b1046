"""The table of parts: a new part is one line here, and every law holds for it or fails by its name."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from latentmap import objectives
from latentmap.exceptions import PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.part import Part


@dataclass(frozen=True)
class LikelihoodCase:
    part: likelihoods.Likelihood
    grid: Tensor
    """Values over which the mass or density of one feature has to sum or integrate to one."""
    outside: Tensor
    """Values that it excludes."""


REALS = torch.linspace(-40, 40, 40_001, dtype=torch.float64)
UNIT = torch.linspace(0, 1, 20_001, dtype=torch.float64)
BYTES = torch.linspace(0, 1, 256, dtype=torch.float64)
CIRCLE = torch.linspace(-math.pi, math.pi, 20_001, dtype=torch.float64)
COUNTS = torch.arange(1000, dtype=torch.float64)
INFINITE = torch.tensor([math.inf, -math.inf], dtype=torch.float64)
BEYOND = torch.tensor([-1e30, -5.0, -0.002, 1.002, 2.0, 50.0, 1e30, math.inf, -math.inf], dtype=torch.float64)
NOT_COUNTS = torch.tensor([-1e30, -5.0, -1.0, -0.5, 0.5, 2.5, 1e35, math.inf, -math.inf], dtype=torch.float64)

LIKELIHOODS = [
    LikelihoodCase(likelihoods.Bernoulli(), torch.tensor([0.0, 1.0], dtype=torch.float64), BEYOND),
    LikelihoodCase(likelihoods.ContinuousBernoulli(), UNIT, BEYOND),
    LikelihoodCase(likelihoods.Gaussian(), REALS, INFINITE),
    LikelihoodCase(likelihoods.Gaussian(scale="feature"), REALS, INFINITE),
    LikelihoodCase(likelihoods.Gaussian(scale=0.3), REALS, INFINITE),
    LikelihoodCase(likelihoods.Gaussian(scale="optimal"), REALS, INFINITE),
    LikelihoodCase(likelihoods.Laplace(), REALS, INFINITE),
    LikelihoodCase(likelihoods.Laplace(scale="optimal"), REALS, INFINITE),
    LikelihoodCase(likelihoods.StudentT(scale="feature"), REALS, INFINITE),
    LikelihoodCase(likelihoods.StudentT(scale=0.5, degrees=4.0), REALS, INFINITE),
    LikelihoodCase(likelihoods.VonMises(), CIRCLE, INFINITE),
    LikelihoodCase(likelihoods.DiscretizedLogistic(), BYTES, BEYOND),
    LikelihoodCase(likelihoods.DiscretizedLogistic(levels=2), BYTES[[0, -1]], BEYOND),
    LikelihoodCase(likelihoods.LogisticMixture(components=3), BYTES, BEYOND),
    LikelihoodCase(likelihoods.Categorical(levels=16), BYTES[::17], BEYOND),
    LikelihoodCase(likelihoods.Poisson(), COUNTS, NOT_COUNTS),
    LikelihoodCase(likelihoods.NegativeBinomial(), COUNTS, NOT_COUNTS),
    LikelihoodCase(likelihoods.NegativeBinomial(dispersion=0.3), COUNTS, NOT_COUNTS),
    LikelihoodCase(likelihoods.ZeroInflated(likelihoods.Poisson()), COUNTS, NOT_COUNTS),
    LikelihoodCase(likelihoods.ZeroInflated(likelihoods.NegativeBinomial(dispersion="shared")), COUNTS, NOT_COUNTS),
]

POSTERIORS: list[posteriors.Posterior] = [
    posteriors.Gaussian(),
    posteriors.Deterministic(),
    posteriors.Flow(),
    posteriors.Flow("maf", width=8),
    posteriors.Flow("nsf", context=4),
    posteriors.Flow("planar"),
    posteriors.Hamiltonian(),
    posteriors.RiemannianHamiltonian(centres=5),
    posteriors.Sphere(),
    posteriors.Poincare(),
]
QUANTIZERS: list[posteriors.Quantizer] = [
    posteriors.Quantized(8),
    posteriors.Quantized(4, stages=2, commitment=1.0),
    posteriors.FiniteScalar(5),
]
PRIORS: list[priors.Prior] = [
    priors.Normal(),
    priors.FittedNormal(),
    priors.Mixture(4),
    priors.Vamp(5),
    priors.Flow(),
    priors.Flow("maf", width=8),
    priors.Uniform(),
    priors.WrappedNormal(),
]


def fits(posterior: posteriors.Posterior, prior: priors.Prior) -> bool:
    try:
        prior.check_posterior(posterior)
    except PartError:
        return False
    return True


PAIRS = [(q, p) for q in POSTERIORS for p in PRIORS if q.has_density and fits(q, p)]
NETWORKS: list[networks.Network] = [
    networks.MLP((16,)),
    networks.MLP((16, 8), activation="tanh"),
    networks.ResidualMLP(width=16, blocks=2),
    networks.Conv((4, 8), width=16),
    networks.Fourier(networks.MLP((16,)), frequencies=8),
    networks.SpectralNorm(networks.MLP((16,))),
    networks.SpectralNorm(networks.Conv((4, 8), width=16)),
]
CRITIC = networks.MLP((16,))
PENALTIES: list[objectives.Penalty] = [
    objectives.TotalCorrelation(5.0),
    objectives.MMD(10.0),
    objectives.MMD(10.0, kernel="rbf", scales=(1.0,)),
    objectives.CodeNorm(0.1),
    objectives.DecoderNorm(1e-4),
    objectives.DecoderGradient(0.1),
    objectives.DecoderGradient(0.1, projections=1),
    objectives.PriorCritic(10.0, network=CRITIC),
    objectives.FactorCritic(10.0, network=CRITIC),
]
OBJECTIVES: list[objectives.Objective] = [
    objectives.ELBO(),
    objectives.ELBO(beta=4.0, warmup=0.5, cycles=4),
    objectives.ELBO(beta=10.0, warmup=0.5, capacity=5.0),
    objectives.ELBO(free_bits=0.1),
    objectives.IWAE(k=5),
    objectives.IWAE(k=5, groups=3),
    objectives.IWAE(k=5, mix=0.5),
    objectives.PIWAE(k=4, groups=3),
    objectives.DReG(k=5),
    objectives.VAEGAN(network=CRITIC, width=8),
    *(objectives.ELBO(penalties=(penalty,)) for penalty in PENALTIES),
    objectives.ELBO(penalties=(objectives.MMD(), *PENALTIES[-2:])),
]
PARTS: list[Part] = [
    *(case.part for case in LIKELIHOODS),
    likelihoods.MSSSIM(),
    *POSTERIORS,
    *QUANTIZERS,
    *PRIORS,
    priors.TwoStage(8),
    priors.Autoregressive(8),
    *NETWORKS,
    *PENALTIES,
    *OBJECTIVES,
]


def name(value: object) -> str:
    """Give a part's name for a test's id."""
    return repr(getattr(value, "part", value))
