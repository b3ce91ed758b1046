"""What `VAE` and `Autoencoder` share: fitting, and everything that a fitted model can do."""

from __future__ import annotations

import copy
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal, Self, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from torch import Tensor, nn

from latentmap.data.columns import ColumnKind, Table
from latentmap.data.graph import Components, Metric
from latentmap.data.scaling import Scaling, ScalingKind
from latentmap.data.schema import Schema, content_hash
from latentmap.data.sources import Source, require_finite, require_values
from latentmap.data.streaming import fits, read_memory
from latentmap.estimators import choices, diagnosis
from latentmap.estimators.choices import given_or, reason
from latentmap.estimators.columns import Columns
from latentmap.estimators.conditions import Kind, Labels, condition_class
from latentmap.estimators.fitting import FittingModel, some_of
from latentmap.estimators.passes import as_tensor
from latentmap.estimators.validation import check_settings, opened, read_rows, read_seed
from latentmap.exceptions import DataError, PartError
from latentmap.model.autoencoder import Parts
from latentmap.model.ladder import compose
from latentmap.model.likelihoods import Incomplete, Likelihood
from latentmap.model.networks import Network
from latentmap.model.noise import drawing_from, generator_for
from latentmap.model.part import Sizes
from latentmap.model.priors import Autoregressive, Prior
from latentmap.model.scaling import Affine
from latentmap.training.density import fit_density
from latentmap.training.device import Precision, resolve_device
from latentmap.training.loop import Callback


class GenerativeEstimator(FittingModel, BaseEstimator):
    """Base of the estimators. Subclasses say which parts make the model and what it is trained for."""

    condition: Kind | None = None
    ladder: Sequence[int] | None = None
    """What the model is conditioned on, and its further levels of codes, where a subclass lets one choose."""
    metric: Metric = "euclidean"
    neighbor_components: Components = "auto"
    supervised: float = 0.0
    init: Literal["pca", "random"] = "pca"
    """By what rows are near, what draws a map together, and where it starts, where a subclass lets one choose."""
    _trainer_state: dict[str, Any]
    """State of the optimizers and the objective, for the next `partial_fit`."""

    def __init__(
        self,
        n_components: int = 2,
        *,
        encoder: Network | nn.Module | None = None,
        decoder: Network | nn.Module | None = None,
        likelihood: Likelihood | None = None,
        columns: Columns | None = None,
        scaling: ScalingKind | Literal["auto"] = "auto",
        max_epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        early_stopping: bool = True,
        validation_fraction: float = 0.1,
        time_budget: float | None = None,
        memory: str | int | None = None,
        device: str = "auto",
        precision: Precision = "auto",
        compile: bool | str = "auto",
        warm_start: bool = False,
        random_state: Any = None,
        callbacks: Sequence[Callback] | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_components = n_components
        self.encoder = encoder
        self.decoder = decoder
        self.likelihood = likelihood
        self.columns = columns
        self.scaling = scaling
        self.max_epochs = max_epochs
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.time_budget = time_budget
        self.memory = memory
        self.device = device
        self.precision = precision
        self.compile = compile
        self.warm_start = warm_start
        self.random_state = random_state
        self.callbacks = callbacks
        self.verbose = verbose

    @abstractmethod
    def _parts(self, encoder: Network | nn.Module, decoder: Network | nn.Module, likelihood: Likelihood) -> Parts:
        """Compose the model's parts from the network and likelihood that were given or chosen."""

    def fit(self, X: Any, y: Any = None) -> Self:
        """Learn the model from rows of data.

        Parameters
        ----------
        X
            Array, tensor or data frame (n, P), or images (n, height, width[, channels]); numbers, NaN where missing.
        y
            What each row is conditioned on, where the model takes it; else ignored, there for scikit-learn's pipelines.
        """
        check_settings(self)
        X = opened(X, self.columns)
        going_on = self.warm_start and hasattr(self, "model_")
        self.seed_ = self.seed_ if going_on else read_seed(self.random_state)
        if isinstance(X, Source) and not fits(X, memory := read_memory(self.memory)):
            self._fit_source(X, y, memory, going_on)
        else:
            rows, event = read_rows(self, X, reset=True)
            if not going_on or event != self.event_shape_:
                self._build(self._source(rows, event), some_of(rows), y, neighbors=self._wants_neighbors(len(rows)))
            elif self.table_ is None:
                self._require_readable(rows)
                self._require_inside(rows, self._given(y, rows))
            self._train(rows, self._given(y, rows), self._classes(y, len(rows)))
        diagnosis.warn(self.findings_)
        return self

    def partial_fit(self, X: Any, y: Any = None) -> Self:
        """Go over these rows once, from the present weights and at a constant learning rate.

        The first call decides on scaling, likelihood, network and classes from the rows it sees.
        """
        check_settings(self)
        first = not hasattr(self, "model_")
        rows, event = read_rows(self, X, reset=first)
        if first:
            self.seed_ = read_seed(self.random_state)
            self._build(self._source(rows, event), some_of(rows), y)
        self._require_readable(rows)
        given = self._given(y, rows)
        if not first:
            self._require_inside(rows, given)
        everything = np.arange(len(rows))
        resident = self._fits_device(rows)
        none = everything[:0]
        trainer = self._trainer(rows, everything, none, given, max_epochs=1, resident=resident, constant_rate=True)
        source = self._source(rows, event)
        self.data_fingerprint_ = content_hash(source, source.schema)
        trainer.load_state_dict(self.__dict__.get("_trainer_state", {}), strict=False)
        self._run(trainer, source, some_of(rows), some_of(given))
        state = trainer.state_dict()
        self._trainer_state = {name: state[name] for name in ("objective", "optimizers")}
        diagnosis.warn(self.findings_)
        return self

    def fit_prior(self, X: Any, prior: Prior, *, y: Any = None, random_state: Any = None) -> Self:
        """Fit a prior to the codes of rows, and let the model draw and score with it from now on.

        Codes rarely lie as the prior of a model expects them, and those of an autoencoder have none; a density that is
        fitted to them afterwards gives better samples (Ghosh et al. 2020). Encoder and decoder stay as they are. It is
        fitted to one draw of q(z|x) for each row, and saved with the model; `fit` starts again with the one before.

        Parameters
        ----------
        X
            Rows, as a rule those of the fit.
        prior
            ``priors.Mixture(10)``, ``Flow()``, ``TwoStage()`` or ``FittedNormal()``; ``Autoregressive()`` for
            quantised codes.
        y
            For a conditional model, what the rows are conditioned on; the prior does not depend on it.
        random_state
            Seed; None takes a fresh one.

        Raises
        ------
        PartError
            If the model cannot have this prior; it then keeps the one that it has.
        """
        if not isinstance(prior, Prior):
            raise PartError(f"prior must be a part of latentmap.priors, such as Mixture(10), got {prior!r}")
        rows, given = self._rows(X, y)
        seed = read_seed(random_state)

        with drawing_from(generator_for(seed)):
            model = self.model_.with_prior(prior).to(self.device_)
        fit_density(model, self._codes_of(rows, given, seed, discrete=isinstance(prior, Autoregressive)), seed)
        self.model_ = model
        self.kl_per_component_ = self._rates(rows, given) if self._has_density else None
        self.choices_["prior"] = f"{prior} (fitted to the codes of {len(rows)} rows)"
        return self

    def _build(self, source: Source, some: NDArray[Any], y: Any, *, neighbors: bool = False) -> None:
        """Decide on everything that is left open, and make the model with its initial weights.

        ``some`` are rows that stand for all, flat; ``neighbors`` says whether the model is to keep them near.
        """
        event = source.schema.event_shape
        self.data_schema_ = source.schema
        self._found = None
        if self.data_schema_.lowest is None:
            raise DataError("X holds no finite value at all: fit needs some")
        self.device_ = resolve_device(self.device)
        self.event_shape_ = event
        self.history_: list[dict[str, float | None]] = []
        self.n_iter_ = 0
        self.fit_seconds_ = 0.0
        self._trainer_state = {}
        self.condition_ = condition_class(self.condition).learn(y, len(source)) if self.condition else None
        if isinstance(self.condition_, Labels):
            self.classes_ = self.condition_.classes
        width = self.condition_.width if self.condition_ else 0
        unlabelled = isinstance(self.condition_, Labels) and self.condition_.some
        below = tuple(self.ladder or ())
        sizes = Sizes(event, int(self.n_components), condition=width, some_labels=unlabelled, below=below)
        likelihood, scaling = self._units_and_likelihood(source)
        self.scaling_ = Affine(scaling.shift, scaling.scale, scaling.stretched, scaling.whole).to(self.device_)
        likelihood.check_data(self.data_schema_, *self._scaled_range())
        encoder, decoder = choices.choose_networks(likelihood.seen(sizes), neighbors=neighbors)
        parts = self._parts(given_or(self.encoder, encoder), given_or(self.decoder, decoder), likelihood)
        self.model_ = compose(_copied(parts), sizes, generator_for(self.seed_)).to(self.device_)
        scaled = self.scaling_(as_tensor(some).to(self.device_))
        likelihood.start(self.model_.likelihood_state, scaled)
        parts.prior.start(self.model_.prior_state, self._complete(scaled))
        self.choices_ = {
            "scaling": reason(scaling.kind, self.scaling != "auto", f"{source.schema.kind} values"),
            "likelihood": reason(likelihood, self.likelihood == likelihood, _described(source.schema))
            if self.table_ is None
            else _columns_in_words(self.table_),
            "encoder": reason(parts.encoder, self.encoder is not None, f"rows of shape {event}"),
            "decoder": reason(parts.decoder, self.decoder is not None, f"rows of shape {event}"),
        }

    def _units_and_likelihood(self, source: Source) -> tuple[Likelihood, Scaling]:
        """Choose the likelihood and the scaling, a column at a time for a table of mixed columns."""
        missing = self.data_schema_.missing > 0
        if self.table_ is None:
            counts = source.tallies and self.data_schema_.kind == "count"
            likelihood = self.likelihood or choices.choose_likelihood(
                self.data_schema_.binary, missing=missing, counts=counts
            )
            if missing and not isinstance(likelihood, Incomplete):
                likelihood = Incomplete(likelihood)
            return likelihood, choices.choose_units(source, likelihood, self.scaling)
        for name in ("likelihood", "scaling"):
            if getattr(self, name) not in (None, "auto"):
                raise PartError(
                    f"a table of mixed columns has a {name} for each column, got {name}={getattr(self, name)!r} for "
                    f"all; give it as columns=Columns({{'{self.table_.names[0]}': {{'{name}': ...}}}})"
                )
        require_finite(source, missing=True)
        require_values(source)
        found, scaling = choices.choose_columns(self.table_, self.columns.likelihoods if self.columns else {})
        return Incomplete(found), scaling  # cells of a table may be missing later, whether or not some are now

    def _complete(self, x: Tensor) -> Tensor:
        """Put something in the place of missing cells, for what needs whole rows."""
        return self.model_.parts.likelihood.complete(self.model_.likelihood_state, x)

    def _scaled_range(self) -> tuple[float, float]:
        """Range of the values in the model's units; exact where one scale serves all features."""
        low, high = self.data_schema_.lowest, self.data_schema_.highest
        assert low is not None and high is not None
        ends = torch.tensor([[low], [high]], dtype=torch.float64, device=self.device_)
        ends = self.scaling_(ends.expand(2, self.n_features_in_))
        return float(ends[0].min()), float(ends[1].max())

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.allow_nan = True
        tags.input_tags.sparse = True
        return tags


def _columns_in_words(table: Table) -> str:
    """Say of which kinds the columns are, and what was left out."""
    kinds = {kind: [c.name for c in table.columns if c.kind == kind] for kind in get_args(ColumnKind)}
    text = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
    return f"one a column ({text}{'; ' + table.remark if table.remark else ''})"


def _described(schema: Schema) -> str:
    missing = f", {schema.missing} of them missing" if schema.missing else ""
    return f"{schema.kind} values{missing}"


def _copied(parts: Parts) -> Parts:
    """Copy the user's own modules, so that a fit leaves what it was given as it was."""
    return replace(parts, encoder=copy.deepcopy(parts.encoder), decoder=copy.deepcopy(parts.decoder))
