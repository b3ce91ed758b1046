"""Priors that are fitted after training: what they learn of the codes, and that they stay with the model."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.mixture import GaussianMixture

from latentmap import VAE, Autoencoder, load, networks, posteriors, priors, recipes
from latentmap.exceptions import NoDensityError, PartError
from latentmap.model.part import Sizes
from latentmap.training import density
from latentmap.training.density import fit_density
from test_model_laws import model_of

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS = load_digits().images[:600]
SMALL = {"encoder": networks.MLP((64,)), "decoder": networks.MLP((64,)), "random_state": 0}


@pytest.fixture(scope="module")
def quantised():
    return VAE(4, **recipes.vq(16), **SMALL, max_epochs=10).fit(DIGITS)


@pytest.fixture(scope="module")
def vae():
    return VAE(2, **SMALL, max_epochs=15, neighbors=None).fit(DIGITS)


@pytest.fixture(autouse=True)
def short_training(monkeypatch):
    """Enough for what these priors have to learn, at a rate that goes with it."""
    monkeypatch.setattr(density, "STEPS", 300)
    monkeypatch.setattr(density, "RATE", 1e-2)


def test_indices_are_drawn_jointly():
    torch.manual_seed(0)
    joint = 0.02 + torch.eye(4).roll(1, 1)  # the second index follows the first
    joint = joint / joint.sum()
    model = model_of(posteriors.FiniteScalar(4), priors.FittedNormal()).with_prior(priors.Autoregressive(16))
    flat = torch.multinomial(joint.flatten(), 4000, replacement=True)
    fit_density(model, torch.stack([flat // 4, flat % 4, 0 * flat], 1), 0)
    p = model.prior()
    everything = torch.cartesian_prod(*[torch.arange(4)] * 3)
    assert p.log_prob(everything).exp().sum().item() == pytest.approx(1, abs=1e-4)
    learned = p.log_prob(everything[everything[:, 2] == 0]).exp().detach()
    drawn = torch.bincount((p.sample((4000,)) * torch.tensor([4, 1, 0])).sum(1), minlength=16) / 4000
    alone = (joint.sum(1, keepdim=True) * joint.sum(0)).flatten()
    for found in (learned, drawn):
        assert (found - joint.flatten()).abs().sum() / 2 < 0.05
    assert (alone - joint.flatten()).abs().sum() / 2 > 0.5, "control: independent indices"


def test_quantised_models_are_sampled_from_their_codes(quantised, tmp_path):
    codes = quantised.code_indices(DIGITS)
    assert codes.shape == (600, 2) and codes.dtype == np.int64 and codes.max() < 16
    assert quantised.fit_prior(DIGITS, priors.Autoregressive(32), random_state=0) is quantised
    drawn = quantised.sample(50, random_state=0)
    known = quantised.reconstruct(DIGITS)
    apart = np.square(drawn[:, None] - known[None]).mean((2, 3)).min(1)
    assert (apart < 1e-6).mean() > 0.5, "most draws are codes that rows have"
    quantised.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert np.array_equal(again.sample(5, random_state=1), quantised.sample(5, random_state=1))
    assert np.array_equal(again.code_indices(DIGITS), codes)


def energy(a, b):
    """Energy distance between two sets of points: 0 for equal distributions (Szekely and Rizzo 2013)."""
    return (2 * torch.cdist(a, b).mean() - torch.cdist(a, a).mean() - torch.cdist(b, b).mean()).item()


@pytest.mark.parametrize(
    ("part", "steps"), [(priors.Mixture(20), 1), (priors.TwoStage(64), 1500), (priors.Flow(width=32), 300)], ids=repr
)
def test_they_learn_what_a_gaussian_cannot(part, steps, monkeypatch):
    monkeypatch.setattr(density, "STEPS", steps)
    generator = torch.Generator().manual_seed(0)
    angle = 6.3 * torch.rand(2000, 1, generator=generator)
    ring = 5 * torch.cat([angle.cos(), angle.sin(), 0 * angle], 1) + 0.1 * torch.randn(2000, 3, generator=generator)
    distances = []
    for prior in (part, priors.FittedNormal()):
        model = model_of(posteriors.Deterministic(), priors.FittedNormal()).with_prior(prior)
        fit_density(model, ring, 0)
        torch.manual_seed(0)
        with torch.no_grad():
            distances.append(energy(model.prior().sample((2000,)), ring))
    assert distances[0] < 0.2 * distances[1]


def test_a_mixture_is_scikit_learns():
    model = model_of(posteriors.Deterministic(), priors.FittedNormal()).with_prior(priors.Mixture(4))
    codes = torch.randn(500, 3, generator=torch.Generator().manual_seed(0)).exp()
    fit_density(model, codes, 0)
    expected = GaussianMixture(4, random_state=0).fit(codes.double().numpy()).score_samples(codes.double().numpy())
    np.testing.assert_allclose(model.prior().log_prob(codes).detach(), expected, rtol=1e-3, atol=1e-3)


def test_the_bound_of_a_second_stage_is_one():
    model = model_of(posteriors.Deterministic(), priors.FittedNormal()).with_prior(priors.TwoStage(64))
    codes = 3 + 2 * torch.randn(2000, 3, generator=torch.Generator().manual_seed(0))
    fit_density(model, codes, 0)
    with torch.no_grad():
        found = model.prior().log_prob(codes).mean().item()
    exact = -0.5 * 3 * (1 + np.log(2 * np.pi * 4))
    assert exact - 0.4 < found < exact + 0.1
    assert torch.equal(model.prior().log_prob(codes[:5]), model.prior().log_prob(codes)[:5])


@pytest.mark.parametrize("training", [True, False])
def test_the_exponential_of_a_second_stages_density_is_unbiased(training):
    """So that a weight in which it stands for p(z) keeps its expectation; that of the ELBO is not."""
    torch.manual_seed(0)
    own = priors.TwoStage(8).build(Sizes((4,), 1))
    with torch.no_grad():
        for p in own.model.parameters():
            p.mul_(3.0 if p.ndim == 2 else 1.0)  # a posterior that is not exact
        z = torch.linspace(-30, 30, 40_001)[:, None]
        found = priors.TwoStage(8).distribution(own.train(training), None).log_prob(z).exp()
        trace = own.model.trace(z)
    total, error = found.sum() * 60 / 40_000, found.std() * 60 / 200
    assert abs(total - 1) < 4.5 * error < 0.4
    assert (-(trace.distortion + trace.rate)).exp().sum() * 60 / 40_000 < 0.5


def test_a_second_stages_density_is_alike_where_codes_differ_by_rounding():
    own = priors.TwoStage(8).build(Sizes((4,), 2)).eval()
    with torch.no_grad():
        for p in own.model.parameters():
            p.mul_(3.0 if p.ndim == 2 else 1.0)
        z = torch.randn(500, 2, generator=torch.Generator().manual_seed(0))
        found, rounded, moved = (
            priors.TwoStage(8).distribution(own, None).log_prob(codes)
            for codes in (z, torch.nextafter(z, 2 * z), z * 1.01)
        )
    apart, control = (((other - found) / (1 + found.abs())).abs() for other in (rounded, moved))
    assert apart.quantile(0.99) < 1e-4
    assert control.median() > 1e-3, "control: other codes have other draws"


def test_scores_of_a_vae_use_the_fitted_prior(vae):
    weights = {name: t.clone() for name, t in vae.model_.named_parameters() if not name.startswith("prior")}
    before = vae.score(DIGITS)
    for prior in (priors.FittedNormal(), priors.Mixture(5), priors.Flow(width=16), priors.TwoStage(32)):
        vae.fit_prior(DIGITS, prior, random_state=0)
        assert vae.score(DIGITS) > before - 0.2, f"{prior} is fitted to the codes, where N(0, I) is not"
    vae.fit_prior(DIGITS, priors.Normal(), random_state=0)
    assert vae.score(DIGITS) == pytest.approx(before)
    assert all(torch.equal(t, dict(vae.model_.named_parameters())[name]) for name, t in weights.items())


def test_an_autoencoder_draws_from_a_mixture(tmp_path):
    ae = Autoencoder(4, **SMALL, max_epochs=15).fit(DIGITS)
    ae.fit_prior(DIGITS, priors.Mixture(10), random_state=0).save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.sample(7, random_state=0).shape == (7, 8, 8)
    assert np.array_equal(again.sample(7, random_state=0), ae.sample(7, random_state=0))
    assert "Mixture" in (tmp_path / "run" / "README.md").read_text()
    with pytest.raises(NoDensityError):
        ae.score_samples(DIGITS)


def test_priors_that_do_not_fit_are_refused_and_the_old_one_is_kept(vae):
    before = vae.model_
    for prior in (priors.Autoregressive(), priors.Conditional(), priors.Vamp(5), "normal"):
        with pytest.raises(PartError):
            vae.fit_prior(DIGITS, prior)
    assert vae.model_ is before and np.isfinite(vae.score(DIGITS))
    with pytest.raises(PartError, match="components=10 need as many"):
        vae.fit_prior(DIGITS[:5], priors.Mixture(10))
    with pytest.raises(PartError, match="quantised codes have indices"):
        vae.code_indices(DIGITS)


def test_a_gaussian_that_every_fit_ends_with_is_fitted_to_draws_and_not_to_means(rows):
    """Posterior means lie closer together than draws, so that a prior of means finds draws unlikely."""
    network = networks.MLP((16,))
    settings = {"encoder": network, "decoder": network, "max_epochs": 20, "neighbors": None, "random_state": 0}
    vae = VAE(4, prior=priors.FittedNormal(), **settings).fit(rows)
    mu, sigma = vae.posterior(rows)
    spread = np.cov(mu.T) + np.diag((sigma**2).mean(0))
    lower = vae.model_.prior_state.cholesky.numpy().astype(float)
    np.testing.assert_allclose(lower @ lower.T, spread, atol=0.25 * np.diag(spread).max())
    assert vae.score(rows) > -vae.evaluation_.loss - 100  # with the prior of means, thousands below
