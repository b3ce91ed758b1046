"""Objectives: what is minimised, and by which player."""

from latentmap.objectives.base import Objective
from latentmap.objectives.evidence import ELBO
from latentmap.objectives.neighbors import NeighborEmbedding

__all__ = ["ELBO", "NeighborEmbedding", "Objective"]
