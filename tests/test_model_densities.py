"""Densities that take fewer passes than torch's give the same values and gradients."""

import pytest
import torch
from torch import distributions as td

from latentmap.model import likelihoods
from latentmap.model.distributions import DiagonalNormal, StandardNormal, independent
from latentmap.model.likelihoods import unit
from latentmap.model.part import Learned

K, B, P = 3, 4, 5


def draw(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64).requires_grad_()


def differ(mine, theirs, inputs):
    """Give the largest relative difference of two functions' values and gradients."""
    pairs = [(mine, theirs)]
    weight = torch.linspace(1, 2, mine.numel(), dtype=torch.float64).view(mine.shape)
    pairs += zip(
        *(torch.autograd.grad((weight * f).sum(), inputs, retain_graph=True) for f in (mine, theirs)), strict=True
    )
    return max(((a - b).abs() / (1 + b.abs())).max().item() for a, b in pairs)


def same(mine, theirs, inputs):
    assert mine.shape == theirs.shape
    return differ(mine, theirs, inputs) < 1e-12


@pytest.mark.parametrize("shape", [(), (1,), (P,), (B, P), (K, B, P)], ids=str)
def test_rows_of_a_normal(shape):
    loc, value, log_scale = draw(K, B, P), draw(B, P, seed=1), draw(*shape, seed=2)
    theirs = td.Independent(td.Normal(loc, log_scale.exp()), 1).log_prob(value)
    mine = independent(DiagonalNormal(loc, log_scale.exp())).log_prob(value)
    assert same(mine, theirs, (loc, value, log_scale))
    told = independent(DiagonalNormal(loc, log_scale.exp(), log_scale)).log_prob(value)
    assert same(told, theirs, (loc, value, log_scale))
    control = independent(DiagonalNormal(loc, log_scale.exp(), log_scale + 0.01)).log_prob(value)
    assert not same(control, theirs, (loc, value, log_scale))


def test_one_row_of_a_normal_is_a_number():
    loc, value, scale = draw(P), draw(P, seed=1), torch.tensor([0.7], dtype=torch.float64)
    theirs = td.Independent(td.Normal(loc, scale), 1).log_prob(value)
    assert same(independent(DiagonalNormal(loc, scale)).log_prob(value), theirs, (loc, value))


def test_features_of_a_normal():
    loc, value, log_scale = draw(K, B, P), draw(B, P, seed=1), draw(P, seed=2)
    theirs = td.Normal(loc, log_scale.exp()).log_prob(value)
    assert same(DiagonalNormal(loc, log_scale.exp()).log_prob(value), theirs, (loc, value, log_scale))


def logits_and_values():
    logits = (40 * draw(K, B, P)).detach().requires_grad_()
    return logits, torch.rand(B, P, dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()


def test_rows_of_bits_and_grey_values(monkeypatch):
    logits, value = logits_and_values()
    theirs = td.Independent(td.Bernoulli(logits=logits, validate_args=False), 1).log_prob(value)

    def mine():
        return independent(likelihoods.Bernoulli().distribution(Learned(), logits[..., None])).log_prob(value)

    assert logits.min() < -60 and logits.max() > 60
    assert same(mine(), theirs, (logits, value))
    monkeypatch.setattr(unit, "EXACT", 10.0)
    assert not same(mine(), theirs, (logits, value))


def test_divergence_from_a_standard_normal():
    loc, log_scale = draw(B, P), draw(B, P, seed=1)
    zeros, ones = torch.zeros(P, dtype=torch.float64), torch.ones(P, dtype=torch.float64)
    q = independent(DiagonalNormal(loc, log_scale.exp(), log_scale))
    p = independent(StandardNormal(zeros, ones))
    plain = td.kl_divergence(
        td.Independent(td.Normal(loc, log_scale.exp()), 1), td.Independent(td.Normal(zeros, ones), 1)
    )
    assert same(td.kl_divergence(q, p), plain, (loc, log_scale))
    other = independent(DiagonalNormal(zeros, 2 * ones))  # which is not standard, and has torch's formula
    assert not same(td.kl_divergence(q, other), plain, (loc, log_scale))


def test_the_deviation_of_rows_is_the_scale_and_not_the_root_of_its_square():
    tiny = torch.full((B, P), 1e-30)
    p = independent(DiagonalNormal(torch.zeros(B, P), tiny))
    assert torch.equal(p.stddev, tiny)
    assert not td.Independent(td.Normal(torch.zeros(B, P), tiny), 1).stddev.any()
