"""How a model is fitted: what is held out, where batches come from, how to train, and what is measured afterwards."""

from __future__ import annotations

import contextlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from latentmap.data.formats.arrays import ArraySource
from latentmap.data.graph import Components, Edges, Metric, comparable, neighbor_graph, projection, with_classes
from latentmap.data.sampling import Rows, split_rows
from latentmap.data.schema import Schema, content_hash
from latentmap.data.sources import Source, require_finite
from latentmap.data.streaming import MOST_HELD_OUT, LazyRows, Stream
from latentmap.estimators import choices, diagnosis
from latentmap.estimators.choices import given_or, reason
from latentmap.estimators.conditions import Kind
from latentmap.estimators.fitted import FittedModel
from latentmap.estimators.history import best_row
from latentmap.estimators.passes import as_tensor
from latentmap.estimators.units import gain_of
from latentmap.estimators.validation import FloatArray
from latentmap.exceptions import PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.distributions import draw
from latentmap.model.layout import start_at_components
from latentmap.model.noise import Generated, generator_for
from latentmap.model.scaling import Affine
from latentmap.model.trace import Level
from latentmap.objectives.base import Objective
from latentmap.objectives.neighbors import NeighborEmbedding, compared
from latentmap.training.density import fit_density
from latentmap.training.device import Precision, operations, resolve_precision
from latentmap.training.feed import Feed, Gathered, Resident, Streamed, fits_device, free_bytes
from latentmap.training.loop import Callback, Settings, Trainer
from latentmap.training.metrics import HELD_OUT
from latentmap.training.progress import ProgressBar

STATISTICS_ROWS = 20_000
"""Rows over which the codes of a fit are summarised, at the most."""
POINTS = 2**22
"""Values that are brought to principal components at a time."""


class FittingModel(FittedModel):
    """The steps of `fit`, from rows and a model with its initial weights to what is known of the fitted one."""

    if TYPE_CHECKING:
        early_stopping: bool
        validation_fraction: float
        max_epochs: int | None
        batch_size: int | None
        learning_rate: float | None
        time_budget: float | None
        precision: Precision
        compile: bool | str
        callbacks: Sequence[Callback] | None
        verbose: int
        condition: Kind | None
        supervised: float
        init: str
        metric: Metric
        neighbor_components: Components
        data_schema_: Schema
        choices_: dict[str, str]
        history_: list[dict[str, float | None]]
        n_iter_: int
        fit_seconds_: float
        data_fingerprint_: str

    _found: tuple[str, dict[str, Tensor]] | None = None
    """The neighbours that were found for the rows of the fit, and for which rows and settings they are."""

    @abstractmethod
    def _build(self, source: Source, some: NDArray[Any], y: Any, *, neighbors: bool = False) -> None:
        """Decide on everything that is left open, and make the model with its initial weights."""

    @abstractmethod
    def _objective(self) -> Objective:
        """Say what the model is trained for."""

    def _train(self, rows: NDArray[Any], given: FloatArray | None, classes: NDArray[np.int64] | None) -> None:
        self._require_readable(rows)
        fraction = self.validation_fraction if self.early_stopping else 0.0
        resident = self._fits_device(rows)
        most = None if resident else MOST_HELD_OUT
        train, held_out = split_rows(len(rows), fraction, self.seed_, most)
        source = self._source(rows, self.event_shape_)
        self.data_fingerprint_ = content_hash(source, source.schema)
        trainer = self._trainer(rows, train, held_out, given, self.max_epochs, classes, resident=resident)
        self.history_ = []
        self._run(trainer, source, some_of(rows), some_of(given))

    def _trainer(
        self,
        rows: NDArray[Any],
        train: Rows,
        held_out: Rows,
        given: FloatArray | None,
        max_epochs: int | None,
        classes: NDArray[np.int64] | None = None,
        *,
        resident: bool,
        constant_rate: bool = False,
    ) -> Trainer:
        k = 0 if constant_rate else self._neighbors(len(train), len(rows))
        objective = self._map_objective() if k else self._objective()
        settings = self._settings(len(train), objective, max_epochs, neighbors=k != 0, constant_rate=constant_rate)
        scale = self.scaling_ if rows.dtype == np.uint8 else nn.Identity()
        held, gain = self._placed(rows[held_out]), gain_of(self.model_, self.scaling_)
        if not resident:
            source = self._source(rows, self.event_shape_)
            feed, beside = self._gathered(source, train, held_out, rows[some_of(train)], k, given, classes)
            self.choices_["memory"] = "rows stay in memory, brought to the device batch by batch"
            return Trainer(self.model_, objective, scale, feed, held, settings, gain=gain, **beside)
        data = self._placed(rows[train] if len(held_out) else rows)
        beside = {}
        if given is not None:
            parts = {"condition": given[train], "held_out_condition": given[held_out]}
            beside = {name: as_tensor(part).to(self.device_) for name, part in parts.items()}

        def points() -> tuple[Tensor, Tensor]:
            return self._points(self._source(rows, self.event_shape_), rows[some_of(train)], train, held_out)

        beside |= self._graphs(k, train, held_out, points, classes)
        if k:
            self._start_map(as_tensor(rows[some_of(train)]))
        return Trainer(self.model_, objective, scale, data, held, settings, gain=gain, **beside)

    def _fits_device(self, rows: NDArray[Any]) -> bool:
        """Whether all rows can be kept on the device, bytes as bytes and others in single precision."""
        return fits_device(rows.size * (1 if rows.dtype == np.uint8 else 4), free_bytes(self.device_))

    def _placed(self, rows: NDArray[Any]) -> Tensor:
        """Bring rows to the device in the model's units, piece by piece; bytes stay bytes until they are in a batch."""
        if rows.dtype == np.uint8:
            return as_tensor(rows).to(self.device_)
        placed = torch.empty(rows.shape, device=self.device_)
        size = POINTS // rows.shape[1] + 1
        for there, piece in zip(placed.split(size), as_tensor(rows).split(size), strict=True):
            there.copy_(self.scaling_(piece.to(self.device_)))
        return placed

    def _fit_source(self, source: Source, y: Any, memory: int, going_on: bool) -> None:
        """Fit to rows that are not all made dense: a sparse matrix in memory, or what does not fit there."""
        if self.condition is not None and not source.stays_sparse:
            raise PartError("a conditional model is fitted to rows in memory: leave condition=None, or raise memory=")
        fraction = self.validation_fraction if self.early_stopping else 0.0
        stream = Stream(source, held_out=fraction, seed=self.seed_, memory=memory)
        found = stream.survey
        source.__dict__ |= {"schema": found.schema, "moments": found.moments}  # measured in one pass
        event = found.schema.event_shape
        if not going_on or event != self.event_shape_:
            self._take_columns(source, found.schema.n_features)
            wanted = source.stays_sparse and self._wants_neighbors(len(source))
            self._build(source, found.some, y, neighbors=wanted)
        require_finite(source, missing=self.takes_missing_)
        self.data_fingerprint_ = content_hash(source, source.schema)
        given = None if self.condition_ is None else self.condition_.read(y, len(source))
        feed: Feed
        beside: dict[str, Any] = {}
        if source.stays_sparse:
            n, classes = len(source), self._classes(y, len(source))
            train = np.delete(np.arange(n), stream.held_out)
            some = found.some[~np.isin(np.arange(0, n, found.every), stream.held_out)]
            k = self._neighbors(len(train), n)
            feed, beside = self._gathered(source, train, stream.held_out, some_of(some), k, given, classes)
            self.choices_["memory"] = "a sparse matrix, made dense batch by batch"
        else:
            self._require_no_neighbors(f"{source.name} has {len(source):,} rows, more than memory= allows to keep")
            feed = Streamed(stream, self._prepare(found.some.dtype), self.device_)
            self.choices_["memory"] = (
                f"{memory / 1e6:,.0f} MB: rows are read in blocks of {stream.block:,} "
                f"({reason('as allowed', self.memory is not None, 'a quarter of what is free')})"
            )
        near = "held_out_graph" in beside
        objective = self._map_objective() if near else self._objective()
        settings = self._settings(stream.rows, objective, self.max_epochs, neighbors=near)
        held = self._prepare(found.some.dtype)(as_tensor(found.held_out).to(self.device_))
        scale = self.scaling_ if found.some.dtype == np.uint8 else nn.Identity()
        self.history_, gain = [], gain_of(self.model_, self.scaling_)
        trainer = Trainer(self.model_, objective, scale, feed, held, settings, gain=gain, **beside)
        self._run(trainer, source, found.some, None if given is None else given[:: found.every])

    def _take_columns(self, source: Source, features: int) -> None:
        """Remember the columns of a source that a fit begins with."""
        self.table_, self.n_features_in_ = source.table, features
        if source.table is not None:
            self.feature_names_in_ = np.array(source.table.names, dtype=object)

    def _prepare(self, dtype: np.dtype[Any]) -> Callable[[Tensor], Tensor]:
        """Say what is done to rows when they have come to the device: bytes stay bytes until they are in a batch."""
        return (lambda block: block) if dtype == np.uint8 else lambda block: self.scaling_(block).float()

    def _gathered(
        self,
        source: Source,
        train: Rows,
        held_out: Rows,
        some: NDArray[Any],
        k: int | Edges,
        given: FloatArray | None,
        classes: NDArray[np.int64] | None,
    ) -> tuple[Feed, dict[str, Any]]:
        """Give training rows that come batch by batch, like ``some``, and what a trainer needs of the held-out ones."""

        def points() -> tuple[Tensor, Tensor]:
            return self._points(source, some, train, held_out)

        beside = self._graphs(k, train, held_out, points, classes)
        if k:
            self._start_map(as_tensor(some))
        condition = None
        if given is not None:
            condition = as_tensor(given[train]).to(self.device_)
            beside["held_out_condition"] = as_tensor(given[held_out]).to(self.device_)
        rows = Gathered(source, train, self._prepare(some.dtype), self.device_)
        return Resident(rows, beside.pop("graph", None), condition), beside

    def _graphs(
        self,
        k: int | Edges,
        train: Rows,
        held_out: Rows,
        points: Callable[[], tuple[Tensor, Tensor]],
        classes: NDArray[np.int64] | None,
    ) -> dict[str, Any]:
        """Give the neighbours of training and held-out rows among the first, for a map that keeps such.

        They are those of a given graph, or found among ``points``, or of an earlier fit to the same rows; rows of the
        same class take the place of some where the map is supervised.
        """
        if classes is not None and not k:
            raise PartError("supervised= draws neighbours from a row's class: leave neighbors='auto' for 2 components")
        if not k:
            return {}
        if isinstance(k, Edges):
            graphs = {"graph": k.among(train, train), "held_out_graph": k.among(held_out, train)}
        else:
            graphs = self._nearest(k, points)
        if classes is not None:
            share = float(self.supervised)
            for name, rows in (("graph", train), ("held_out_graph", held_out)):
                graphs[name] = with_classes(graphs[name], classes[rows], classes[train], share, self.seed_)
        return {name: graph.to(self.device_) for name, graph in graphs.items()}

    def _nearest(self, k: int, points: Callable[[], tuple[Tensor, Tensor]]) -> dict[str, Tensor]:
        """Find neighbours of training and held-out rows among the first, or take those of an earlier fit to them."""
        key = f"{self.data_fingerprint_} {self.seed_} {k} {self.metric} {self.neighbor_components}"
        if self._found is None or self._found[0] != key:
            near, queries = points()
            graph, held_out_graph = neighbor_graph(near, k), neighbor_graph(near, k, queries=queries)
            self._found = key, {"graph": graph.int().cpu(), "held_out_graph": held_out_graph.int().cpu()}
        return {name: graph.long() for name, graph in self._found[1].items()}

    def _start_map(self, rows: Tensor) -> None:
        """Let a map start at principal components, but for one that goes on."""
        if self.n_iter_ == 0 and self.init == "pca":
            start_at_components(self.model_, self.scaling_(rows.to(self.device_)).float())

    def _points(self, source: Source, some: NDArray[Any], train: Rows, held_out: Rows) -> tuple[Tensor, Tensor]:
        """Give training and held-out rows such that their Euclidean distances tell what is near.

        They are made in double precision from the rows as they came, in the principal components of some of them.
        """
        shown = self._compared(some)
        project = projection(shown, self.neighbor_components)
        rows = LazyRows(source, self.n_features_in_, missing=self.takes_missing_)
        pieces = rows.pieces(POINTS // rows.shape[1] + 1)
        every = torch.cat([project(self._compared(block)) for _, block in pieces])
        searched = "all columns" if every.shape[1] == shown.shape[1] else f"{every.shape[1]} principal components"
        asked = self.neighbor_components != "auto"
        self.choices_["neighbor_components"] = reason(searched, asked, f"{self.n_features_in_} columns")
        near, queries = (every[torch.from_numpy(places).to(self.device_)] for places in (train, held_out))
        return near, queries

    def _map_objective(self) -> Objective:
        return NeighborEmbedding(self._objective(), metric=self.metric, units=self._compared_units())

    def _compared_units(self) -> Affine | None:
        """Give the units to undo where rows are compared as they came; a table of mixed columns has no such numbers."""
        return self.scaling_ if self.table_ is None else None

    def _compared(self, block: NDArray[Any]) -> Tensor:
        """Give rows such that their Euclidean distances tell what is near, in double precision but for bytes."""
        x, units = as_tensor(block).to(self.device_), self._compared_units()
        with torch.no_grad():
            scaled = self.scaling_(x.double() if x.is_floating_point() else x)
            if self.metric != "cosine" or units is None:
                return compared(self.model_, scaled, self.metric, units)
            came = x.double() if x.is_floating_point() else x.float()  # what undoes the units would lose short rows
            if came.isnan().any():
                came = torch.where(came.isnan(), units.inverse(self.model_.complete(scaled)), came)
            return comparable(came, self.metric)

    def _classes(self, y: Any, rows: int) -> NDArray[np.int64] | None:
        """Give the class of each row, -1 where it is missing, for a map that is supervised."""
        return None

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
        batch_size = given_or(self.batch_size, choices.choose_batch_size(rows, neighbors=neighbors))
        epochs = given_or(max_epochs, choices.choose_epochs(rows, batch_size, neighbors=neighbors))
        if max_epochs is None and self.time_budget is not None:
            epochs = 10**6  # the budget alone ends the fit
        rate = given_or(self.learning_rate, choices.choose_learning_rate(batch_size, objective.pace))
        steps = epochs * max(1, rows // batch_size)
        work = operations(self.model_, batch_size)
        pays = choices.choose_compile(self.model_, batch_size, steps, self.time_budget)
        alike = neighbors or constant_rate or objective.adversarial  # all layers have the same rate
        evaluations = max(1, steps // max(20, steps // epochs))
        settings = Settings(
            max_epochs=epochs,
            batch_size=batch_size,
            learning_rate=rate,
            seed=self.seed_ + self.n_iter_,  # a fit that goes on sees other noise, in another order
            patience=max(10, evaluations // 4) if self.early_stopping else None,
            time_budget=self.time_budget,
            dtype=resolve_precision(self.precision, self.device_, work),
            compile=(pays if self.compile == "auto" else bool(self.compile)) and not constant_rate,
            capture=bool(self.compile) and not constant_rate,
            constant_rate=constant_rate,
            largest_lr_multiplier=None if alike else choices.choose_largest_lr_multiplier(epochs),
            callbacks=tuple(self.callbacks or ()),
        )
        shared = "" if alike else ", layers by their inputs"
        self.choices_ |= {
            "batch_size": reason(batch_size, self.batch_size is not None, f"{rows} rows"),
            "max_epochs": reason(epochs, self.max_epochs is not None, f"{rows} rows"),
            "learning_rate": reason(f"{rate:.3g}", self.learning_rate is not None, f"batches of {batch_size}{shared}"),
            "precision": reason(
                f"{str(settings.dtype).removeprefix('torch.')} on {self.device_}",
                self.precision != "auto",
                f"{work:.0e} operations a step",
            ),
            "compile": reason(settings.compile, self.compile != "auto", f"{steps} steps"),
        }
        if settings.capture and self.device_.type == "cuda":
            self.choices_["steps"] = "recorded as a CUDA graph (compile=False takes them one by one)"
        return settings

    def _wants_neighbors(self, rows: int) -> bool:
        """Whether a fit to so many rows is to keep neighbours near."""
        return False

    def _neighbors(self, rows: int, total: int) -> int | Edges:
        """Say how many neighbours of each row the map is to keep near it, 0 for none; or which, of all rows given."""
        return 0

    def _run(self, trainer: Trainer, source: Source, some: NDArray[Any], given: FloatArray | None) -> None:
        """Train, then measure what was learned on some rows and what those are conditioned on."""
        with contextlib.ExitStack() as stack:
            if self.verbose:
                trainer.callbacks.append(stack.enter_context(ProgressBar()))
            history = trainer.run()
        earlier = self.history_ if self.history_units_ == "data" else []
        self.history_, self.history_units_ = [*earlier, *history], "data"
        self.n_iter_ += trainer.epoch
        self.fit_seconds_ += trainer.seconds
        self.interrupted_ = trainer.interrupted
        self._summarise(some, given, trainer)

    def _summarise(self, some: NDArray[Any], given: FloatArray | None, trainer: Trainer) -> None:
        means = torch.from_numpy(self._encode(some, given)[0])
        if self.model_.parts.prior.ex_post:
            fit_density(self.model_, self._codes_of(some, given, self.seed_), self.seed_)
        self.code_mean_ = means.mean(0).numpy()
        self.code_variance_ = means.var(0, correction=0).numpy()
        self.kl_per_component_ = self._rates(some, given) if self._has_density else None
        unit = 1.0 if self._has_density else float(self.code_variance_.mean())  # codes of an autoencoder have any scale
        self.active_components_ = np.asarray(self.code_variance_ > diagnosis.ACTIVE * unit)
        self.loss_ = best["loss"] if (best := best_row(self.history_)) else None
        self.findings_ = diagnosis.diagnose(
            diagnosis.Facts(
                history=self.history_,
                active=self.active_components_,
                rate=None if self.kl_per_component_ is None else float(self.kl_per_component_.sum()),
                likelihood=self.model_.parts.likelihood,
                schema=self.data_schema_,
                constant_features=int((np.fmin.reduce(some) == np.fmax.reduce(some)).sum()),
                skipped=trainer.skipped,
                shift=trainer.metrics.gained[HELD_OUT] - trainer.metrics.gained[""],
            )
        )

    def _codes_of(self, rows: Any, given: FloatArray | None, seed: int, *, discrete: bool = False) -> Tensor:
        """Draw a code from q(z|x) for each row, for a prior to be fitted to; or give the indices of quantised ones."""
        noise = Generated(generator_for(seed, self.device_))

        def codes(model: GenerativeAutoencoder, scaling: Affine, x: Tensor) -> Tensor:
            return model.indices(scaling(x)) if discrete else draw(model.encode(scaling(x)), (), noise).float()

        return as_tensor(self._map(rows, codes, given=given)).to(self.device_)

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


def some_of(rows: Any) -> Any:
    """Take at most about `STATISTICS_ROWS` rows, evenly spaced."""
    return None if rows is None else rows[:: max(1, len(rows) // STATISTICS_ROWS)]
