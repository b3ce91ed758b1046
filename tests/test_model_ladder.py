"""Ladders: the laws of the bound hold over several levels, and the estimator does with them what it does with one."""

import math

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV
from torch import nn
from torch.distributions import MultivariateNormal

from conftest import fit
from latentmap import VAE, likelihoods, load, networks, objectives, posteriors, priors
from latentmap.exceptions import PartError
from latentmap.model.autoencoder import Parts
from latentmap.model.distributions import normal
from latentmap.model.ladder import Ladder, _BatchNorm, combine
from latentmap.model.part import Sizes
from parts import NETWORKS, name

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

LINEAR, SMALL = networks.MLP(()), networks.MLP((16,))
P, S = 3, 0.7


def ladder(sizes, network=SMALL, likelihood=likelihoods.Gaussian()):
    torch.manual_seed(0)
    return Ladder(Parts(network, network, posteriors.Gaussian(), priors.Normal(), likelihood), sizes)


def linear_gaussian():
    """z_2 ~ N(0, I), z_1 | z_2 ~ N(A z_2, I), x | z ~ N(W [z_2, z_1], s^2 I), with some q; rows and log p(x)."""
    model = ladder(Sizes(event=(P,), latent=2, below=(2,)), LINEAR, likelihoods.Gaussian(scale=S)).double()
    a = torch.randn(2, 2, dtype=torch.float64)
    model.down[0] = nn.Linear(2, 2, bias=False).double()
    with torch.no_grad():
        model.down[0].weight.copy_(a)
        w = model.decoder[0][0].weight
        w[:, 2:] = 1.2 * torch.linalg.qr(w[:, 2:])[0]
        model.decoder[0][0].bias.zero_()
        x = torch.randn(4, P, dtype=torch.float64)
        mixing = w @ torch.cat([torch.eye(2), a])  # of z_2
        own = w[:, 2:]  # of what z_1 adds
        covariance = mixing @ mixing.T + own @ own.T + S**2 * torch.eye(P)
        for head, mean, scale in zip(model.heads, (0.5, 1.0), (1.3, 1.5), strict=True):  # wider than the posterior
            head[-1].weight.zero_()
            head[-1].bias.copy_(torch.tensor([mean, mean, math.log(scale), math.log(scale)]))
    return model, x, MultivariateNormal(x.new_zeros(P), covariance.detach()).log_prob(x)


@torch.no_grad()
def test_importance_weights_over_two_levels_are_unbiased():
    model, x, evidence = linear_gaussian()
    torch.manual_seed(0)
    trace = model.trace(x, k := 40_000)

    def worst(log_w):
        ratio = (log_w - evidence).exp()
        return ((ratio.mean(0) - 1) / (ratio.std(0) / math.sqrt(k))).abs().max()

    top, lower = trace.levels
    assert worst(trace.log_w) < 4.5
    assert worst(trace.log_w + lower.log_q - lower.log_p) > 20  # forgets the lower level
    assert worst(trace.log_w + top.log_q - top.log_p) > 20


@torch.no_grad()
def test_bounds_rise_with_the_number_of_draws_and_stay_below_the_evidence():
    model, x, evidence = linear_gaussian()
    torch.manual_seed(0)
    gap = [(evidence - model.trace(x, 2000 * k).bound(groups=2000)).mean().item() for k in (1, 5, 50)]
    assert gap[0] > gap[1] > gap[2] > -0.01


@torch.no_grad()
def test_closed_form_rates_match_monte_carlo_on_every_level():
    model = ladder(Sizes(event=(8,), latent=2, below=(3, 4)))
    for level in model.trace(torch.randn(5, 8), k=20_000).levels:
        draws = level.log_q - level.log_p
        error = draws.std(0) / math.sqrt(len(draws))
        assert level.rate.shape == (5,) and level.rate_per_component.shape == (5, level.z.shape[-1])
        assert ((draws.mean(0) - level.rate) / error).abs().max() < 4.5
        assert torch.allclose(level.rate_per_component.sum(-1), level.rate, atol=1e-5)
        assert ((0.5 * level.z.square().sum(-1).mean(0) - level.rate) / error).abs().max() > 20  # forgets entropies


def test_evidence_and_expectation_combine_by_precision():
    torch.manual_seed(0)
    a, b = (normal(torch.randn(2), torch.rand(2) + 0.1) for _ in range(2))
    z = torch.randn(50, 2)
    difference = combine(a, b).log_prob(z) - a.log_prob(z) - b.log_prob(z)
    assert difference.std() < 1e-4  # the product, up to its integral
    assert (normal((a.mean + b.mean) / 2, a.stddev).log_prob(z) - a.log_prob(z) - b.log_prob(z)).std() > 0.1


@pytest.mark.parametrize("network", NETWORKS, ids=name)
@pytest.mark.parametrize("sizes", [{"below": (4,)}, {"below": (4, 5, 6)}, {"below": (4,), "condition": 2}], ids=str)
def test_any_depth_over_any_network(network, sizes):
    model = ladder(Sizes(event=(6, 5), latent=3, **sizes), network)
    model = model.given(torch.randn(4, 2)) if "condition" in sizes else model
    trace = model.trace(torch.randn(4, 30), k=2)
    assert [level.z.shape[-1] for level in trace.levels] == [3, *sizes["below"]]
    assert trace.log_w.shape == (2, 4) and trace.rate.shape == (4,)
    (-trace.bound()).mean().backward()
    unused = [key for key, p in model.named_parameters() if p.grad is None]
    assert unused == []
    assert {*model.inference_parameters()} | {*model.generative_parameters()} == {*model.parameters()}
    one = model.given(model.condition[:1]) if "condition" in sizes else model
    assert one.trace(torch.randn(1, 30)).log_w.shape == (1, 1)


TINY = {"encoder": SMALL, "decoder": SMALL, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def model(digits):
    return fit(VAE(2, ladder=(6, 8), max_epochs=30, neighbors=None, random_state=0), digits)


def test_every_level_is_used(model, digits):
    x = model.scaling_(torch.as_tensor(digits)).float()
    with torch.no_grad():
        levels = model.model_.trace(x, 1).levels
    assert all(level.rate.mean() > 1 for level in levels)
    top = np.square(model.inverse_transform(model.transform(digits)) - digits).mean()
    assert np.square(model.reconstruct(digits) - digits).mean() < 0.9 * top
    assert -model.score(digits) < -fit(VAE(2, max_epochs=30, neighbors=None, random_state=0), digits).score(digits)


def test_scores_rise_with_draws_and_do_not_depend_on_batching(model, digits):
    scores = [model.score_samples(digits[:300], k).mean() for k in (1, 5, 50)]
    assert scores[0] < scores[1] < scores[2]
    alone = [model.score_samples(digits[i : i + 1], 3)[0] for i in range(5)]
    np.testing.assert_allclose(model.score_samples(digits[:5], 3), alone, rtol=1e-6)


def test_codes_are_the_top_level_and_deterministic(model, digits):
    Z = model.transform(digits)
    assert Z.shape == (len(digits), 2)
    np.testing.assert_array_equal(Z, model.transform(digits))
    np.testing.assert_allclose(Z[:1], model.transform(digits[:1]), rtol=1e-6)
    np.testing.assert_allclose(Z[:20], model.transform(digits[:20].astype(np.float32)), atol=1e-4)


def test_samples_draw_the_lower_levels(model):
    code = np.zeros((1, 2))
    assert np.ptp(model.inverse_transform(np.repeat(code, 3, axis=0)), axis=0).max() == 0
    with torch.no_grad():
        drawn = model.model_.generate(torch.zeros(500, 2)).mean
    assert drawn.std(0).max() > 0.05
    assert model.sample(7, random_state=0).shape == (7, 64)
    np.testing.assert_array_equal(model.sample(7, random_state=0), model.sample(7, random_state=0))


def test_a_saved_ladder_is_the_same(model, digits, tmp_path):
    model.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.ladder == (6, 8) and clone(again).get_params()["ladder"] == (6, 8)
    np.testing.assert_array_equal(again.transform(digits[:9]), model.transform(digits[:9]))
    np.testing.assert_array_equal(again.score_samples(digits[:9], 3), model.score_samples(digits[:9], 3))
    np.testing.assert_array_equal(again.sample(3, 0), model.sample(3, 0))


def test_searches_maps_images_and_conditions(rows, images):
    search = GridSearchCV(VAE(2, **TINY), {"ladder": [None, (3,), (3, 4)]}, cv=2).fit(rows[:100])
    assert np.isfinite(search.best_score_)
    assert VAE(2, ladder=(3,), neighbors=5, **TINY).fit(rows[:100]).transform(rows[:1]).shape == (1, 2)
    conv = networks.Conv((4, 8), width=16)
    picture = VAE(2, ladder=[3], encoder=conv, decoder=conv, max_epochs=1, random_state=0).fit(images[:40])
    assert picture.reconstruct(images[:2]).shape == (2, 8, 8)
    y = np.arange(100) % 3
    conditional = VAE(2, ladder=(3,), condition="labels", prior=priors.Conditional(), **TINY).fit(rows[:100], y)
    assert conditional.sample(3, y=[0, 1, 2]).shape == (3, 64)


@pytest.mark.parametrize(
    "objective",
    [
        objectives.IWAE(k=3),
        objectives.PIWAE(k=2, groups=2),
        objectives.ELBO(free_bits=0.1),
        objectives.ELBO(penalties=(objectives.CodeNorm(0.1),)),
    ],
    ids=name,
)
def test_objectives_over_all_levels(objective, rows):
    ladder = VAE(2, ladder=(3,), objective=objective, **TINY).fit(rows[:60])
    assert np.isfinite(ladder.score(rows[:60]))


@pytest.mark.parametrize(
    "settings, message",
    [
        ({"ladder": (0,)}, "ladder must be a whole number >= 1, got 0"),
        ({"ladder": 3}, r"ladder must be None or components such as \(8, 32\), got 3"),
        ({"ladder": "8"}, "ladder must be None or components"),
        ({"ladder": (3,), "variational_family": posteriors.Deterministic()}, "a ladder combines Gaussians"),
        ({"ladder": (3,), "objective": objectives.DReG(k=2)}, "models with one layer of codes, got 2"),
        (
            {"ladder": (3,), "objective": objectives.ELBO(penalties=(objectives.TotalCorrelation(),))},
            "models with one layer of codes, got 2",
        ),
    ],
)
def test_impossible_ladders_are_refused(settings, message, rows):
    with pytest.raises(PartError, match=message):
        VAE(2, **TINY | settings).fit(rows[:60])


def test_a_batch_of_one_is_normalised_by_the_running_moments():
    norm = _BatchNorm(3).train()
    assert norm(torch.tensor([[1.0, 2.0, 3.0], [3.0, 4.0, 5.0]])).mean().item() == pytest.approx(0, abs=1e-6)
    one = torch.tensor([[7.0, 8.0, 9.0]])
    expected = (one - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    torch.testing.assert_close(norm(one), expected)
