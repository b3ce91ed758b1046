"""The automatic choices, from units and likelihood to compilation: one rule each, stored with the fit."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
from torch import nn

from latentmap.data.checks import SMALLEST
from latentmap.data.columns import Column, Table
from latentmap.data.scaling import Scaling, ScalingKind, choose_scaling
from latentmap.data.schema import Schema
from latentmap.data.sources import Source
from latentmap.exceptions import PartError
from latentmap.model.likelihoods import (
    Bernoulli,
    Categorical,
    ContinuousBernoulli,
    DiscretizedLogistic,
    Gaussian,
    Heterogeneous,
    Incomplete,
    Likelihood,
    NegativeBinomial,
    VonMises,
)
from latentmap.model.modules import module_name
from latentmap.model.networks import MLP, Conv, Fourier, Network
from latentmap.model.part import Sizes
from latentmap.training.device import operations
from latentmap.training.feed import POSITIVES

STEPS, MAP_STEPS = 2000, 1100
"""Steps that a fit takes by default, within these numbers of epochs; and of a map."""
PLACED_STEPS, SMALL_STEPS = 400, 500
"""Steps of a map whose places come first, and of one of few rows, whose batches are smaller."""
EPOCHS, FEWEST, PLACED_FEWEST = 125, 10, 4
"""Epochs at the most and at the least; and where places come first."""
NEIGHBORS, FEWER_NEIGHBORS, SEARCHED_ROWS = 30, 15, 100_000
"""Neighbours of each row of a map; fewer of few rows, and of more than so many, among which a search takes long."""
DEEP = 500
"""Training rows from which on the decoder of a map has six layers rather than three."""
FINEST, FEW_FINE = 4.0, 300
"""Scale of the Fourier features of the decoder of a map, and rows for each unit of it where there are few."""
MANY = 2**15
"""Rows of a map beyond which its batches are larger even where its places come first."""
LARGE = 256
"""Rows of a batch from which on it is large."""
RATE, FEW = 1e-2, 32
"""The learning rate, and rows in the smallest batch that carries it."""

FAR = 4.0
"""Standard deviations from zero beyond which the mean of whole numbers is that of a measurement, not of counts."""

COMPILE_FLOPS = 2e13
"""Work above which compiling pays for its start: about a minute of a small machine."""

COMPILE_SECONDS = 240.0
"""A time budget below this is not spent on compiling, which may take a quarter of it."""


def choose_likelihood(
    binary: bool, *, missing: bool = False, counts: bool = False, columns: bool = False
) -> Likelihood:
    """Return `Bernoulli` for data that are all 0 or 1, else `Gaussian` with one learned scale, or one for each column.

    Whole numbers may be counts, grey values or ranks, so likelihoods of counts and levels must be given; but
    those of a sparse matrix are ``counts``, and get `NegativeBinomial` with the total of each row given.

    >>> choose_likelihood(binary=False)
    Gaussian(scale='shared')
    """
    likelihood: Likelihood = Bernoulli() if binary else Gaussian("feature" if columns else "shared")
    if counts and not missing:
        likelihood = NegativeBinomial(library=True)
    return Incomplete(likelihood) if missing else likelihood


def have_own_units(source: Source, requested: ScalingKind | Literal["auto"]) -> bool:
    """Return whether each column is standardised by itself, so that draws are to be as wide as its own errors.

    >>> from latentmap.data.formats.arrays import ArraySource
    >>> from sklearn.datasets import load_digits, load_wine
    >>> [have_own_units(ArraySource(load().data), "auto") for load in (load_wine, load_digits)]
    [True, False]
    """
    return choose_scaling(source, requested, missing=True).kind == "standard"


def choose_units(source: Source, likelihood: Likelihood, requested: ScalingKind | Literal["auto"]) -> Scaling:
    """Return the scaling that the likelihood needs; where any will do, the requested one, or one by the values.

    Raises
    ------
    PartError
        If the requested scaling is not the one that the likelihood needs; or if counts would be squeezed into [0, 1]
        for a likelihood of bits or grey values without a request.

    >>> from latentmap.data.formats.arrays import ArraySource
    >>> from latentmap.model.likelihoods import Poisson
    >>> import numpy as np
    >>> counts = ArraySource(np.array([[0, 12], [3, 40]]))
    >>> choose_units(counts, Poisson(), "auto").kind, choose_units(counts, Gaussian(), "auto").kind
    ('none', 'standard')
    """
    missing = isinstance(likelihood, Incomplete)
    likelihood = likelihood.likelihood if isinstance(likelihood, Incomplete) else likelihood
    schema, name = source.schema, type(likelihood).__name__
    unit, needed = math.isfinite(likelihood.support[1]), likelihood.scaling(schema)
    chosen = choose_scaling(source, requested, missing=missing, unit=unit)
    if needed is None:
        if requested == "auto" and isinstance(likelihood, Bernoulli | ContinuousBernoulli) and _counts(schema):
            raise PartError(
                f"likelihood {name} takes values from 0 to 1, got whole numbers from {schema.lowest:g} to "
                f"{schema.highest:g}; use likelihoods.NegativeBinomial() for counts, or scaling='range' for grey values"
            )
        return chosen
    if requested not in ("auto", needed.kind):
        raise PartError(
            f"likelihood {name} needs scaling={needed.kind!r} for these data, got {requested!r}; leave scaling='auto'"
        )
    return needed


def choose_columns(table: Table, given: Mapping[str, Likelihood]) -> tuple[Heterogeneous, Scaling]:
    """Return for each column of a table the likelihood of its kind, or the one that was given, and its scaling.

    ===========  ====================================  ==========================================================
    kind         likelihood                            scaling
    ===========  ====================================  ==========================================================
    real, date   `Gaussian`, a scale for each column   mean and standard deviation, of amounts those of log(1 + x/u)
    count        `NegativeBinomial`; `Gaussian` where  none; mean and standard deviation
                 the mean exceeds 4 deviations
    binary       `Bernoulli`                           none
    categorical  `Categorical`                         none: the place of the category
    ordinal      `DiscretizedLogistic`                 none: the place of the category
    cyclic       `VonMises`                            the angle: values times 2 pi / period
    ===========  ====================================  ==========================================================

    Raises
    ------
    PartError
        If a likelihood that was given cannot explain the values of its column.
    """
    parts, shifts, scales, stretched, whole, units = [], [], [], [], [], []
    for column in table.columns:
        part = given.get(column.name) or _of_kind(column)
        schema = Schema(2, (1,), "float64", None, column.lowest, column.highest, column.integral, column.missing)
        needed = part.scaling(schema)
        if needed is not None:
            shift, scale = needed.shift, needed.scale
        elif column.kind == "cyclic" and isinstance(part, VonMises):
            shift, scale = 0.0, column.period / math.tau
        elif column.scaling == "none" and (column.name in given or not _is_measured(column)):
            shift, scale = 0.0, 1.0
        else:
            shift, scale = column.mean, column.deviation if column.deviation > SMALLEST else 1.0
        ends = np.array([column.lowest, column.highest])
        stretch = needed is None and column.scaling in ("log", "log1p")
        ends = (np.log1p(ends / column.unit) if stretch else ends) - shift
        try:
            part.check_column(schema, *map(float, ends / scale))
        except PartError as error:
            raise PartError(f"column {column.name!r}: {error}") from error
        parts.append(part)
        shifts.append(shift)
        scales.append(scale)
        stretched.append(stretch)
        whole.append(needed is not None and needed.whole)
        units.append(column.unit if stretch else 1.0)
    shift_, scale_, unit = np.array(shifts), np.array(scales), np.array(units)
    scaling = Scaling(shift_, scale_, "columns", np.array(stretched), np.array(whole), unit)
    return Heterogeneous(tuple(parts)), scaling


def _is_measured(column: Column) -> bool:
    """Return whether whole numbers vary too little for counts, whose variance is their mean at the least."""
    return column.kind == "count" and column.mean > FAR * column.deviation


def _of_kind(column: Column) -> Likelihood:
    levels = max(2, len(column.categories))
    match column.kind:
        case "count" if not _is_measured(column):
            return NegativeBinomial()
        case "binary":
            return Bernoulli()
        case "categorical":
            return Categorical(levels=levels, pooled=column.other is not None)
        case "cyclic":
            return VonMises()
        case "ordinal":
            return DiscretizedLogistic(levels=levels)
        case _:
            return Gaussian("feature")


def _counts(schema: Schema) -> bool:
    """Whether whole numbers are rather counts than grey values of 8 bits."""
    return schema.kind == "count" and schema.dtype != "uint8" and schema.highest != 255


def choose_networks(
    sizes: Sizes, rows: int, *, neighbors: bool = False, anchored: bool = False, placed: bool = False
) -> tuple[Network, Network]:
    """Return encoder and decoder: `Conv` for images of 32 x 32 or more or in colour, else MLPs by the features.

    To unroll a surface into two or three numbers takes depth rather than width, and so does rolling it up again; maps
    that keep neighbours have it, as they begin where a deep network learns (`start_at_components`). A deep decoder of
    few rows leaves out one of the numbers, so that it is not deep there, unless an anchor gives codes to keep to. Where
    places come first, as by t-SNE, the decoder learns their detail by Fourier features, in a third of the steps.

    >>> encoder, decoder = choose_networks(Sizes((8, 8), 2), 1000, neighbors=True)
    >>> encoder.hidden, decoder.hidden, choose_networks(Sizes((8, 8), 2), 1000)[0].hidden
    ((192, 192, 192, 192, 192, 192), (128, 128, 128, 128, 128, 128), (256, 256, 256))
    >>> choose_networks(Sizes((8, 8), 2), 160, neighbors=True)[1].hidden
    (128, 128, 128)
    >>> choose_networks(Sizes((8, 8), 2), 1000, neighbors=True, placed=True)[1]
    Fourier(network=MLP(hidden=(128, 128), activation='silu'), frequencies=128, scale=3.3)
    >>> choose_networks(Sizes((32, 32, 3), 2), 1000)[0]
    Conv(channels=(32, 64, 128), width=256, activation='silu')
    """
    if len(sizes.event) == 3 or (len(sizes.event) == 2 and min(sizes.event) >= 32):
        return Conv(), _with_detail(Conv(), rows) if placed else Conv()
    width = max(64, 2 ** math.ceil(math.log2(4 * sizes.features)))
    if neighbors:
        wide, depth = min(128, width), 6 if anchored or rows >= DEEP else 3
        return MLP((min(192, width),) * 6), _with_detail(MLP((wide, wide)), rows) if placed else MLP((wide,) * depth)
    both = MLP((min(256 if sizes.latent <= 3 else 384, width),) * 3)  # few numbers ask for less of a decoder
    return both, both


def _with_detail(network: Network, rows: int) -> Network:
    """Return the network with Fourier features: the more rows, the finer the detail that they can tell from noise."""
    return Fourier(network, scale=float(f"{min(FINEST, rows / FEW_FINE):.2g}"))


def choose_batch_size(rows: int, *, neighbors: bool = False, placed: bool = False) -> int:
    """Return a sixteenth of the rows as a power of two, 32 to 256; an eighth, where a batch contrasts its rows.

    This goes to 512; of a map that places rows, whose batches need less contrast, only beyond 32,768 rows.

    >>> [choose_batch_size(n) for n in (10, 150, 1797, 60_000)], choose_batch_size(60_000, neighbors=True)
    ([32, 32, 128, 256], 512)
    >>> [choose_batch_size(n, neighbors=True, placed=True) for n in (5000, 60_000)]
    [256, 512]
    """
    share, most = (8, 256 if placed and rows <= MANY else 512) if neighbors else (16, 256)
    return int(min(most, max(FEW, 2 ** round(math.log2(max(rows, 1) / share)))))


def choose_epochs(rows: int, batch_size: int, *, neighbors: bool = False, placed: bool = False) -> int:
    """Return the epochs that make about 2000 steps, 1100 of a map with neighbours, from 10 to 125.

    Where the places of a map come first they make about 400, or 500 of batches below 256 rows, from 4 to 125.

    >>> [choose_epochs(n, choose_batch_size(n)) for n in (150, 1797, 60_000, 10**6)]
    [125, 125, 10, 10]
    >>> [choose_epochs(n, choose_batch_size(n, neighbors=True), placed=True) for n in (150, 1797, 60_000)]
    [125, 58, 4]
    """
    steps, fewest = MAP_STEPS if neighbors else STEPS, FEWEST
    if placed:
        steps, fewest = PLACED_STEPS if batch_size >= LARGE else SMALL_STEPS, PLACED_FEWEST
    return min(EPOCHS, max(fewest, math.ceil(steps / max(1, rows // batch_size))))


def choose_learning_rate(batch_size: int, pace: float = 1.0) -> float:
    """Return 1e-2, below 32 rows a batch with the square root of their number, times the pace of the objective.

    >>> [round(choose_learning_rate(b), 4) for b in (8, 32, 256)], choose_learning_rate(256, pace=0.1)
    ([0.005, 0.01, 0.01], 0.001)
    """
    return pace * RATE * min(1.0, math.sqrt(batch_size / FEW))


def choose_largest_lr_multiplier(epochs: int) -> float:
    """Return the learning-rate multiplier of biases and layers of few inputs: 3 up to 10 epochs, 1 from 30 on.

    Fits of many epochs, which are those of few rows, gain nothing by haste.

    >>> [round(choose_largest_lr_multiplier(epochs), 2) for epochs in (5, 10, 20, 125)]
    [3.0, 3.0, 1.5, 1.0]
    """
    return min(3.0, max(1.0, 30 / epochs))


def choose_neighbors(rows: int, components: int) -> int:
    """Return the neighbours of each row that a map of 2 or 3 components keeps: 30, else 0.

    Of less than 240 rows they are an eighth, but 15 where these are no more than a quarter: a map of rows of which most
    are neighbours needs one of its numbers only. Of more than 100,000 they are 15, as a search takes long.

    >>> [choose_neighbors(rows, 2) for rows in (20, 60, 160, 1797, 10**6)], choose_neighbors(1797, 10)
    ([5, 15, 20, 30, 15], 0)
    """
    most = NEIGHBORS if rows <= SEARCHED_ROWS else FEWER_NEIGHBORS
    return min(most, max(rows // 8, min(FEWER_NEIGHBORS, rows // 4))) if components in (2, 3) else 0


def choose_positives(*, placed: bool) -> int:
    """Return the neighbours that are drawn for each row of a batch: two, but one of a map that places rows.

    >>> choose_positives(placed=False), choose_positives(placed=True)
    (2, 1)
    """
    return 1 if placed else POSITIVES


def choose_compile(model: nn.Module, batch_size: int, steps: int, time_budget: float | None = None) -> bool:
    """Compile when the fit is long enough to pay for it."""
    if time_budget is not None and time_budget < COMPILE_SECONDS:
        return False
    return operations(model, batch_size) * steps > COMPILE_FLOPS


def describe_choice(value: object, given: object, basis: str) -> str:
    """Describe what was chosen, and why."""
    text = module_name(value) if isinstance(value, nn.Module) else str(value)
    return f"{text} ({'given' if given else f'chosen for {basis}'})"
