"""Figures of a fitted model: each function computes a `Display` and leaves matplotlib's global state alone.

A display has its figure and axes, the data drawn, a caption and what is seen on it; `Display.plot` draws it again, on
other axes or in a dark theme, `Display.save` writes it. As in scikit-learn, each function is the constructor
``from_estimator`` of its display, too.

>>> from latentmap import VAE, load_dataset, plot
>>> X, y = load_dataset("digits")
>>> vae = VAE(2, max_epochs=10, random_state=0).fit(X)
>>> plot.samples(vae, 12).data_.shape
(12, 8, 8)
>>> plot.SamplesDisplay.from_estimator(vae, 12, X=X).plot(theme="dark").alt
'12 samples of 8 by 8 pixels from 0, blank, to 16, ink; their mean value is ...'
"""

from latentmap.plot.curves import LearningCurvesDisplay, RatesDisplay, learning_curves, rates
from latentmap.plot.decoding import interpolations, reconstructions, samples, traversals
from latentmap.plot.displays import (
    InterpolationsDisplay,
    ReconstructionsDisplay,
    SamplesDisplay,
    TraversalsDisplay,
)
from latentmap.plot.gaps import GapsDisplay, latent_gaps
from latentmap.plot.grids import DecodedGridDisplay, decoded_grid
from latentmap.plot.maps import ComparisonDisplay, MapDisplay, comparison, map
from latentmap.plot.paths import LinesDisplay, lines
from latentmap.plot.quality import MapQualityDisplay, map_quality
from latentmap.plot.several import RowPanelsDisplay, decoded_grids, random_points
from latentmap.plot.style import Display

__all__ = [
    "ComparisonDisplay",
    "DecodedGridDisplay",
    "Display",
    "GapsDisplay",
    "InterpolationsDisplay",
    "LearningCurvesDisplay",
    "LinesDisplay",
    "MapDisplay",
    "MapQualityDisplay",
    "RatesDisplay",
    "ReconstructionsDisplay",
    "RowPanelsDisplay",
    "SamplesDisplay",
    "TraversalsDisplay",
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
