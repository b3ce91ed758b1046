"""The plan of a fit: every choice that parameters and data leave open, made before the model is, with its reason.

`plan` is the one place that makes them: `fit` follows it, and ``latentmap info`` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import get_args

import numpy as np
from torch import nn

from latentmap.data.columns import ColumnKind, Table
from latentmap.data.sampling import count_held_out
from latentmap.data.scaling import Scaling
from latentmap.data.schema import Schema
from latentmap.data.sources import Source, require_finite, require_values
from latentmap.data.streaming import fits, most_held_out, read_memory
from latentmap.data.values import flat
from latentmap.estimators import choices
from latentmap.estimators.choices import describe_choice
from latentmap.estimators.graph import Edges
from latentmap.estimators.memory import Needs, copied_bytes, needs_of
from latentmap.estimators.neighbors import no_neighbors, places_rows, plan_neighbors
from latentmap.estimators.parameters import Parameters
from latentmap.exceptions import DataError, PartError
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.likelihoods import Incomplete, Likelihood
from latentmap.model.networks import Network
from latentmap.model.part import Sizes
from latentmap.objectives.base import Objective
from latentmap.objectives.neighbors import NeighborEmbedding
from latentmap.training.device import operations, resolve_device, resolve_precision
from latentmap.training.loop import Settings

LATER_PACE = 0.05
"""Learning-rate multiplier of pieces that follow a fit, or keep its map: at a constant rate, rows tremble in proportion
to it, and a model whose rate had fallen to zero would be lost."""
Choices = dict[str, str]
"""Each choice in words with its reason, by name."""


@dataclass(frozen=True)
class ModelPlan:
    """What the model is made of."""

    likelihood: Likelihood
    scaling: Scaling
    encoder: Network | nn.Module
    decoder: Network | nn.Module
    choices: Choices


@dataclass(frozen=True)
class TrainingPlan:
    """How a model is trained to so many rows."""

    rows: int
    neighbors: int | Edges
    """Number of neighbours that a map keeps of each row, 0 for none; or the edges that were given."""
    batch_size: int
    max_epochs: int
    learning_rate: float
    choices: Choices
    piece: bool = False
    """Whether the rows are one of many pieces, over which a fit goes once at a constant rate."""
    placed: bool = False
    """Whether a map places rows among those of its fit."""
    tsne: bool = False
    """Whether the places of its rows come first, by t-SNE, and are learned."""

    @property
    def batch(self) -> int:
        """Number of rows of a batch: all of them where they are fewer."""
        return min(self.batch_size, self.rows)

    @property
    def positives(self) -> int:
        """Number of neighbours that are drawn for each row of a batch of a map."""
        return choices.choose_positives(placed=self.placed)

    @property
    def steps(self) -> int:
        """Number of gradient steps."""
        return self.max_epochs * max(1, self.rows // self.batch_size)


@dataclass(frozen=True)
class RowCounts:
    """The numbers of rows that a plan depends on."""

    total: int
    training: int
    kept: bool = True
    """Whether all rows stay in memory, so that neighbours can be searched among them."""
    name: str = "X"


def plan(
    p: Parameters,
    source: Source,
    rows: RowCounts,
    sizes: Sizes,
    objective: Objective,
    device: str,
    *,
    piece: bool = False,
) -> tuple[ModelPlan, TrainingPlan]:
    """Plan a fit of a new model.

    Parameters
    ----------
    p : Parameters
        Parameters of the estimator.
    source : Source
        The rows, or some that stand for them.
    rows : RowCounts
        How many there are.
    sizes : Sizes
        Sizes of the model.
    objective : Objective
        What it is trained for.
    device : str
        Type of the device.
    piece : bool, default=False
        Whether the rows are the first of many pieces.

    Raises
    ------
    DataError
        If the rows cannot be fitted.
    PartError
        If a parameter does not suit them.
    """
    training = plan_training(p, rows, objective, device, piece=piece)
    is_map, placed = training.neighbors != 0, training.tsne
    return plan_model(p, source, rows.training, sizes, neighbors=is_map, placed=placed), training


def preview(p: Parameters, some: Source, source: Source) -> tuple[ModelPlan, TrainingPlan, Needs]:
    """Return the plan of a fit to a source, of which some rows are read, and the memory that it needs."""
    memory, n = read_memory(p.memory), len(source)
    if n < 2:
        raise DataError(f"{source.name} has 1 row: expected two or more to fit; give more rows")
    dense = fits(source, memory)
    held_out = count_held_out(n, p._held_out_fraction, None if dense else most_held_out(source, memory))
    rows = RowCounts(n, n - held_out, dense or source.is_sparse, source.name)
    sizes = Sizes(some.schema.event_shape, int(p.n_components), below=tuple(p.ladder or ()))
    objective = p._objective()
    model, training = plan(p, some, rows, sizes, objective, resolve_device(p.device).type)
    parts = p._parts(model.encoder, model.decoder, model.likelihood)
    first = flat(source.first)
    copied = copied_bytes(n * first.size, first.dtype) if dense else 0
    batch, precise = training.batch, first.dtype == np.float64
    return model, training, needs_of(parts, sizes, batch, objective.samples, copied, precise)


def plan_model(
    p: Parameters, source: Source, rows: int, sizes: Sizes, *, neighbors: bool = False, placed: bool = False
) -> ModelPlan:
    """Choose likelihood, scaling and networks, but for those that were given."""
    schema, table = source.schema, source.table
    if schema.lowest is None:
        raise DataError(f"{source.name} holds no finite value at all: fit needs some")
    likelihood, scaling = _table_units(p, source, table) if table else _units(p, source)
    anchored = getattr(p, "anchor", None) is not None
    networks = choices.choose_networks(
        likelihood.encoder_sizes(sizes), rows, neighbors=neighbors, anchored=anchored, placed=placed
    )
    encoder = networks[0] if p.encoder is None else p.encoder
    decoder = networks[1] if p.decoder is None else p.decoder
    shape = f"rows of shape {sizes.event}"
    return ModelPlan(
        likelihood,
        scaling,
        encoder,
        decoder,
        {
            "scaling": describe_choice(scaling.kind, p.scaling != "auto", f"{schema.kind} values"),
            "likelihood": _columns_in_words(table)
            if table
            else describe_choice(likelihood, p.likelihood == likelihood, _values_in_words(schema)),
            "encoder": describe_choice(encoder, p.encoder is not None, shape),
            "decoder": describe_choice(decoder, p.decoder is not None, shape),
        },
    )


def plan_training(
    p: Parameters, rows: RowCounts, objective: Objective, device: str, *, piece: bool = False, later: bool = False
) -> TrainingPlan:
    """Choose neighbours, batches, epochs and learning rate, but for those that were given; ``later`` after a fit."""
    n, described = rows.training, Choices()
    neighbors: int | Edges = 0
    if p.maps and not piece:
        if rows.kept:
            neighbors, described["neighbors"] = plan_neighbors(p, n, rows.total, device)
        else:
            why = f"{rows.name} has {rows.total:,} rows, more than memory= allows to keep"
            described["neighbors"] = no_neighbors(p, why)
    is_map = neighbors != 0
    placed = places_rows(p, neighbors, rows.total)
    places = placed and not p.density_weight and not isinstance(p._objective(), NeighborEmbedding)
    chosen = choices.choose_batch_size(n, neighbors=is_map, placed=placed)
    batch_size = chosen if p.batch_size is None else p.batch_size
    requested = 1 if piece else p.max_epochs
    quick = places and p.decoder is None  # a decoder of the user's own may learn detail later
    epochs = choices.choose_epochs(n, batch_size, neighbors=is_map, placed=quick) if requested is None else requested
    pace = objective.pace * (LATER_PACE if piece and later else 1.0)
    rate = choices.choose_learning_rate(batch_size, pace) if p.learning_rate is None else p.learning_rate
    by_layer = "" if is_map or piece or objective.adversarial else ", layers by their inputs"
    return TrainingPlan(
        n,
        neighbors,
        batch_size,
        epochs,
        rate,
        described
        | {
            "batch_size": describe_choice(batch_size, p.batch_size is not None, f"{n} rows"),
            "max_epochs": describe_choice(epochs, p.max_epochs is not None, f"{n} rows"),
            "learning_rate": describe_choice(
                f"{rate:.3g}", p.learning_rate is not None, f"batches of {batch_size}{by_layer}"
            ),
        },
        piece,
        placed,
        places,
    )


def trainer_settings(
    p: Parameters,
    planned: TrainingPlan,
    model: GenerativeAutoencoder,
    objective: Objective,
    seed: int,
    time_budget: float | None,
) -> tuple[Settings, Choices]:
    """Return the settings of a trainer, with what depends on the model: precision and compilation.

    ``time_budget`` are the seconds that are left for training. They change nothing but when the fit ends, and whether
    there is time to compile.
    """
    device = next(model.parameters()).device
    batch_size = planned.batch
    work, epochs, steps = operations(model, batch_size), planned.max_epochs, planned.steps
    pays = choices.choose_compile(model, batch_size, steps, time_budget)
    alike = planned.neighbors != 0 or planned.piece or objective.adversarial  # all layers have the same rate
    evaluations = max(1, steps // max(20, steps // epochs))
    settings = Settings(
        max_epochs=epochs,
        batch_size=planned.batch_size,
        learning_rate=planned.learning_rate,
        seed=seed,
        patience=max(10, evaluations // 4) if p.early_stopping else None,
        time_budget=time_budget,
        dtype=resolve_precision(p.precision, device, work),
        compile=(pays if p.compile == "auto" else bool(p.compile)) and not planned.piece,
        capture=bool(p.compile) and not planned.piece,
        constant_rate=planned.piece,
        largest_lr_multiplier=None if alike else choices.choose_largest_lr_multiplier(epochs),
        callbacks=tuple(p.callbacks or ()),
    )
    precision = f"{str(settings.dtype).removeprefix('torch.')} on {device}"
    described = {
        "precision": describe_choice(precision, p.precision != "auto", f"{work:.0e} operations a step"),
        "compile": describe_choice(settings.compile, p.compile != "auto", f"{steps} steps"),
    }
    if settings.capture and device.type == "cuda":
        described["steps"] = "recorded as a CUDA graph (compile=False takes them one by one)"
    return settings, described


def _units(p: Parameters, source: Source) -> tuple[Likelihood, Scaling]:
    schema = source.schema
    missing, counts = schema.missing > 0, source.tallies and schema.kind == "count"
    columns = (missing or p.column_scales) and choices.have_own_units(source, p.scaling)
    likelihood = p.likelihood or choices.choose_likelihood(
        schema.binary, missing=missing, counts=counts, columns=columns
    )
    if missing and not isinstance(likelihood, Incomplete):
        likelihood = Incomplete(likelihood)
    require_finite(source, missing=isinstance(likelihood, Incomplete))
    return likelihood, choices.choose_units(source, likelihood, p.scaling)


def _table_units(p: Parameters, source: Source, table: Table) -> tuple[Likelihood, Scaling]:
    for name in ("likelihood", "scaling"):
        if getattr(p, name) not in (None, "auto"):
            raise PartError(
                f"a table of mixed columns has a {name} for each column, got {name}={getattr(p, name)!r} for "
                f"all; give it as columns=Columns({{'{table.names[0]}': {{'{name}': ...}}}})"
            )
    require_finite(source, missing=True)
    require_values(source)
    columns, scaling = choices.choose_columns(table, p.columns.likelihoods if p.columns else {})
    return Incomplete(columns), scaling  # cells of a table may be missing later, whether or not some are now


def _columns_in_words(table: Table) -> str:
    """Describe the kinds of the columns, and what was left out."""
    kinds = {kind: [c.name for c in table.columns if c.kind == kind] for kind in get_args(ColumnKind)}
    text = "; ".join(f"{kind}: {', '.join(names)}" for kind, names in kinds.items() if names)
    return f"one a column ({text}{'; ' + table.remark if table.remark else ''})"


def _values_in_words(schema: Schema) -> str:
    missing = f", {schema.missing} of them missing" if schema.missing else ""
    return f"{schema.kind} values{missing}"
