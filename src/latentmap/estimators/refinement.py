"""Refinement of a map: codes move one by one to where the neighbours of their rows are, after the encoder is fitted."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from latentmap.model.repulsion import PAIRWISE, Repulsion, fitting_scale, some_rows
from latentmap.training.device import threads_for
from latentmap.training.feed import with_self

ITERATIONS = 50
MOMENTUM, GROWTH, DECAY, LEAST_GAIN = 0.8, 0.2, 0.8, 0.01
"""Momentum of the descent, and how the gain of a value grows while it moves on, and decays where it turns back."""
RATE, ROWS, FASTER = 1 / 12, 2000, 1.5
"""Rate of the descent at so many rows, as a multiple of their number, and how much faster that of many rows is."""
FARTHEST = 0.5
"""How far a code moves at the most, in standard deviations of the codes."""
PAIRS = 5 * 10**9
"""Pairs of codes of three dimensions that are looked at in all."""
NEAREST = 15
"""Nearest rows on the map that are looked at."""
SECONDS, SECONDS_OF_ROW = 4e-3, 1.2e-6
"""What an iteration takes, about, and what it takes more for each row."""


def refined(
    codes: Float[Tensor, "N D"],
    graph: Int[Tensor, "N S"],
    *,
    exaggeration: float = 1.0,
    same: Int[Tensor, " N"] | None = None,
    fixed: Bool[Tensor, " N"] | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> Float[Tensor, "N D"]:
    r"""Return codes that keep the neighbours of their rows better than an encoder, which is smooth, can place them.

    They take fifty steps down the loss of t-SNE (van der Maaten and Hinton 2008) from the means of the encoder,

    .. math:: \rho \sum_{ij} p_{ij} \log(1 + s^2 \|z_i - z_j\|^2) + \log \sum_{i \ne j} \frac1{1 + s^2 \|z_i - z_j\|^2},

    with the momentum and the gains of t-SNE, and the scale s where the loss of the first codes is least. Most move by a
    few hundredths of the spread of the map, and none by more than half of it, so its groups, and what its places decode
    to, remain. Where the codes keep no more neighbours then, as of data that have no more dimensions than the map, they
    are returned as they were.

    Parameters
    ----------
    codes : Tensor of shape (N, D)
        Codes to begin with.
    graph : Tensor of int of shape (N, S)
        Neighbours of each row, as often as they are drawn, of which p is the share; -1 for none.
    exaggeration : float, default=1.0
        Weight rho of the attraction.
    same : Tensor of int of shape (N,), optional
        Group of each row, from 0 on: rows of a group are equal, and share a code.
    fixed : Tensor of bool of shape (N,), optional
        Rows whose codes do not move.
    ended : callable, optional
        Whether the time is over, which ends the refinement.

    Examples
    --------
    >>> line = torch.tensor([[0.0], [1.0], [1.2], [2.2], [8.0], [9.0]])
    >>> pairs = torch.tensor([[1], [0], [3], [2], [5], [4]])
    >>> z = refined(line, pairs).flatten()
    >>> bool(z[1] - z[0] < z[2] - z[1] > z[3] - z[2])
    True
    """
    n = len(codes)
    centre = codes.mean(0)
    spread = float((codes - centre).square().mean().sqrt())
    if n < 4 or not spread > 0:
        return codes
    lasting = _lasting(n, codes.shape[1])
    graph = with_self(graph)
    group = torch.arange(n, device=codes.device) if same is None else same
    start = torch.empty(int(group.max()) + 1, codes.shape[1], device=codes.device)
    start[group] = ((codes - centre) / spread).float()
    masses = torch.bincount(group, minlength=len(start)).float()
    rates = _rate(n) / max(1.0, exaggeration) / masses[:, None]  # of the mean gradient of the rows of a group
    if fixed is not None:
        rates = rates.index_fill(0, group[fixed], 0.0)
    repulsion = Repulsion()
    with threads_for(n * min(n, PAIRWISE)):
        scale = _fitting_scale(start[group], graph, exaggeration)
        first = places = scale * start
        step, gains = torch.zeros_like(places), torch.ones_like(places)
        for iteration in range(ITERATIONS):
            if ended():
                break
            if iteration % lasting == 0:
                total, away = repulsion(places, masses)
            gradient = 4 * (exaggeration * _attraction(places, group, graph) - masses[:, None] * away / total)
            gains = torch.where(gradient * step < 0, gains + GROWTH, gains * DECAY).clamp_(min=LEAST_GAIN)
            step = MOMENTUM * step - rates * gains * gradient
            moved = places + step - first
            places = first + moved * (FARTHEST * scale / moved.norm(dim=1, keepdim=True)).clamp_(max=1.0)
    ends = (places / scale).to(codes.dtype)[group] * spread + centre
    ends = ends if fixed is None else torch.where(fixed[:, None], codes, ends)
    return ends if _kept(ends, graph) > _kept(codes, graph) else codes


def _rate(rows: int) -> float:
    """Return the rate of the descent: few rows say less of their neighbours, and many are nearer to each other.

    Codes of many rows would keep more neighbours if they moved further, but decode worse.

    >>> [round(_rate(n) / n, 2) for n in (200, 2000, 50_000)]
    [0.01, 0.08, 0.12]
    """
    return RATE * rows * min(rows / ROWS, math.sqrt(rows / ROWS), FASTER)


def _lasting(rows: int, components: int) -> int:
    """Return for how many iterations repulsion is taken to last: of all pairs in three dimensions it takes long.

    >>> [_lasting(n, 3) for n in (5000, 20_000, 50_000)], _lasting(50_000, 2)
    ([1, 4, 25], 1)
    """
    return 1 if components <= 2 else math.ceil(ITERATIONS * rows**2 / PAIRS)


def _attraction(
    places: Float[Tensor, "G D"], group: Int[Tensor, " N"], graph: Int[Tensor, "N S"]
) -> Float[Tensor, "G D"]:
    """Return the sums of p_ij K_ij (y_i - y_j), where p are the shares of each among the neighbours of the other."""
    near = group[graph]
    ends, columns = near.flatten(), places.T.contiguous()  # (D, G): numbers that are gathered lie side by side
    apart = [column[group][:, None] - column[ends].view_as(near) for column in columns]  # D of (N, S)
    weights = (1 + sum(each.square() for each in apart)).reciprocal_().div_(2 * graph.numel())
    pulls = [each.mul_(weights) for each in apart]
    sums = [torch.zeros_like(one).index_add_(0, group, pull.sum(1)) for one, pull in zip(columns, pulls, strict=True)]
    return torch.stack([each.index_add_(0, ends, -pull.flatten()) for each, pull in zip(sums, pulls, strict=True)], 1)


def _fitting_scale(codes: Float[Tensor, "N D"], graph: Int[Tensor, "N S"], exaggeration: float) -> float:
    """Return the scale at which the loss of some codes, of standard deviation 1, is least."""
    some = some_rows(codes)
    near = (codes[some, None] - codes[graph[some]]).square().sum(2).flatten()
    others = torch.pdist(codes[some]).square()
    return fitting_scale(near, others, exaggeration)


def first_of_group(groups: Int[Tensor, " N"], of: Bool[Tensor, " N"] | None = None) -> Int[Tensor, " N"]:
    """Return for each row the index of the first row of its group, or the first of some; the row itself without any.

    >>> groups = torch.tensor([0, 0, 1])
    >>> first_of_group(groups).tolist(), first_of_group(groups, torch.tensor([False, True, False])).tolist()
    ([0, 0, 2], [1, 1, 2])
    """
    rows = torch.arange(len(groups), device=groups.device)
    some = rows if of is None else rows[of]
    first = torch.full((int(groups.max()) + 1,), len(groups), device=groups.device)
    found = first.scatter_reduce_(0, groups[some], some, "amin")[groups]
    return torch.where(found < len(groups), found, rows)


def refinement_seconds(rows: int) -> float:
    """Return about how long the refinement of so many rows takes."""
    return ITERATIONS * (SECONDS + SECONDS_OF_ROW * rows)


def _kept(codes: Float[Tensor, "N D"], graph: Int[Tensor, "N S"]) -> float:
    """Return the fraction of the neighbours of some rows that are among the nearest on the map."""
    n, some = len(codes), some_rows(codes)
    distances = torch.cdist(codes[some], codes)
    distances[torch.arange(len(some), device=codes.device), some] = torch.inf
    reach = distances.topk(min(NEAREST, max(1, n // 4)), largest=False).values[:, -1:]
    return float((distances.gather(1, graph[some]) <= reach).float().mean())
