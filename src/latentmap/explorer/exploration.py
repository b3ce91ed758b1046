"""A fitted model and its rows, and the answers to what is asked of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray

from latentmap import __version__
from latentmap.estimators.columns import numbers
from latentmap.evaluation.details import evidence
from latentmap.exceptions import DataError
from latentmap.explorer.fields import Field, column_fields, label_field
from latentmap.explorer.items import Item, Items, Numbers, Records, items_of
from latentmap.explorer.rows import ExploredRows
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.scaling import Affine
from latentmap.plot.latent import information_per_component

MOST_CODES = 256
"""Codes that are decoded at a time, at the most."""


@dataclass(frozen=True)
class Decoded:
    """Decoded codes, the log-density of each in nats, and whether it lies in a hole; None where that is not known."""

    items: list[Item]
    density: list[float | None]
    hole: list[bool | None]


@dataclass(frozen=True, eq=False)
class RowAnswer:
    """A row of the data, and what the model makes of it."""

    original: Item
    reconstruction: Item
    z: NDArray[np.float64]
    label: str | None
    id: str | None
    evidence: float | None
    percentile: float | None
    missing: list[int]
    neighbours: list[int]
    imputed: list[dict[str, Any]]


class Exploration:
    """A fitted model and rows, and the answers to what is asked of them."""

    def __init__(
        self,
        estimator: Any,
        rows: ExploredRows | None,
        *,
        name: str = "model",
        notes: Sequence[str] = (),
        image_shape: tuple[int, ...] | None = None,
    ) -> None:
        self.estimator, _ = numbers(estimator)
        self.rows = rows
        self.name = name
        self.notes = [*notes, *(() if rows is None else rows.notes)]
        self.items: Items = items_of(self.estimator, None if rows is None else rows.values, image_shape)

    @cached_property
    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Posterior mean and deviation of each row, (n, d) both."""
        assert self.rows is not None
        mean, deviation = self.estimator.posterior(self.rows.values)
        return np.asarray(mean, np.float64), np.asarray(deviation, np.float64)

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.estimator.active_components_)

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Fields by key."""
        if self.rows is None:
            return {}
        records = self.items if isinstance(self.items, Records) else None
        columns = self.items.columns if isinstance(self.items, Records | Numbers) else ()
        found = [label_field(self.rows), *column_fields(self.rows, columns, records)]
        return {one.key: one for one in found if one is not None}

    @cached_property
    def dims(self) -> list[int]:
        """The components that are drawn by default: two, or three of a model that has three."""
        amounts, _ = information_per_component(self.estimator)
        n = 3 if len(amounts) == 3 else 2
        return sorted(np.argsort(-np.nan_to_num(amounts), kind="stable")[:n].tolist())

    def meta(self) -> dict[str, Any]:
        """Return what there is to know before any answer."""
        estimator, rows = self.estimator, self.rows
        rates = estimator.kl_per_component_
        low, high = self.extent
        return {
            "name": self.name,
            "model": type(estimator).__name__,
            "version": __version__,
            "n": 0 if rows is None else len(rows),
            "total": 0 if rows is None else rows.total,
            "components": self.n_components,
            "dims": self.dims,
            "range": {"low": low, "high": high},
            "rates": None if rates is None else np.asarray(rates, float),
            "active": np.asarray(estimator.active_components_, bool),
            "item": self.items.described(),
            "fields": [one.described() for one in self.fields.values()],
            "can": {
                "rows": rows is not None,
                "decode": True,
                "density": False,
                "impute": False,
                "score": bool(estimator.has_score_),
                "encode": False,
                "samples": False,
                "path": False,
                "selection": False,
                "save": [],
            },
            "ids": rows is not None and rows.ids is not None,
            "notes": self.notes,
            "runs": [{"name": self.name}],
            "islands": [],
        }

    @cached_property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where codes lie, from low to high along each component."""
        points = self.moments[0]
        return points.min(0), points.max(0)

    @cached_property
    def points(self) -> Float[np.ndarray, "n d"]:
        """Posterior mean of each row, in single precision."""
        return self.moments[0].astype(np.float32)

    def decode(self, z: Any) -> Decoded:
        """Decode codes (m, d)."""
        codes = self._codes(z)
        rows, doubts = self._decoded(codes)
        return Decoded(self.items(rows, doubts), [None] * len(codes), [None] * len(codes))

    def row(self, i: int) -> RowAnswer:
        """Return a row, and what the model makes of it."""
        assert self.rows is not None
        x = self.rows.values[i : i + 1]
        rows = self.rows
        reconstruction, doubts = self._decoded(self.moments[0][i : i + 1])
        missing = np.flatnonzero(np.isnan(x.reshape(-1))).tolist() if x.dtype.kind == "f" else []
        return RowAnswer(
            self.items(x)[0],
            self.items(reconstruction, doubts)[0],
            self.moments[0][i],
            None if rows.labels is None else str(rows.labels[i]),
            None if rows.ids is None else str(rows.ids[i]),
            float(evidence(self.estimator, x)[0]) if self.estimator.has_score_ else None,
            None,
            missing,
            [],
            [],
        )

    def _codes(self, z: Any) -> NDArray[np.float32]:
        """Return codes that came as an array (m, d)."""
        try:
            codes = np.asarray(z, dtype=np.float32)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError("codes must be rows of numbers of equal length") from error
        if codes.ndim != 2 or codes.shape[1] != self.n_components or not 1 <= len(codes) <= MOST_CODES:
            expected = f"1 to {MOST_CODES} codes of {self.n_components} numbers"
            raise DataError(f"expected {expected}, got an array of shape {codes.shape}")
        if not np.isfinite(codes).all():
            raise DataError("codes must be finite numbers")
        return codes

    def _decoded(self, codes: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return mean and variance of p(x|z) for each code: rows (m, *event) in the units of the data, and (m, P)."""

        def moments(model: GenerativeAutoencoder, scaling: Affine, z: torch.Tensor) -> torch.Tensor:
            px = model.decode(model.parts.posterior.onto(z))
            return torch.stack([scaling.restored(px.mean, z.dtype), px.variance.to(z.dtype)], 1)

        given = self.estimator._given(None, len(codes))
        both = self.estimator._map(codes.astype(np.float32), moments, given=given)
        return both[:, 0].reshape(len(codes), *self.estimator.event_shape_), both[:, 1]
