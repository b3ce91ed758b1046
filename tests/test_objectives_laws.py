"""Objectives against values computed by hand."""

import pytest
import torch
from sklearn.datasets import load_digits
from torch.distributions import Normal

import latentmap
from latentmap.exceptions import PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Learned, Sizes
from latentmap.objectives import ELBO, MMD

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


@pytest.mark.parametrize(("objective", "weight"), [(ELBO(), 1), (ELBO(beta=4.0), 4), (ELBO(beta=4.0, warmup=0.5), 2)])
def test_copies_with_cells_hidden_cost_their_distortion_and_weighted_rate(model, objective, weight):
    trace = model.trace(torch.randn(40, 6, generator=torch.Generator().manual_seed(0)))
    (found,) = objective.losses_of_copies(objective.build(model.sizes), model, trace, 0.25 * END).values()
    distortion, rate = trace.distortion.mean().item(), trace.rate.mean().item()
    assert found.item() == pytest.approx(distortion + weight * rate, rel=1e-5)
    assert abs(distortion) > 0.1 and rate > 0.1


@pytest.mark.parametrize(("progress", "weight"), [(0.0, 0.0), (0.1, 0.5), (0.2, 1.0), (0.7, 1.0), (1.0, 1.0)])
def test_warm_up_raises_beta_linearly_and_reaches_it(model, progress, weight):
    trace = model.trace(torch.randn(4, 6))
    expected = loss(ELBO(beta=2.0 * weight), model, trace)
    got = loss(ELBO(beta=2.0, warmup=0.2), model, trace, torch.tensor(progress))
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(
    ("progress", "weight"),
    [(0.0, 0.0), (0.0625, 0.5), (0.125, 1.0), (0.24, 1.0), (0.25, 0.0), (0.8125, 0.5), (1.0, 1.0)],
)
def test_cyclical_warm_up_starts_anew_and_ends_at_beta(model, progress, weight):
    trace = model.trace(torch.randn(4, 6))
    expected = loss(ELBO(beta=2.0 * weight), model, trace)
    got = loss(ELBO(beta=2.0, warmup=0.5, cycles=4), model, trace, torch.tensor(progress))
    assert got == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize(("progress", "nats"), [(0.0, 0.0), (0.25, 2.0), (0.5, 4.0), (1.0, 4.0)])
def test_a_capacity_holds_the_rate_at_so_many_nats(model, progress, nats):
    trace = model.trace(torch.randn(4, 6))
    expected = trace.distortion.mean() + 10 * (trace.rate.mean() - nats).abs()
    got = loss(ELBO(beta=10.0, capacity=4.0, warmup=0.5), model, trace, torch.tensor(progress))
    assert got == pytest.approx(expected.item(), rel=1e-5)


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_a_fit_reaches_its_capacity_and_others_do_not():
    def rate(objective):
        settings = {"max_epochs": 40, "batch_size": 64, "learning_rate": 1e-2, "random_state": 0, "neighbors": None}
        vae = latentmap.VAE(2, encoder=MLP, decoder=MLP, objective=objective, **settings)
        return vae.fit(load_digits().data[:500]).history_[-1]["val_rate"]

    assert rate(ELBO(beta=100.0, capacity=5.0, warmup=0.5)) == pytest.approx(5, abs=0.3)
    assert abs(rate(ELBO()) - 5) > 0.6


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


@pytest.mark.parametrize(
    "settings",
    [{"beta": -1.0}, {"beta": float("nan")}, {"free_bits": -0.1}, {"warmup": 1.5}, {"cycles": 0, "warmup": 0.5}]
    + [{"cycles": 4}, {"capacity": -1.0}, {"capacity": 2.0, "beta": 0.0}, {"capacity": 2.0, "free_bits": 0.1}]
    + [{"penalties": [MMD()]}, {"penalties": (ELBO(),)}],
)
def test_impossible_settings_are_refused(settings):
    with pytest.raises(PartError, match=next(iter(settings))):
        ELBO(**settings)
