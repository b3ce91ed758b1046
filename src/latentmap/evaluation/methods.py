"""Methods for `compare`: each fits rows and returns their map; some embed new rows and decode too."""

from __future__ import annotations

import importlib
import warnings
from abc import ABC, abstractmethod
from typing import Any, Literal

import numpy as np
import torch
from sklearn import decomposition, manifold

from latentmap.data.scaling import choose_scaling
from latentmap.estimators.autoencoder import Autoencoder
from latentmap.estimators.vae import VAE
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import suggest

__all__ = ["METHODS", "Units"]


class Units:
    """Units in which rows are compared: vectors x' = (x - shift) / scale, scaled as by the estimators.

    Parameters
    ----------
    X : ndarray of shape (n, ...)
        Training rows, which determine the scaling.

    Attributes
    ----------
    name : str
        Description of the unit.

    Examples
    --------
    >>> units = Units(np.array([[0, 255], [51, 0]], dtype=np.uint8))
    >>> units(np.array([[51, 0]])), units.name
    (array([[0.2, 0. ]]), 'the range of the data, which becomes 0 to 1')
    """

    def __init__(self, X: np.ndarray) -> None:
        scaling = choose_scaling(X)
        self._shift, self._scale, self._event = scaling.shift, scaling.scale, X.shape[1:]
        self.name = {
            "none": "the data's own, from 0 to 1",
            "range": "the range of the data, which becomes 0 to 1",
            "center": "the range of the centred data, over which each column is its difference from its mean",
            "standard": "the standard deviation of each column",
        }[scaling.kind]

    def __call__(self, X: Any) -> np.ndarray:
        """Transform rows in data units, (n, ...), to vectors, (n, d)."""
        return (np.asarray(X, dtype=np.float64).reshape(len(X), -1) - self._shift) / self._scale

    def inverse(self, vectors: np.ndarray) -> np.ndarray:
        """Transform vectors to rows in data units.

        Parameters
        ----------
        vectors : ndarray of shape (n, d)
            Vectors in these units.

        Returns
        -------
        ndarray of shape (n, ...)
            Rows.
        """
        return (vectors * self._scale + self._shift).reshape(len(vectors), *self._event)


class Method(ABC):
    """Base class of the methods. The constructor imports and validates, so that only the fit itself is timed.

    Attributes
    ----------
    title : str
        Name in tables and figures.
    unmeasured : str
        Why decoding is not measured although the method has it; empty otherwise.
    """

    title: str
    unmeasured: str = ""

    def __init__(self, n_components: int, random_state: int | None, units: Units) -> None:
        self.n_components = n_components
        self.random_state = random_state
        self.units = units

    @abstractmethod
    def fit_map(self, X: np.ndarray) -> np.ndarray:
        """Fit to rows (n, ...) in data units, and return their map, (n, n_components)."""

    def embed(self, X: np.ndarray) -> np.ndarray | None:
        """Return the codes of new rows; None if the method cannot embed them."""
        return None

    def decode(self, Z: np.ndarray) -> np.ndarray | None:
        """Return the rows in data units that codes decode to; None if the method cannot decode."""
        return None


class PCA(Method):
    """Principal component analysis (Pearson 1901), by scikit-learn."""

    title = "PCA"

    def fit_map(self, X: np.ndarray) -> np.ndarray:
        """Fit the leading principal axes and project the rows."""
        most = min(len(X), X[0].size)
        if self.n_components > most:
            raise DataError(f"n_components must be at most {most} for PCA of these rows, got {self.n_components}")
        self._pca = decomposition.PCA(self.n_components, random_state=self.random_state).fit(self.units(X))
        return self.embed(X)

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Project rows onto the principal axes."""
        return np.asarray(self._pca.transform(self.units(X)))

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Return points of the principal subspace."""
        return self.units.inverse(self._pca.inverse_transform(Z))


class TSNE(Method):
    """t-SNE (van der Maaten and Hinton 2008), by scikit-learn: it can neither embed new rows nor decode."""

    title = "t-SNE"

    def __init__(self, n_components: int, random_state: int | None, units: Units) -> None:
        super().__init__(n_components, random_state, units)
        _at_most(3, self)

    def fit_map(self, X: np.ndarray) -> np.ndarray:
        """Fit from the principal components, with the usual perplexity of 30."""
        fitter = manifold.TSNE(
            self.n_components,
            perplexity=_perplexity(len(X)),
            init="pca",
            random_state=self.random_state,
            n_jobs=torch.get_num_threads(),
        )
        return np.asarray(fitter.fit_transform(_leading(self.units(X), self.random_state)))


class OpenTSNE(Method):
    """t-SNE by openTSNE (Policar et al. 2019), which embeds new rows one by one on a fixed map."""

    title = "openTSNE"

    def __init__(self, n_components: int, random_state: int | None, units: Units) -> None:
        super().__init__(n_components, random_state, units)
        _at_most(2, self)
        self._package = _baseline("openTSNE")

    def fit_map(self, X: np.ndarray) -> np.ndarray:
        """Fit with the usual perplexity of 30."""
        fitter = self._package.TSNE(
            self.n_components,
            perplexity=_perplexity(len(X)),
            random_state=self.random_state,
            n_jobs=torch.get_num_threads(),  # as many as this process may use
        )
        self._embedding = fitter.fit(self.units(X))
        return np.asarray(self._embedding)

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Embed rows by their neighbours, then by gradient descent."""
        return np.asarray(self._embedding.transform(self.units(X)))


class UMAP(Method):
    """UMAP (McInnes et al. 2018), by umap-learn."""

    title = "UMAP"
    unmeasured = "umap-learn's inverse takes minutes for a few hundred images"

    def __init__(self, n_components: int, random_state: int | None, units: Units) -> None:
        super().__init__(n_components, random_state, units)
        self._package = _baseline("umap", "umap-learn")

    def fit_map(self, X: np.ndarray) -> np.ndarray:
        """Fit with the usual 15 neighbours."""
        self._umap = self._package.UMAP(
            n_neighbors=min(15, len(X) - 1),
            n_components=self.n_components,
            random_state=self.random_state,
            n_jobs=torch.get_num_threads() if self.random_state is None else 1,  # a seed allows one thread only
        )
        return np.asarray(self._umap.fit_transform(self.units(X)))

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Embed rows by their neighbours, then by gradient descent."""
        return np.asarray(self._umap.transform(self.units(X)))


class PaCMAP(Method):
    """PaCMAP (Wang et al. 2021), by pacmap."""

    title = "PaCMAP"

    def __init__(self, n_components: int, random_state: int | None, units: Units) -> None:
        super().__init__(n_components, random_state, units)
        self._package = _baseline("pacmap")

    def fit_map(self, X: np.ndarray) -> np.ndarray:
        """Fit with the usual 10 neighbours, 5 mid-near pairs and 20 further ones."""
        self._rows = self.units(X)
        self._pacmap = self._package.PaCMAP(self.n_components, random_state=self.random_state)
        return np.asarray(self._pacmap.fit_transform(self._rows))

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Embed rows by their neighbours among those of the fit."""
        return np.asarray(self._pacmap.transform(self.units(X), basis=self._rows))


class Estimator(Method):
    """An estimator of this package, fitted here with its defaults, or fitted before."""

    estimator: Any

    def fit_map(self, X: np.ndarray) -> np.ndarray:
        """Fit the estimator and encode the rows."""
        self.estimator.fit(X)
        return self.embed(X)

    def embed(self, X: np.ndarray) -> np.ndarray:
        """Encode rows."""
        return np.asarray(self.estimator.transform(X))

    def decode(self, Z: np.ndarray) -> np.ndarray:
        """Decode codes."""
        return np.asarray(self.estimator.inverse_transform(Z))


class AutoencoderMethod(Estimator):
    """`latentmap.Autoencoder` with its defaults."""

    title = "autoencoder"

    def __init__(self, n_components: int, random_state: int | None, units: Units) -> None:
        super().__init__(n_components, random_state, units)
        self.estimator = Autoencoder(n_components, random_state=random_state)


class VAEMethod(Estimator):
    """`latentmap.VAE` without the neighbour objective: it differs from the autoencoder in being variational alone."""

    title = "VAE"

    def __init__(self, n_components: int, random_state: int | None, units: Units) -> None:
        super().__init__(n_components, random_state, units)
        self.estimator = VAE(n_components, neighbors=self._neighbors(n_components), random_state=random_state)

    def _neighbors(self, n_components: int) -> Literal["auto"] | int | None:
        return None


class NeighborVAEMethod(VAEMethod):
    """`latentmap.VAE` with the neighbour objective: its default for maps, and 15 neighbours with other components."""

    title = "neighbour VAE"

    def _neighbors(self, n_components: int) -> Literal["auto"] | int | None:
        return "auto" if n_components in (2, 3) else 15


METHODS: dict[str, type[Method]] = {
    "pca": PCA,
    "tsne": TSNE,
    "opentsne": OpenTSNE,
    "umap": UMAP,
    "pacmap": PaCMAP,
    "autoencoder": AutoencoderMethod,
    "vae": VAEMethod,
    "neighbor_vae": NeighborVAEMethod,
}
"""Name of each method, as for `compare` and ``latentmap compare``, to its class."""


def find_method(name: str) -> type[Method]:
    """Return the method of a name. Raise with a suggestion if there is none.

    >>> find_method("vae").title
    'VAE'
    """
    if name not in METHODS:
        raise DataError(f"no method is called {name!r}: {suggest(name, list(METHODS))}")
    return METHODS[name]


def _leading(rows: np.ndarray, random_state: int | None) -> np.ndarray:
    """Reduce rows to fifty principal components, as is usual for t-SNE."""
    if min(rows.shape) <= 50:
        return rows
    return np.asarray(decomposition.PCA(50, random_state=random_state).fit_transform(rows))


def _perplexity(n: int) -> float:
    return min(30.0, (n - 1) / 3)


def _at_most(most: int, method: Method) -> None:
    if method.n_components > most:
        raise DataError(f"{method.title} maps to at most {most} components, not {method.n_components}: leave it out")


def _baseline(module: str, package: str | None = None) -> Any:
    try:
        with warnings.catch_warnings():  # umap-learn warns that one of its own parts lacks its framework
            warnings.simplefilter("ignore", ImportWarning)
            return importlib.import_module(module)
    except ImportError as error:
        raise MissingExtraError(package or module, "baselines") from error
