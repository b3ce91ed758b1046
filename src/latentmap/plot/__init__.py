"""Figures of a fitted model: each function returns a `Display` and leaves matplotlib's global state alone.

>>> from latentmap import VAE, load_dataset, plot
>>> X, y = load_dataset("digits")
>>> vae = VAE(2, max_epochs=10, random_state=0).fit(X)
>>> plot.samples(vae, 12).data_.shape
(12, 8, 8)
"""

from latentmap.plot.claims import decoded_grids, latent_gaps, lines, random_points
from latentmap.plot.curves import learning_curves, rates
from latentmap.plot.decoding import interpolations, reconstructions, samples, traversals
from latentmap.plot.maps import comparison, decoded_grid, map
from latentmap.plot.quality import map_quality
from latentmap.plot.style import Display

__all__ = [
    "Display",
    "comparison",
    "decoded_grid",
    "decoded_grids",
    "interpolations",
    "latent_gaps",
    "learning_curves",
    "lines",
    "map",
    "map_quality",
    "random_points",
    "rates",
    "reconstructions",
    "samples",
    "traversals",
]
