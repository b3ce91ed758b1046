"""The change of units between the data and the model, chosen from the values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import SMALLEST, require_no_overflow, require_no_underflow
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.sources import Source, require_finite, require_values
from latentmap.exceptions import DataError

ScalingKind = Literal["none", "range", "center", "standard"]

NARROWEST = 0.01
"""The least range of values in [0, 1], or as a fraction of the largest, of which 0 stays the origin."""

DIMMEST = 16
"""The largest maximum of bytes that are not 8-bit pixels: the embedded digits have 16 grey levels."""

FAR, APART = 4.0, 2.0
"""Deviations of features from their means, beyond which these are far from 0, and from each other."""

ONE_UNIT_COLUMNS = 16
"""The fewest columns that are taken to have one unit if their ranges are similar."""


@dataclass(frozen=True, eq=False)
class Scaling:
    """Model units from data units: x' = (x - shift) / scale.

    Attributes
    ----------
    shift, scale
        In data units: one number for all features, or an array of one for each, shape (features,).
    kind
        ``none``, ``range`` (one shift and scale for all), ``center`` (the mean of each column, and one scale for all),
        ``standard`` (mean and deviation of each column) or ``columns`` (by the kind of each column of a table).
    stretched
        Which features are first put on a logarithmic scale, log(1 + x / unit), shape (features,); None for no feature.
    unit
        The units of these features, shape (features,); 1 for others.
    whole
        Which features hold only whole numbers: one answer for all, or one for each.

    Examples
    --------
    >>> Scaling(shift=0.0, scale=255.0, kind="range").log_jacobian(784)
    -4344.35...
    """

    shift: float | NDArray[np.float64]
    scale: float | NDArray[np.float64]
    kind: ScalingKind | Literal["columns"]
    stretched: NDArray[np.bool_] | None = field(default=None, repr=False)
    whole: bool | NDArray[np.bool_] = field(default=False, repr=False)
    unit: float | NDArray[np.float64] = field(default=1.0, repr=False)

    def log_jacobian(self, n_features: int) -> float:
        """Return log|dx'/dx| = sum over features of log(1 / scale), nats a row.

        A log-density in model units plus this is the log-density in data units.
        """
        return -float(np.sum(np.broadcast_to(np.log(self.scale), n_features)))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"kind": self.kind, "shift": _plain(self.shift), "scale": _plain(self.scale)}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Scaling:
        """Return the scaling that `to_json` wrote, to the last bit."""
        shift, scale = (np.array(x) if isinstance(x, list) else float(x) for x in (value["shift"], value["scale"]))
        return cls(shift, scale, value["kind"])


def choose_scaling(
    data: Source | NDArray[Any], kind: str = "auto", *, missing: bool = False, unit: bool = False
) -> Scaling:
    """Choose the scaling of data.

    ``auto`` takes the first rule that holds:

    =======================================================  ========  ================================================
    the data                                                 kind      what becomes 0 and 1
    =======================================================  ========  ================================================
    every value lies in [0, 1], not all within 0.01          none      0 and 1
    bytes (uint8) with a value above 16                      range     0 and 255
    other bytes, and images (two or more axes)               range     0, or the lowest if negative or within 1% of
                                                                       the highest, and the highest
    vectors of one unit: 16 columns or more that vary, the   range     the lowest and the highest
    upper quartile of their ranges at most twice the median
    any other                                                standard  a column's mean, and its mean plus one deviation
    =======================================================  ========  ================================================

    Where the means of features are more than four of their deviations from 0, or more than two from the mean of all if
    the lowest value would become 0 (root mean squares over the features that vary), as in bright images or spectra on a
    slope, one origin would leave the differences between rows beside offsets: ``none`` and ``range`` give way to
    ``center``, a column's mean and its mean plus the range of the centred values of all; and to ``standard``, where
    ranges of other values than bytes differ, by that rule and with a lower quartile of less than half of the median.

    Statistics are computed in double precision, in one pass over blocks. Constant features have scale 1.

    Parameters
    ----------
    data
        A source, or an array of shape (n, *event).
    kind
        ``auto``, or the kind: ``none``, ``range``, ``center`` or ``standard``.
    missing
        Whether cells may be NaN, which are left out of the statistics.
    unit
        Whether ``auto`` keeps values in [0, 1] where one range serves all features, as some likelihoods need it.

    Raises
    ------
    DataError
        If the kind is not known, or values are infinite, beyond 1e150 or NaN that may not be missing.

    Examples
    --------
    >>> from latentmap.data.datasets import load_dataset
    >>> choose_scaling(load_dataset("digits")[0])
    Scaling(shift=0.0, scale=16.0, kind='range')
    """
    if kind not in ("auto", *get_args(ScalingKind)):
        raise DataError(f"no scaling is called {kind!r}: expected auto, none, range, center or standard")
    source: Source = ArraySource(data) if isinstance(data, np.ndarray) else data
    require_finite(source, missing=missing)
    require_values(source)
    schema = source.schema
    require_no_overflow(source.name, schema.lowest or 0.0, schema.highest or 0.0)
    common = _common(source, kind)
    if common is not None and (unit or kind != "auto" or not _has_offsets(source, common)):
        return common
    columns = source.moments
    one_width = common is not None and (schema.dtype == "uint8" or _have_one_width(columns.highest - columns.lowest))
    deviation, varies = columns.deviation, columns.varies
    shift = np.where(varies, columns.mean, columns.lowest)
    if kind == "center" or one_width:
        centred = _range(float((columns.lowest - shift).min()), float((columns.highest - shift).max()), source.name)
        return Scaling(shift, np.full(len(shift), centred.scale), "center")
    if (faint := np.flatnonzero(varies & (deviation <= SMALLEST))).size:
        i = int(faint[0])
        column = f"{source.name}: column {repr(schema.names[i]) if schema.names else i}"
        require_no_underflow(column, columns.lowest[i], columns.highest[i], deviation[i])
    return Scaling(shift, np.where(varies, deviation, 1.0), "standard")


def _common(source: Source, kind: str) -> Scaling | None:
    """Return one shift and scale for all features, where this is the kind, or what the values suggest."""
    schema = source.schema
    low, high = schema.lowest or 0.0, schema.highest or 0.0
    if kind == "none" or (kind == "auto" and schema.within(0.0, 1.0) and (high - low > NARROWEST or high == low)):
        return Scaling(0.0, 1.0, "none")
    bytes_ = schema.dtype == "uint8"
    if kind in ("auto", "range") and (bytes_ or len(schema.event_shape) > 1):
        least = min(low, 0.0) if bytes_ or high == low or high - low > NARROWEST * high else low
        return _range(least, 255.0 if bytes_ and high > DIMMEST else high, source.name)
    columns = source.moments if kind == "auto" else None
    if kind == "range" or (columns is not None and _have_one_unit(columns.highest - columns.lowest)):
        return _range(low, high, source.name)
    return None


def _has_offsets(source: Source, common: Scaling) -> bool:
    """Return whether the means of features are far from a common origin, for how little their values vary."""
    if source.schema.binary:
        return False
    columns = source.moments
    means, deviation = columns.mean[columns.varies], columns.deviation[columns.varies]
    origin, far = (means.mean(), APART) if common.shift != 0 and len(means) else (0.0, FAR)
    return bool(np.square(means - origin).sum() > far**2 * np.square(deviation).sum())


def _range(low: float, high: float, name: str) -> Scaling:
    require_no_underflow(name, low, high, high - low)
    return Scaling(low, high - low if high > low else 1.0, "range")


def _have_one_unit(ranges: NDArray[np.float64]) -> bool:
    varying = ranges[ranges > 0]
    if len(varying) < ONE_UNIT_COLUMNS:
        return False
    median, upper = np.quantile(varying, [0.5, 0.75])
    return bool(upper <= 2 * median)


def _have_one_width(ranges: NDArray[np.float64]) -> bool:
    """Return whether features of one unit also differ little in width where they are narrow."""
    varying = ranges[ranges > 0]
    return _have_one_unit(ranges) and bool(2 * np.quantile(varying, 0.25) >= np.median(varying))


def _plain(x: float | NDArray[np.float64]) -> float | list[float]:
    return x.tolist() if isinstance(x, np.ndarray) else float(x)
