"""Draws from the prior among those of q: unbiased and bounded for every prior, and none where that cannot be."""

import math

import pytest
import torch
from torch import nn
from torch.distributions import Categorical, MixtureSameFamily, Normal

from latentmap.estimators.imputation import weighted
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import Parts
from latentmap.model.distributions import draw
from latentmap.model.ladder import compose
from latentmap.model.noise import Generated, RowNoise, apart, fresh, generator_for
from latentmap.model.part import Sizes
from parts import name

MLP = networks.MLP((16,))
X = torch.tensor([[0.5, torch.nan, -0.2], [torch.nan, torch.nan, torch.nan], [0.3, 0.1, -0.4]], dtype=torch.float64)
GAUSSIAN, INCOMPLETE = posteriors.Gaussian(), likelihoods.Incomplete(likelihoods.Gaussian(scale=0.5))
DEFENDED = [
    (GAUSSIAN, priors.Normal()),
    (GAUSSIAN, priors.Mixture(3)),
    (GAUSSIAN, priors.Vamp(4)),
    (GAUSSIAN, priors.FittedNormal()),
    (GAUSSIAN, priors.Flow("maf", transforms=1, width=8)),
    (GAUSSIAN, priors.Conditional()),
    (posteriors.Flow("iaf", width=8), priors.Normal()),
    (posteriors.Flow("maf", width=8), priors.Mixture(2)),
    (posteriors.Sphere(), priors.Uniform()),
    (posteriors.Poincare(), priors.WrappedNormal()),
]
ALONE = [
    (posteriors.Flow("planar"), priors.Normal()),
    (posteriors.Hamiltonian(), priors.Normal()),
    (GAUSSIAN, priors.TwoStage()),
    (posteriors.Flow("iaf", width=8), priors.Vamp(4)),
]


def model(posterior, prior, below=(), narrow=True):
    torch.manual_seed(0)
    conditional = isinstance(prior, priors.Conditional)
    sizes = Sizes(event=(3,), latent=2, condition=2 if conditional else 0, below=below)
    made = compose(Parts(MLP, MLP, posterior, prior, INCOMPLETE), sizes, generator_for(0)).double().eval()
    linear = [layer for layer in made.encoder.modules() if isinstance(layer, nn.Linear)][-1]
    with torch.no_grad():
        if narrow and isinstance(posterior, posteriors.Gaussian) and not below:
            linear.bias[2:] = -2.5  # q is far narrower than p(z|x)
        if conditional:
            made.prior_state.loc.copy_(torch.tensor([[1.0, 0.0], [0.0, -1.0]]))
            made = made.given(torch.eye(2, dtype=torch.float64)[[0, 1, 1]])
    return made


def by_the_prior(made, n=100_000):
    """log p(x_obs) by draws of the prior alone."""
    with torch.no_grad():
        p = made.prior()
        z = p.sample((n,) if p.batch_shape else (n, len(X)))
        return made.generate(z).log_prob(X).logsumexp(0) - math.log(n)


def bound(made, k, **defence):
    with torch.no_grad():
        return made.trace(X, k, **defence)


@pytest.mark.parametrize(("posterior", "prior"), DEFENDED, ids=lambda part: name(part))
def test_the_mean_weight_is_the_evidence_and_weights_are_bounded(posterior, prior):
    made = model(posterior, prior)
    torch.manual_seed(1)
    trace = bound(made, 40_000, defence=fresh)
    assert trace.from_prior.tolist() == [0.25, 0.25, 0.0]
    found, exact = trace.bound(), by_the_prior(made)
    assert (found - exact)[:2].abs().max() < 0.05
    assert abs(found[1]) < 0.02  # no cell at all
    ceiling = trace.log_px[:, :2].max(0).values - math.log(0.25)
    assert (trace.log_w[:, :2] <= ceiling + 1e-9).all()


@pytest.mark.parametrize(("posterior", "prior"), ALONE, ids=lambda part: name(part))
def test_where_q_or_the_prior_do_not_allow_it_draws_are_of_q_alone(posterior, prior):
    trace = bound(model(posterior, prior), 4, defence=fresh)
    assert trace.from_prior is None and torch.isfinite(trace.log_w).all()


def test_a_ladder_is_defended_on_every_level():
    made = model(GAUSSIAN, priors.Normal(), below=(3, 2))
    torch.manual_seed(1)
    trace = bound(made, 40_000, defence=fresh)
    with torch.no_grad():
        n = 100_000
        exact = made.generate(torch.randn(n, 3, 2, dtype=torch.float64)).log_prob(X).logsumexp(0) - math.log(n)
    assert (trace.bound() - exact)[:2].abs().max() < 0.05 and abs(trace.bound()[1]) < 0.02


def test_draws_of_q_alone_miss_the_evidence():
    """The control."""
    made = model(GAUSSIAN, priors.Normal())
    torch.manual_seed(1)
    assert abs(bound(made, 1000).bound()[1]) > 0.2


def test_the_estimate_is_unbiased_for_few_draws():
    made = model(GAUSSIAN, priors.Mixture(3))
    torch.manual_seed(1)
    for k in (1, 2, 3, 5):
        with torch.no_grad():
            w = made.trace(X.repeat(5000, 1), k, defence=fresh).log_w.exp()
        means = w.mean(0).unflatten(0, (5000, 3)).mean(0)
        assert means[:2].tolist() == pytest.approx(by_the_prior(made).exp()[:2].tolist(), rel=0.1), k


def test_complete_rows_keep_their_draws():
    made = model(posteriors.Flow("iaf", width=8), priors.Normal())
    x = X.clone()
    noise, alone = RowNoise(x, 0), RowNoise(x, 0)
    for _ in range(3):
        defended, plain = bound(made, 8, noise=noise, defence=apart(noise)), bound(made, 8, noise=alone)
        assert (defended.log_w[:, 2] == plain.log_w[:, 2]).all()
        assert (defended.levels[0].z[2:, :2] == plain.levels[0].z[2:, :2]).all()
        assert (defended.levels[0].z[:2, :2] != plain.levels[0].z[:2, :2]).all()


def test_missing_cells_are_filled_from_defended_draws():
    made = model(GAUSSIAN, priors.Normal())
    with torch.no_grad():
        px, log_w = weighted(made, X, 8, RowNoise(X, 0))
        noise = RowNoise(X, 0)
        expected = made.trace(X, 8, noise, defence=apart(noise))
        alone = made.trace(X, 8, RowNoise(X, 0))
    assert (log_w == expected.log_w).all() and (px.mean == expected.px.mean).all()
    assert (log_w != alone.log_w)[:, :2].any(), "control"


def test_a_mixture_is_drawn_by_its_shares():
    prior = priors.Mixture(3)
    torch.manual_seed(0)
    own = prior.build(Sizes((3,), 2))
    with torch.no_grad():
        own.loc.copy_(torch.tensor([[-9.0, 0.0], [0.0, 0.0], [9.0, 0.0]]))
        own.logits.copy_(torch.tensor([0.2, 0.3, 0.5]).log())
        x = torch.randn(20_000, 3)
        z = draw(prior.distribution(own, None), (1, 20_000), RowNoise(x, 0))[0]
    shares = torch.stack([(z[:, 0] < -4.5), (z[:, 0].abs() < 4.5), (z[:, 0] > 4.5)]).double().mean(1)
    assert shares == pytest.approx(torch.tensor([0.2, 0.3, 0.5]).double(), abs=0.02)
    assert z[:, 1].std() == pytest.approx(1, abs=0.03)


def test_mixtures_of_each_row_are_drawn_by_their_own_shares():
    shares = torch.tensor([[0.1, 0.2, 0.7], [0.6, 0.3, 0.1]], dtype=torch.float64)
    middles = torch.tensor([-9.0, 0.0, 9.0], dtype=torch.float64).expand(2, 3)
    p = MixtureSameFamily(Categorical(shares), Normal(middles, 1.0))
    drawn = draw(p, (20_000,), Generated(generator_for(0)))
    found = torch.stack([drawn < -4.5, drawn.abs() < 4.5, drawn > 4.5], -1).double().mean(0)
    assert found.flatten().tolist() == pytest.approx(shares.flatten().tolist(), abs=0.02)
