"""Refinement of a map: codes move one by one to where the neighbours of their rows are, after the encoder is fitted."""

from __future__ import annotations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torch.optim import Adam

from latentmap.objectives.neighbors import contrast
from latentmap.training.device import threads_for

EPOCHS, BATCH = 50, 256
"""Passes over the rows, and rows of a batch, at the most."""
RATE = 0.005
"""Learning rate at the beginning, in standard deviations of the codes."""
BETAS = (0.9, 0.99)
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
    most_steps: int | None = None,
) -> Float[Tensor, "N D"]:
    r"""Return codes that keep the neighbours of their rows better than an encoder, which is smooth, can place them.

    They are the parameters of the contrastive loss of `latentmap.objectives.NeighborEmbedding`, as in t-SNE and UMAP,

    .. math:: \frac\rho B \sum_{(i, j)} \log(1 + s^2 \|z_i - z_j\|^2)
              + \frac1{2 B} \sum_i \log \sum_{k \ne i} \frac1{1 + s^2 \|z_i - z_k\|^2}

    over batches of B rows and a neighbour of each, and begin at the means of the encoder. Each moves by a few
    hundredths of the spread of the map, so its groups, and what its places decode to, remain.

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
    most_steps : int, optional
        Steps at the most; by default those of 50 passes.

    Examples
    --------
    >>> line = torch.arange(6.0)[:, None]
    >>> near = torch.tensor([[1, 1], [0, 0], [3, 3], [2, 2], [5, 5], [4, 4]])
    >>> pairs = refined(line, near, torch.Generator().manual_seed(0)).flatten()
    >>> bool(pairs[1] - pairs[0] < 1 < pairs[2] - pairs[1])
    True
    """
    n = len(codes)
    batch = min(BATCH, n // 2)
    steps = EPOCHS * (n // max(1, batch))
    steps = steps if most_steps is None else min(steps, most_steps)
    centre = codes.mean(0)
    spread = float((codes - centre).square().mean().sqrt())
    if not steps or not spread > 0:
        return codes
    own = torch.arange(n, device=codes.device)
    graph = torch.where(graph < 0, own[:, None], graph)
    group = own if same is None else same
    members = torch.zeros(int(group.max()) + 1, dtype=codes.dtype, device=codes.device).index_add_(
        0, group, torch.ones_like(codes[:, 0])
    )
    start = torch.zeros(len(members), codes.shape[1], dtype=codes.dtype, device=codes.device)
    start = (start.index_add_(0, group, codes - centre) / members[:, None] / spread).float()
    moves = None if fixed is None else torch.ones_like(members).index_fill_(0, group[fixed], 0.0)[:, None].float()

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
    return moved if fixed is None else torch.where(fixed[:, None], codes, moved)
