"""The nearest rows, exactly: by products of matrices, and by differences where products cannot tell."""

from __future__ import annotations

import torch
from jaxtyping import Float, Int
from torch import Tensor

BLOCK = {"cpu": 2**22, "cuda": 2**27}
"""Distances held at a time: on a processor, what stays in its cache."""
GROUP = 32
"""Distances of which only the least is looked at first."""
SPARE = 5
"""Candidates beyond the k nearest that are measured by differences, too."""
TOLERANCE = 1e-4
"""Fraction of a squared distance by which a row that is left out may be nearer than the k-th neighbour."""
ROUNDING = {"highest": 2.0**-24, "high": 2.0**-11, "medium": 2.0**-8}
"""Relative rounding of products in single precision, by `torch.get_float32_matmul_precision`."""


def nearest(points: Float[Tensor, "N C"], k: int, queries: Float[Tensor, "M C"] | None = None) -> Int[Tensor, "M k"]:
    r"""Return the k nearest other points of each point, or of each query, nearest first.

    By products of matrices, :math:`|y|^2 - 2 x^\top y`, in single precision, whose rounding moves a squared distance by
    no more than

    .. math:: E(x) = u\,(4 \sqrt C + 8)\,|x|^2

    with the relative rounding u, since a row y with :math:`|y| > 2|x|` is as far off as it is long. Distances are taken
    from the median of each column, which far rows do not move. Where E is no small fraction of the k-th distance, a few
    more candidates are put in order by differences in double precision; where the k-th is then not below the last of
    them by E, a row that was left out may be nearer, and the row is searched again by products in double precision.
    What is in doubt even then is decided by the differences to all rows.

    >>> nearest(torch.tensor([[0.0], [1.0], [10.0], [12.0]]) + 1e6, k=1).tolist()
    [[1], [0], [3], [2]]
    """
    itself = queries is None
    centre = points[:: max(1, len(points) // 10_000)].median(0).values.double()
    points = points.double() - centre
    queries = points if queries is None else queries.double() - centre
    unit = max(float(rows.abs().max()) for rows in (points, queries) if len(rows)) or 1.0
    if not 1e-3 < unit < 1e3:  # squares stay within single precision
        points, queries = points / unit, points / unit if itself else queries / unit
    neighbors = torch.empty(len(queries), k, dtype=torch.long, device=points.device)
    rows = torch.arange(len(queries), device=points.device)
    for dtype in (torch.float32, torch.float64):
        rows = _by_products(points, queries, rows, itself, dtype, neighbors)
    for some in rows.split(block_size(points)):
        distances = torch.cdist(queries[some], points, compute_mode="donot_use_mm_for_euclid_dist")
        if itself:
            distances.scatter_(1, some[:, None], torch.inf)
        neighbors[some] = distances.topk(k, largest=False).indices
    return neighbors


def block_size(points: Tensor) -> int:
    """Rows whose distances to all points are held at a time."""
    return max(1, BLOCK.get(points.device.type, 2**24) // len(points))


def _by_products(
    points: Tensor, queries: Tensor, rows: Int[Tensor, " R"], itself: bool, dtype: torch.dtype, neighbors: Tensor
) -> Int[Tensor, " D"]:
    """Write the neighbours of some rows into the result, and return those rows for which they are in doubt."""
    n, k, in_doubt = len(points), neighbors.shape[1], [rows[:0]]
    last = min(k + SPARE, n - itself)
    rounded, lengths = points.to(dtype), points.square().sum(1)
    squares, rounding = lengths.to(dtype), torch.finfo(dtype).eps / 2
    if dtype == torch.float32:
        rounding = ROUNDING[torch.get_float32_matmul_precision()]
    size = min(block_size(points), max(1, len(rows)))
    distances = rounded.new_full((size, -(-n // GROUP) * GROUP), torch.inf)  # (b, N), N up to whole groups
    for some in rows.split(size):
        exact, held = queries[some], distances[: len(some)]  # (b, C), (b, N)
        torch.addmm(squares, exact.to(dtype), rounded.T, alpha=-2, out=held[:, :n])  # up to the row's own square
        if itself:
            held.scatter_(1, some[:, None], torch.inf)
        values, neighbors[some] = _least(held, k)
        length = exact.square().sum(1)
        error = rounding * (4 * exact.shape[1] ** 0.5 + 8) * length + torch.finfo(dtype).tiny * exact.shape[1]
        close = (error > TOLERANCE * (values[:, -1] + length)).nonzero()[:, 0]
        if not len(close):
            continue
        some, exact, length, error = some[close], exact[close], length[close], error[close]
        values, candidates = _least(held[close], last)
        apart = (points[candidates] - exact[:, None]).square().sum(2)  # (b, last)
        apart, order = apart.topk(k, largest=False)
        neighbors[some] = candidates.gather(1, order)
        if last < n - itself:
            kth, reached = apart[:, -1], values[:, -1] + length
            sure = (error <= (reached - kth).clamp_min(0) + TOLERANCE * kth) | (kth == 0)
            in_doubt.append(some[~sure])
    return torch.cat(in_doubt)


def _least(values: Float[Tensor, "B N"], k: int) -> tuple[Float[Tensor, "B k"], Int[Tensor, "B k"]]:
    """Find the k least of each row, least first, and where: the groups with the least minima hold them."""
    groups = values.unflatten(1, (-1, GROUP))
    best = groups.amin(2).topk(min(k, groups.shape[1]), largest=False).indices  # (b, k)
    candidates = groups.gather(1, best[:, :, None].expand(-1, -1, GROUP)).flatten(1)  # (b, k GROUP)
    least, which = candidates.topk(k, largest=False)
    return least, best.gather(1, which // GROUP) * GROUP + which % GROUP
