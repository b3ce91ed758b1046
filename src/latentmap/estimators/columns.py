"""What a user says of the columns of a table, and a fitted model that meets its rows as numbers."""

from __future__ import annotations

import copy
import math
import os
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
from numpy.typing import NDArray

from latentmap.data.columns import EMBEDDED, SETTINGS, Requested
from latentmap.data.embeddings import COMPONENTS, Embed, function_name
from latentmap.data.formats.annotated import is_annotated
from latentmap.data.formats.sparse import SparseSource
from latentmap.data.frames import only_columns
from latentmap.data.selection import Selection
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError, ModelError, PartError
from latentmap.messages import suggest
from latentmap.model.likelihoods import Likelihood
from latentmap.model.part import Part, whole


@dataclass(frozen=True)
class Columns(Part):
    """What is known of some columns of a table; what is left open, `fit` infers from their types and values.

    Parameters
    ----------
    columns : mapping of str to str, callable or mapping, default={}
        By the name of a column its kind ("real", "count", "binary", "categorical", "ordinal", "cyclic", "date"; "drop"
        leaves it out, unread), or settings: ``kind``; ``scaling`` ("standard", "log", "log1p" or "none");
        ``categories``, all in their order; ``other``, a last one for others; ``lowest`` and ``highest``, within which
        generated values stay; ``period`` of a cyclic column; ``likelihood``, a part such as
        ``likelihoods.StudentT("feature")``; and ``format``, the pattern of dates in text, such as "%d/%m/%Y". Of a
        column of text its embedding: a function of a list of n texts that returns n vectors, an array, tensor or sparse
        matrix (n, d), such as ``SentenceTransformer.encode``. The column then counts as the first principal components
        of these vectors, at most 8; ``{"embedding": function, "components": 16}`` takes more.
    unseen : {"error", "missing"}, default="error"
        How `transform` and all others take a category that the fit did not contain: as an error, or a missing cell.
    missing : sequence of str, default=()
        What marks a missing cell in text, besides blanks, NA, null and the like: "-99", "unknown".

    Raises
    ------
    PartError
        If a setting is not known.

    Examples
    --------
    >>> import pandas as pd
    >>> from latentmap import VAE, Columns
    >>> sizes = pd.DataFrame({"size": ["S", "M", "L", "M"] * 30, "price": [4.0, 5.5, 7.0, 5.0] * 30})
    >>> columns = Columns({"size": {"kind": "ordinal", "categories": ("S", "M", "L")}})
    >>> vae = VAE(1, columns=columns, neighbors=None, random_state=0).fit(sizes)
    >>> vae.sample(2, random_state=0).columns.tolist()
    ['size', 'price']
    """

    columns: Mapping[str, str | Embed | Mapping[str, Any]] = field(default_factory=dict)
    unseen: Literal["error", "missing"] = "error"
    missing: Sequence[str] = ()

    def __post_init__(self) -> None:
        if isinstance(self.missing, str) or not all(isinstance(mark, str) for mark in self.missing):
            raise PartError(f"missing must be marks of missing cells, such as ('-99', 'unknown'), got {self.missing!r}")
        if self.unseen not in ("error", "missing"):
            raise PartError(f"unseen must be 'error' or 'missing', got {self.unseen!r}")
        if not isinstance(self.columns, Mapping):
            raise PartError(
                f"columns must be kinds or settings by name, such as {{'age': 'count'}}, got {self.columns!r}"
            )
        for name, one in self.columns.items():
            if not (isinstance(one, str | Mapping) or callable(one)):
                raise PartError(f"column {name!r} must have a kind, such as 'count', or settings by name, got {one!r}")
        for name, given in self._settings().items():
            known = EMBEDDED if "embedding" in given else SETTINGS
            for key in given:
                if key not in known:
                    raise PartError(f"column {name!r} has no setting {key!r}: {suggest(key, known)}")
            if not isinstance(embed := given.get("embedding", ""), str) and not callable(embed):
                raise PartError(f"embedding of column {name!r} must be a function of a list of texts, got {embed!r}")
            whole(f"components of column {name!r}", given.get("components", 1))
            part = given.get("likelihood")
            if part is not None and not isinstance(part, Likelihood):
                raise PartError(f"likelihood of column {name!r} must be one of latentmap.likelihoods, got {part!r}")
            _require_settings(name, given)

    @property
    def requested(self) -> Requested:
        """Settings of the columns, without likelihoods' own meaning, for reading the data."""
        return Requested(self._settings(), self.unseen, tuple(self.missing))

    @property
    def likelihoods(self) -> dict[str, Likelihood]:
        """Likelihoods that were given, by column."""
        return {name: one["likelihood"] for name, one in self._settings().items() if "likelihood" in one}

    def with_embeddings(self, embeddings: Mapping[str, Embed]) -> Self:
        """Return these with functions that embed columns of text, by name.

        Parameters
        ----------
        embeddings : mapping of str to callable
            Functions, each of a list of texts.

        Returns
        -------
        Columns
            The settings.
        """
        settings = self._settings()
        given = {
            name: {"embedding": embed, "components": settings.get(name, {}).get("components", COMPONENTS)}
            for name, embed in embeddings.items()
        }
        return replace(self, columns={**self.columns, **given})

    def to_json(self) -> dict[str, Any]:
        """Return the settings as plain JSON, with the names of functions."""
        named = {
            name: one | {"embedding": function_name(one["embedding"])}
            for name, one in self._settings().items()
            if callable(one.get("embedding"))
        }
        return super(Columns, replace(self, columns={**self.columns, **named})).to_json()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        embeddings = [one["embedding"] for one in self._settings().values() if "embedding" in one]
        memo |= {id(one): one for one in embeddings}  # a model that embeds text is large, and is no part of the copy
        return replace(self, columns=copy.deepcopy(self.columns, memo))

    def _settings(self) -> dict[str, dict[str, Any]]:
        return {str(name): _as_settings(one) for name, one in self.columns.items()}

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Self:
        """Read a TOML file: tables ``[columns.NAME]``, ``unseen`` and ``missing``; likelihoods by name.

        Parameters
        ----------
        path : str or path
            The file.

        Returns
        -------
        Columns
            The settings.

        Raises
        ------
        DataError
            If the file cannot be read as that.
        """
        file = Path(path)
        try:
            content = tomllib.loads(file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
            cause = error.strerror if isinstance(error, OSError) else error
            raise DataError(f"{file} cannot be read as TOML: {cause}") from error
        unknown = [key for key in content if key not in ("columns", "unseen", "missing")]
        if unknown:
            raise DataError(
                f"{file} has no use for {unknown[0]!r}: write [columns.NAME] for a column, unseen or missing = ..."
            )
        columns = {name: _with_part(one) for name, one in content.get("columns", {}).items()}
        for name, one in columns.items():
            if isinstance(one, Mapping) and "embedding" in one:
                raise DataError(
                    f"{file}: column {name!r}: no file names code to run; give --embed {name}=MODULE:FUNCTION"
                )
        try:
            return cls(columns, content.get("unseen", "error"), tuple(content.get("missing", ())))
        except PartError as error:
            raise DataError(f"{file}: {error}") from error


def give_embeddings(estimator: Any, embeddings: Mapping[str, Embed]) -> None:
    """Give a loaded model the functions that embed its columns of text.

    Raises
    ------
    ModelError
        If the model embeds no such column or has no settings of columns, or a function gives other vectors than that of
        the fit.
    """
    table = getattr(estimator, "table_", None)
    known = {} if table is None else {one.name: one for one in table.embeddings}
    for name in embeddings:
        if name not in known:
            have = (
                f"the columns that are embedded are {', '.join(map(repr, known))}" if known else "no column is embedded"
            )
            raise ModelError(f"this model does not embed column {name!r}: {have}")
    if embeddings and not isinstance(estimator.columns, Columns):
        got = f"its parameter columns is {type(estimator.columns).__name__}, expected Columns"
        raise ModelError(f"this model embeds {', '.join(map(repr, known))}, and {got}: save it again with its columns")
    made = tuple(one.given(embeddings[name]) if name in embeddings else one for name, one in known.items())
    if table is not None:
        estimator.state_ = replace(estimator.state_, table=replace(table, embeddings=made))
        estimator.columns = estimator.columns.with_embeddings(embeddings) if embeddings else estimator.columns


def _require_settings(name: str, given: Mapping[str, Any]) -> None:
    """Require settings of a column that fit together."""
    where, kind = f"column {name!r}", given.get("kind")
    for key in ("kind", "scaling", "other", "format"):
        if given.get(key) is not None and not isinstance(given[key], str):
            raise PartError(f"{where}: {key} must be text, got {given[key]!r}")
    categories = given.get("categories", ())
    if isinstance(categories, str) or not isinstance(categories, Sequence):
        raise PartError(f"{where}: categories must be a list, such as ['low', 'high'], got {categories!r}")
    if not all(isinstance(one, str | int | float) for one in categories):
        raise PartError(f"{where}: categories must be text or numbers, got {categories!r}")
    if len(set(categories)) < len(categories):
        raise PartError(f"{where}: categories must be all different, got {list(categories)!r}")
    for key in ("lowest", "highest", "period"):
        if isinstance(given.get(key), float) and not math.isfinite(given[key]):
            raise PartError(f"{where}: {key} must be finite, got {given[key]!r}")
    if categories or kind in ("categorical", "ordinal", "binary"):
        for key in ("scaling", "lowest", "highest", "period"):
            if given.get(key) not in (None, "none"):
                raise PartError(f"{where}: {key} is for numbers, and the column is of categories")
    if "period" in given and kind not in (None, "cyclic", "drop"):
        raise PartError(f"{where}: period is for the kind cyclic, got {kind!r}")


def numbers(estimator: Any, X: Any = None) -> tuple[Any, NDArray[Any] | None]:
    """Return a fitted model that takes and returns rows of a table as numbers, and X as such.

    A data frame of numbers stays one, without the columns that the fit did not have; an ``AnnData`` becomes its matrix.
    """
    if getattr(estimator, "table_", None) is None:
        schema = getattr(estimator, "data_schema_", None)
        if is_annotated(X):
            source = open_source(X, selection=Selection(wanted=None if schema is None else schema.names))
            return estimator, source.rows if isinstance(source, SparseSource) else source.read(slice(None))
        return estimator, X if schema is None else only_columns(X, schema.names)
    plain = copy.copy(estimator)
    plain._as_numbers = True
    if X is None or isinstance(X, np.ndarray):
        return plain, X
    return plain, estimator.encode_table(X)


def _as_settings(given: str | Embed | Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a column that is described by its kind, its embedding or a mapping."""
    if isinstance(given, Mapping):
        return dict(given)
    return {"kind": given} if isinstance(given, str) else {"embedding": given}


def _with_part(given: Any) -> Any:
    """Turn the name of a likelihood into one of each column, as its parts have it by default."""
    if not isinstance(given, Mapping) or not isinstance(given.get("likelihood"), str):
        return given
    from latentmap.model import likelihoods

    name = given["likelihood"]
    kind = getattr(likelihoods, name, None) if name in likelihoods.__all__ else None
    if kind is None:
        raise DataError(f"no likelihood is called {name!r}: {suggest(name, likelihoods.__all__)}")
    return {**given, "likelihood": kind()}
