"""Laws of importance-weighted bounds and of their gradients, each with a control that has to fail."""

import math

import pytest
import torch

from latentmap.exceptions import PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Learned, Sizes
from latentmap.objectives import IWAE, PIWAE, DReG

END = torch.ones((), dtype=torch.float64)
LINEAR, OWN = networks.MLP(()), Learned()
LIMIT = 4.5
"""Standard errors that an unbiased estimate may be off; a control has to be off by twice as many."""


@pytest.fixture(scope="module")
def model():
    """A model whose posterior is far from the true one, in double precision."""
    torch.manual_seed(3)
    parts = Parts(LINEAR, LINEAR, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian(scale=0.7))
    return GenerativeAutoencoder(parts, Sizes((4,), 2)).double()


@pytest.fixture(scope="module")
def x():
    return torch.randn(3, 4, generator=torch.Generator().manual_seed(0)).double()


def loss(objective, model, trace):
    return objective.losses(OWN, model, trace, END)["model"]


def gradient(loss, parameters):
    return torch.cat([g.flatten() for g in torch.autograd.grad(loss, parameters, retain_graph=True)])


def test_one_draw_a_group_and_a_mix_of_one_are_the_elbo(model, x):
    trace = model.trace(x, 12)
    elbo = -trace.log_w.mean(0).mean()
    assert torch.allclose(loss(IWAE(k=1, groups=12), model, trace), elbo)
    assert torch.allclose(loss(IWAE(k=12, mix=1.0), model, trace), elbo)
    assert not torch.allclose(loss(IWAE(k=12), model, trace), elbo, atol=0.1)


def test_one_group_is_the_importance_weighted_bound(model, x):
    trace = model.trace(x, 12)
    expected = -(trace.log_w.logsumexp(0) - math.log(12)).mean()
    assert torch.allclose(loss(IWAE(k=12, groups=1), model, trace), expected)
    assert torch.allclose(loss(IWAE(k=12, mix=0.25), model, trace), 0.75 * expected - 0.25 * trace.log_w.mean())
    across_groups = trace.log_w.unflatten(0, (4, 3)).logsumexp(0) - math.log(4)  # normalised over the wrong axis
    assert not torch.allclose(loss(IWAE(k=3, groups=4), model, trace), -across_groups.mean(), atol=1e-2)


def test_bounds_are_ordered(model, x):
    trace = model.trace(x, 60)
    objectives = [IWAE(1, 60), IWAE(60, mix=0.7), IWAE(5, 12), IWAE(60)]
    elbo, mixed, grouped, all_of_them = (loss(objective, model, trace).item() for objective in objectives)
    assert elbo > mixed > all_of_them and elbo > grouped > all_of_them


def test_each_side_of_piwae_has_the_gradient_of_its_own_bound(model, x):
    objective, trace = PIWAE(k=4, groups=3), model.trace(x, 12)
    losses, players = objective.losses(OWN, model, trace, END), objective.players(OWN, model)
    for player, bound, other in (("generative", IWAE(12), IWAE(4, 3)), ("inference", IWAE(4, 3), IWAE(12))):
        got = gradient(losses[player], players[player])
        assert torch.allclose(got, gradient(loss(bound, model, trace), players[player]))
        assert not torch.allclose(got, gradient(loss(other, model, trace), players[player]), rtol=1e-2)


def test_dreg_is_the_gradient_of_iwae_in_expectation_and_has_less_variance(model, x):
    inference = list(model.inference_parameters())

    def estimates(make, n=250):
        torch.manual_seed(0)
        return torch.stack([gradient(make(model.trace(x.repeat(50, 1), 8)), inference) for _ in range(n)])

    def wrong(power, cut):
        def make(trace):
            (level,) = trace.levels
            score = level.q.log_prob(level.z.detach())
            log_w = trace.log_w + (score - score.detach() if cut else 0)
            return -(log_w.detach().softmax(0) ** power * log_w).sum(0).mean()

        return make

    iwae = estimates(lambda trace: loss(IWAE(8), model, trace))

    def farthest(others):
        apart = iwae - others  # of the same draws
        return (apart.mean(0) / (apart.std(0) / math.sqrt(len(apart)))).abs().max()

    dreg = estimates(lambda trace: DReG(8).losses(OWN, model, trace, END)["inference"])
    assert farthest(dreg) < LIMIT
    assert dreg.var(0).sum() < 0.7 * iwae.var(0).sum()
    assert farthest(estimates(wrong(power=1, cut=True))) > 2 * LIMIT  # weights that are not squared
    assert farthest(estimates(wrong(power=2, cut=False))) > 2 * LIMIT  # the score left in


def test_dreg_reports_the_bound_and_leaves_the_generative_gradient_as_it_is(model, x):
    trace = model.trace(x, 8)
    losses, generative = DReG(8).losses(OWN, model, trace, END), list(model.generative_parameters())
    bound = loss(IWAE(8), model, trace)
    assert torch.allclose(losses["generative"], bound)
    assert torch.allclose(gradient(losses["generative"], generative), gradient(bound, generative))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [(IWAE, {"k": 0}), (IWAE, {"groups": -1}), (IWAE, {"k": 2.5}), (IWAE, {"mix": 1.5}), (PIWAE, {"k": 0})]
    + [(DReG, {"k": True}), (IWAE, {"mix": float("nan")})],
)
def test_impossible_settings_are_refused(kind, settings):
    with pytest.raises(PartError, match=next(iter(settings))):
        kind(**settings)
