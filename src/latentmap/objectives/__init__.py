"""Objectives: the losses that a fit minimises, one for each player."""

from latentmap.objectives.adversarial import VAEGAN, FactorCritic, PriorCritic
from latentmap.objectives.anchor import Anchored
from latentmap.objectives.base import Critic, Objective, Penalty
from latentmap.objectives.evidence import ELBO
from latentmap.objectives.importance import IWAE, PIWAE, DReG
from latentmap.objectives.neighbors import NeighborEmbedding
from latentmap.objectives.penalties import MMD, CodeNorm, DecoderGradient, DecoderNorm, TotalCorrelation
from latentmap.objectives.places import Placed
from latentmap.objectives.semisupervised import SemiSupervised

__all__ = [
    "ELBO",
    "IWAE",
    "MMD",
    "PIWAE",
    "VAEGAN",
    "Anchored",
    "CodeNorm",
    "Critic",
    "DReG",
    "DecoderGradient",
    "DecoderNorm",
    "FactorCritic",
    "NeighborEmbedding",
    "Placed",
    "Objective",
    "Penalty",
    "PriorCritic",
    "SemiSupervised",
    "TotalCorrelation",
]
