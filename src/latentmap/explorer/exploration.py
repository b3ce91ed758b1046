"""A fitted model and its rows, and the answers to what is asked of them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from functools import cached_property
from typing import Any, Literal

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike, NDArray

from latentmap import __version__
from latentmap.estimators.columns import numbers
from latentmap.evaluation.codes import sample_codes
from latentmap.exceptions import DataError
from latentmap.explorer.answers import Decoded, EncodedAnswer, PathAnswer, RowAnswer
from latentmap.explorer.decoding import decoded, encoded, onto, straight
from latentmap.explorer.density import CodeDensity, Plane
from latentmap.explorer.fields import Field, column_fields, label_field
from latentmap.explorer.incoming import read_incoming
from latentmap.explorer.islands import Island, islands
from latentmap.explorer.items import Imputed, Item, Items, Lines, Numbers, Record, Records, items_of
from latentmap.explorer.paths import Ways
from latentmap.explorer.rows import ExploredRows
from latentmap.explorer.saving import formats, saved
from latentmap.explorer.scores import Scores
from latentmap.explorer.search import Found, Search
from latentmap.explorer.selections import SelectionAnswer, described
from latentmap.explorer.spaces import DataSpace
from latentmap.explorer.turns import Turns, quick
from latentmap.plot.latent import information_per_component

MOST_CODES = 256
"""Codes that are decoded at a time, at the most."""
FARTHEST = 1e6
"""The largest value of a component that is decoded."""
MOST_STEPS, MOST_SAMPLES, MOST_NEAREST = 64, 64, 100
"""Codes of a path, samples and nearest rows, at the most."""
DRAWS = 100
"""Draws of the missing cells of a row."""
NEIGHBORS = 8
"""Neighbours of a row that are shown with it."""


class Exploration:
    """A fitted model and rows, and the answers to what is asked of them.

    Answers are arrays and dataclasses; `latentmap.explorer.answers.as_json` turns them into plain values. Several
    threads may ask at once.

    Parameters
    ----------
    estimator : VAE or Autoencoder
        Fitted estimator; a conditional one has its condition settled (`VAE.given`).
    rows : ExploredRows or None
        Rows; None explores the latent space alone.
    name : str, default="model"
        Name of the model.
    notes : sequence of str, default=()
        What to say of model and rows.
    image_shape : tuple of int, default=None
        Shape (h, w) or (h, w, c) of rows that are flattened images.

    Examples
    --------
    >>> from latentmap import VAE, load_dataset
    >>> X, y = load_dataset("digits")
    >>> vae = VAE(2, max_epochs=1, random_state=0).fit(X)
    >>> exploration = Exploration(vae, ExploredRows.of(vae, X, y))
    >>> exploration.points.shape, exploration.decode([[0.0, 0.0]]).items[0].pixels.shape
    ((1797, 2), (8, 8))
    """

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
        if rows is None:
            self.notes.append("the rows are not here: densities are those of the prior, and nothing is known of holes")
        if not np.any(self.estimator.active_components_):
            self.notes.append("no component is active: the model has collapsed, and decodes to the same row everywhere")
        self.items: Items = items_of(self.estimator, None if rows is None else rows.values, image_shape)
        self.turns = Turns()

    @property
    def _there(self) -> ExploredRows:
        """The rows; an error where there are none."""
        if self.rows is None:
            raise DataError("there are no rows here, only the model")
        return self.rows

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.estimator.active_components_)

    @cached_property
    def moments(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Posterior mean and deviation of each row, (n, d) both."""
        return encoded(self.estimator, self._there.values)

    @cached_property
    def points(self) -> Float[np.ndarray, "n d"]:
        """Posterior mean of each row, in single precision."""
        return self.moments[0].astype(np.float32)

    @cached_property
    def extent(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Where codes lie, from low to high along each component."""
        codes = self._density.draws if self.rows is None else self.moments[0]
        low, high = codes.min(0), codes.max(0)
        room = np.where(high > low, 0.0, 1.0)  # of a component that does not vary
        return low - room, high + room

    @cached_property
    def dims(self) -> list[int]:
        """The components that are drawn by default: those with the most rate, two, or all of three."""
        amounts, _ = information_per_component(self.estimator)
        n = 3 if len(amounts) == 3 else 2
        return sorted(np.argsort(-np.nan_to_num(amounts), kind="stable")[:n].tolist())

    @cached_property
    def fields(self) -> dict[str, Field]:
        """Labels, columns and what the model says of each row, by key."""
        if self.rows is None:
            return {}
        records = self.items if isinstance(self.items, Records) else None
        columns = self.items.columns if isinstance(self.items, Records | Numbers | Lines) else ()
        found = [
            label_field(self._there),
            *column_fields(self._there, columns, records),
            *self._scores.fields(self._space, self.moments, self._density),
        ]
        return {one.key: one for one in found if one is not None}

    @cached_property
    def islands(self) -> list[Island]:
        """Labels at the middle of their islands."""
        label = self.fields.get("label")
        return [] if label is None or self.n_components < 2 else islands(self.points[:, self.dims[:2]], label)

    def meta(self) -> dict[str, Any]:
        """Return what there is to know before any other answer."""
        estimator, rows = self.estimator, self.rows
        low, high = self.extent
        there = rows is not None
        return {
            "name": self.name,
            "model": type(estimator).__name__,
            "version": __version__,
            "n": len(rows) if rows is not None else 0,
            "total": rows.total if rows is not None else 0,
            "data": None if rows is None else rows.title,
            "components": self.n_components,
            "dims": self.dims,
            "range": {"low": low, "high": high},
            "rates": None if estimator.kl_per_component_ is None else np.asarray(estimator.kl_per_component_, float),
            "active": np.asarray(estimator.active_components_, bool),
            "item": self.items.described(),
            "fields": [one.described() for one in self.fields.values()],
            "can": {
                "rows": there,
                "decode": True,
                "density": self.n_components > 1,
                "impute": there and bool(estimator.takes_missing_ and estimator.has_score_),
                "score": bool(estimator.has_score_),
                "encode": True,
                "samples": True,
                "path": True,
                "selection": there,
                "save": formats() if there else [],
            },
            "ids": rows is not None and rows.ids is not None,
            "notes": self.notes,
            "runs": [{"name": self.name}],
            "linked": False,
            "islands": self.islands,
        }

    def field(self, key: str) -> NDArray[Any]:
        """Return the values of a field: float32, NaN where missing; or codes of categories, uint16, 65535 there."""
        if key not in self.fields:
            raise DataError("key: expected the key of a field")
        return self.fields[key].values

    def density(self, x: int, y: int) -> Plane:
        """Return the density of two components on a grid."""
        if x == y or not all(0 <= one < self.n_components for one in (x, y)):
            raise DataError(f"x and y: expected two of the components from 0 to {self.n_components - 1}")
        return self._density.plane(x, y)

    @quick
    def decode(self, z: ArrayLike) -> Decoded:
        """Decode codes (m, d)."""
        return self._answer(self._codes(z))

    @quick
    def row(self, i: int) -> RowAnswer:
        """Return a row, and what the model makes of it."""
        rows, i = self._there, self._index(i)
        x = rows.values[i : i + 1]
        original = self.items(x)[0]
        missing = _missing(x, original)
        score = float(self._scores(x)[0]) if self.estimator.has_score_ else None
        rank = None if score is None else self._scores.rank(x, score)
        return RowAnswer(
            original,
            self._answer(self.points[i : i + 1]).items[0],
            self.points[i],
            None if rows.labels is None else str(rows.labels[i]),
            None if rows.ids is None else str(rows.ids[i]),
            score,
            None if rank is None else rank[0],
            missing,
            self.nearest(i, NEIGHBORS),
            self._imputed(x, missing),
        )

    def path(
        self, start: int | ArrayLike, stop: int | ArrayLike, n: int, along: Literal["straight", "density"] = "straight"
    ) -> PathAnswer:
        """Return n codes between two rows or codes, decoded: on a straight way, or where the density is high."""
        if not 2 <= n <= MOST_STEPS:
            raise DataError(f"n: expected a whole number from 2 to {MOST_STEPS}")
        a, b = (self._code(end) for end in (start, stop))
        if along == "density" and self.rows is not None and self.n_components > 1:
            codes = self._ways.along(a, b, n)
        else:
            codes = straight(self.estimator, a, b, n)
        return self._placed(codes)

    def nearest(self, i: int, k: int = NEIGHBORS) -> list[int]:
        """Return the k rows that are nearest to a row in the data space, in the units of the model."""
        if not 1 <= k <= MOST_NEAREST:
            raise DataError(f"k: expected a whole number from 1 to {MOST_NEAREST}")
        return self._space.nearest(self._index(i), k)

    @quick
    def samples(self, n: int, seed: int = 0) -> PathAnswer:
        """Draw n codes from the distribution that the model samples from, and decode them."""
        if not 1 <= n <= MOST_SAMPLES or not 0 <= seed < 2**32:
            raise DataError(f"expected n from 1 to {MOST_SAMPLES}, and a seed from 0")
        return self._placed(sample_codes(self.estimator, n, seed))

    @quick
    def encode(self, body: bytes, kind: str) -> EncodedAnswer:
        """Return where a picture or a row of text that comes from outside lies, and whether it is like the rows."""
        incoming = read_incoming(self.estimator, self.items, body, kind, tuple(self.estimator.event_shape_))
        z = encoded(self.estimator, incoming.row)[0].astype(np.float32)
        answer = self._answer(z)
        score = float(self._scores(incoming.row)[0])
        rank = self._scores.rank(incoming.row, score)
        unlike, why = self._scores.judged(score, rank, answer.hole[0])
        return EncodedAnswer(
            z[0],
            self.items(incoming.row)[0],
            answer.items[0],
            score if self.estimator.has_score_ else None,
            None if rank is None else rank[0],
            unlike,
            "; ".join(filter(None, (why, incoming.note))),
            answer.density[0],
            answer.hole[0],
        )

    def selection(self, indices: ArrayLike) -> SelectionAnswer:
        """Return what tells rows from all others."""
        label = self.fields.get("label")
        columns = [one for one in self.fields.values() if one.group == "column"]
        return described(self._indices(indices), len(self._there), label, columns, self._space)

    def save(self, indices: ArrayLike, format_: str, what: str) -> bytes:
        """Return a CSV or parquet file of rows, or of all ids and a column that marks these rows."""
        known = self.items.columns if isinstance(self.items, Numbers | Lines) else ()
        names = [one.name for one in known] or [f"x{i}" for i in range(int(np.prod(self.estimator.event_shape_)))]
        return saved(self._there, self._indices(indices), names, format_, what)

    def search(self, text: str) -> list[Found]:
        """Return rows by number, id, label or text of their columns."""
        return self._search(text)

    def prepare(self) -> None:
        """Compute what the page asks for first."""
        self.meta()
        self.decode(np.mean(self.extent, axis=0)[None])

    def warm(self) -> None:
        """Compute what the first answers about single rows need."""
        if self.rows is not None:
            self.row(0)

    @cached_property
    def _density(self) -> CodeDensity:
        if self.rows is None:
            return CodeDensity.of_prior(self.estimator)
        return CodeDensity.of_rows(self.estimator, *self.moments)

    @cached_property
    def _ways(self) -> Ways:
        return Ways(self._density, self.moments[0], functools.partial(onto, self.estimator))

    @cached_property
    def _space(self) -> DataSpace:
        return DataSpace(self.estimator, self._there.values)

    @cached_property
    def _scores(self) -> Scores:
        return Scores(self.estimator, None if self.rows is None else self.rows.values, self.turns)

    @cached_property
    def _search(self) -> Search:
        return Search(self._there, self.fields.values())

    def _answer(self, codes: NDArray[np.float32]) -> Decoded:
        rows, chances = decoded(self.estimator, codes)
        log_density = self._density(onto(self.estimator, codes))
        return Decoded(self.items(rows, chances), log_density.tolist(), self._density.holes(log_density))

    def _placed(self, codes: NDArray[Any]) -> PathAnswer:
        """Return codes with what they decode to."""
        codes = codes.astype(np.float32)
        answer = self._answer(codes)
        return PathAnswer(codes, answer.items, answer.density, answer.hole)

    def _imputed(self, x: NDArray[Any], missing: list[int]) -> list[Imputed]:
        """Return the missing cells of a row of a table, filled, with the spread of draws."""
        if not missing or not isinstance(self.items, Records | Numbers):
            return []
        if not (self.estimator.takes_missing_ and self.estimator.has_score_):
            return []
        return self.items.imputed(self._scores.draws(x, DRAWS), missing)

    def _index(self, i: int) -> int:
        if not 0 <= i < len(self._there):
            raise DataError(f"expected a row from 0 to {len(self._there) - 1}")
        return i

    def _indices(self, indices: ArrayLike) -> NDArray[np.intp]:
        """Return indices of rows, all different, in order."""
        rows = np.asarray(indices)
        if rows.size and (rows.dtype.kind not in "iu" or rows.min() < 0 or rows.max() >= len(self._there)):
            raise DataError(f"expected rows from 0 to {len(self._there) - 1}")
        return np.unique(rows.astype(np.intp))

    def _code(self, end: int | ArrayLike) -> NDArray[np.float64]:
        """Return the code of a row, or one that came."""
        if isinstance(end, int) and not isinstance(end, bool):
            return np.asarray(self.moments[0][self._index(end)])
        return np.asarray(self._codes([end])[0], np.float64)

    def _codes(self, z: Any) -> NDArray[np.float32]:
        """Return codes that came as an array (m, d)."""
        expected = f"1 to {MOST_CODES} codes of {self.n_components} numbers up to {FARTHEST:g}"
        try:
            codes = np.asarray(z)
        except (TypeError, ValueError, OverflowError) as error:
            raise DataError(f"expected {expected}") from error
        if (
            codes.dtype.kind not in "iuf"
            or codes.shape[1:] != (self.n_components,)
            or not 1 <= len(codes) <= MOST_CODES
        ):
            raise DataError(f"expected {expected}, got an array of shape {codes.shape}")
        if not (np.abs(codes) <= FARTHEST).all():
            raise DataError(f"expected {expected}")
        return codes.astype(np.float32)


def _missing(x: NDArray[Any], item: Item) -> list[int]:
    """Return the columns of an item in which its row has no value."""
    if isinstance(item, Record):
        return [i for i, cell in enumerate(item.cells) if not cell.text]
    return np.flatnonzero(np.isnan(x.reshape(-1))).tolist() if x.dtype.kind == "f" else []
