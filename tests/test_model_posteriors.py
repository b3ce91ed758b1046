"""Posteriors beyond the Gaussian against numerical integrals and changes of variables."""

import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch.distributions import MultivariateNormal

from latentmap import VAE
from latentmap.exceptions import NoDensityError, PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.distributions import normal
from latentmap.model.noise import RowNoise, fresh
from latentmap.model.part import Sizes
from latentmap.model.posteriors import hamiltonian
from latentmap.model.transforms import planar
from latentmap.objectives import ELBO, TotalCorrelation

MLP = networks.MLP((16,))
FLOWS = [posteriors.Flow(kind) for kind in ("iaf", "maf", "nsf")]
PLANAR = posteriors.Flow("planar", transforms=4)
HAMILTONIANS = [posteriors.Hamiltonian(), posteriors.RiemannianHamiltonian(centres=5)]


def model_of(posterior, prior=None, latent=2, likelihood=likelihoods.Gaussian()):
    torch.manual_seed(0)
    parts = Parts(MLP, MLP, posterior, prior or priors.Normal(), likelihood)
    return GenerativeAutoencoder(parts, Sizes((6,), latent)).double()


def bent(posterior, latent=2):
    """A model whose flow is far from the identity, and some of its encoder's output."""
    model = model_of(posterior, latent=latent)
    raw = torch.randn(3, posterior.heads(latent), dtype=torch.float64)
    return model, raw


def drawn(posterior, k=5, latent=2):
    model, raw = bent(posterior, latent)
    return posterior.draw(model.posterior_state, raw, k, fresh, None)


@pytest.mark.parametrize("posterior", [*FLOWS, PLANAR], ids=repr)
@pytest.mark.parametrize("latent", [1, 2, 4])
def test_flows_change_the_density_by_the_determinant_of_their_jacobian(posterior, latent):
    model, raw = bent(posterior, latent)
    q = posterior.distribution(model.posterior_state, raw)
    u = torch.randn(3, latent, dtype=torch.float64)
    whole = torch.autograd.functional.jacobian(lambda v: q.forward(v)[0], u)  # (B, D, B, D)
    jacobian = torch.stack([whole[b, :, b] for b in range(3)])
    expected = q.base.log_prob(u) - jacobian.det().abs().log()
    assert torch.allclose(q.log_prob(q.push(u)), expected, atol=1e-6)
    assert not torch.allclose(q.base.log_prob(u), expected, atol=0.05)  # the density forgets the determinant


@pytest.mark.parametrize("posterior", FLOWS, ids=repr)
def test_the_density_of_a_draw_is_that_of_its_inverse(posterior):
    z, q, _ = drawn(posterior)
    assert torch.allclose(q.log_prob(z), q.log_prob(z.clone()), atol=1e-5)  # remembered, inverted
    assert not torch.allclose(q.log_prob(z), q.log_prob(z + 0.1), atol=1e-2)


@pytest.mark.parametrize("posterior", FLOWS, ids=repr)
def test_flows_integrate_to_one(posterior):
    model, raw = bent(posterior)
    q = posterior.distribution(model.posterior_state, raw)
    with torch.no_grad():
        draws = q.rsample((4000,))
        low, wide = draws.amin(0), draws.amax(0) - draws.amin(0)  # of each row
        axis = torch.linspace(-0.3, 1.3, 150, dtype=torch.float64)
        grid, cell = low + wide * torch.cartesian_prod(axis, axis)[:, None], wide.prod(-1) * (axis[1] - axis[0]) ** 2
        assert (q.log_prob(grid).exp().sum(0) * cell) == pytest.approx(1, abs=0.01)
        u, _ = q.inverse(grid)
        assert (q.base.log_prob(u).exp().sum(0) * cell - 1).abs().max() > 0.05  # without the determinant


@pytest.mark.parametrize("posterior", [PLANAR, *HAMILTONIANS], ids=repr)
def test_some_posteriors_know_their_own_draws_alone(posterior):
    level = model_of(posterior).trace(torch.randn(4, 6, dtype=torch.float64)).levels[0]
    assert torch.isfinite(level.log_q).all()
    with pytest.raises(NoDensityError, match="own draws alone"):
        level.q.log_prob(level.z.clone())


@pytest.mark.parametrize("posterior", FLOWS, ids=repr)
def test_moments_of_flows_are_those_of_their_draws(posterior):
    model, raw = bent(posterior)
    q = posterior.distribution(model.posterior_state, 0.3 * raw)
    with torch.no_grad():
        draws = q.rsample((20_000,))
        assert ((draws.mean(0) - q.mean) / draws.std(0)).abs().max() < 0.15
        assert (draws.std(0) / q.stddev).log().abs().max() < 0.2
        assert ((draws.mean(0) - (q.base.mean + 1)) / draws.std(0)).abs().max() > 0.15


def test_a_flow_reaches_a_posterior_that_bends():
    """log p(z) of a banana: a flow comes nearer to it than any diagonal Gaussian."""

    def gap(posterior):
        torch.manual_seed(0)
        own = posterior.build(Sizes((1,), 2))
        raw = torch.zeros(1, posterior.heads(2)).requires_grad_()
        with torch.no_grad():
            raw += 0.1 * torch.randn_like(raw)
        adam = torch.optim.Adam([raw, *own.parameters()], 2e-2)
        for _ in range(150):
            z, q, _ = posterior.draw(own, raw, 256, fresh, None)
            log_p = (
                -0.5 * z[..., 0] ** 2 - 0.5 * ((z[..., 1] - z[..., 0] ** 2) / 0.3) ** 2 - math.log(2 * math.pi * 0.3)
            )
            kl = (q.log_prob(z) - log_p).mean()
            adam.zero_grad()
            kl.backward()
            adam.step()
        return kl.item()

    plain, *bending = (gap(p) for p in (posteriors.Gaussian(), posteriors.Flow(), posteriors.Flow("nsf")))
    assert all(kl < plain - 0.1 for kl in bending)


@pytest.mark.parametrize("posterior", [*FLOWS, PLANAR, *HAMILTONIANS], ids=repr)
def test_scores_of_rows_do_not_depend_on_their_company(posterior):
    model, x = model_of(posterior), torch.randn(5, 6, dtype=torch.float64)
    with torch.no_grad():
        whole = model.trace(x, 3, RowNoise(x, 0)).log_w
        alone = model.trace(x[2:3], 3, RowNoise(x[2:3], 0)).log_w
    assert torch.allclose(whole[:, 2:3], alone)


def test_objectives_that_need_factors_refuse_flows():
    model = model_of(posteriors.Flow()).float()
    with pytest.raises(PartError, match=r"factorises.*Pushforward.*FactorCritic"):
        ELBO(penalties=(TotalCorrelation(5.0),)).check_model(model, model.trace(torch.randn(4, 6)))


@pytest.mark.parametrize("settings", [{"kind": "glow"}, {"transforms": 0}, {"width": 0}, {"context": 1.5}])
def test_impossible_flows_are_refused(settings):
    with pytest.raises(PartError, match=next(iter(settings))):
        posteriors.Flow(**settings)


def test_without_zuko_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "zuko.flows", None)
    for part in (posteriors.Flow(), priors.Flow()):
        with pytest.raises(PartError, match=r'pip install "latentmap\[flows\]"'):
            part.build(Sizes((6,), 2))


# ---- Hamiltonian: on a linear Gaussian model, whose evidence is known


def linear_gaussian(part):
    """A model with p(x|z) = N(Wz, s^2 I), its rows and log p(x)."""
    torch.manual_seed(0)
    w, x, s = torch.randn(3, 2).double(), torch.randn(4, 3).double(), 0.7
    own = part.build(Sizes((3,), 2)).double()
    z_prior = normal(torch.zeros(2).double(), torch.ones(2).double())
    evidence = MultivariateNormal(torch.zeros(3).double(), w @ w.T + s**2 * torch.eye(3).double()).log_prob(x)
    raw = torch.cat([x @ w / (s**2 + 2) + 0.3, torch.zeros(4, 2).double()], 1)  # not the true posterior

    def log_joint(z):
        return z_prior.log_prob(z) + normal(z @ w.T, torch.tensor(s).double()).log_prob(x)

    return part, own, raw, log_joint, evidence


LEAPFROG = {"steps": 4, "step": 0.3, "tempering": 0.6}
CURVED = posteriors.RiemannianHamiltonian(**LEAPFROG, centres=4, temperature=2.0)


@pytest.mark.parametrize(("part", "k"), [(posteriors.Hamiltonian(**LEAPFROG), 40_000), (CURVED, 10_000)], ids=repr)
@torch.no_grad()
def test_hamiltonian_weights_are_unbiased_and_the_bound_is_tighter_than_the_gaussians(part, k):
    part, own, raw, log_joint, evidence = linear_gaussian(part)
    z, q, _ = part.draw(own, raw, k, fresh, log_joint)
    log_w = log_joint(z) - q.log_prob(z)

    def worst(log_w):
        ratio = (log_w - evidence).exp()
        return ((ratio.mean(0) - 1) / (ratio.std(0) / math.sqrt(len(ratio)))).abs().max()

    assert worst(log_w) < 4.5
    start = part.distribution(own, raw)
    assert worst(log_joint(z) - start.log_prob(z)) > 30  # forgets the momenta
    root = own.tempering.sigmoid()
    assert worst(log_w + 2 * root.log()) > 30  # counts the tempering twice
    z = start.sample((k,))
    assert log_w.mean(0).gt((log_joint(z) - start.log_prob(z)).mean(0) + 0.05).all()
    assert log_w.mean(0).lt(evidence).all()


def log_volumes(part, length):
    """Size of log |det| of one step of this length, by autograd, at five places around the codes of a row."""
    part, own, raw, log_joint, _ = linear_gaussian(part)
    start, generator = part.distribution(own, raw[:1]), torch.Generator().manual_seed(0)

    def force(z, r):
        log_p = (lambda v: log_joint(v)[:, :1]) if r is None else (lambda v: part._momenta(own, v).log_prob(r))
        z = z.view_as(z)  # r may come from the same z
        return torch.autograd.grad(log_p(z).sum(), z, create_graph=True)[0]

    def rolled(both):
        z, r = part._leapfrog(own, *both.view(2, 1, 1, 2), length * start.stddev, force)
        return torch.cat([z.flatten(), r.flatten()])

    places = torch.randn(5, 4, generator=generator).double() + torch.cat([start.mean[0], torch.zeros(2)])
    return [torch.autograd.functional.jacobian(rolled, at).det().abs().log().abs().item() for at in places]


@pytest.mark.parametrize(("length", "most"), [(0.1, 2e-8), (0.3, 4e-4), (0.5, 0.1)])
def test_steps_on_a_curved_space_keep_volume_as_far_as_is_said(monkeypatch, length, most):
    found = max(log_volumes(CURVED, length))
    assert found < most
    monkeypatch.setattr(hamiltonian, "FIXED_POINT", 0)  # explicit steps
    assert max(log_volumes(CURVED, length)) > max(most, 1e-3)


def test_long_steps_on_a_curved_space_do_not_keep_volume_unless_solved(monkeypatch):
    assert max(log_volumes(CURVED, 1.0)) > 0.1
    assert max(log_volumes(CURVED, 0.5)) > 1e-4
    monkeypatch.setattr(hamiltonian, "FIXED_POINT", 30)
    assert max(log_volumes(CURVED, 0.5)) < 1e-7


@pytest.mark.parametrize("length", [0.1, 0.5, 2.0])
def test_plain_steps_keep_volume_at_any_length(length):
    assert max(log_volumes(posteriors.Hamiltonian(), length)) < 1e-9


def test_tempering_as_a_whole_keeps_the_volume_of_noise(monkeypatch):
    """Momenta start wider by beta_0^(-1/2), and shrink by as much on the way."""
    part, own, raw, log_joint, _ = linear_gaussian(posteriors.Hamiltonian(**LEAPFROG))
    start, momenta = part.distribution(own, raw[:1]), posteriors.Hamiltonian._momenta

    def moved(both):
        last = []

        def watched(self, own, z):
            p = momenta(self, own, z)
            density = p.log_prob
            p.log_prob = lambda r: last.append(r) or density(r)
            return p

        monkeypatch.setattr(posteriors.Hamiltonian, "_momenta", watched)
        noise = iter(both.view(2, 1, 1, 2))
        z, _, _ = part.draw(own, raw[:1], 1, lambda shape, like: next(noise), lambda z: log_joint(z)[:, :1])
        return torch.cat([z.flatten(), last[-1].flatten()])

    jacobian = torch.autograd.functional.jacobian(moved, torch.tensor([0.3, -0.2, 1.0, 0.5]).double())
    assert jacobian.det().abs().log().item() == pytest.approx(start.stddev.log().sum().item(), abs=1e-9)
    assert abs(own.tempering.sigmoid().log().item()) > 0.1  # what would be missing otherwise


@pytest.mark.parametrize("posterior", HAMILTONIANS, ids=repr)
def test_hamiltonian_gradients_reach_encoder_decoder_step_and_tempering(posterior):
    model, x = model_of(posterior), torch.randn(5, 6, dtype=torch.float64)
    model.trace(x, noise=RowNoise(x, 0)).log_w.sum().backward()
    slope = model.posterior_state.log_step.grad[0].item()
    assert all(p.grad is not None and p.grad.any() for p in model.parameters() if p.numel())

    def value(change):
        with torch.no_grad():
            model.posterior_state.log_step[0] += change
            return model.trace(x, noise=RowNoise(x, 0)).log_w.sum().item()

    up, down = value(1e-5), value(-2e-5)
    assert slope == pytest.approx((up - down) / 2e-5, rel=1e-4)
    assert slope != pytest.approx((up - down) / 1e-5, rel=1e-4)


def test_tempering_changes_the_draws():
    x = torch.randn(4, 6, dtype=torch.float64)
    hot, cold = (model_of(posteriors.Hamiltonian(tempering=t)).trace(x, noise=RowNoise(x, 0)) for t in (0.3, 0.9))
    again = model_of(posteriors.Hamiltonian(tempering=0.3)).trace(x, noise=RowNoise(x, 0))
    assert torch.equal(hot.levels[0].z, again.levels[0].z) and not torch.allclose(hot.levels[0].z, cold.levels[0].z)


@pytest.mark.parametrize("posterior", HAMILTONIANS, ids=repr)
@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_a_fit_with_hamiltonian_draws_scores_rows(posterior):
    digits = load_digits().data[:300]
    settings = {"encoder": MLP, "decoder": MLP, "neighbors": None, "max_epochs": 2, "random_state": 0}
    vae = VAE(2, variational_family=posterior, **settings).fit(digits)
    scores = vae.score_samples(digits[:20], 3)
    assert vae.score_samples(digits[:5], 3) == pytest.approx(scores[:5], rel=1e-5)


@pytest.mark.parametrize("along", [-30.0, -1.0, 0.0, 2.0])
def test_planar_flows_stretch_by_the_softplus_of_the_product_where_they_bend_most(along):
    w, a = torch.tensor([0.5, -2.0, 1.0]), torch.tensor([1.0, 0.3, 0.0])
    a = a + (along - w @ a) * w / (w @ w)
    u = torch.tensor([[1.0, 0.5, -0.7]])
    raw = torch.cat([a, w, -(w @ u[0])[None]])[None]  # tanh of 0
    z, log_det = planar(raw, 1)(u)
    torch.testing.assert_close(z, u)
    assert log_det.item() == pytest.approx(max(math.log(math.log1p(math.exp(along))), math.log(1e-6)), rel=1e-4)
