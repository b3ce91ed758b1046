"""Methods of a fitted estimator that encode, decode and sample."""

from __future__ import annotations

import copy
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from latentmap.data.values import plain_array
from latentmap.estimators.attributes import Fitted
from latentmap.estimators.parameters import check_count, check_memory
from latentmap.estimators.rows import checked_rows, open_as_fitted, read_codes
from latentmap.estimators.scoring import require_labels
from latentmap.estimators.state import FloatArray, as_tensor
from latentmap.exceptions import DataError, ModelError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.distributions import draw
from latentmap.model.noise import Generated
from latentmap.model.scaling import Affine


class EncodingMixin(ClassNamePrefixFeaturesOutMixin, TransformerMixin, Fitted):
    """Encode, decode and sample with a fitted model.

    Results have the precision of what was given: double for double, else single, but for rows whose units single does
    not hold (scales beyond 1e30, offsets of thousands of scales), which come in double; computations follow it. All but
    `sample` are deterministic, and a row's result does not depend, but for rounding, on the rows with it.
    """

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> FloatArray:
        """Fit, then return the posterior mean of each row.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows, as for `fit`.
        y : array of shape (n,) or (n, C), default=None
            As for `fit`.
        **fit_params : dict
            Further parameters of `fit`.

        Returns
        -------
        ndarray of shape (n, n_components)
            Posterior means, as `transform` returns them.
        """
        codes: FloatArray = self.fit(X, y, **fit_params).transform(X, y)
        return codes

    def transform(self, X: Any, y: Any = None) -> FloatArray:
        """Return the latent code of each row: the mean of q(z|x), or the row's place on a map.

        A map of up to 100,000 rows returns the places of the rows of its fit and puts others among these
        (`neighbors`): the mean of a row's posterior, which `posterior` returns, may differ.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        ndarray of shape (n, n_components)
            Posterior means, or places on a map.
        """
        return self._located(X, y)[0]

    def code_indices(self, X: Any, y: Any = None) -> NDArray[np.int64]:
        """Return the codebook indices of each row, for a model whose codes are quantised.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        ndarray of shape (n, L)
            Indices of the codes of each row.

        Raises
        ------
        PartError
            For a model whose codes are not quantised.
        """
        rows, given = self._rows(X, y)
        return np.asarray(self._map(rows, lambda model, scaling, x: model.indices(scaling(x)), given=given), np.int64)

    def posterior(self, X: Any, y: Any = None) -> tuple[FloatArray, FloatArray]:
        """Return mean and standard deviation of q(z|x) for each row.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        mean, deviation : ndarray of shape (n, n_components)
            Moments of the posterior; an autoencoder is certain of its codes, and its deviations are 0.
        """
        rows, given = self._rows(X, y)
        mean, deviation = self.state_.posterior(rows, given)
        return _finite(mean), deviation

    def _located(self, X: Any, y: Any = None) -> tuple[FloatArray, FloatArray]:
        """Return the place of each row on the map, and the standard deviation of its posterior."""
        rows, given = self._rows(X, y)
        places, deviation = self.state_.locate(rows, given)
        return _finite(places), deviation

    def inverse_transform(self, Z: Any, y: Any = None) -> Any:
        """Decode latent codes: return the mean of p(x|z), in the units and shape of the data.

        A model of a table of mixed columns gives a data frame with its columns, types and categories: a mean, rounded
        where a column is binary or holds counts or whole numbers; the likeliest category, of an ordinal column that
        nearest to the mean place; and of a column on a logarithmic scale the median, exp of the mean of log(1 + x)
        less 1. An array in the place of frames keeps means as they are, and the places of categories. Pixels of bytes
        stay between 0 and 255.

        Parameters
        ----------
        Z : array of shape (n, n_components)
            Latent codes; those off a curved space (`posteriors.Sphere`, `posteriors.Poincare`) are decoded at its
            nearest point.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        ndarray of shape (n, *event_shape_) or data frame
            Decoded rows.
        """
        check_is_fitted(self)
        codes = read_codes(self.state_, Z, self.get_feature_names_out())
        return self._as_frame(self._decode(codes, self._given(y, len(codes))))

    def reconstruct(self, X: Any, y: Any = None) -> Any:
        """Encode and decode: return what the model keeps of each row, decoded from the mean of its posterior.

        That is the code of `transform`, but on a map whose places come first (docs/maps.md): what these decode to is
        ``inverse_transform(transform(X))``.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        ndarray of shape (n, *event_shape_) or data frame
            Reconstructed rows.
        """
        rows, given = self._rows(X, y)

        def means(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            x = scaling(x)
            return scaling.restored(model.reconstruct(x).mean, x.dtype)

        return self._as_frame(self._map(rows, means, given=given).reshape(len(rows), *self.event_shape_), X)

    def encoder_inputs(self, X: Any) -> FloatArray:
        """Return rows as the encoder takes them: scaled, and categories of a table as one component each.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.

        Returns
        -------
        ndarray of shape (n, E)
            Inputs of the encoder.
        """
        return self.state_.encoder_inputs(self._read(X))

    def encode_table(self, X: Any) -> FloatArray:
        """Return rows of a table as the numbers that the model works with: categories by their place.

        Parameters
        ----------
        X : data frame or path
            Rows like those of the fit.

        Returns
        -------
        ndarray of shape (n, columns)
            Numbers, NaN where a cell is missing.
        """
        return self._read(X)

    def sample(self, n_samples: int = 1, random_state: Any = None, *, noise: bool = False, y: Any = None) -> Any:
        """Draw latent codes from the prior and decode them.

        Returns the mean of p(x|z) for each code, as pictures want it, and whatever else `inverse_transform` gives in
        its place; or with ``noise`` a draw from p(x|z), which is what the model says that data look like. An
        autoencoder draws its codes from a Gaussian fitted to those of the data; `fit_prior` fits a better density.

        Parameters
        ----------
        n_samples : int, default=1
            Number of rows to draw.
        random_state : int, numpy generator or None, default=None
            Seed; None takes a fresh one.
        noise : bool, default=False
            Whether to draw from p(x|z) instead of returning its mean.
        y : object or array of shape (n_samples,) or (n_samples, C), default=None
            For a conditional model, what the rows are conditioned on: one for all rows, or one for each.

        Returns
        -------
        ndarray of shape (n_samples, *event_shape_) or data frame
            Rows.
        """
        check_is_fitted(self)
        check_count("n_samples", n_samples)
        check_memory("n_samples", n_samples, 8 * n_samples * self.n_features_in_)
        source = self._noise(random_state)
        given = self._given(y, n_samples)
        if given is not None and self.model_.sizes.some_labels:  # a class that was not given is drawn too
            classes = given.shape[1]
            every = torch.randint(classes, (n_samples,), device=self.device_, generator=source.generator)
            given = np.where(given.any(1, keepdims=True), given, np.eye(classes, dtype=np.float32)[every.cpu()])
        codes = self._draw_codes(n_samples, given, source)

        def decoded(model: GenerativeAutoencoder, scaling: Affine, z: Tensor) -> Tensor:
            px = model.generate(z, source)
            like = z.dtype if z.is_floating_point() else torch.float32  # indices of codes
            return scaling.restored(draw(px, (), source) if noise else px.mean, like)

        rows = self._map(codes.cpu().numpy(), decoded, given=given).reshape(n_samples, *self.event_shape_)
        return self._as_frame(rows)

    def given(self, y: Any) -> Self:
        """Return a conditional model with one label, or one row of covariates, settled for all rows: p(x|y).

        All weights are shared, and y may then be left out wherever a method takes it, in figures and reports too.

        Parameters
        ----------
        y : object or array of shape (C,)
            A label, or covariates.

        Returns
        -------
        object
            The conditioned estimator.
        """
        check_is_fitted(self)
        if self.condition_ is None:
            raise PartError("given(y) is for conditional models; fit with condition='labels' or 'covariates'")
        self.condition_.read(y, 1)  # refuses what was not in the fit
        model = copy.copy(self)
        model.given_ = y
        return model

    def interpolate(self, a: Any, b: Any, n: int = 9, *, y: Any = None) -> Any:
        """Decode n latent codes on the shortest way from the code of row a to the code of row b, both included.

        The codes are those of `transform`. The way is a straight line, or the geodesic of a curved space of codes.

        Parameters
        ----------
        a, b : array, data frame or sparse matrix of one row
            The rows at the ends.
        n : int, default=9
            Number of codes.
        y : object or array, default=None
            For a conditional model, one for the whole way, or one for each end and the line between the two.

        Returns
        -------
        ndarray of shape (n, *event_shape_) or data frame
            Decoded rows.
        """
        check_count("n", n, least=2)
        check_is_fitted(self)
        ends = [self._read(self._single(row)) for row in (a, b)]
        for end in ends:
            if len(end) != 1:
                raise DataError(
                    f"interpolate takes one row for each end, as X[[0]] or df.iloc[[0]], got shape {end.shape}"
                )
        rows = np.concatenate(ends)
        given = self._given(y, 2)
        start, stop = as_tensor(self.state_.locate(rows, given)[0])
        step = np.linspace(0, 1, n, dtype=np.float32)
        between = None if given is None else (1 - step[:, None]) * given[:1] + step[:, None] * given[1:]
        return self._as_frame(self._decode(self.model_.path(start, stop, as_tensor(step)).numpy(), between))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags

    def _read(self, X: Any) -> NDArray[Any]:
        """Return all rows (n, P), checked."""
        check_is_fitted(self)
        return checked_rows(open_as_fitted(self, self.state_, X), self.state_)

    def _single(self, row: Any) -> Any:
        """Return one row as rows; a data frame stays one, since it names its features, and a series becomes one."""
        names = self.table_.inputs if self.table_ is not None else list(getattr(self, "feature_names_in_", ()))
        if sparse.issparse(row):
            row = row.toarray()
        elif names and hasattr(row, "to_frame") and set(names) <= set(getattr(row, "index", ())):
            row = row.to_frame().T.infer_objects()
        if hasattr(row, "columns"):
            return row
        rows = plain_array(row)
        return rows.reshape(1, *self.event_shape_) if rows.size == self.n_features_in_ else np.atleast_2d(rows)

    def _draw_codes(self, n: int, given: FloatArray | None, noise: Generated) -> Tensor:
        """Draw codes from the prior, one for each row of what they are conditioned on where there is such."""
        with torch.no_grad():
            p = self.model_.given(None if given is None else as_tensor(given).to(self.device_)).prior()
            return draw(p, () if p.batch_shape else (n,), noise)

    def _decode(self, codes: FloatArray, given: FloatArray | None = None) -> FloatArray:
        require_labels(self.state_, given, "decoding needs a label for every code; give y=...")
        return self.state_.decode(codes, given)


def _finite(codes: FloatArray) -> FloatArray:
    """Return codes, if they are finite."""
    if bad := int((~np.isfinite(codes)).any(-1).sum()):
        raise ModelError(f"the codes of {bad:,} of {len(codes):,} rows are not finite: its weights are too large")
    return codes
