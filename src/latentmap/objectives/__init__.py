"""Objectives: what is minimised, and by which player."""

from latentmap.objectives.base import Objective
from latentmap.objectives.evidence import ELBO

__all__ = ["ELBO", "Objective"]
