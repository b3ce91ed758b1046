"""The result of a comparison: its numbers, its tables as text, and its conclusions."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from operator import attrgetter
from typing import Any

import numpy as np

from latentmap.evaluation.claims import Claim, Measured, Part, verdicts
from latentmap.evaluation.conclusions import conclude
from latentmap.evaluation.intervals import rounded, with_spread
from latentmap.evaluation.samplers import SAMPLERS
from latentmap.evaluation.scores import Scores
from latentmap.evaluation.stability import Stability

__all__ = ["Comparison", "GeneratedRows"]

KINDS = {
    "gaps": "points in gaps",
    "coverage": "coverage",
    "density": "density",
    "frechet": "Frechet distance",
    "nearest": "nearest real row",
    "balance": "class imbalance",
    "confidence": "confidence (not counted)",
}
"""Measures of generated rows, and their names in the table."""


@dataclass(frozen=True)
class GeneratedRows:
    """Measures of rows decoded from random points of one model, drawn from one distribution, over several fits.

    Parameters
    ----------
    model : str
        Title of the model; "real rows" for training rows in the place of generated ones.
    n_components : int or None
        Components of its latent space.
    sampler : str
        Name of the distribution, a key of `latentmap.evaluation.samplers.SAMPLERS`; empty for real rows.
    values : dict
        Name of a measure to its values, one a fit.
    """

    model: str
    n_components: int | None
    sampler: str
    values: dict[str, tuple[float, ...]]

    @classmethod
    def of(cls, model: str, n_components: int | None, sampler: str, fits: Sequence[Measured]) -> GeneratedRows:
        """Take the measures of one distribution from those of several fits.

        Parameters
        ----------
        model : str
            Title of the model.
        n_components : int or None
            Components of its latent space; None for real rows.
        sampler : str
            Name of the distribution; empty for real rows.
        fits : sequence of Measured
            Measures of each fit.

        Returns
        -------
        GeneratedRows
            The measures that all fits have.
        """
        ending = f"_{sampler}" if sampler else ""
        values = {kind: tuple(m.values[kind + ending] for m in fits if kind + ending in m.values) for kind in KINDS}
        return cls(model, n_components, sampler, {kind: v for kind, v in values.items() if len(v) == len(fits)})

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        values = {kind: list(v) for kind, v in self.values.items()}
        return asdict(self) | {"values": values, "is": SAMPLERS[self.sampler].text if self.sampler else ""}


@dataclass(frozen=True)
class Comparison:
    """Result of `compare`.

    Parameters
    ----------
    scores : tuple of Scores
        Means over the fits, one for each method, in the order of ``methods``.
    claims : tuple of Claim
        Claims about a VAE against an autoencoder, if both were compared; see `latentmap.evaluation.claims`.
    settings : dict
        Numbers of rows, seed, units and feature space: all that the numbers depend on, as plain JSON values.
    maps : dict
        Title of a method to its map of the training rows of the first fit, (n, n_components).
    labels : ndarray of shape (n,) or None
        Labels of these rows.
    new_maps : dict
        Title to the map of the new rows, (m, n_components), for methods that can embed them.
    new_labels : ndarray of shape (m,) or None
        Labels of the new rows.
    estimators : dict
        Estimators of the first fit, by the name of the method.
    sampled : dict, default={}
        Number of components to the autoencoder and the VAE of the first fit that the claims were measured on.
    generated : tuple of GeneratedRows, default=()
        Measures of rows decoded from random points, for each model and distribution.
    spread : tuple of Scores, default=()
        Standard deviations over fits; empty for a single one.
    stability : tuple of Stability, default=()
        Agreement of the maps of refits, for several fits.
    """

    scores: tuple[Scores, ...]
    claims: tuple[Claim, ...]
    settings: dict[str, Any]
    maps: dict[str, np.ndarray] = field(repr=False)
    labels: np.ndarray | None = field(repr=False)
    new_maps: dict[str, np.ndarray] = field(repr=False)
    new_labels: np.ndarray | None = field(repr=False)
    estimators: dict[str, Any] = field(repr=False)
    sampled: dict[int, dict[str, Any]] = field(default_factory=dict, repr=False)
    generated: tuple[GeneratedRows, ...] = ()
    spread: tuple[Scores, ...] = ()
    stability: tuple[Stability, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return everything but arrays and estimators, as plain JSON values."""
        counts = verdicts(self.claims)
        return {
            "settings": self.settings,
            "methods": [scores.to_json() for scores in self.scores],
            "spread": [scores.to_json() for scores in self.spread],
            "stability": [asdict(stability) for stability in self.stability],
            "conclusions": self.conclusions(),
            "claims": [claim.to_json() for claim in self.claims],
            "verdicts": {part: {str(d): tally for d, tally in of.items()} for part, of in counts.items()},
            "generated": [generated.to_json() for generated in self.generated],
        }

    def conclusions(self, part: Part | None = None) -> list[str]:
        """Return what the claims amount to: a sentence for each part of them and number of components.

        Parameters
        ----------
        part : {"compact", "smooth", "realistic", "repaired"}, optional
            Part of the claims; all if None.

        Returns
        -------
        list of str
            Sentences, with their numbers.
        """
        return conclude([claim for claim in self.claims if part in (None, claim.measure.claim)])

    def to_markdown(self) -> str:
        """Return conclusions and tables as a page in Markdown."""
        tables = {
            "Methods": self.table(),
            "Random points": self.generated_table(),
            "Claims": self.claims_table(),
        }
        sentences = "\n".join(f"* {sentence}" for sentence in self.conclusions())
        sections = {"Conclusions": sentences} | {name: _markdown(rows) for name, rows in tables.items() if rows}
        return "\n\n".join(f"## {name}\n\n{text}" for name, text in sections.items() if text) + "\n"

    def table(self) -> list[list[str]]:
        """Return the scores as rows of text, the first with the names of the columns."""
        k = max((k for s in self.scores for k in s.neighbor_accuracy or s.training_accuracy or ()), default=None)
        measured = any(stability.halves is not None for stability in self.stability)
        columns = {
            "method": [scores.method for scores in self.scores],
            f"{k}-NN accuracy": self._accuracy(k) if k else [],
            "trustworthiness": self._column(attrgetter("trustworthiness")),
            "reconstruction error": self._column(attrgetter("reconstruction_error")),
            "seconds to fit": self._column(attrgetter("fit_seconds"), 2),
            "seconds to embed": self._column(attrgetter("embed_seconds"), 3),
            "moves by seed": [_text(stability.seeds) for stability in self.stability],
            "moves by half of the rows": [_text(s.halves) for s in self.stability if measured],
        }
        for i, scores in enumerate(self.scores):
            columns["trustworthiness"][i] += " (training rows)" if scores.rows == "training" else ""
            if scores.unmeasured:
                columns["reconstruction error"][i] = "not measured"
        columns = {name: cells for name, cells in columns.items() if cells}
        return [list(columns), *map(list, zip(*columns.values(), strict=True))]

    def _accuracy(self, k: int) -> list[str]:
        """Return the accuracy of new rows, or beside "cannot" that of training rows."""
        new = self._column(lambda scores: (scores.neighbor_accuracy or {}).get(k))
        training = self._column(lambda scores: (scores.training_accuracy or {}).get(k))
        return [a if b == "cannot" else f"cannot; {b} (training rows)" for a, b in zip(new, training, strict=True)]

    def _column(self, of: Callable[[Scores], float | None], most: int = 6) -> list[str]:
        """Return one number of each method as text, with its standard deviation over fits where there is one."""
        spread = [of(scores) for scores in self.spread] or [None] * len(self.scores)
        return [_text(of(scores), deviation, most) for scores, deviation in zip(self.scores, spread, strict=True)]

    def claims_table(self) -> list[list[str]]:
        """Return the claims as rows of text, the first with the names of the columns; empty without claims."""
        head = ["claim", "components", "measure", "autoencoder", "VAE", "real rows"]
        head += ["VAE against autoencoder [95% interval]", "claimed", "verdict"]
        rows = [
            [claim.measure.claim, str(claim.n_components), claim.measure.text, _mean(claim.autoencoder)]
            + [_mean(claim.vae), _mean(claim.real, ""), str(claim.difference or ""), claim.measure.expected]
            + [claim.verdict + (f": {claim.reason}" if claim.reason else "")]
            for claim in self.claims
        ]
        return [head, *rows] if rows else []

    def generated_table(self) -> list[list[str]]:
        """Return the measures of decoded random points as rows of text, the first with the names of the columns."""
        rows = [
            [each.model, str(each.n_components or ""), SAMPLERS[each.sampler].title if each.sampler else ""]
            + [_mean(each.values.get(kind, ()), "cannot" if each.sampler else "") for kind in KINDS]
            for each in self.generated
        ]
        return [["model", "components", "points drawn from", *KINDS.values()], *rows] if rows else []


def _markdown(rows: Sequence[Sequence[str]]) -> str:
    cells = [[cell.replace("|", "\\|") for cell in row] for row in rows]
    lines = [cells[0], ["---"] * len(cells[0]), *cells[1:]]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _text(value: float | None, deviation: float | None = None, most: int = 6) -> str:
    return "cannot" if value is None else rounded(value, deviation, most)


def _mean(values: Sequence[float], blank: str = "cannot") -> str:
    return with_spread(values) if values else blank
