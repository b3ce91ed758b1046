"""What `VAE` and `Autoencoder` share: fitting, and everything that a fitted model can do."""

from __future__ import annotations

import contextlib
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
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.graph import Edges, Metric, neighbor_graph
from latentmap.data.sampling import Rows, split_rows
from latentmap.data.scaling import Scaling, ScalingKind
from latentmap.data.schema import Schema, content_hash
from latentmap.data.sources import Source, require_finite, require_values
from latentmap.data.streaming import Stream, fits, read_memory
from latentmap.estimators import choices, diagnosis
from latentmap.estimators.columns import Columns
from latentmap.estimators.conditions import Kind, Labels, condition_class
from latentmap.estimators.fitted import FittedModel, as_tensor
from latentmap.estimators.validation import FloatArray, check_settings, opened, read_rows, read_seed
from latentmap.exceptions import DataError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.ladder import compose
from latentmap.model.likelihoods import Incomplete, Likelihood
from latentmap.model.networks import Network
from latentmap.model.part import Sizes
from latentmap.model.priors import Autoregressive, Prior
from latentmap.model.scaling import Affine
from latentmap.model.trace import Level
from latentmap.objectives.base import Objective
from latentmap.objectives.neighbors import NeighborEmbedding
from latentmap.training.density import fit_density
from latentmap.training.device import Precision, resolve_device, resolve_precision, seeded
from latentmap.training.feed import Streamed
from latentmap.training.loop import Callback, Settings, Trainer
from latentmap.training.progress import ProgressBar

STATISTICS_ROWS = 20_000
"""Rows over which the codes of a fit are summarised, at the most."""


class GenerativeEstimator(FittedModel, BaseEstimator):
    """Base of the estimators. Subclasses say which parts make the model and what it is trained for."""

    condition: Kind | None = None
    ladder: Sequence[int] | None = None
    """What the model is conditioned on, and its further levels of codes, where a subclass lets one choose."""
    metric: Metric = "euclidean"
    """In which rows are near, where a subclass lets one choose."""
    _carried: dict[str, Any]
    """What `partial_fit` hands on from piece to piece, beside the model."""

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

    @abstractmethod
    def _objective(self) -> Objective:
        """Say what the model is trained for."""

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
            self._fit_stream(X, y, memory, going_on)
        else:
            rows, event = read_rows(self, X, reset=True)
            if not going_on or event != self.event_shape_:
                self._build(self._source(rows, event), _some(rows), y)
            self._train(rows, self._given(y, rows))
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
            self._build(self._source(rows, event), _some(rows), y)
        self._require_readable(rows)
        given = self._given(y, rows)
        everything = np.arange(len(rows))
        trainer = self._trainer(rows, everything, everything[:0], given, max_epochs=1, constant_rate=True)
        trainer.go_on(self.__dict__.get("_carried", {}))
        self._run(trainer, self._source(rows, event), _some(rows), _some(given))
        self._carried = trainer.carry()
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

        def codes_of(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            return model.indices(scaling(x)) if discrete else model.encode(scaling(x)).sample()

        with seeded(seed, self.device_):
            model = self.model_.with_prior(prior).to(self.device_)
            discrete = isinstance(prior, Autoregressive)
            codes = as_tensor(self._map(rows, codes_of, given=given)).to(self.device_)
            fit_density(model, codes if discrete else codes.float(), seed)
        self.model_ = model
        self.kl_per_component_ = self._rates(rows, given) if self._has_density else None
        self.choices_["prior"] = f"{prior} (fitted to the codes of {len(rows)} rows)"
        return self

    def _build(self, source: Source, some: NDArray[Any], y: Any) -> None:
        """Decide on everything that is left open, and make the model with its initial weights.

        ``some`` are rows that stand for all, flat.
        """
        event = source.schema.event_shape
        self.data_schema_ = source.schema
        if self.data_schema_.lowest is None:
            raise DataError("X holds no finite value at all: fit needs some")
        self.device_ = resolve_device(self.device)
        self.event_shape_ = event
        self.history_: list[dict[str, float | None]] = []
        self.n_iter_ = 0
        self.fit_seconds_ = 0.0
        self._carried = {}
        self.condition_ = condition_class(self.condition).learn(y, len(source)) if self.condition else None
        if isinstance(self.condition_, Labels):
            self.classes_ = self.condition_.classes
        width = self.condition_.width if self.condition_ else 0
        unlabelled = isinstance(self.condition_, Labels) and self.condition_.some
        below = tuple(self.ladder or ())
        sizes = Sizes(event, int(self.n_components), condition=width, some_labels=unlabelled, below=below)
        likelihood, scaling = self._units_and_likelihood(source)
        self.scaling_ = Affine(scaling.shift, scaling.scale, scaling.stretched).to(self.device_)
        likelihood.check_data(self.data_schema_, *self._scaled_range())
        network = choices.choose_network(likelihood.seen(sizes))
        parts = self._parts(_given(self.encoder, network), _given(self.decoder, network), likelihood)
        with seeded(self.seed_):
            self.model_ = compose(_copied(parts), sizes).to(self.device_)
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
            likelihood = self.likelihood or choices.choose_likelihood(self.data_schema_.binary, missing=missing)
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
        return Incomplete(found) if missing or self.table_.unseen == "missing" else found, scaling

    def _train(self, rows: NDArray[Any], given: FloatArray | None) -> None:
        self._require_readable(rows)
        fraction = self.validation_fraction if self.early_stopping else 0.0
        train, held_out = split_rows(len(rows), fraction, self.seed_)
        trainer = self._trainer(rows, train, held_out, given, self.max_epochs)
        self.history_ = []
        self._run(trainer, self._source(rows, self.event_shape_), _some(rows), _some(given))

    def _trainer(
        self,
        rows: NDArray[Any],
        train: Rows,
        held_out: Rows,
        given: FloatArray | None,
        max_epochs: int | None,
        *,
        constant_rate: bool = False,
    ) -> Trainer:
        kept, rows = rows[held_out], rows[train] if len(held_out) else rows
        k = 0 if constant_rate else self._neighbors(len(rows), len(train) + len(held_out))
        objective = self._objective()
        settings = self._settings(len(rows), objective, max_epochs, neighbors=k != 0, constant_rate=constant_rate)
        data, held = (as_tensor(part).to(self.device_) for part in (rows, kept))
        if rows.dtype != np.uint8:  # bytes stay bytes and are scaled batch by batch
            data, held = self.scaling_(data).float(), self.scaling_(held).float()
        scale = self.scaling_ if rows.dtype == np.uint8 else nn.Identity()
        beside: dict[str, Any] = {}
        if given is not None:
            parts = {"condition": given[train], "held_out_condition": given[held_out]}
            beside = {name: as_tensor(part).to(self.device_) for name, part in parts.items()}
        if isinstance(k, Edges):
            objective = NeighborEmbedding(objective)
            graph, held_out_graph = k.among(train, train), k.among(held_out, train)
            beside |= {"graph": graph.to(self.device_), "held_out_graph": held_out_graph.to(self.device_)}
        elif k:
            objective = NeighborEmbedding(objective)
            scaled = (part.float() if part.is_floating_point() else self.scaling_(part) for part in (data, held))
            near, queries = map(self._seen, scaled)
            beside["graph"] = neighbor_graph(near, k, self.metric)
            beside["held_out_graph"] = neighbor_graph(near, k, self.metric, queries=queries)
        return Trainer(self.model_, objective, scale, data, held, settings, **beside)

    def _fit_stream(self, source: Source, y: Any, memory: int, going_on: bool) -> None:
        """Fit to rows that do not fit in memory."""
        if self.condition is not None:
            raise PartError("a conditional model is fitted to rows in memory: leave condition=None, or raise memory=")
        name, rows = source.name, len(source)
        self.table_ = None
        held_out = self.validation_fraction if self.early_stopping else 0.0
        stream = Stream(source, held_out=held_out, seed=self.seed_, memory=memory)
        found = stream.survey
        source.__dict__ |= {"schema": found.schema, "moments": found.moments}  # measured in one pass
        event = found.schema.event_shape
        if not going_on or event != self.event_shape_:
            self.n_features_in_ = found.schema.n_features
            self._build(source, found.some, y)
        require_finite(source, missing=self.takes_missing_)
        self._require_no_neighbors(f"{name} has {rows:,} rows, more than memory= allows to keep")
        objective = self._objective()
        settings = self._settings(stream.rows, objective, self.max_epochs)
        self.choices_["memory"] = (
            f"{memory / 1e6:,.0f} MB: rows are read in blocks of {stream.block:,} "
            f"({reason('as allowed', self.memory is not None, 'a quarter of what is free')})"
        )
        as_bytes = found.some.dtype == np.uint8

        def prepare(block: Tensor) -> Tensor:
            return block if as_bytes else self.scaling_(block).float()

        feed = Streamed(stream, prepare, self.device_)
        held = prepare(as_tensor(found.held_out).to(self.device_))
        scale = self.scaling_ if as_bytes else nn.Identity()
        self.history_ = []
        self._run(Trainer(self.model_, objective, scale, feed, held, settings), source, found.some, None)

    def _require_no_neighbors(self, why: str) -> None:
        """Refuse to seek neighbours among rows that are not all at hand, if asked to."""

    def _settings(
        self,
        rows: int,
        objective: Objective,
        max_epochs: int | None,
        *,
        neighbors: bool = False,
        constant_rate: bool = False,
    ) -> Settings:
        """Decide how to train on so many rows."""
        batch_size = _given(self.batch_size, choices.choose_batch_size(rows, neighbors=neighbors))
        epochs = _given(max_epochs, choices.choose_epochs(rows, batch_size))
        if max_epochs is None and self.time_budget is not None:
            epochs = 10**6  # the budget alone ends the fit
        rate = _given(self.learning_rate, choices.choose_learning_rate(batch_size, objective.pace))
        steps = epochs * max(1, rows // batch_size)
        pays = choices.choose_compile(self.model_, batch_size, steps, self.time_budget)
        evaluations = max(1, steps // max(20, steps // epochs))
        settings = Settings(
            max_epochs=epochs,
            batch_size=batch_size,
            learning_rate=rate,
            seed=self.seed_ + self.n_iter_,  # a fit that goes on sees other noise, in another order
            patience=max(10, evaluations // 4) if self.early_stopping else None,
            time_budget=self.time_budget,
            dtype=resolve_precision(self.precision, self.device_),
            compile=(pays if self.compile == "auto" else bool(self.compile)) and not constant_rate,
            constant_rate=constant_rate,
            callbacks=tuple(self.callbacks or ()),
        )
        self.choices_ |= {
            "batch_size": reason(batch_size, self.batch_size is not None, f"{rows} rows"),
            "max_epochs": reason(epochs, self.max_epochs is not None, f"{rows} rows"),
            "learning_rate": reason(f"{rate:.3g}", self.learning_rate is not None, f"batches of {batch_size}"),
            "precision": f"{str(settings.dtype).removeprefix('torch.')} on {self.device_}",
            "compile": reason(settings.compile, self.compile != "auto", f"{steps} steps"),
        }
        return settings

    def _neighbors(self, rows: int, total: int) -> int | Edges:
        """Say how many neighbours of each row the map is to keep near it, 0 for none; or which, of all rows given."""
        return 0

    def _run(self, trainer: Trainer, source: Source, some: NDArray[Any], given: FloatArray | None) -> None:
        """Train, then measure what was learned on some rows and what those are conditioned on."""
        with contextlib.ExitStack() as stack:
            if self.verbose:
                trainer.callbacks.append(stack.enter_context(ProgressBar()))
            history = trainer.run()
        self.history_ = [*self.history_, *history]
        self.n_iter_ += trainer.epoch
        self.fit_seconds_ += trainer.seconds
        self.interrupted_ = trainer.interrupted
        self._summarise(source, some, given, trainer.skipped)

    def _summarise(self, source: Source, some: NDArray[Any], given: FloatArray | None, skipped: int) -> None:
        means = torch.from_numpy(self._encode(some, given)[0])
        if self.model_.parts.prior.ex_post:
            fit_density(self.model_, means.to(self.device_), self.seed_)
        self.code_mean_ = means.mean(0).numpy()
        self.code_variance_ = means.var(0, correction=0).numpy()
        self.kl_per_component_ = self._rates(some, given) if self._has_density else None
        unit = 1.0 if self._has_density else float(self.code_variance_.mean())  # codes of an autoencoder have any scale
        self.active_components_ = np.asarray(self.code_variance_ > diagnosis.ACTIVE * unit)
        self.loss_ = best["loss"] if (best := diagnosis.best_row(self.history_)) else None
        self.data_fingerprint_ = content_hash(source, source.schema)
        self.findings_ = diagnosis.diagnose(
            diagnosis.Facts(
                history=self.history_,
                active=self.active_components_,
                rate=None if self.kl_per_component_ is None else float(self.kl_per_component_.sum()),
                likelihood=self.model_.parts.likelihood,
                schema=self.data_schema_,
                constant_features=int((np.fmin.reduce(some) == np.fmax.reduce(some)).sum()),
                skipped=skipped,
            )
        )

    def _source(self, rows: NDArray[Any], event: tuple[int, ...]) -> ArraySource:
        names = getattr(self, "feature_names_in_", None)
        return ArraySource(rows.reshape(-1, *event), names=None if names is None else names.tolist())

    def _rates(self, rows: NDArray[Any], given: FloatArray | None) -> FloatArray | None:
        """Mean KL of each component, or None where posterior or prior do not factorise."""

        def rate(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            q = model.encode(scaling(x))
            return Level(q.mean[None], q, model.prior()).rate_per_component

        try:
            rates: FloatArray = self._map(rows, rate, given=given).mean(0)
        except PartError:
            return None
        return rates

    def _complete(self, x: Tensor) -> Tensor:
        """Put something in the place of missing cells, for what needs whole rows."""
        return self.model_.parts.likelihood.complete(self.model_.likelihood_state, x)

    def _seen(self, x: Tensor) -> Tensor:
        """Give rows as the encoder sees them, between which distances make sense."""
        with torch.no_grad():
            seen: Tensor = self.model_.parts.likelihood.for_encoder(self.model_.likelihood_state, x)
            return seen

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
        return tags


def _columns_in_words(table: Table) -> str:
    """Say of which kinds the columns are, and what was left out."""
    kinds = {kind: [c.name for c in table.columns if c.kind == kind] for kind in get_args(ColumnKind)}
    text = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
    return f"one a column ({text}{'; ' + table.remark if table.remark else ''})"


def _some(rows: NDArray[Any] | None) -> Any:
    """Take at most about `STATISTICS_ROWS` rows, evenly spaced."""
    return None if rows is None else rows[:: max(1, len(rows) // STATISTICS_ROWS)]


def _described(schema: Schema) -> str:
    missing = f", {schema.missing} of them missing" if schema.missing else ""
    return f"{schema.kind} values{missing}"


def _copied(parts: Parts) -> Parts:
    """Copy the user's own modules, so that a fit leaves what it was given as it was."""
    return replace(parts, encoder=copy.deepcopy(parts.encoder), decoder=copy.deepcopy(parts.decoder))


def _given(value: Any, otherwise: Any) -> Any:
    """Take what was given, be it 0 or an empty module, which are false."""
    return otherwise if value is None else value


def reason(value: object, given: object, basis: str) -> str:
    """Say what was chosen, and why."""
    text = type(value).__name__ if isinstance(value, nn.Module) else str(value)
    return f"{text} ({'given' if given else f'chosen for {basis}'})"
