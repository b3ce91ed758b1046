"""What a fitted model can do: encode, decode, sample and score, in batches and without gradients."""

from __future__ import annotations

import copy
import functools
import math
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.base import ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted
from torch import Tensor

from latentmap.data.columns import Table
from latentmap.data.frames import frame_of
from latentmap.data.sources import Source, require_finite
from latentmap.data.streaming import LazyRows, fits, read_memory
from latentmap.data.values import plain_array
from latentmap.estimators import persistence
from latentmap.estimators.conditions import Condition, Labels
from latentmap.estimators.diagnosis import warn_of_few
from latentmap.estimators.history import Evaluation, Units, evaluation
from latentmap.estimators.labelling import InfersLabels
from latentmap.estimators.passes import as_tensor, filled, map_rows
from latentmap.estimators.validation import FloatArray, as_given, check_count, opened, read_codes, read_rows, read_seed
from latentmap.exceptions import DataError, NoDensityError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.distributions import draw
from latentmap.model.likelihoods import Incomplete
from latentmap.model.noise import Generated, RowNoise, generator_for
from latentmap.model.priors import Prior
from latentmap.model.scaling import Affine
from latentmap.objectives.evidence import SAMPLES, bound_and_draws, log_weights


class FittedModel(InfersLabels, ClassNamePrefixFeaturesOutMixin, TransformerMixin):
    """Methods of a fitted estimator.

    Results have the precision of what was given: double for double, else single, but for rows whose units single does
    not hold (scales beyond 1e30, offsets of thousands of scales), which come in double; computations follow it. All but
    `sample` are deterministic, and a row's result does not depend, but for rounding, on the rows with it.
    """

    if TYPE_CHECKING:
        model_: GenerativeAutoencoder
        scaling_: Affine
        event_shape_: tuple[int, ...]
        device_: torch.device
        memory: str | int | None
        n_features_in_: int
        seed_: int
        condition_: Condition | None
        classes_: NDArray[Any]
        history_: list[dict[str, float | None]]
        choices_: dict[str, str]

    table_: Table | None = None
    """What the numbers of a table of mixed columns stand for."""
    plain_: bool = False
    """Whether rows of such a table are given as numbers, not as a data frame."""
    given_: Any = None
    """What all rows are conditioned on where no y is given."""
    history_units_: Units = "data"
    """Units of the history; those of the model in runs of earlier versions where they cannot be told apart."""

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit, then give the code of each row."""
        return self.fit(X, y, **fit_params).transform(X, y)

    def transform(self, X: Any, y: Any = None) -> FloatArray:
        """Give the code of each row: the mean of q(z|x), shape (n, n_components)."""
        return self._encode(*self._rows(X, y))[0]

    def codes(self, X: Any, y: Any = None) -> NDArray[np.int64]:
        """Give the indices of each row's code, shape (n, L), for a model whose codes are quantised.

        Raises `PartError` for others.
        """
        rows, given = self._rows(X, y)
        return np.asarray(self._map(rows, lambda model, scaling, x: model.indices(scaling(x)), given=given), np.int64)

    def posterior(self, X: Any, y: Any = None) -> tuple[FloatArray, FloatArray]:
        """Give mean and standard deviation of q(z|x) for each row, both of shape (n, n_components).

        An autoencoder is certain of its codes: its standard deviations are 0.
        """
        return self._encode(*self._rows(X, y))

    def inverse_transform(self, Z: Any, y: Any = None) -> Any:
        """Decode codes (n, n_components): the mean of p(x|z), in the units and shape of the data.

        A model of a table of mixed columns gives a data frame with its columns, types and categories: a mean, rounded
        where a column is binary or holds counts or whole numbers; the likeliest category, of an ordinal column that
        nearest to the mean place; and of a column on a logarithmic scale the median, exp of the mean of log(1 + x)
        less 1. An array in the place of frames keeps means as they are, and the places of categories.

        Codes off a curved space (`posteriors.Sphere`, `posteriors.Poincare`) are decoded at its nearest point.
        """
        check_is_fitted(self)
        codes = read_codes(self, Z)
        return self._as_frame(self._decode(codes, self._given(y, codes)))

    def reconstruct(self, X: Any, y: Any = None) -> Any:
        """Encode and decode: what the model keeps of each row, decoded as by `inverse_transform`."""
        return self._as_frame(self._reconstruct(*self._rows(X, y)), X)

    def encoder_inputs(self, X: Any) -> FloatArray:
        """Return the encoder's inputs, shape (n, E): scaled rows, with a component for each category of a table."""

        def view(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            return model.parts.likelihood.encoder_inputs(model.likelihood_state, scaling(x))

        return self._map(read_rows(self, X, reset=False)[0], view)

    def encode_table(self, X: Any) -> FloatArray:
        """Give rows of a table as the numbers that the model works with, (n, columns): categories by their place."""
        check_is_fitted(self)
        rows: FloatArray = read_rows(self, X, reset=False)[0]
        return rows

    def impute(
        self, X: Any, n_draws: int | None = None, *, n_samples: int = 100, y: Any = None, random_state: Any = 0
    ) -> Any:
        r"""Fill the cells that are missing (NaN) from those that are there; all others stay as they come.

        .. math:: \mathbb{E}[x_{\mathrm{mis}} | x_{\mathrm{obs}}] \approx \sum_{k=1}^K w_k\,
                  \mathbb{E}[x_{\mathrm{mis}} | z_k], \qquad
                  w_k \propto \frac{p(x_{\mathrm{obs}}|z_k)\, p(z_k)}{r(z_k)}, \quad z_k \sim r =
                  \tfrac14\, p(z) + \tfrac34\, q(z|x_{\mathrm{obs}})

        by self-normalised importance sampling, in the units of the data, or draws from p(x_mis | x_obs) by resampling
        with these weights, for multiple imputation (Rubin 1987; Mattei and Frellsen 2019). The share of the prior
        bounds the weights (Owen and Zhou 2000); `FewDrawsWarning` says where they leave few draws. A category is filled
        with the likeliest one, and frames hold means rounded as by `inverse_transform`. A column on a logarithmic scale
        is filled with its mean too, not its median; where codes give an infinite mean (`likelihoods.StudentT`, or a
        wide `likelihoods.Laplace`), with the mean over codes of their medians. A row with a cell that its likelihood
        excludes, which no code explains, is filled with all codes weighing the same. A model without density fills with
        what it reconstructs, and cannot draw.

        Parameters
        ----------
        X
            Rows; a model that was fitted to complete ones takes no missing cells, unless its likelihood is
            `likelihoods.Incomplete`.
        n_draws
            Number of draws; None gives the conditional mean.
        n_samples
            K, codes for each row.
        y
            For a conditional model, what the rows are conditioned on.
        random_state
            Seed of the codes and the draws; None takes a fresh one.

        Returns
        -------
        object
            As X: an array, or a frame with its columns. With ``n_draws`` an array (n_draws, n, ...), or for a table of
            mixed columns a list of frames.
        """
        rows: Any
        rows, given = self._rows(X, y)
        if isinstance(rows, LazyRows) and rows.source.stays_sparse:
            raise DataError("a sparse matrix has no missing cells (what it leaves out is 0); give an array with NaN")
        if isinstance(rows, LazyRows):
            raise DataError(
                f"{rows.source.name} is read block by block: impute some of its rows at a time, or with the command"
            )
        check_count("n_samples", n_samples)
        if n_draws is not None:
            check_count("n_draws", n_draws)
            self._require_score()
        missing = np.isnan(rows) if rows.dtype.kind == "f" else np.zeros(rows.shape, dtype=bool)
        some = missing.any(1)
        found = np.repeat(rows[None], n_draws or 1, 0)
        if some.any():
            seed, k = read_seed(random_state), n_samples if self._has_score else 0
            noise = Generated(generator_for(seed, self.device_))
            cells = self._map(
                rows[some],
                functools.partial(filled, n_draws=n_draws, k=k, noise=noise, seed=seed),
                samples=n_samples * (self.model_.sizes.condition if self.model_.sizes.some_labels else 1),
                given=None if given is None else given[some],
            )
            found[:, some] = np.where(missing[some], cells[..., :-1].swapaxes(0, 1), found[:, some])
            warn_of_few(cells[:, 0, -1], n_samples)
        if self.table_ is not None and not isinstance(X, np.ndarray):
            frames = [self._as_frame(draw, X) for draw in found]
            return frames[0] if n_draws is None else frames
        if n_draws is not None:
            return found.reshape(n_draws, len(rows), *self.event_shape_)
        return as_given(X, found[0].reshape(len(rows), *self.event_shape_))

    def sample(self, n_samples: int = 1, random_state: Any = None, *, noise: bool = False, y: Any = None) -> Any:
        """Draw codes from the prior and decode them.

        Gives the mean of p(x|z) for each code, as pictures want it, and whatever else `inverse_transform` gives in its
        place; or with ``noise`` a draw from p(x|z), which is what the model says that data look like. An autoencoder
        draws its codes from a Gaussian fitted to those of the data; `fit_prior` fits a better density.

        Parameters
        ----------
        n_samples
            Number of rows to draw.
        random_state
            Seed; None takes a fresh one.
        noise
            Whether to draw from p(x|z) instead of giving its mean.
        y
            For a conditional model, what the rows are conditioned on: one for all rows, or one for each.
        """
        check_is_fitted(self)
        check_count("n_samples", n_samples)
        source = self._noise(random_state)
        given = self._given(y, np.empty(n_samples))
        if given is not None and self.model_.sizes.some_labels:  # a class that is not asked for is drawn too
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

    def _draw_codes(self, n: int, given: FloatArray | None, noise: Generated) -> Tensor:
        """Draw codes from the prior, one for each row of what they are conditioned on where there is such."""
        with torch.no_grad():
            p = self.model_.given(None if given is None else as_tensor(given).to(self.device_)).prior()
            return draw(p, () if p.batch_shape else (n,), noise)

    def _noise(self, random_state: Any) -> Generated:
        """Make a source of random numbers on the model's device."""
        return Generated(generator_for(read_seed(random_state), self.device_))

    def given(self, y: Any) -> Self:
        """Give a conditional model with one label, or one row of covariates, settled for all rows: p(x|y) for that y.

        All weights are shared, and y may then be left out wherever a method takes it, in figures and reports too.
        """
        check_is_fitted(self)
        if self.condition_ is None:
            raise PartError("given(y) is for conditional models; fit with condition='labels' or 'covariates'")
        self.condition_.read(y, 1)  # refuses what the fit has not seen
        model = copy.copy(self)
        model.given_ = y
        return model

    def interpolate(self, a: Any, b: Any, n: int = 9, *, y: Any = None) -> Any:
        """Decode n codes on the shortest way from the code of row a to the code of row b, both included.

        It is a straight line, or the geodesic of a curved space of codes. A conditional model takes one ``y`` for the
        whole way, or one for each end and the line between the two.
        """
        check_count("n", n, least=2)
        check_is_fitted(self)
        rows = np.concatenate([read_rows(self, self._single(row), reset=False)[0] for row in (a, b)])
        self._require_readable(rows)
        given = self._given(y, rows)
        a, b = as_tensor(self._encode(rows, given)[0])
        step = np.linspace(0, 1, n, dtype=np.float32)
        between = None if given is None else (1 - step[:, None]) * given[:1] + step[:, None] * given[1:]
        return self._as_frame(self._decode(self.model_.path(a, b, as_tensor(step)).numpy(), between))

    def score_samples(self, X: Any, n_samples: int = 1, *, y: Any = None) -> FloatArray:
        r"""Lower bound on the log-density of each row, nats, in the data's own units.

        One sample gives the evidence lower bound (ELBO), k samples the importance-weighted bound (IWAE-k, Burda et al.
        2016), which is tighter the more there are:

        .. math:: \mathcal{L}_k(x) = \mathbb{E} \log \frac1k \sum_{i=1}^k \frac{p(x|z_i)\, p(z_i)}{q(z_i|x)}
                  \le \log p(x)

        A row with a value that the likelihood excludes scores -inf: anything but 0 and 1 for a binary column, values
        outside [0, 1] for one of that range, counts that are negative or not whole, what lies beyond or between levels
        and categories, or at -1 and below in a column on a logarithmic scale. Cells that are missing count for nothing.

        The noise is a function of a row's values, so scores are repeatable and do not depend on batching. With k of 2
        or more, a quarter of the draws of rows with missing cells come from the prior, and the mixture of both stands
        in the place of q; `FewDrawsWarning` says where the weights leave few draws to rest on. The density
        of a conditional model is that of x given y, and where it infers labels that of x for rows without, from weights
        of k draws for each of the C classes:

        .. math:: \mathcal{L}_k(x) = \mathbb{E} \log \frac{1}{C k} \sum_{c=1}^C \sum_{i=1}^k w_{ci}
                  \le \log \frac1C \sum_c p(x|c), \qquad
                  w_{ci} = \frac{p(x|z_{ci}, c)\, p(z_{ci}|c)}{q(z_{ci}|x, c)}

        The rate of these is that of the draws: with its closed form inside of the exponential it would be no bound.

        Raises
        ------
        NoDensityError
            For a model without density, such as an autoencoder.
        """
        rows, given = self._rows(X, y)
        check_count("n_samples", n_samples)
        self._require_score()

        effective: list[FloatArray] = []

        def bounds(given: FloatArray | None, *, weighted: bool = False) -> FloatArray:
            def bound(model: GenerativeAutoencoder, scaling: Affine, rows: Tensor) -> Tensor:
                x = scaling(rows)
                found, draws = bound_and_draws(model, x, n_samples, RowNoise(x, self.seed_), weighted=weighted)
                found = (found + self._units(scaling, x)).masked_fill(scaling.excluded(rows), -math.inf)
                return torch.stack([found, torch.where(x.isnan().any(1), draws, torch.inf)], 1)

            found, draws = self._map(rows, bound, samples=min(n_samples, SAMPLES), given=given).T
            effective.append(draws)
            return np.ascontiguousarray(found)

        found = bounds(given)
        if given is not None and self.model_.sizes.some_labels and not (labelled := given.any(1)).all():
            classes = np.eye(given.shape[1], dtype=np.float32)
            each = np.stack([bounds(np.broadcast_to(c, given.shape), weighted=True) for c in classes])
            found = np.where(labelled, found, (logsumexp(each, 0) - np.log(len(each))).astype(found.dtype))
        draws = np.min(effective, 0)
        warn_of_few(draws[np.isfinite(draws)], n_samples)
        return found

    def log_weights(self, X: Any, n_samples: int = 1, *, y: Any = None) -> FloatArray:
        r"""Log importance weights of n_samples draws for each row, (n, n_samples), nats, in the data's own units.

        .. math:: \log w_i = \log p(x|z_i) + \log p(z_i) - \log q(z_i|x), \quad z_i \sim q(z|x)

        What `score_samples` is made of, with the same noise, and its mixture in the place of q for rows with missing
        cells: see `latentmap.evaluation.evidence` for bounds with error
        bars. Raises `NoDensityError` as it does.
        """
        rows, given = self._rows(X, y)
        check_count("n_samples", n_samples)
        self._require_score()
        self._require_labels(given, "log weights need a label for every row; use score_samples, or predict them first")

        def weights(model: GenerativeAutoencoder, scaling: Affine, rows: Tensor) -> Tensor:
            x = scaling(rows)
            found = log_weights(model, x, n_samples, RowNoise(x, self.seed_)).T + self._units(scaling, x)[:, None]
            return found.masked_fill(scaling.excluded(rows)[:, None], -math.inf)

        return self._map(rows, weights, samples=min(n_samples, SAMPLES), given=given)

    def _require_score(self) -> None:
        """Refuse to score rows with a model that has no density."""
        if not self._has_score:
            parts, name = self.model_.parts, type(self).__name__
            raise NoDensityError(
                f"{name} has no density to score rows with, because its "
                + (
                    f"likelihood is {type(parts.likelihood).__name__}; use likelihoods.Gaussian()"
                    if self._has_density
                    else f"posterior is {type(parts.posterior).__name__}; use VAE"
                )
                + ", or score() for the reconstruction error"
            )

    def _units(self, scaling: Affine, x: Tensor) -> Tensor:
        """What the log-density of scaled rows gains in the data's own units, nats."""
        discrete = self.model_.parts.likelihood.is_discrete(x.shape[-1]).to(x.device)
        return scaling.log_jacobian(x, but=discrete)

    def score(self, X: Any, y: Any = None) -> float:
        """Mean of `score_samples`, nats a row; for a model without density, minus the mean squared error."""
        check_is_fitted(self)
        if self._has_score:
            return float(self.score_samples(X, y=y).mean())
        rows, given = self._rows(X, y)

        def errors(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            found = (x.double() - scaling.inverse(model.reconstruct(scaling(x)).mean)).square()
            return torch.stack([found.nansum(1), found.isfinite().sum(1)], 1)

        total, cells = self._map(rows, errors, given=given).sum(0, dtype=np.float64)
        return -float(total / cells)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the fitted model to a folder: weights, configuration, history, model card; see `latentmap.load`."""
        check_is_fitted(self)
        persistence.save(self, path)

    @classmethod
    def load(cls, path: str | os.PathLike[str], *, encoder: Any = None, decoder: Any = None) -> Self:
        """Read what `save` wrote. A model with networks of your own needs them again, as modules."""
        estimator: Self = persistence.load(path, encoder=encoder, decoder=decoder, expected=cls)
        return estimator

    @property
    def needs_y_(self) -> bool:
        """Whether rows have to come with what the model is conditioned on."""
        return self.condition_ is not None and self.given_ is None and not self.model_.sizes.some_labels

    @property
    def evaluation_(self) -> Evaluation | None:
        """What the weights that the fit kept reach on held-out rows: loss, its parts, and the ELBO, nats a row."""
        return evaluation(self.history_, bound=self._history_bounds, units=self.history_units_)

    @property
    def has_labels_(self) -> bool:
        """Whether what rows are conditioned on are labels."""
        return isinstance(self.condition_, Labels)

    @property
    def takes_missing_(self) -> bool:
        """Whether rows may have missing cells, as some of those of the fit had."""
        return isinstance(self.model_.parts.likelihood, Incomplete)

    @property
    def prior_(self) -> Prior:
        """The prior that codes are drawn from: that of the last `fit_prior`, or else of the fit."""
        return self.model_.parts.prior

    @property
    def manifold_(self) -> str:
        """The space of codes: "flat", "sphere" or "ball"."""
        return self.model_.parts.posterior.manifold

    @property
    def has_rate_(self) -> bool:
        """Whether codes have a density, so that they cost nats; those of an autoencoder are points."""
        return self._has_density

    @property
    def has_score_(self) -> bool:
        """Whether rows have a density, so that `score_samples` answers."""
        return self._has_score

    @property
    def _has_density(self) -> bool:
        return self.model_.parts.posterior.has_density

    @property
    def _history_bounds(self) -> bool:
        """Whether distortion and rate of the history bound the log-density: not if the prior was fitted afterwards."""
        later = self.model_.parts.prior.ex_post or "prior" in self.choices_
        return self._has_score and not later

    @property
    def _has_score(self) -> bool:
        return self._has_density and self.model_.parts.likelihood.has_density

    @property
    def _n_features_out(self) -> int:
        return self.model_.sizes.latent

    def _as_frame(self, rows: FloatArray, X: Any = None) -> Any:
        """Give rows of a table of mixed columns as a data frame, like X if that is one; numbers where X is numbers."""
        if self.table_ is None or self.plain_ or isinstance(X, np.ndarray):
            return rows
        return frame_of(self.table_, rows, X)

    def _single(self, row: Any) -> Any:
        """Give one row as rows; a data frame stays one, since it names its features."""
        if hasattr(row, "columns"):
            return row
        return plain_array(row).reshape(1, *self.event_shape_)

    def _rows(self, X: Any, y: Any) -> tuple[NDArray[Any], FloatArray | None]:
        """Give checked rows, and what they are conditioned on; a file that does not fit in memory stays where it is."""
        check_is_fitted(self)
        X = opened(X, self.table_)
        if isinstance(X, Source) and X.table is self.table_ and not fits(X, read_memory(self.memory)):
            lazy: Any = LazyRows(X, self.n_features_in_, missing=self.takes_missing_)
            return lazy, self._given(y, lazy)
        rows, _ = read_rows(self, X, reset=False)
        self._require_readable(rows)
        return rows, self._given(y, rows)

    def _require_readable(self, rows: NDArray[Any]) -> None:
        """Refuse infinite values, and missing ones where the model has not learned to do without."""
        advice = "fill them, or fit with likelihood=likelihoods.Incomplete(), as this fit had complete rows"
        require_finite(rows, "X", missing=self.takes_missing_, advice=advice)

    def _require_inside(self, rows: NDArray[Any], given: FloatArray | None) -> None:
        """Refuse to go on with rows that the likelihood, chosen for others, excludes."""

        def outside(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            scaled = scaling(x)
            z = scaled.new_zeros(len(x), model.sizes.latent)
            px = model.condition_on(scaled, model.decode(z))
            return (px.log_prob(scaled) == -math.inf) | scaling.excluded(x)

        if self.model_.parts.likelihood.has_density and (found := self._map(rows, outside, given=given)).any():
            first = int(np.flatnonzero(found)[0])
            raise DataError(
                f"X: row {first + 1} holds a value outside the support of the likelihood that the first fit chose, "
                f"{self.model_.parts.likelihood}; drop it, or fit all rows anew"
            )

    def _given(self, y: Any, rows: NDArray[Any]) -> FloatArray | None:
        """Give what rows are conditioned on as numbers (n, C); None for a model without condition."""
        return None if self.condition_ is None else self.condition_.read(self.given_ if y is None else y, len(rows))

    def _require_labels(self, given: FloatArray | None, message: str) -> None:
        """Refuse missing labels where they cannot be inferred."""
        if given is not None and self.model_.sizes.some_labels and not given.any(1).all():
            raise DataError(message)

    def _encode(self, rows: NDArray[Any], given: FloatArray | None = None) -> tuple[FloatArray, FloatArray]:
        def moments(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            q = model.encode(scaling(x))
            return torch.stack([q.mean, q.stddev], 1)  # (B, 2, D)

        both = self._map(rows, moments, given=given)
        return both[:, 0], both[:, 1]

    def _reconstruct(self, rows: NDArray[Any], given: FloatArray | None) -> FloatArray:
        def means(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            x = scaling(x)
            return scaling.restored(model.reconstruct(x).mean, x.dtype)

        return self._map(rows, means, given=given).reshape(len(rows), *self.event_shape_)

    def _decode(self, codes: FloatArray, given: FloatArray | None = None) -> FloatArray:
        self._require_labels(given, "decoding needs a label for every code; give y=...")

        def rows(model: GenerativeAutoencoder, scaling: Affine, z: Tensor) -> Tensor:
            return scaling.restored(model.decode(model.parts.posterior.onto(z)).mean, z.dtype)

        return self._map(codes, rows, given=given).reshape(len(codes), *self.event_shape_)

    def _map(
        self,
        values: NDArray[Any],
        function: Callable[[GenerativeAutoencoder, Affine, Tensor], Tensor],
        samples: int = 1,
        given: FloatArray | None = None,
    ) -> FloatArray:
        """Apply a function of the model to chunks of rows, in the precision of the values.

        The model is given what each chunk of rows is conditioned on, if anything.
        """
        return map_rows(self.model_, self.scaling_, values, function, self.device_, samples=samples, given=given)
