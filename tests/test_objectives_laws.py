"""Objectives against values computed by hand."""

import pytest
import torch
from torch.distributions import Normal

from latentmap.exceptions import PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Learned, Sizes
from latentmap.objectives import ELBO

MLP = networks.MLP((16,))
END = torch.ones(())


@pytest.fixture
def model():
    torch.manual_seed(0)
    parts = Parts(MLP, MLP, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian(scale=0.5))
    return GenerativeAutoencoder(parts, Sizes((6,), 2))


def loss(objective, model, trace, progress=END):
    return objective.losses(Learned(), model, trace, progress)["model"].item()


def test_the_elbo_by_hand(model):
    x = torch.randn(4, 6)
    trace = model.trace(x)
    z, q = trace.levels[0].z[0], model.encode(x)
    log_px = Normal(model.decode(z).mean, 0.5).log_prob(x).sum(-1)
    mu, variance = q.mean, q.variance
    kl = 0.5 * (mu**2 + variance - 1 - variance.log()).sum(-1)
    assert loss(ELBO(), model, trace) == pytest.approx((-log_px + kl).mean().item(), rel=1e-5)
    assert loss(ELBO(beta=4.0), model, trace) == pytest.approx((-log_px + 4 * kl).mean().item(), rel=1e-5)
    assert loss(ELBO(beta=0.0), model, trace) == pytest.approx(-log_px.mean().item(), rel=1e-5)


def test_the_mean_of_the_elbo_over_noise_is_the_bound(model):
    x = torch.randn(4, 6)
    trace = model.trace(x, k=20_000)
    assert -loss(ELBO(), model, trace) == pytest.approx(trace.bound(groups=20_000).mean().item(), abs=0.05)


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.7, 1.0), (1.0, 1.0)])
def test_warm_up_raises_beta_linearly_and_reaches_it(model, progress, weight):
    trace = model.trace(torch.randn(4, 6))
    expected = loss(ELBO(beta=2.0 * weight), model, trace)
    got = loss(ELBO(beta=2.0, warmup=0.2), model, trace, torch.tensor(progress))
    assert got == pytest.approx(expected, rel=1e-5)


def test_free_bits_make_the_first_nats_of_each_component_free(model):
    trace = model.trace(torch.randn(4, 6))
    rates = trace.levels[0].rate_per_component.mean(0)
    floor = rates.mean().item()
    expected = trace.distortion.mean() + rates.clamp(min=floor).sum()
    assert loss(ELBO(free_bits=floor), model, trace) == pytest.approx(expected.item(), rel=1e-5)
    lots = ELBO(free_bits=1e3).losses(Learned(), model, trace, END)["model"] - trace.distortion.mean()
    gradients = torch.autograd.grad(lots, list(model.encoder.parameters()), allow_unused=True)
    assert all(g is None or not g.any() for g in gradients)


def test_free_bits_need_a_rate_per_component():
    parts = Parts(MLP, MLP, posteriors.Gaussian(), priors.FittedNormal(), likelihoods.Gaussian())
    model = GenerativeAutoencoder(parts, Sizes((6,), 2))
    with pytest.raises(PartError, match="factorise"):
        loss(ELBO(free_bits=0.1), model, model.trace(torch.randn(4, 6)))


@pytest.mark.parametrize("settings", [{"beta": -1.0}, {"beta": float("nan")}, {"free_bits": -0.1}, {"warmup": 1.5}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(PartError, match=next(iter(settings))):
        ELBO(**settings)
