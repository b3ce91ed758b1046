"""Tests of the repulsion of codes: all pairs in double precision, and the grid beside them."""

import pytest
import torch

from latentmap.estimators import repulsion
from latentmap.estimators.repulsion import Repulsion


def expected(y, masses):
    """Z and F by their definitions."""
    y, masses = y.double(), masses.double()
    apart = y[:, None] - y
    kernel = 1 / (1 + apart.square().sum(2))
    total = (masses[:, None] * masses * kernel).fill_diagonal_(0).sum()
    return total, (masses[None, :, None] * kernel.square()[:, :, None] * apart).sum(1)


def drawn(n, d, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, d, generator=generator) + 5.0, torch.rand(n, generator=generator) + 0.5


def off(found, right):
    return float((found - right).norm() / right.norm())


@pytest.mark.parametrize("d", [1, 2, 3])
def test_pairs_are_summed(d):
    y, masses = drawn(300, d, 4.0)
    y[7] = y[8]  # in one place
    for found, right in zip(Repulsion()(y, masses), expected(y, masses), strict=True):
        assert off(found, right) < 1e-5


@pytest.mark.parametrize(("d", "spread"), [(1, 100.0), (2, 8.0), (2, 30.0), (3, 5.0)])
def test_the_grid_is_near_to_all_pairs(d, spread):
    y, masses = drawn(2000, d, spread)
    total, force = expected(y, masses)
    grid_total, grid_force = Repulsion(pairwise=0)(y, masses)
    assert off(grid_total, total) < 0.01 and off(grid_force, force) < 0.1
    coarse = Repulsion(pairwise=0, spacing=2.0)(y, masses)[1]
    assert off(grid_force, force) < 0.5 * off(coarse, force)
    if d < 3:  # finer grids of three dimensions have too many nodes
        assert off(Repulsion(pairwise=0, spacing=0.35)(y, masses)[1], force) < off(grid_force, force)


def test_the_grid_moves_with_the_codes():
    """Its nodes begin at the least code: no place is special, and the total of all forces is zero."""
    y, masses = drawn(2000, 2, 10.0)
    force = Repulsion(pairwise=0)(y, masses)[1]
    torch.testing.assert_close(Repulsion(pairwise=0)(y + 64.0, masses)[1], force, atol=1e-3, rtol=0)
    assert (masses @ force).norm() < 0.02 * (masses[:, None] * force).norm(dim=1).sum()


def test_far_codes_widen_the_grid_rather_than_filling_the_memory(monkeypatch):
    monkeypatch.setattr(repulsion, "MOST_NODES", 2**16)
    y, masses = drawn(2000, 2, 3.0)
    y[0] = 1e4
    total, force = Repulsion(pairwise=0)(y, masses)
    assert torch.isfinite(total) and force.isfinite().all()
    assert force.shape == y.shape


def test_a_grid_is_used_again():
    """The transformed kernel is made once for codes that move a little."""
    y, masses = drawn(2000, 2, 10.0)
    repel = Repulsion(pairwise=0)
    repel(y, masses)
    kernel = repel._kernel
    again = repel(0.999 * y, masses)
    assert repel._kernel is kernel
    torch.testing.assert_close(again[1], Repulsion(pairwise=0)(0.999 * y, masses)[1])
