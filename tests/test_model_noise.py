"""Noise comes from the generator that is passed, and from nothing else."""

import pytest
import torch

from latentmap.model.noise import Generated, RowNoise

X = torch.tensor([[0.5, -1.0], [2.0, 0.25], [0.5, -1.0]], dtype=torch.float64)


@pytest.mark.parametrize("method", ["__call__", "uniform"])
def test_a_generator_that_is_passed_is_the_only_source(method):
    def drawn(seed):
        return getattr(Generated(torch.Generator().manual_seed(seed)), method)((1000, 2), X)

    before = torch.random.get_rng_state()
    first, again, other = drawn(3), drawn(3), drawn(4)
    assert (torch.random.get_rng_state() == before).all()
    assert first.shape == (1000, 2) and first.dtype == X.dtype
    assert (first == again).all() and (first != other).any()
    assert (first != drawn(3).float().double()).any()  # as fine as double precision is


@pytest.mark.parametrize(("method", "mean", "deviation"), [("__call__", 0.0, 1.0), ("uniform", 0.5, 12**-0.5)])
def test_noise_has_its_distribution(method, mean, deviation):
    source = Generated(torch.Generator().manual_seed(0))
    for drawn in (
        getattr(source, method)((40_000, 2), X),
        getattr(RowNoise(torch.randn(400, 2, generator=source.generator), 0), method)((100, 400, 2), X.float()),
    ):
        assert drawn.mean().item() == pytest.approx(mean, abs=0.02)
        assert drawn.std().item() == pytest.approx(deviation, rel=0.02)


@pytest.mark.parametrize("method", ["__call__", "uniform"])
def test_equal_rows_have_equal_noise_and_others_their_own(method):
    drawn = getattr(RowNoise(X, 0), method)((5, 3, 2), X)
    assert (drawn[:, 0] == drawn[:, 2]).all() and (drawn[:, 0] != drawn[:, 1]).all()
    assert (getattr(RowNoise(X[1:2], 0), method)((5, 1, 2), X)[:, 0] == drawn[:, 1]).all()
