"""Methods of a fitted estimator that score rows and fill their missing cells."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np
from sklearn.utils.validation import check_is_fitted

from latentmap.data.decoding import frame_of
from latentmap.data.rows import LazyRows
from latentmap.estimators.attributes import Fitted
from latentmap.estimators.diagnosis import warn_of_few
from latentmap.estimators.imputation import filled
from latentmap.estimators.parameters import check_count, read_seed
from latentmap.estimators.rows import as_given, open_as_fitted
from latentmap.estimators.scoring import require_score, score_rows, squared_error, weigh_rows
from latentmap.estimators.state import FloatArray
from latentmap.exceptions import DataError
from latentmap.model.noise import Generated, generator_for


class DensityMixin(Fitted):
    """Score rows and fill missing cells with a fitted model."""

    def score_samples(self, X: Any, n_samples: int = 1, *, y: Any = None) -> FloatArray:
        r"""Return a lower bound on the log-density of each row, nats, in the data's own units.

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

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.
        n_samples : int, default=1
            Number k of draws for each row.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        ndarray of shape (n,)
            Bounds, nats.

        Raises
        ------
        NoDensityError
            For a model without density, such as an autoencoder.
        """
        rows, given = self._rows(X, y)
        check_count("n_samples", n_samples)
        require_score(self.state_, type(self).__name__)
        bounds, draws = score_rows(self.state_, rows, given, n_samples)
        warn_of_few(draws[np.isfinite(draws)], n_samples)
        return bounds

    def log_weights(self, X: Any, n_samples: int = 1, *, y: Any = None) -> FloatArray:
        r"""Return log importance weights of n_samples draws for each row, nats, in the data's own units.

        .. math:: \log w_i = \log p(x|z_i) + \log p(z_i) - \log q(z_i|x), \quad z_i \sim q(z|x)

        What `score_samples` is made of, with the same noise, and its mixture in the place of q for rows with missing
        cells: see `latentmap.evaluation.evidence` for bounds with error bars.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.
        n_samples : int, default=1
            Number of draws for each row.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        ndarray of shape (n, n_samples)
            Log weights, nats.

        Raises
        ------
        NoDensityError
            For a model without density, such as an autoencoder.
        """
        rows, given = self._rows(X, y)
        check_count("n_samples", n_samples)
        require_score(self.state_, type(self).__name__)
        return weigh_rows(self.state_, rows, given, n_samples)

    def score(self, X: Any, y: Any = None) -> float:
        """Return the mean of `score_samples`, nats a row; for a model without density, minus the mean squared error.

        Parameters
        ----------
        X : array, tensor, data frame, sparse matrix, data set, or path
            Rows like those of the fit.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.

        Returns
        -------
        float
            The score; higher is better.
        """
        check_is_fitted(self)
        if self.has_score_:
            return float(self.score_samples(X, y=y).mean())
        return -squared_error(self.state_, *self._rows(X, y))

    def impute(
        self, X: Any, n_draws: int | None = None, *, n_samples: int = 100, y: Any = None, random_state: Any = 0
    ) -> Any:
        r"""Fill the cells that are missing (NaN) from those that are there; all others stay as they come.

        .. math:: \mathbb{E}[x_{\mathrm{mis}} | x_{\mathrm{obs}}] \approx \sum_{k=1}^K w_k\,
                  \mathbb{E}[x_{\mathrm{mis}} | z_k], \qquad
                  w_k \propto \frac{p(x_{\mathrm{obs}}|z_k)\, p(z_k)}{r(z_k)}, \quad z_k \sim r =
                  \tfrac14\, p(z) + \tfrac34\, q(z|x_{\mathrm{obs}})

        by self-normalised importance sampling, in the units of the data, or draws from p(x_mis | x_obs) by resampling
        with these weights, for multiple imputation (Rubin 1987; Mattei and Frellsen 2019). The part of the prior
        bounds the weights (Owen and Zhou 2000); `FewDrawsWarning` says where they leave few draws. A category is filled
        with the likeliest one, and frames hold means rounded as by `inverse_transform`. A column on a logarithmic scale
        is filled with its mean too, not its median; where codes give an infinite mean (`likelihoods.StudentT`, or a
        wide `likelihoods.Laplace`), with the mean over codes of their medians. A row with a cell that its likelihood
        excludes, which no code explains, is filled with all codes weighing the same. A model without density fills with
        what it reconstructs, and cannot draw.

        Parameters
        ----------
        X : array, tensor, data frame, data set, or path
            Rows; a model that was fitted to complete ones takes no missing cells, unless its likelihood is
            `likelihoods.Incomplete`.
        n_draws : int, default=None
            Number of draws; None gives the conditional mean.
        n_samples : int, default=100
            K, codes for each row.
        y : array of shape (n,) or (n, C), default=None
            For a conditional model, what the rows are conditioned on.
        random_state : int, numpy generator or None, default=0
            Seed of the codes and the draws; None takes a fresh one.

        Returns
        -------
        object
            As X: an array, with the columns of the fit in its order, or a frame with its own. With ``n_draws`` an array
            (n_draws, n, ...), or for a table of mixed columns a list of frames.
        """
        check_is_fitted(self)
        source = open_as_fitted(self, self.state_, X)
        rows, given = self._rows(source, y)
        if isinstance(rows, LazyRows):
            raise _lazy(rows)
        check_count("n_samples", n_samples)
        if n_draws is not None:
            check_count("n_draws", n_draws)
            require_score(self.state_, type(self).__name__)
        draws, effective = self._filled(rows, given, n_draws, n_samples, read_seed(random_state))
        warn_of_few(effective, n_samples)
        if self.table_ is not None and not self._as_numbers and not isinstance(X, np.ndarray):
            table = self.table_
            frames = [frame_of(table, table.within(draw), X, given=source.cells) for draw in draws]
            return frames[0] if n_draws is None else frames
        draws = draws.reshape(-1, len(rows), *self.event_shape_)
        return as_given(X, draws[0], self.data_schema_.names) if n_draws is None else draws

    def _filled(
        self, rows: FloatArray, given: FloatArray | None, n_draws: int | None, n_samples: int, seed: int
    ) -> tuple[FloatArray, FloatArray]:
        """Return copies of rows with their missing cells filled, (1 or n_draws, n, P), and draws they rest on."""
        missing = np.isnan(rows) if rows.dtype.kind == "f" else np.zeros(rows.shape, dtype=bool)
        some = missing.any(1)
        result = np.repeat(rows[None], n_draws or 1, 0)
        if not some.any():
            return result, np.empty(0)
        k, noise = n_samples if self.has_score_ else 0, Generated(generator_for(seed, self.device_))
        cells = self._map(
            rows[some],
            functools.partial(filled, n_draws=n_draws, k=k, noise=noise, seed=seed),
            samples=n_samples * (self.model_.sizes.condition if self.model_.sizes.some_labels else 1),
            given=None if given is None else given[some],
        )
        made = self._within(cells[..., :-1].swapaxes(0, 1))
        result[:, some] = np.where(missing[some], made, result[:, some])
        return result, cells[:, 0, -1]


def _lazy(rows: LazyRows) -> DataError:
    """Return the error for rows that are not all made dense."""
    if rows.source.is_sparse:
        return DataError("a sparse matrix has no missing cells (what it leaves out is 0); give an array with NaN")
    return DataError(
        f"{rows.source.name} is read block by block: impute some of its rows at a time, or with the command"
    )
