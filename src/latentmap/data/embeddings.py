"""Columns of text as embeddings: principal components of the vectors that a function of the user's own returns."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.categories import word
from latentmap.data.cells import Cells
from latentmap.data.values import plain_array
from latentmap.exceptions import DataError, LatentmapError, ModelError
from latentmap.messages import counted, one_line

if TYPE_CHECKING:
    from latentmap.data.columns import Requested

Embed = Callable[[list[str]], Any]
"""A function of n texts that returns n vectors, an array, a tensor or a sparse matrix (n, d)."""

COMPONENTS = 8
"""The most principal components that stand for a column, so that its density does not outweigh all other columns."""
MOST_ENTRIES = 4096
BATCH = 1024
"""The texts that are embedded at a time."""
SAMPLED, SAMPLED_VALUES = 10_000, 2**24
"""The most different texts that the principal components are learned from, and the most entries of their vectors."""
PROBES = ("The quick brown fox jumps over the lazy dog.", "Arrived late, but works well", "no", "0.5 mg, once a day")
"""Texts by whose vectors a function is recognised."""
TOLERANCE = 1e-3
"""The most that their entries may differ, in units of the largest: other devices round otherwise."""


@dataclass(frozen=True)
class Embedding:
    """What a fit has learned of a column of text that enters the model as vectors.

    Attributes
    ----------
    name
        The name of the column.
    function
        The name of the function that embeds its texts.
    mean
        The mean vector, d entries.
    basis
        The directions of the principal components, (k, d).
    share
        The share of the variance that lies along them.
    probes
        The vectors of `PROBES`.
    embed
        The function; None in a run that was loaded without it.
    """

    name: str
    function: str
    mean: tuple[float, ...]
    basis: tuple[tuple[float, ...], ...]
    share: float
    probes: tuple[tuple[float, ...], ...]
    embed: Embed | None = field(default=None, compare=False, repr=False)

    def __post_init__(self) -> None:
        if not self.basis or {len(row) for row in (*self.basis, *self.probes)} != {len(self.mean)}:
            raise DataError(f"the embedding of column {self.name!r} has vectors of different lengths")

    @property
    def components(self) -> list[str]:
        """The names of the columns of numbers that stand for the column of text."""
        return [component_name(self.name, i) for i in range(len(self.basis))]

    @property
    def remark(self) -> str:
        """What became of the column, in words."""
        which = (
            f"{counted(len(self.basis), 'principal component')} of the {len(self.mean):,} entries of {self.function}"
        )
        return (
            f"column {self.name!r}: embedded as {which} ({self.share:.0%} of the variance); its text is not generated"
        )

    def cells(self, texts: Cells, name: str) -> list[Cells]:
        """Return a column of text as columns of numbers, NaN where a text is missing; a text is embedded once."""
        levels, places = different_texts(texts, name)
        return self.of_levels(self.project(self.vectors(levels, name)), places)

    def of_levels(self, values: NDArray[np.float64], places: NDArray[np.intp]) -> list[Cells]:
        """Return columns of numbers from those of the different texts, (m, k), and the place of each cell, or -1."""
        rows = np.concatenate([values, np.full((1, values.shape[1]), np.nan)])[places]
        return [Cells(column, rows[:, i].copy(), "Float32") for i, column in enumerate(self.components)]

    def project(self, vectors: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return the principal components of vectors (m, d), shape (m, k)."""
        basis = np.array(self.basis)
        components: NDArray[np.float64] = vectors.astype(np.float64) @ basis.T - np.array(self.mean) @ basis.T
        return components

    def vectors(self, texts: Sequence[str], name: str) -> NDArray[np.float32]:
        """Return the vectors of texts, (m, d)."""
        if self.embed is None:
            raise not_given(self.name, self.function)
        return embedded(self.embed, texts, f"{name}: column {self.name!r}", len(self.mean))

    def given(self, embed: Embed) -> Self:
        """Return this with its function, which must give the vectors that it gave in the fit."""
        name, where = function_name(embed), f"column {self.name!r}"
        try:
            found = embedded(embed, PROBES, where, len(self.mean))
        except DataError as error:
            raise ModelError(f"{error}; the fit had {self.function}") from error
        if not _alike(found, np.array(self.probes)):
            raise ModelError(
                f"{where}: {name} gives other vectors than {self.function} gave in the fit: give that function"
            )
        return replace(self, embed=embed)

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values, of all but the function itself."""
        return {
            "name": self.name,
            "function": self.function,
            "mean": list(self.mean),
            "basis": [list(row) for row in self.basis],
            "share": self.share,
            "probes": [list(row) for row in self.probes],
        }


def component_name(column: str, i: int) -> str:
    """Return the name of a component of a column of text."""
    return f"{column}[{i}]"


def learn_embedding(texts: Cells, settings: Mapping[str, Any], name: str) -> tuple[Embedding, list[Cells]]:
    """Learn the principal components of a column of text, and return them with the column as numbers.

    Raises
    ------
    DataError
        If the column does not hold different texts, or the function does not return one finite vector a text, always of
        the same length, and the same for the same text.
    """
    embed, where = settings["embedding"], f"{name}: column {texts.name!r}"
    if isinstance(embed, str):
        raise not_given(texts.name, embed)
    if texts.numeric and len(texts.present):
        held = "dates" if texts.type.startswith("Date") else "numbers"
        raise DataError(f"{where} is to be embedded, and holds {held}: expected text")
    levels, places = different_texts(texts, name)
    if len(levels) < 2:
        raise DataError(
            f"{where} is to be embedded, and holds {'one text only' if levels else 'no text'}: leave it out"
        )
    probes = embedded(embed, PROBES, where)
    width = probes.shape[1]
    if not _alike(embedded(embed, PROBES[:1], where, width), probes[:1]):
        raise DataError(f"{where}: {function_name(embed)} gives the same text other vectors in another call")
    most = min(len(levels), SAMPLED, SAMPLED_VALUES // width)
    chosen = np.unique(np.linspace(0, len(levels) - 1, most).round().astype(np.intp))
    sample = embedded(embed, [levels[i] for i in chosen], where, width)
    mean, basis, share = _principal_components(sample, int(settings.get("components", COMPONENTS)), where)
    rounded = tuple(_rounded(row) for row in basis)
    fingerprint = tuple(_rounded(row) for row in probes)
    learned = Embedding(texts.name, function_name(embed), _rounded(mean), rounded, share, fingerprint, embed)
    values = np.empty((len(levels), len(basis)))
    values[chosen] = learned.project(sample)
    others = np.setdiff1d(np.arange(len(levels)), chosen)
    for start in range(0, len(others), BATCH):
        some = others[start : start + BATCH]
        values[some] = learned.project(learned.vectors([levels[i] for i in some], name))
    return learned, learned.of_levels(values, places)


def with_embeddings(cells: Sequence[Cells], requested: Requested, name: str) -> tuple[list[Cells], Requested]:
    """Return columns with components in the place of text that is to be embedded, and settings that describe these."""
    settings, learned, made = dict(requested.settings), list[Embedding](), list[Cells]()
    for column in cells:
        if column.name not in requested.embedded:
            made.append(column)
            continue
        one, components = learn_embedding(column, settings.pop(column.name), name)
        if taken := {other.name for other in cells}.intersection(one.components):
            raise DataError(f"{name} has a column {min(taken)!r} beside {column.name!r}, which is embedded: rename it")
        settings |= {component: {"kind": "real", "scaling": "standard"} for component in one.components}
        made += components
        learned.append(one)
    return made, replace(requested, settings=settings, embeddings=tuple(learned))


def different_texts(cells: Cells, name: str) -> tuple[list[str], NDArray[np.intp]]:
    """Return the different texts of a column, and the place of each cell among them, -1 where it is missing."""
    if cells.unread:
        raise DataError(f"{name}: column {cells.name!r} is to be embedded, and {cells.unread}")
    levels, places = cells.levels
    there = np.array([level is not None for level in levels], dtype=bool)
    return [word(level) for level in levels if level is not None], np.where(there, np.cumsum(there) - 1, -1)[places]


def embedded(embed: Embed, texts: Sequence[str], where: str, width: int | None = None) -> NDArray[np.float32]:
    """Return the vectors of texts, (m, d), from calls with some texts each; d must be ``width`` if that is given.

    >>> embedded(lambda texts: [[len(text), 1.0] for text in texts], ["a", "bcd"], "X")
    array([[1., 1.],
           [3., 1.]], dtype=float32)
    """
    parts: list[NDArray[np.float32]] = []
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        parts.append(_checked(_called(embed, batch, where), len(batch), width, f"{where}: {function_name(embed)}"))
        width = parts[-1].shape[1]
    return np.concatenate(parts) if parts else np.empty((0, width or 0), np.float32)


def function_name(embed: Any) -> str:
    """Return the name of a function: module:name where it can be imported; of methods and objects that of the class.

    >>> function_name(component_name), function_name("".join)
    ('latentmap.data.embeddings:component_name', 'str.join')
    """
    owner, name = getattr(embed, "__self__", None), getattr(embed, "__qualname__", None)
    if owner is not None and not inspect.ismodule(owner):
        return f"{(owner if isinstance(owner, type) else type(owner)).__name__}.{embed.__name__}"
    if name is None:
        return type(embed).__name__
    importable = "<" not in name and getattr(embed, "__module__", None) not in (None, "__main__")
    return f"{embed.__module__}:{name}" if importable else name


def not_given(column: str, function: str) -> ModelError:
    """Return the error that says how to give the function of a column."""
    return ModelError(
        f"column {column!r} is embedded by {function}, which a saved run names and does not hold: give it with "
        f"latentmap.load(path, embeddings={{{column!r}: function}}), or --embed {column}=MODULE:FUNCTION"
    )


def _called(embed: Embed, batch: list[str], where: str) -> Any:
    try:
        return embed(batch)
    except LatentmapError:
        raise
    except Exception as error:
        cause = f"{type(error).__name__}: {one_line(error)[:200]}"
        raise DataError(f"{where}: {function_name(embed)} failed on {counted(len(batch), 'text')} ({cause})") from error


def _checked(values: Any, n: int, width: int | None, where: str) -> NDArray[np.float32]:
    """Return vectors as an array (n, d), d = ``width`` if that is known."""
    shape = tuple(getattr(values, "shape", ()))
    if len(shape) == 2 and shape[1] > MOST_ENTRIES:
        raise DataError(f"{where} returns vectors of {shape[1]:,} entries: expected {MOST_ENTRIES:,} at most")
    try:
        array = plain_array(values.toarray() if hasattr(values, "toarray") else values, where)
    except DataError as error:
        what = f"{where} returns a {type(values).__name__}"
        raise DataError(f"{what}: expected an array, tensor or sparse matrix (n, d) of numbers") from error
    expected = f"one vector of {f'{width} entries' if width else 'as many entries'} for each of {counted(n, 'text')}"
    if array.ndim != 2 or len(array) != n or not array.shape[1] or array.shape[1] != (width or array.shape[1]):
        raise DataError(f"{where} returns an array of shape {array.shape}: expected {expected}")
    if array.shape[1] > MOST_ENTRIES:
        raise DataError(f"{where} returns vectors of {array.shape[1]:,} entries: expected {MOST_ENTRIES:,} at most")
    with np.errstate(over="ignore"):
        array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise DataError(f"{where} returns values that are NaN or infinite: expected finite ones")
    return array


def _principal_components(
    vectors: NDArray[np.float32], most: int, where: str
) -> tuple[NDArray[Any], NDArray[Any], float]:
    """Return mean, directions and share of the variance of the first principal components that vary."""
    from sklearn.decomposition import PCA

    centred = vectors.astype(np.float64) - vectors.mean(0, dtype=np.float64)
    total = float(np.square(centred).sum())
    if total <= 1e-10 * max(float(np.square(vectors, dtype=np.float64).sum()), 1e-30):
        raise DataError(f"{where}: its texts all have the same vector: leave it out")
    found = PCA(min(most, len(vectors) - 1, vectors.shape[1]), random_state=0).fit(vectors.astype(np.float64))
    kept = found.explained_variance_ > 1e-8 * found.explained_variance_[0]
    share = float(found.explained_variance_ratio_[kept].sum())
    return found.mean_, found.components_[kept], round(share, 4)


def _rounded(values: NDArray[Any]) -> tuple[float, ...]:
    return tuple(float(f"{value:.7g}") for value in values.tolist())


def _alike(found: NDArray[Any], known: NDArray[Any]) -> bool:
    """Return whether vectors are those that are known, but for rounding."""
    return bool(np.abs(found - known).max() <= TOLERANCE * max(float(np.abs(known).max()), 1e-30))
