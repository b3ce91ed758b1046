"""A fitted model and its rows, to explore: the answers that a page, a notebook and an exported file show."""

from latentmap.explorer.exploration import Exploration
from latentmap.explorer.rows import ExploredRows

__all__ = ["Exploration", "ExploredRows"]
