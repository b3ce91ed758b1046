"""Priors against other implementations of their density."""

import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from torch.distributions import Independent, MixtureSameFamily

from latentmap import VAE
from latentmap.evaluation.generation import frechet_distance
from latentmap.exceptions import PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.part import Sizes

SIZES = Sizes((6,), 2)
MLP = networks.MLP((16,))


def none(x):
    raise AssertionError("this prior has no use for the encoder")


def density(prior, own, z):
    return prior.distribution(own, none).log_prob(z)


def test_a_mixture_is_the_sum_of_its_components():
    torch.manual_seed(0)
    own = priors.Mixture(3).build(SIZES).double()
    own.logits.data, own.log_scale.data = torch.randn(3).double(), 0.3 * torch.randn(3, 2).double()
    z = 2 * torch.randn(50, 2, dtype=torch.float64)
    shares, scales = own.logits.softmax(0).tolist(), (7 * (own.log_scale / 7).tanh()).exp().detach().numpy()
    components = [multivariate_normal(m, np.diag(s**2)) for m, s in zip(own.loc.detach().numpy(), scales, strict=True)]
    expected = np.log(sum(w * c.pdf(z.numpy()) for w, c in zip(shares, components, strict=True)))
    assert density(priors.Mixture(3), own, z).detach().numpy() == pytest.approx(expected)
    equal = np.log(sum(c.pdf(z.numpy()) / 3 for c in components))
    assert density(priors.Mixture(3), own, z).detach().numpy() != pytest.approx(equal, abs=0.1)


@pytest.mark.parametrize("prior", [priors.Mixture(3), priors.Flow(), priors.Flow("maf")], ids=repr)
@torch.no_grad()
def test_priors_integrate_to_one(prior):
    torch.manual_seed(0)
    own = prior.build(SIZES).double()
    axis = torch.linspace(-9, 9, 200, dtype=torch.float64)
    grid, cell = torch.cartesian_prod(axis, axis), (axis[1] - axis[0]) ** 2
    p = density(prior, own, grid).exp()
    assert p.sum() * cell == pytest.approx(1, abs=5e-3)
    q = prior.distribution(own, none)
    draws = q.sample((20_000,))
    inside = (grid.norm(dim=-1) < 1, draws.norm(dim=-1) < 1)
    share = (p[inside[0]].sum() * cell).item()
    assert inside[1].double().mean().item() == pytest.approx(share, abs=0.02)
    assert inside[1].double().mean().item() != pytest.approx(share + 0.1, abs=0.02)


@pytest.mark.parametrize("posterior", [posteriors.Gaussian(), posteriors.Flow()], ids=repr)
def test_a_vamp_prior_of_one_input_is_its_posterior(posterior):
    torch.manual_seed(0)
    prior = priors.Vamp(1)
    model = GenerativeAutoencoder(Parts(MLP, MLP, posterior, prior, likelihoods.Gaussian()), SIZES)
    z = torch.randn(40, 2)
    inputs = model.prior_state.inputs
    assert torch.allclose(model.prior().log_prob(z), model.encode(inputs).log_prob(z[:, None])[:, 0], atol=1e-5)
    other = model.encode(inputs + 1).log_prob(z[:, None])[:, 0]
    assert not torch.allclose(model.prior().log_prob(z), other, atol=1e-2)
    assert not [key for key in model.state_dict() if key.startswith("prior_state") and "inputs" not in key]


def test_pseudo_inputs_start_from_rows_of_the_data():
    X = np.random.default_rng(0).normal(size=(60, 6)) + 3
    settings = {"scaling": "none", "learning_rate": 1e-12, "max_epochs": 1, "random_state": 0}
    vae = VAE(2, encoder=MLP, decoder=MLP, prior=priors.Vamp(7), neighbors=None, **settings).fit(X)
    inputs = vae.model_.prior_state.inputs.detach().double().numpy()
    apart = np.linalg.norm(inputs[:, None] - X, axis=-1)
    assert apart.min(1).max() < 1e-4 and len(set(apart.argmin(1))) == 7
    assert np.linalg.norm(np.random.default_rng(1).normal(size=6) - X, axis=-1).min() > 1e-4
    assert vae.score_samples(X, 5).shape == (60,) and vae.sample(3).shape == (3, 6)


@pytest.mark.parametrize("prior", [priors.Flow(), priors.Mixture(4)], ids=repr)
def test_a_flexible_prior_learns_two_clusters_better_than_a_normal_one(prior):
    torch.manual_seed(0)
    z = 0.3 * torch.randn(1400, 2) + 2 * torch.randn(1400, 1).sign()
    own = prior.build(SIZES)
    adam = torch.optim.Adam(own.parameters(), 2e-2)
    for _ in range(200):
        loss = -density(prior, own, z[:1000]).mean()
        adam.zero_grad()
        loss.backward()
        adam.step()
    best = MixtureSameFamily(
        torch.distributions.Categorical(torch.ones(2)),
        Independent(torch.distributions.Normal(torch.tensor([[2.0, 2.0], [-2.0, -2.0]]), 0.3), 1),
    )
    normal = torch.distributions.MultivariateNormal(z[:1000].mean(0), torch.cov(z[:1000].T))
    got, plain, ideal = (
        f(z[1000:]).mean().item() for f in (prior.distribution(own, none).log_prob, normal.log_prob, best.log_prob)
    )
    assert plain + 0.5 < got < ideal + 0.1
    assert plain < ideal - 0.5  # the data do tell them apart


@pytest.mark.parametrize(
    "make", [lambda: priors.Mixture(components=0), lambda: priors.Vamp(inputs=-1), lambda: priors.Flow(transforms=0)]
)
def test_impossible_priors_are_refused(make):
    with pytest.raises(PartError, match="must be a whole number"):
        make()


def test_vamp_refuses_posteriors_without_density():
    with pytest.raises(PartError, match=r"priors.Vamp needs.*posteriors.Gaussian"):
        GenerativeAutoencoder(Parts(MLP, MLP, posteriors.Deterministic(), priors.Vamp(), likelihoods.Gaussian()), SIZES)


def _blocks() -> list[str]:
    page = (Path(__file__).parents[1] / "docs/parts.md").read_text(encoding="utf-8")
    return [text.split("```")[0] for text in page.split("```python\n")[1:]]


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_the_fitted_prior_of_the_documentation_draws_nearer_to_the_data():
    found: dict[str, Any] = {}
    first, *others = _blocks()
    for code in (first, next(code for code in others if "fit_prior" in code)):
        exec(compile(code, "docs/parts.md", "exec"), found)
    before, after, real = (found[name].reshape(-1, 64) for name in ("before", "after", "X"))
    main = PCA(10).fit(real)
    before, after, real = map(main.transform, (before, after, real))
    assert frechet_distance(after, real) < 0.8 * frechet_distance(before, real)


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_the_prior_of_the_documentation_works_as_it_stands():
    first, *_, code = _blocks()
    module = ModuleType("latentmap.model.priors_of_the_documentation")
    sys.modules[module.__name__] = module
    for block in (first, code):
        exec(compile(block, "docs/parts.md", "exec"), module.__dict__)
    settings = {"encoder": MLP, "decoder": MLP, "neighbors": None, "max_epochs": 1, "random_state": 0}
    vae = VAE(2, prior=module.Heavy(), **settings).fit(np.random.default_rng(0).normal(size=(60, 6)))
    assert vae.sample(3).shape == (3, 6) and np.isfinite(vae.score(np.zeros((2, 6))))
    assert "log_scale" in dict(vae.model_.prior_state.named_parameters())
