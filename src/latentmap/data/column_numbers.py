"""How a fit learns a column of numbers: its range, its scale, and what generated values are kept within."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime
from typing import Any, get_args

import numpy as np

from latentmap.data.checks import require_known, require_no_overflow, require_no_underflow
from latentmap.data.columns import Cells, Column, ColumnScaling, days_since_epoch
from latentmap.data.cycles import bounds_by_name, cycle_of
from latentmap.data.text_compact import CLOCK
from latentmap.exceptions import DataError

WIDE = 10.0
"""The least maximum, in its least positive values, of a column of amounts that may be put on a logarithmic scale."""
LAST_MINUTE = 86_340.0
"""23:59 in seconds."""
STEEP, SURE = 1e-12, 3.0
"""The least unit of a logarithmic scale in the greatest value; the deviations of a mean that keep a normal positive."""


def learn_numbers(column: Column, cells: Cells, settings: Mapping[str, Any], where: str) -> Column:
    """Return a column of numbers with its range, scale and bounds, but for the settings that are specified."""
    scaling, summary = settings.get("scaling"), cells.measured
    lowest, highest, integral = summary.lowest, summary.highest, summary.integral
    require_no_overflow(where, lowest, highest)
    mean, deviation = summary.mean, summary.deviation
    require_no_underflow(where, lowest, highest, deviation)
    if column.kind == "count" and (lowest < 0 or not integral):
        raise DataError(f"{where} is to hold counts, whole numbers >= 0, but holds {lowest:g} to {highest:g}; use real")
    if column.kind == "binary" and not (integral and lowest >= 0 and highest <= 1):
        raise DataError(f"{where} is to be binary, but holds numbers from {lowest:g} to {highest:g}; use categorical")
    scaling = scaling or _scaling(column, lowest, highest, mean, deviation)
    unit = _unit(cells, highest) if scaling == "log" else 1.0
    if scaling == "log" and settings.get("scaling") is None and highest <= WIDE * unit:
        scaling, unit = "standard", 1.0
    require_known(scaling, get_args(ColumnScaling), f"{where}: no scaling is called")
    if scaling in ("log", "log1p"):
        if lowest <= -unit:
            raise DataError(f"{where} holds {lowest:g}, of which {scaling} has no value: use scaling 'standard'")
        logs = np.log1p(cells.finite / unit)
        mean, deviation = float(logs.mean()), float(logs.std())
    period, start = _cycle(column, settings, lowest, highest, where) if column.kind == "cyclic" else (0.0, None)
    sure = summary.mean >= SURE * summary.deviation
    low, high = _bounds(column, lowest, highest, sure=sure, amounts=scaling in ("log", "log1p"))
    low, high = (_declared(settings, key, end, where) for key, end in (("lowest", low), ("highest", high)))
    if (low is not None and lowest < low) or (high is not None and highest > high):
        raise DataError(f"{where} holds {lowest:g} to {highest:g}, beyond the bounds {low} to {high} specified")
    learned: dict[str, Any] = {
        "scaling": scaling,
        "integral": integral,
        "mean": mean,
        "deviation": deviation,
        "bounds": (low if start is None else start, high),
        "period": period,
        "unit": unit,
        "decimals": None if column.kind == "date" or column.type == "Float32" else summary.decimals,
    }
    return replace(column, lowest=lowest, highest=highest, **learned)


def _cycle(
    column: Column, settings: Mapping[str, Any], lowest: float, highest: float, where: str
) -> tuple[float, float]:
    """Return the period of a column, and where it starts."""
    period, start = cycle_of(column.name, lowest, highest) or (0.0, min(lowest, 0.0))
    period, start = (
        _declared(settings, key, end, where) or 0.0 for key, end in (("period", period), ("lowest", start))
    )
    if period <= 0:
        raise DataError(f"{where} is to be cyclic, with no known period: give it, as in period = 24")
    return period, start


def _declared(settings: Mapping[str, Any], key: str, default: float | None, where: str) -> float | None:
    """Return a number that settings declare, dates as days since 1970."""
    value = settings.get(key)
    if value is None:
        return default
    if isinstance(value, date):
        return days_since_epoch(value if isinstance(value, datetime) else datetime(value.year, value.month, value.day))
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise DataError(f"{where}: {key} must be a number or a date, got {value!r}")
    return float(value)


def _unit(cells: Cells, highest: float) -> float:
    """Return the least positive value of a column of amounts, in which a logarithmic scale counts."""
    values = cells.finite
    return max(float(values.min(initial=np.inf, where=values > 0)), STEEP * highest) if highest > 0 else 1.0


def _bounds(
    column: Column, lowest: float, highest: float, *, sure: bool, amounts: bool
) -> tuple[float | None, float | None]:
    """Return what generated values are kept within; positive ones above 0, where they are not ``sure`` to be.

    ``amounts`` on a logarithmic scale end at the largest, since an error of the model multiplies there.
    """
    if column.kind in ("count", "binary"):
        return 0.0, highest
    if column.kind in ("date", "cyclic") or column.type == "Time":
        return None, None
    if (known := bounds_by_name(column.name, lowest, highest)) is not None:
        return known
    if column.format is not None and column.format.pattern == CLOCK:
        return 0.0, max(highest, LAST_MINUTE)
    least = None if lowest < 0 else 0.0 if sure else lowest
    share = lowest >= 0 and highest <= 1 and not column.type.startswith("Duration")
    return least, highest if amounts else 1.0 if share else None


def _scaling(column: Column, lowest: float, highest: float, mean: float, deviation: float) -> ColumnScaling:
    if column.kind not in ("real", "date"):
        return "none"
    amounts = column.kind == "real" and lowest >= 0 and deviation > mean
    return "log" if amounts and bounds_by_name(column.name, lowest, highest) is None else "standard"
