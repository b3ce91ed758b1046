"""Tests of the repulsion of codes: all pairs in double precision, and the grid beside them."""

import pytest
import torch

from latentmap.model import repulsion
from latentmap.model.repulsion import Potential, Repulsion, fitting_scale


def expected(y, masses):
    """Z and F by their definitions."""
    y, masses = y.double(), masses.double()
    apart = y[:, None] - y
    kernel = 1 / (1 + apart.square().sum(2))
    total = (masses[:, None] * masses * kernel).sum() - masses.sum()
    return total, (masses[None, :, None] * kernel.square()[:, :, None] * apart).sum(1)


def drawn(n, d, spread, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return spread * torch.randn(n, d, generator=generator) + 5.0, torch.rand(n, generator=generator) + 0.5


def off(found, right):
    return float((found - right).norm() / right.norm())


@pytest.mark.parametrize("d", [1, 2, 3, 8])
def test_pairs_are_summed(d):
    y, masses = drawn(300, d, 4.0)
    y[7] = y[8]  # in one place
    repel = Repulsion(pairwise=0) if d > 2 else Repulsion()  # grids have one or two dimensions
    for found, right in zip(repel(y, masses), expected(y, masses), strict=True):
        assert off(found, right) < 1e-5


@pytest.mark.parametrize(("d", "spread"), [(1, 100.0), (2, 8.0), (2, 30.0)])
def test_the_grid_is_near_to_all_pairs(d, spread):
    y, masses = drawn(2000, d, spread)
    total, force = expected(y, masses)
    grid_total, grid_force = Repulsion(pairwise=0)(y, masses)
    assert off(grid_total, total) < 0.01 and off(grid_force, force) < 0.1
    coarse = Repulsion(pairwise=0, spacing=2.0)(y, masses)[1]
    assert off(grid_force, force) < 0.5 * off(coarse, force)
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


@pytest.mark.parametrize("pairwise", [0, 5000])
def test_many_rows_of_one_code_repel_as_many(pairwise):
    """The kernels of a code with itself are rows' of a group, or a grid would leave a negative sum."""
    y, masses = drawn(3000, 2, 20.0)
    masses[0] = 3000.0
    total, force = Repulsion(pairwise=pairwise)(y, masses)
    expected_total, expected_force = expected(y, masses)
    assert off(total, expected_total) < 0.02 and off(force, expected_force) < 0.1


@pytest.mark.parametrize(("d", "spread"), [(1, 30.0), (2, 8.0), (3, 3.0)])
def test_the_potential_and_its_gradient_are_those_of_all_pairs(d, spread):
    y, z = drawn(500, d, spread)[0].double(), drawn(40, d, spread, seed=1)[0].double().requires_grad_()
    total = (1 / (1 + (z[:, None] - y).square().sum(2))).sum(1)
    (slope,) = torch.autograd.grad(total.sum(), z)
    total = total.detach()
    potential, gradient = Potential(y)(z.detach())
    assert off(potential, total) < 0.01 and off(gradient, slope) < 0.1
    alone = [Potential(y)(row[None]) for row in z.detach()]
    torch.testing.assert_close(torch.cat([pair[1] for pair in alone]), gradient, rtol=0, atol=1e-9)


@pytest.mark.parametrize("spread", [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])
def test_the_potential_beyond_the_grid_is_that_of_its_edge(spread):
    y = drawn(100, 2, spread)[0].double()
    for near in (y.amin(0) - 1, y.amax(0) + 1):
        right = (1 / (1 + (near - y).square().sum(1))).sum()
        assert abs(float(Potential(y)(near[None])[0] / right - 1)) < 0.01
    potential = Potential(y)
    edge = potential.grid.low + potential.grid.spacing * (potential.grid.size / 2 - repulsion.MARGIN)
    assert ((edge - y.amax(0)) >= 2).all()
    torch.testing.assert_close(potential(edge[None]), potential(1e6 + edge[None]), rtol=1e-6, atol=0)


def test_the_scale_of_a_map_is_where_its_loss_is_least():
    neighbors, others = torch.linspace(0.001, 0.02, 100), torch.linspace(0.1, 9, 100)
    scales = 2.0 ** torch.arange(-2, 12, 0.5)
    losses = [2 * (s**2 * neighbors).log1p().mean() + (1 / (1 + s**2 * others)).mean().log() for s in scales]
    assert fitting_scale(neighbors, others, 2.0) == float(scales[int(torch.stack(losses).argmin())])
    assert fitting_scale(neighbors, others, 4.0) < fitting_scale(neighbors, others, 1.5)


@pytest.mark.parametrize("far", [1e3, 1e4, 1e7])
@pytest.mark.parametrize("d", [1, 2])
def test_codes_beyond_the_grid_are_summed_with_all_others(d, far, monkeypatch):
    """One far code leaves the grid as fine for the others, in this call and in those that follow."""
    y, masses = drawn(2000, d, 15.0)
    usual, repel = off(Repulsion(pairwise=0)(y, masses)[1], expected(y, masses)[1]), Repulsion(pairwise=0)
    away = y.clone()
    away[:40] += far * (1 + torch.rand(40, d, generator=torch.Generator().manual_seed(1)))
    for codes in (away, y):
        (total, force), (right_total, right) = repel(codes, masses), expected(codes, masses)
        assert off(total, right_total) < 0.01
        assert off(force, right) < 1.2 * usual < 0.1
    monkeypatch.setattr(repulsion, "FAR_CODES", 0)
    if d == 2 and far > 1e3:
        assert off(Repulsion(pairwise=0)(away, masses)[1], expected(away, masses)[1]) > 0.2, "control: a coarse grid"


@pytest.mark.parametrize("spread", [0.01, 0.1, 1.0])
def test_the_grid_is_fine_where_codes_are_close(spread, monkeypatch):
    """As where t-SNE begins."""
    y, masses = drawn(2000, 2, spread)
    right = expected(y - 5.0, masses)[1]
    assert off(Repulsion(pairwise=0)(y, masses)[1], right) < 0.01
    monkeypatch.setattr(repulsion, "INTERVALS", 0.1)
    if spread < 1:
        assert off(Repulsion(pairwise=0)(y, masses)[1], right) > 0.1, "control: of the usual spacing"


def test_pairs_of_islands_that_are_far_apart():
    y, masses = drawn(400, 3, 5.0)
    y[:200] += 1e4
    total, force = expected(y, masses)
    found_total, found = Repulsion()(y, masses)
    assert off(found_total, total) < 1e-5 and off(found, force) < 1e-3


def test_a_potential_with_a_far_code():
    y = drawn(2000, 2, 15.0)[0].double()
    z = y[:50] + 0.3
    usual = Potential(y)(z)
    y[-1] = 3e3
    potential, slope = Potential(y)(torch.cat([z, y[-1:] + 0.5]))
    assert off(potential[:50], usual[0]) < 0.01 and off(slope[:50], usual[1]) < 0.05
    assert float(potential[-1]) == pytest.approx(1 / 1.5, rel=0.01)
    torch.testing.assert_close(slope[-1], torch.full((2,), -2 * 0.5 / 1.5**2, dtype=torch.float64), rtol=0.01, atol=0)
