"""The anchor of a fit: an earlier one whose map its rows keep, or codes that were given for some of them."""

from __future__ import annotations

import copy
import hashlib
import os
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from latentmap.data.sampling import scattered
from latentmap.data.sources import Source
from latentmap.estimators.graph import neighbor_graph
from latentmap.estimators.parameters import Parameters
from latentmap.estimators.resuming import hash_of_weights
from latentmap.estimators.rows import open_as_fitted
from latentmap.estimators.state import FitState, as_tensor, require_unchanged
from latentmap.estimators.training_rows import TrainingRows
from latentmap.exceptions import DataError, DiagnosisWarning, LatentmapError, PartError
from latentmap.messages import error_line
from latentmap.model.autoencoder import GenerativeAutoencoder
from latentmap.model.distributions import Distortion, draw
from latentmap.model.noise import Generated, generator_for
from latentmap.model.posteriors.quantizers import Quantizer
from latentmap.model.scaling import Affine
from latentmap.objectives.anchor import Anchored
from latentmap.objectives.base import Objective

if TYPE_CHECKING:
    from latentmap.estimators.base import GenerativeEstimator

USUAL, NEAREST, UNLIKE = 0.9, 15, 0.3
"""Fraction of rows that count as usual, neighbours of a row that are asked too, and the unusual ones among a row and
these from which on it is unlike those of the fit: a tenth is expected, a new group has most."""
MOST = 20_000
"""Anchors of a fit, at the most."""
AGREE = 0.5
"""Distance from the median of a row's neighbours on the earlier map, in standard deviations of the codes, up to which
it keeps its place."""
PARTNERS, SOME = 5, 1 / 4
"""Linked rows of whose codes the median is looked at, and the fraction that agree, without which none are pinned."""
FEWEST = 10
"""Rows like those of the earlier fit, without which nothing can stay."""
REACH = 0.3
"""Displacement from which on an anchor gives way, in standard deviations of the codes."""
DRAWN = 1000
"""Rows drawn from the earlier model in the place of those that a piece does not hold."""
BATCH = 4096
"""Rows that are encoded at a time."""
KEPT_CHOICES = ("data", "scaling", "likelihood", "encoder", "decoder", "prior")
"""Choices of an earlier fit that are those of its model."""
ADVICE = "or leave anchor=None"


class Pinned(NamedTuple):
    """Rows of a fit that keep their places on an earlier map."""

    rows: NDArray[np.int64]
    """Their indices (m,)."""
    places: NDArray[Any]
    """The places (m, D)."""
    exactly: bool = True
    """Whether they stay at these places, or only begin there."""


class Links(NamedTuple):
    """Codes of rows that are linked to others with these codes; equal rows may be linked to several."""

    indices: NDArray[np.int64]
    """Indices of the rows (m,)."""
    codes: NDArray[Any]
    """Their codes (m, D)."""


class Matches(NamedTuple):
    """Codes of rows that resemble others with these codes, which some do by chance."""

    indices: NDArray[np.int64]
    """Indices of the rows (m,)."""
    codes: NDArray[Any]
    """Their codes (m, D)."""


@dataclass(frozen=True, eq=False)
class Anchor:
    """What keeps rows at their places.

    Parameters
    ----------
    estimator : GenerativeEstimator, default=None
        An earlier fit, which finds the codes.
    places : tuple of ndarray, default=None
        Indices (m,) of rows of the fit, and their codes (m, D).
    matched : bool, default=False
        Whether these are `Matches`, of which those that disagree with rows like them are left out.
    linked : bool, default=False
        Whether these are `Links`, of which equal rows have the median.
    """

    estimator: GenerativeEstimator | None = None
    places: tuple[NDArray[np.int64], NDArray[np.float64]] | None = None
    matched: bool = False
    linked: bool = False

    @property
    def described(self) -> str:
        """The hash of the anchor, which tells a fit from others."""
        if self.places is None:
            return hash_of_weights(self._earlier.module)
        contents = [array.tobytes() for array in self.places] + [b"matched"] * self.matched
        return hashlib.sha256(b"".join(contents)).hexdigest()

    def open(self, p: Parameters, X: Any) -> Source:
        """Open the rows of a fit that begins with the model of the earlier one."""
        estimator = copy.copy(self._fitted)
        estimator.memory = p.memory
        try:
            return open_as_fitted(estimator, self._earlier, X)
        except (ValueError, LatentmapError) as error:
            raise DataError(
                f"the rows do not have the columns of the anchor: {error_line(error)}; give rows like its, {ADVICE}"
            ) from error

    def start(self, p: Parameters, seed: int) -> FitState | None:
        """Return the model that a fit begins with, the earlier one; None for one that begins with its own.

        Raises
        ------
        PartError
            If parameters ask for another model.
        """
        if self.estimator is None:
            return None
        require_unchanged(p, self._earlier, "the anchor", "leave anchor=None")
        choices = {name: text for name, text in self._earlier.choices.items() if name in KEPT_CHOICES}
        return FitState(
            self._earlier.model,
            self._earlier.scaling,
            self._earlier.data_schema,
            seed,
            table=self._earlier.table,
            choices=choices,
        )

    def objective(
        self, base: Objective, state: FitState, source: Source, rows: TrainingRows, *, piece: bool
    ) -> tuple[Objective, str, Pinned | None]:
        """Return an objective with the anchor term, a description, and the places of rows on the earlier map.

        Parameters
        ----------
        base : Objective
            What is minimised beside it.
        state : FitState
            The fit before its first step.
        source : Source
            All rows.
        rows : TrainingRows
            Every so many of them.
        piece : bool
            Whether the rows are one of many pieces, with which rows that the earlier model draws are anchors too.
        """
        if self.places is not None:
            given, codes = self._given(source, state)
            codes = _median_of_equal(given, codes) if self.linked else codes
            reach = _reach(np.square(codes).mean())
            kept, exactly, described = self._kept(state, given, codes)
            given, codes, indices = given[kept], codes[kept], self.places[0][kept]
            pinned: Pinned | None = Pinned(indices, codes, exactly)
            anchors, goals = _scaled(state, given), as_tensor(codes).float().to(state.device)
        else:
            stay, described = self._stay(rows.some, piece=piece)
            known = rows.some[stay]
            reach = _reach(self._earlier.code_variance.mean())
            anchors = _scaled(state, known)
            anchors = torch.cat([anchors, self._drawn(state.seed)]) if piece else anchors
            with torch.no_grad():
                goals = torch.cat([self._earlier.model.eval().encode(some).mean for some in anchors.split(BATCH)])
            places = None if piece else self._earlier.locate(known)[0]
            pinned = None if places is None else Pinned(rows.numbers[stay], places)
        return Anchored(base, reach=reach, rows=anchors, codes=goals), described, pinned

    def _kept(
        self, state: FitState, rows: NDArray[Any], codes: NDArray[np.float64]
    ) -> tuple[NDArray[np.bool_], bool, str]:
        """Return which rows keep their codes, whether exactly, and a description; of `Matches`, those that agree."""
        everything = np.ones(len(rows), dtype=bool)
        if not self.matched:
            _require_one_code(rows, codes)
            if self.linked and len(rows) > PARTNERS and _agreeing(state, rows, codes).mean() < SOME:
                warnings.warn(
                    "the links put most rows where those of rows like them are not, as wrong links do, and as tables "
                    "do that say little of each other: check which row each one links, or link by shared columns",
                    DiagnosisWarning,
                    stacklevel=2,
                )
            return everything, True, f"{len(rows):,} rows at given codes (given)"
        agree = _agreeing(state, rows, codes)
        if agree.mean() >= SOME:
            return agree, True, f"{agree.sum():,} of {len(rows):,} linked rows at the places of their partners (given)"
        message = (
            f"only {agree.sum():,} of {len(rows):,} links put a row where those of rows like it do, "
            "so that the maps may not agree: the shared columns say little of the others; share more, or give links"
        )
        warnings.warn(message, DiagnosisWarning, stacklevel=2)
        return everything, False, f"{len(rows):,} linked rows near the places of their partners (given)"

    def _stay(self, some: NDArray[Any], *, piece: bool) -> tuple[NDArray[np.int64], str]:
        """Return the indices of rows that the earlier model knows, and how many they are in words."""
        looked = scattered(len(some), -(-len(some) // MOST))
        some = some[looked]
        near = nearest_rows(self._earlier, some)
        unusual, odd = oddness(self._earlier, some, near)
        placed = _agree(self._earlier.posterior(some)[0], near, self._earlier.code_variance)  # where rows like them are
        stay = looked[(~unusual & (odd < UNLIKE) & placed) | self._earlier.holds(some)]
        if not piece and len(stay) < min(FEWEST, len(some)):
            raise DataError(
                f"{len(stay)} of {len(some)} rows are like those of the anchor, too few to keep its map: "
                f"{_farthest(self._earlier, some)}; give rows in its units, among them rows like its, {ADVICE}"
            )
        described = f"{len(stay):,} of {len(some):,} rows stay, as they are like those of the earlier fit (given)"
        return stay, described

    def _given(self, source: Source, state: FitState) -> tuple[NDArray[Any], NDArray[np.float64]]:
        """Return the rows whose codes are given, and these."""
        assert self.places is not None
        indices, codes = self.places
        if len(indices) > len(source):
            raise DataError(f"anchor has {len(indices):,} rows, and there are {len(source):,} to fit: give each once")
        if indices.max() >= len(source) or indices.min() < 0:
            wrong = indices.max() if indices.max() >= len(source) else indices.min()
            raise DataError(f"anchor names row {wrong}, there are 0 to {len(source) - 1}")
        if codes.shape[1] != state.model.sizes.latent:
            raise DataError(f"anchor has codes with {codes.shape[1]} components, expected {state.model.sizes.latent}")
        rows = np.asarray(source.read(indices))
        return rows.reshape(len(rows), -1), codes

    def _drawn(self, seed: int) -> Tensor:
        """Draw rows from the earlier model, in its units."""
        model, noise = self._earlier.model.eval(), Generated(generator_for(seed, self._earlier.device))
        return draw(model.decode(draw(model.prior(), (DRAWN,), noise).float()), (), noise).float()

    @property
    def _fitted(self) -> GenerativeEstimator:
        assert self.estimator is not None
        return self.estimator

    @property
    def _earlier(self) -> FitState:
        return self._fitted.state_


def _agree(codes: NDArray[Any], near: NDArray[np.int64], variance: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows lie near the median of their neighbours on a map; others are misplaced, or linked by chance."""
    off = np.linalg.norm(codes - np.median(codes[near], axis=1), axis=1)
    return np.asarray(off <= AGREE * float(np.sqrt(variance.mean())))


def _agreeing(state: FitState, rows: NDArray[Any], codes: NDArray[Any]) -> NDArray[np.bool_]:
    """Return which rows have a code near those of the rows like them."""
    return _agree(codes, nearest_rows(state, rows)[:, :PARTNERS], codes.var(0))


def _reach(variance: Any) -> float:
    """Return the displacement from which on an anchor gives way, for codes of this variance."""
    return REACH * (float(np.sqrt(variance)) or 1.0)


@torch.no_grad()
def _scaled(state: FitState, rows: NDArray[Any]) -> Tensor:
    """Return rows in the units of the model, in single precision."""
    scaled: Tensor = state.scaling(as_tensor(rows).to(state.device)).float()
    return scaled


def read_anchor(p: Parameters) -> Anchor | None:
    """Return the anchor of a fit, if any, read from the folder of a run where it is one.

    Raises
    ------
    PartError
        If it is no anchor, or the model can have none.
    DataError
        If codes of rows contradict each other.
    """
    anchor: Any = p.anchor
    if anchor is None:
        return None
    if p.condition is not None:
        raise PartError(
            f"an anchored model has no condition, got condition={p.condition!r}; {ADVICE.removeprefix('or ')}"
        )
    if isinstance(anchor, tuple | list):
        return Anchor(places=_places(anchor), matched=isinstance(anchor, Matches), linked=isinstance(anchor, Links))
    if isinstance(anchor, str | os.PathLike):
        from latentmap.estimators.persistence import load

        try:
            anchor = load(anchor)
        except LatentmapError as error:
            raise PartError(
                f"anchor {os.fspath(anchor)} is no run to fit to ({error_line(error)}); give the folder of a run, a "
                f"fitted {type(p).__name__}, {ADVICE}"
            ) from error
    if type(anchor).__name__ != type(p).__name__ and not isinstance(anchor, type(p)):
        raise PartError(f"anchor is of class {type(anchor).__name__}, expected {type(p).__name__}, as this one")
    if anchor._state is None:
        raise PartError(f"anchor is an estimator that is not fitted: fit it first, {ADVICE}")
    if anchor.condition is not None:
        raise PartError("anchor has a condition, which the places on its map depend on; give one without")
    if isinstance(anchor._state.model.parts.posterior, Quantizer):
        raise PartError("anchor has quantised codes, which cannot move a little; give one with other codes")
    return Anchor(anchor)


def nearest_rows(state: FitState, rows: NDArray[Any]) -> NDArray[np.int64]:
    """Return the nearest 15 other rows of each, in encoder inputs, or all others; of a single row none."""
    if len(rows) < 2:
        return np.empty((len(rows), 0), dtype=np.int64)
    inputs = torch.from_numpy(np.asarray(state.encoder_inputs(rows)))
    return neighbor_graph(inputs, min(NEAREST, len(rows) - 1)).cpu().numpy()


def oddness(
    state: FitState, rows: NDArray[Any], near: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.bool_], NDArray[np.float64]]:
    """Return which rows a model decodes worse than nine in ten of its own, and their fraction among nearby rows.

    The cost of a row is -log p(x|z) at the mean of q(z|x). The fraction is over the row and those near it, by default
    its `nearest_rows`.
    """
    limit = np.inf if state.usual_cost is None else state.usual_cost
    unusual = ~(decoding_costs(state, rows) <= limit)
    near = nearest_rows(state, rows) if near is None else near
    return unusual, np.column_stack([unusual, unusual[near]]).mean(1)


def decoding_costs(state: FitState, rows: NDArray[Any]) -> NDArray[Any]:
    """Return -log p(x|z) of each row at the mean of q(z|x), nats, in the model's units."""
    return state.map(rows, _costs)


def usual_cost(state: FitState, rows: NDArray[Any]) -> float | None:
    """Return the cost that `USUAL` of the rows of a fit stay below; None where it is not finite."""
    if state.condition is not None:
        return None
    cost = float(np.quantile(decoding_costs(state, rows), USUAL))
    return cost if np.isfinite(cost) else None


def _costs(model: GenerativeAutoencoder, scaling: Affine, rows: Tensor) -> Tensor:
    x = scaling(rows)
    px = model.reconstruct(x)
    return px.cost(x) if isinstance(px, Distortion) else -px.log_prob(x)


def _places(anchor: Any) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Read (indices, codes)."""
    expected = "anchor=(indices, codes) takes the indices (m,) of rows and their codes (m, n_components)"
    if len(anchor) != 2:
        raise DataError(f"{expected}, got {len(anchor)} values")
    try:
        indices, codes = np.asarray(anchor[0]), np.asarray(anchor[1])
    except ValueError as error:
        raise DataError(f"{expected}, got lists of different lengths") from error
    if indices.ndim != 1 or codes.ndim != 2 or len(indices) != len(codes) or not len(indices):
        raise DataError(f"{expected}, got shapes {indices.shape} and {codes.shape}")
    if indices.dtype.kind not in "iu" or codes.dtype.kind not in "fiu" or not np.isfinite(codes).all():
        raise DataError(f"{expected}: whole numbers, and finite numbers; got others")
    names, counts = np.unique(indices, return_counts=True)
    if (counts > 1).any():
        raise DataError(f"anchor has two codes for row {names[counts > 1][0]}; give one")
    return indices.astype(np.int64), codes.astype(np.float64)


def _require_one_code(rows: NDArray[Any], codes: NDArray[np.float64]) -> None:
    """Raise if rows that are equal have different codes."""
    contents: dict[bytes, int] = {}
    for row, (content, code) in enumerate(zip(rows, codes, strict=True)):
        first = contents.setdefault((content + 0.0).tobytes(), row)  # -0.0 is 0.0
        if (codes[first] != code).any():
            raise DataError(
                f"anchor has two codes for equal rows, {codes[first].tolist()} and {code.tolist()}; give equal rows one"
            )


def _median_of_equal(rows: NDArray[Any], codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the median of the codes of rows that are equal, for each."""
    _, groups = np.unique(rows + 0.0, axis=0, return_inverse=True)
    medians = [np.median(codes[groups == group], axis=0) for group in range(int(groups.max()) + 1)]
    return np.array(medians)[groups]


def _farthest(state: FitState, rows: NDArray[Any]) -> str:
    """Name the column whose values lie farthest from those of the earlier fit, in its units."""
    scaled = state.map(rows, lambda model, scaling, x: scaling(x))
    middle = np.abs(np.nanmedian(scaled, axis=0))
    worst = int(np.nanargmax(middle)) if np.isfinite(middle).any() else 0
    names = state.data_schema.names
    column = f"column {repr(names[worst]) if names else worst}"
    return f"in {column}, the median is {middle[worst]:.3g} of the anchor's scales from its origin"
