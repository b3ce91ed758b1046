"""The attributes of a fitted estimator, and what its methods share."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmap.data.columns import Table
from latentmap.data.decoding import frame_of
from latentmap.data.schema import Schema
from latentmap.estimators.conditions import Condition, LabelCondition
from latentmap.estimators.diagnosis import Finding
from latentmap.estimators.history import Evaluation, Units
from latentmap.estimators.parameters import read_seed
from latentmap.estimators.rows import RowReader
from latentmap.estimators.state import FloatArray
from latentmap.exceptions import PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.noise import Generated, generator_for
from latentmap.model.priors import Prior
from latentmap.model.scaling import Affine
from latentmap.training.metrics import Row


class Fitted(RowReader):
    """Attributes of a fitted estimator: views of its ``state_``."""

    _as_numbers: bool = False
    """Whether rows of a table of mixed columns are given as numbers, not as a data frame."""
    if TYPE_CHECKING:
        n_features_in_: int
        feature_names_in_: NDArray[Any]

    @property
    def model_(self) -> GenerativeAutoencoder:
        """The fitted model, a module of torch."""
        return self.state_.model

    @property
    def scaling_(self) -> Affine:
        """The change of units between the data and the model."""
        return self.state_.scaling

    @property
    def device_(self) -> torch.device:
        """Where the model lies."""
        return self.state_.device

    @property
    def event_shape_(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.state_.event_shape

    @property
    def data_schema_(self) -> Schema:
        """What the rows of the fit hold."""
        return self.state_.data_schema

    @property
    def data_fingerprint_(self) -> str:
        """Hash of the rows of the fit (sha256, hexadecimal)."""
        return self.state_.data_fingerprint

    @property
    def table_(self) -> Table | None:
        """What the numbers of a table of mixed columns stand for; None for other data."""
        return self.state_.table

    @property
    def condition_(self) -> Condition | None:
        """How y becomes numbers, for a conditional model."""
        return self.state_.condition

    @property
    def classes_(self) -> NDArray[Any]:
        """The classes, with ``condition="labels"``."""
        if not isinstance(self.condition_, LabelCondition):
            raise AttributeError("only a model with condition='labels' has classes_")
        return self.condition_.classes

    @property
    def seed_(self) -> int:
        """Seed of the fit."""
        return self.state_.seed

    @property
    def choices_(self) -> dict[str, str]:
        """What was chosen automatically, and why."""
        return self.state_.choices

    @property
    def history_(self) -> list[Row]:
        """One row for each evaluation."""
        return self.state_.history

    @property
    def history_units_(self) -> Units:
        """Units of the history; those of the model in runs of earlier versions that cannot be converted."""
        return self.state_.history_units

    @property
    def evaluation_(self) -> Evaluation | None:
        """The row of the history whose weights were kept: loss, its parts, and the ELBO, nats a row."""
        return self.state_.evaluation

    @property
    def n_iter_(self) -> int:
        """Number of epochs."""
        return self.state_.n_iter

    @property
    def fit_seconds_(self) -> float:
        """Seconds of training."""
        return self.state_.fit_seconds

    @property
    def interrupted_(self) -> bool:
        """Whether the last fit was interrupted."""
        return self.state_.interrupted

    @property
    def loss_(self) -> float | None:
        """Training loss of the weights that were kept, nats a row."""
        return self.state_.loss

    @property
    def findings_(self) -> tuple[Finding, ...]:
        """The diagnosis of the fit, in words."""
        return self.state_.findings

    @property
    def code_mean_(self) -> FloatArray:
        """Mean of the latent codes, shape (n_components,)."""
        return self.state_.code_mean

    @property
    def code_variance_(self) -> FloatArray:
        """Variance of the latent codes, shape (n_components,)."""
        return self.state_.code_variance

    @property
    def kl_per_component_(self) -> FloatArray | None:
        """Nats that each component carries, shape (n_components,)."""
        return self.state_.kl_per_component

    @property
    def active_components_(self) -> NDArray[np.bool_]:
        """Whether the mean of each component varies over the rows, shape (n_components,)."""
        return self.state_.active_components

    @property
    def needs_y_(self) -> bool:
        """Whether rows have to come with what the model is conditioned on."""
        return self.condition_ is not None and self.given_ is None and not self.model_.sizes.some_labels

    @property
    def has_labels_(self) -> bool:
        """Whether what rows are conditioned on are labels."""
        return isinstance(self.condition_, LabelCondition)

    @property
    def takes_missing_(self) -> bool:
        """Whether rows may have missing cells, as some of those of the fit had."""
        return self.state_.takes_missing

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
        return self.state_.has_density

    @property
    def has_score_(self) -> bool:
        """Whether rows have a density, so that `score_samples` answers."""
        return self.state_.has_score

    @property
    def _n_features_out(self) -> int:
        return self.model_.sizes.latent

    def _map(
        self,
        values: NDArray[Any],
        function: Callable[[GenerativeAutoencoder, Affine, Tensor], Tensor],
        samples: int = 1,
        given: FloatArray | None = None,
    ) -> FloatArray:
        return self.state_.map(values, function, samples, given)

    def _noise(self, random_state: Any) -> Generated:
        """Return a source of random numbers on the model's device."""
        return Generated(generator_for(read_seed(random_state), self.device_))

    def _as_frame(self, rows: FloatArray, X: Any = None) -> Any:
        """Return rows of a table of mixed columns as a frame, like X if that is one; numbers where X is numbers.

        Pixels of bytes stay between 0 and 255.
        """
        if self.table_ is None:
            return self._within(rows)
        if self._as_numbers or isinstance(X, np.ndarray):
            return rows
        if not self.table_.generated:
            raise PartError("all columns of the fit are embedded text, and vectors decode to no text")
        return frame_of(self.table_, rows, X, generated=True)

    def _within(self, rows: FloatArray) -> FloatArray:
        """Return generated rows between 0 and 255, where the fit was to bytes and its likelihood has no bound."""
        bounded = np.isfinite(self.model_.parts.likelihood.support[0])
        return rows if bounded or self.state_.data_schema.dtype != "uint8" else rows.clip(0, 255)
