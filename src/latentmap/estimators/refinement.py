"""Refinement of a map: codes move one by one to where the neighbours of their rows are, after the encoder is fitted."""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.optim import Adam

from latentmap.objectives.neighbors import contrast
from latentmap.training.device import threads_for
from latentmap.training.feed import with_self

EPOCHS, BATCH = 50, 256
"""Passes over the rows, and rows of a batch, at the most."""
RATE = 0.005
"""Learning rate at the beginning, in standard deviations of the codes."""
BETAS = (0.9, 0.99)
SHOWN, NEAREST = 1000, 15
"""Rows whose nearest are looked at on the map, and how many."""
ASKED = 50
"""Steps after which it is asked whether the time is over."""
STEP_SECONDS = 4e-4
"""What a step takes, about."""
SCALES = 2.0 ** torch.arange(0, 8, 0.5)
"""Scales of the kernel among which the one that fits the codes is chosen, per standard deviation of the codes."""


def refined(
    codes: Float[Tensor, "N D"],
    graph: Int[Tensor, "N S"],
    generator: torch.Generator,
    *,
    exaggeration: float = 1.0,
    same: Int[Tensor, " N"] | None = None,
    fixed: Bool[Tensor, " N"] | None = None,
    ended: Callable[[], bool] = lambda: False,
) -> Float[Tensor, "N D"]:
    r"""Return codes that keep the neighbours of their rows better than an encoder, which is smooth, can place them.

    They are the parameters of the contrastive loss of `latentmap.objectives.NeighborEmbedding`, as in t-SNE and UMAP,

    .. math:: \frac\rho B \sum_{(i, j)} \log(1 + s^2 \|z_i - z_j\|^2)
              + \frac1{2 B} \sum_i \log \sum_{k \ne i} \frac1{1 + s^2 \|z_i - z_k\|^2}

    over batches of B rows and a neighbour of each, and begin at the means of the encoder. Each moves by a few
    hundredths of the spread of the map, so its groups, and what its places decode to, remain. Where the codes keep no
    more neighbours then, as of data that have no more dimensions than the map, they are returned as they were.

    Parameters
    ----------
    codes : Tensor of shape (N, D)
        Codes to begin with.
    graph : Tensor of int of shape (N, S)
        Neighbours of each row, as often as they are drawn; -1 for none.
    generator : torch.Generator
        Source of the order and the draws.
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
    >>> z = refined(line, pairs, torch.Generator().manual_seed(0)).flatten()
    >>> bool(z[1] - z[0] < z[2] - z[1] > z[3] - z[2])
    True
    """
    n = len(codes)
    batch = min(BATCH, n // 2)
    steps = EPOCHS * (n // max(1, batch))
    centre = codes.mean(0)
    spread = float((codes - centre).square().mean().sqrt())
    if not steps or not spread > 0:
        return codes
    graph = with_self(graph)
    group = torch.arange(n, device=codes.device) if same is None else same
    start = torch.empty(int(group.max()) + 1, codes.shape[1], device=codes.device)
    start[group] = ((codes - centre) / spread).float()
    moves = None if fixed is None else torch.ones_like(start[:, :1]).index_fill_(0, group[fixed], 0.0)

    def drawn(index: Tensor) -> Tensor:
        choice = torch.randint(graph.shape[1], (len(index), 1), generator=generator, device=codes.device)
        return group[torch.cat([index, graph[index].gather(1, choice)[:, 0]])]

    def shuffled() -> Tensor:
        return torch.randperm(n, generator=generator, device=codes.device)

    with threads_for(batch**2):
        views = drawn(shuffled()[:batch])
        losses = [float(contrast(scale * start[views], batch, exaggeration=exaggeration)) for scale in SCALES]
        scale = float(SCALES[losses.index(min(losses))])
        places = (scale * start).requires_grad_()
        optimizer = Adam([places], RATE * scale, betas=BETAS, fused=True)
        order, at = shuffled(), 0
        for step in range(steps):
            if step % ASKED == 0 and ended():
                break
            if at + batch > n:
                order, at = shuffled(), 0
            views = drawn(order[at : at + batch])
            at += batch
            chosen = places.detach()[views].requires_grad_()
            (gradient,) = torch.autograd.grad(contrast(chosen, batch, exaggeration=exaggeration), chosen)
            places.grad = torch.zeros_like(places).index_add_(0, views, gradient)
            places.grad *= 1.0 if moves is None else moves
            optimizer.param_groups[0]["lr"] = RATE * scale * (1 - step / steps)
            optimizer.step()
    moved = (places.detach() / scale).to(codes.dtype)[group] * spread + centre
    moved = moved if fixed is None else torch.where(fixed[:, None], codes, moved)
    return moved if _kept(moved, graph) > _kept(codes, graph) else codes


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
    return EPOCHS * rows / BATCH * STEP_SECONDS


def _kept(codes: Float[Tensor, "N D"], graph: Int[Tensor, "N S"]) -> float:
    """Return the fraction of the neighbours of some rows that are among the nearest on the map."""
    n = len(codes)
    some = torch.arange(0, n, -(-n // SHOWN), device=codes.device)
    distances = torch.cdist(codes[some], codes)
    distances[torch.arange(len(some), device=codes.device), some] = torch.inf
    reach = distances.topk(min(NEAREST, max(1, n // 4)), largest=False).values[:, -1:]
    return float((distances.gather(1, graph[some]) <= reach).float().mean())
