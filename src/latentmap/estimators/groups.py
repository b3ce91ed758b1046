"""Groups of equal rows, which are one row to a map."""

from __future__ import annotations

from collections.abc import Iterable

import torch
from jaxtyping import Int
from torch import Tensor


def grouped(blocks: Iterable[Tensor]) -> Int[Tensor, " N"]:
    """Return the group of each row of the blocks, from 0 on in order: those of a group are equal.

    >>> grouped([torch.tensor([[1.0, 0.0], [2.0, 0.0]]), torch.tensor([[1.0, -0.0]])]).tolist()
    [0, 1, 0]
    """
    groups: dict[int, int] = {}  # numbered in the order of the rows: hashes differ by process
    same: list[int] = []
    device = torch.device("cpu")
    for block in blocks:
        device = block.device
        contents = (hash(row.tobytes()) for row in (block + 0.0).cpu().numpy())  # and -0.0 is 0.0
        same.extend(groups.setdefault(content, len(groups)) for content in contents)
    return torch.tensor(same, device=device)


def first_of_group(groups: Int[Tensor, " N"]) -> Int[Tensor, " G"]:
    """Return the first row of each group, from 0 on.

    >>> first_of_group(torch.tensor([1, 0, 1])).tolist()
    [1, 0]
    """
    rows = torch.arange(len(groups), device=groups.device)
    first = torch.full((int(groups.max()) + 1,), len(groups), device=groups.device)
    return first.scatter_reduce_(0, groups, rows, "amin")
