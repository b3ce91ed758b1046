"""Metrics of the neighbours of a map: rows whose Euclidean distances are in their order, and distances of sets."""

from __future__ import annotations

from typing import Literal, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from latentmap.exceptions import DataError
from latentmap.model.scaling import Affine
from latentmap.model.trace import Model

Metric = Literal["euclidean", "cosine", "correlation", "jaccard", "haversine"]
METRICS: tuple[Metric, ...] = get_args(Metric)
ROUNDING = 8
"""Units in the last place of a row's largest value by which its values may differ and still count as equal."""


def compared(
    model: Model, x: Float[Tensor, "B P"], metric: Metric, units: Affine | None = None
) -> Float[Tensor, "B Q"]:
    """Return rows whose Euclidean distances are in the order of a metric; for ``jaccard`` the sets as zeros and ones.

    ``euclidean`` is the distance in the encoder's units. The others compare rows in the data's units, so ``units``
    undoes the change; without, as in tables of mixed columns, they compare encoder inputs. Missing cells are filled as
    for the encoder.
    """
    if metric != "euclidean" and units is not None:
        return normalise_for(units.inverse(model.complete(x)), metric)
    return normalise_for(model.encoder_inputs(x), metric)


def normalise_for(x: Float[Tensor, "N P"], metric: Metric) -> Float[Tensor, "N Q"]:
    """Return rows whose Euclidean distances are in the order of this metric: of unit length for angles.

    Rows without a direction, zeros or for ``correlation`` constants, are equal, and orthogonal to all others.

    >>> normalise_for(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), "cosine")
    tensor([[0.6000, 0.8000, 0.0000],
            [0.0000, 0.0000, 1.0000]])
    >>> normalise_for(torch.tensor([[90.0, 0.0], [0.0, 90.0]]), "haversine").round(decimals=3).abs()
    tensor([[0., 1., 0.],
            [0., 0., 1.]])
    """
    if metric == "euclidean":
        return x
    if metric == "jaccard":
        return (x > 0.5).to(x.dtype)
    if metric == "haversine":
        longitude, latitude = x.deg2rad().unbind(1)
        across = latitude.cos()
        return torch.stack([across * longitude.cos(), across * longitude.sin(), latitude.sin()], 1)
    if metric == "correlation":
        largest = x.abs().amax(1, keepdim=True)
        x = x - x.mean(1, keepdim=True)
        constant = x.abs().amax(1, keepdim=True) <= ROUNDING * torch.finfo(x.dtype).eps * largest
        return _directions(torch.where(constant, 0.0, x))
    if metric == "cosine":
        return _directions(x)
    raise DataError(f"metric must be one of {', '.join(METRICS)}, got {metric!r}")


def set_distances(a: Float[Tensor, "*B N P"], b: Float[Tensor, "*B M P"]) -> Float[Tensor, "*B N M"]:
    r"""Return Jaccard's distances of sets given as zeros and ones.

    .. math:: d(A, B) = 1 - \frac{|A \cap B|}{|A \cup B|}, \quad d(\emptyset, \emptyset) = 0

    >>> set_distances(torch.tensor([[1.0, 1, 0]]), torch.tensor([[1.0, 0, 0], [0, 0, 1], [1, 1, 0]]))
    tensor([[0.5000, 1.0000, 0.0000]])
    """
    common = a @ b.mT
    union = a.sum(-1)[..., None] + b.sum(-1)[..., None, :] - common
    return torch.where(union > 0, 1 - common / union.clamp_min(1), 0.0)


def require_fit(x: Float[Tensor, "N P"], metric: Metric) -> None:
    """Refuse rows, in the data's units, that a metric cannot compare.

    Raises
    ------
    DataError
        If sets hold other values than 0 and 1, or places are not longitude and latitude in degrees.

    Examples
    --------
    >>> require_fit(torch.tensor([[48.1, 140.0]]), "haversine")
    Traceback (most recent call last):
    latentmap.exceptions.DataError: metric='haversine' takes longitude and latitude in degrees, in this order; got a ...
    """
    there = x[~x.isnan()]
    if metric == "jaccard" and not bool(((there == 0) | (there == 1)).all()):
        other = float(there[(there != 0) & (there != 1)][0])
        raise DataError(
            f"metric='jaccard' compares sets, rows of 0 and 1; got {other:g}: pass X > 0, or take another metric"
        )
    if metric == "haversine":
        named = "metric='haversine' takes longitude and latitude in degrees, in this order; got"
        if x.shape[1] != 2:
            raise DataError(f"{named} {x.shape[1]} columns")
        latitude = x[:, 1][~x[:, 1].isnan()]
        if len(latitude) and float(latitude.abs().max()) > 90:
            raise DataError(f"{named} a latitude of {float(latitude[latitude.abs() > 90][0]):g}")


def _directions(x: Float[Tensor, "N P"]) -> Float[Tensor, "N Q"]:
    """Return rows of unit length; an added column makes rows of zeros equal, and orthogonal to all others."""
    largest = x.abs().amax(1, keepdim=True)  # lengths of its multiples neither overflow nor vanish
    none = largest == 0
    unit = torch.nn.functional.normalize(x / torch.where(none, 1.0, largest), dim=1)
    return torch.cat([unit, none.to(x.dtype)], 1)
