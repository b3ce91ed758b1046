"""The sphere and the Poincare ball: densities, draws and ways against integrals and what is known of them."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_digits

from latentmap import VAE, recipes
from latentmap.exceptions import PartError
from latentmap.model import manifolds, networks, posteriors, priors
from latentmap.model.part import Sizes
from latentmap.model.trace import Level

MU = torch.nn.functional.normalize(torch.tensor([[1.0, -2.0, 0.5]]).double(), dim=-1)


def sphere_grid(n=400):
    """Points of the unit sphere in three dimensions, and the area that each stands for."""
    up = torch.linspace(-1, 1, n + 1).double()
    up = (up[1:] + up[:-1]) / 2  # the area of a ring depends on its height alone
    around = 2 * math.pi * torch.arange(n).double() / n
    up, around = torch.meshgrid(up, around, indexing="ij")
    flat = (1 - up**2).sqrt()
    return torch.stack([flat * around.cos(), flat * around.sin(), up], -1).reshape(-1, 1, 3), 4 * math.pi / n**2


@pytest.mark.parametrize("kappa", [0.1, 1.0, 20.0, 300.0])
def test_a_power_spherical_integrates_to_one_and_knows_its_moments(kappa):
    grid, area = sphere_grid()
    q = manifolds.PowerSpherical(MU, torch.tensor([kappa]).double())
    p = q.log_prob(grid).exp() * area
    assert p.sum() == pytest.approx(1, abs=1e-3)
    assert (p * kappa**2).sum() != pytest.approx(1, abs=1e-3) or kappa == 1
    mean = (p[..., None] * grid).sum(0)
    variance = (p[..., None] * (grid - mean) ** 2).sum(0)
    assert q.stddev[0].numpy() == pytest.approx(variance.sqrt()[0].numpy(), rel=5e-3)
    assert torch.nn.functional.normalize(mean, dim=-1).numpy() == pytest.approx(MU.numpy(), abs=1e-3)
    assert q.entropy().item() == pytest.approx(-(p * q.log_prob(grid)).sum().item(), abs=5e-3)


@pytest.mark.parametrize(("kappa", "d"), [(0.05, 2), (0.5, 3), (8.0, 3), (40.0, 20), (1e4, 20)])
def test_draws_of_a_power_spherical_have_its_distribution(kappa, d):
    torch.manual_seed(0)
    mu = torch.nn.functional.normalize(torch.randn(1, d).double(), dim=-1)
    q = manifolds.PowerSpherical(mu, torch.tensor([kappa]).double())
    z = q.rsample((20_000,))
    assert z.norm(dim=-1).numpy() == pytest.approx(1, abs=1e-6)
    along = ((z * mu).sum(-1)[:, 0] + 1) / 2  # De Cao and Aziz: Beta(beta + kappa, beta)
    beta = (d - 1) / 2
    assert stats.kstest(along.numpy(), stats.beta(beta + kappa, beta).cdf).pvalue > 1e-3
    assert stats.kstest(along.numpy(), stats.beta(beta + 1.2 * kappa + 0.1, beta).cdf).pvalue < 1e-3
    across = z - (z * mu).sum(-1, keepdim=True) * mu
    assert (across.mean(0).abs() / (across.std(0) / math.sqrt(len(z)) + 1e-12)).max() < 4.5


def test_draws_are_differentiable_in_direction_and_concentration():
    noise = torch.randn(7, 1, 3, generator=torch.Generator().manual_seed(0)).double()

    def draw(mu, log_kappa):
        mu = torch.nn.functional.normalize(mu, dim=-1)
        return manifolds.PowerSpherical(mu, log_kappa.exp()).push(noise)

    at = MU.clone().requires_grad_(), torch.tensor([1.3]).double().requires_grad_()
    assert torch.autograd.gradcheck(draw, at, eps=1e-5, atol=1e-4)
    mean = torch.autograd.grad(draw(*at).sum(), at)
    assert not torch.allclose(mean[1], torch.zeros(1).double(), atol=1e-3)


@pytest.mark.parametrize("shape", [0.5, 1.0, 3.7, 120.0, 5e4])
def test_the_gamma_quantile_is_scipys(shape):
    e = torch.linspace(-6, 6, 41).double()
    ours = manifolds.gamma_quantile(torch.full_like(e, shape), e)
    # the nearer tail, where quantiles of probabilities near one have lost their digits
    theirs = np.where(e < 0, stats.gamma(shape).ppf(stats.norm.cdf(e)), stats.gamma(shape).isf(stats.norm.sf(e)))
    assert ours.numpy() == pytest.approx(theirs, rel=1e-6)
    assert ours.numpy() != pytest.approx(stats.gamma(1.01 * shape).ppf(stats.norm.cdf(e)), rel=1e-6)


def test_the_rate_on_the_sphere_is_the_integral():
    grid, area = sphere_grid()
    q, p = manifolds.PowerSpherical(MU, torch.tensor([9.0]).double()), manifolds.UniformOnSphere(MU[0])
    log_q = q.log_prob(grid)
    integral = (log_q.exp() * (log_q - p.log_prob(grid))).sum() * area
    assert torch.distributions.kl_divergence(q, p).item() == pytest.approx(integral.item(), abs=1e-3)
    assert p.log_prob(grid).exp().sum() * area == pytest.approx(1)
    flat = manifolds.PowerSpherical(MU, torch.tensor([1e-9]).double())
    assert torch.distributions.kl_divergence(flat, p).item() == pytest.approx(0, abs=1e-6)


def ball_grid(n=700, reach=9.0):
    """Points of the Poincare disc by distance from the middle and angle, and the hyperbolic area of each."""
    r = (torch.arange(n).double() + 0.5) * reach / n
    around = 2 * math.pi * torch.arange(n).double() / n
    r, around = torch.meshgrid(r, around, indexing="ij")
    at = torch.tanh(r / 2)[..., None] * torch.stack([around.cos(), around.sin()], -1)
    return at.reshape(-1, 1, 2), (torch.sinh(r) * (reach / n) * (2 * math.pi / n)).reshape(-1, 1)


def tangent(at):
    """What leads from the middle of the ball to a point, (1, D)."""
    at = torch.tensor([at]).double()
    return manifolds.ball_log(torch.zeros_like(at), at)


@pytest.mark.parametrize("loc", [[0.0, 0.0], [0.6, -0.3]])
def test_a_wrapped_normal_integrates_to_one(loc):
    grid, area = ball_grid()
    q = manifolds.WrappedNormal(tangent(loc), torch.tensor([[0.4, 0.8]]).double())
    assert (q.log_prob(grid).exp() * area).sum() == pytest.approx(1, abs=2e-3)
    v, _ = q.inverse(grid)
    assert abs((q.base.log_prob(v).exp() * area).sum() - 1) > 0.1  # without what wrapping does to volume


def test_draws_of_a_wrapped_normal_know_their_density_and_spread():
    torch.manual_seed(0)
    q = manifolds.WrappedNormal(tangent([0.6, -0.3]), torch.tensor([[0.02, 0.05]]).double())
    z = q.rsample((5000,))
    assert q.log_prob(z).numpy() == pytest.approx(q.log_prob(z.clone()).numpy(), abs=1e-6)
    assert (z.std(0) / q.stddev).numpy() == pytest.approx(1, rel=0.05)
    assert (z.mean(0) - q.mean).abs().max() < 1e-3


def exactly(to, v, scale):
    """log q of a wrapped normal's draw, the standard one's log p of it, its distance: 60 digits, on the hyperboloid."""
    with mpmath.workdps(60):
        to, v, scale = ([mpmath.mpf(float(x)) for x in vector] for vector in (to, v, scale))
        a, s = (mpmath.sqrt(sum(x * x for x in vector)) for vector in (to, v))
        cosine = sum(x * y for x, y in zip(to, v, strict=True)) / (a * s)
        b = mpmath.acosh(mpmath.cosh(a) * mpmath.cosh(s) + mpmath.sinh(a) * mpmath.sinh(s) * cosine)

        def wrapped(squares, scales, r):
            d = len(scales)
            flat = -squares / 2 - sum(mpmath.log(x) for x in scales) - d * mpmath.log(2 * mpmath.pi) / 2
            return flat - (d - 1) * mpmath.log(mpmath.sinh(r) / r)

        log_q = wrapped(sum((x / y) ** 2 for x, y in zip(v, scale, strict=True)), scale, s)
        return float(log_q), float(wrapped(b * b, [mpmath.mpf(1)] * len(to), b)), float(b)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("distance", [0.1, 1.0, 5.0, 10.0, 14.0, 16.0, 25.0, 40.0])
@pytest.mark.parametrize("latent", [2, 5])
def test_densities_and_rate_in_the_ball_are_those_of_the_point_drawn_at_any_distance(distance, latent, dtype, agree):
    generator = torch.Generator().manual_seed(int(distance) + latent)
    noise = torch.randn(6, 3, latent, generator=generator).to(dtype)
    raw = torch.randn(3, 2 * latent, generator=generator).to(dtype)
    raw[:, latent:] *= 0.3
    raw[:, :latent] *= distance / raw[:, :latent].norm(dim=1, keepdim=True)
    noise[0] = -raw[:, :latent] / 2  # towards the middle
    posterior, sizes = posteriors.Poincare(), Sizes((4,), latent)
    z, q, _ = posterior.draw(posterior.build(sizes), raw, 6, lambda shape, like: noise, None)
    prior = priors.WrappedNormal()
    level = Level(z, q, prior.distribution(prior.build(sizes).to(dtype), None))
    v = q.base.stddev * noise
    exact = np.array([[exactly(raw[b, :latent], v[k, b], q.base.stddev[b]) for b in range(3)] for k in range(6)])
    close = {"rel": 2e-6 if dtype == torch.float32 else 1e-9, "abs": 2e-5 if dtype == torch.float32 else 1e-9}
    for letter, log_density, expected in (("q", level.log_q, exact[..., 0]), ("p", level.log_p, exact[..., 1])):
        assert log_density.numpy() == pytest.approx(expected, **close)
        if dtype == torch.float64:
            agree(
                f"log {letter} in the Poincare ball, to distance 40", "mpmath, 60 digits", log_density, expected, 1e-6
            )
    assert level.rate.numpy() == pytest.approx((exact[..., 0] - exact[..., 1]).mean(0), **close)
    assert z.norm(dim=-1).numpy() == pytest.approx(np.minimum(np.tanh(exact[..., 2] / 2), manifolds.RIM), abs=1e-6)
    assert z.norm(dim=-1).max() < 1 and z.dtype == q.mean.dtype == level.log_p.dtype == dtype
    far = level.p.log_prob(z.clone()) - level.log_p  # the density where the coordinates end
    assert (far.abs().max() > 10) == (distance > 20) or 10 <= distance <= 16


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("distance", [0.0, 1e-6, 1.0, 14.5, 40.0, 300.0])
def test_gradients_in_the_ball_are_finite_at_any_distance_and_right(distance, dtype):
    posterior, zero = posteriors.Poincare(), torch.zeros(2, dtype=dtype)
    p = manifolds.WrappedNormal(zero, zero + 1)
    noise = torch.tensor([[[0.7, -0.2]], [[-1.3, 0.4]], [[1.6, 1.2]]]).to(dtype)

    def found(raw):
        z, q, _ = posterior.draw(None, raw, 3, lambda shape, like: noise, None)
        level = Level(z, q, p)
        return level.log_q.sum(), level.log_p.sum(), z.sum(), q.mean.sum()

    raw = torch.tensor([[0.6 * distance, -0.8 * distance, 0.2, -0.4]]).to(dtype).requires_grad_()
    for value in found(raw):
        (slope,) = torch.autograd.grad(value, raw, retain_graph=True, allow_unused=True)
        assert slope.isfinite().all()
    if dtype == torch.float64 and distance < 100:
        assert torch.autograd.gradcheck(lambda at: found(at)[1:3], raw, eps=1e-5, atol=1e-4)


def test_a_prior_of_posteriors_knows_its_own_draws_in_the_ball():
    """One pseudo-input whose posterior is the row's: the weight of a draw is then exactly 1."""
    posterior = posteriors.Poincare()
    for distance, off in ((1.0, 1e-5), (10.0, 1e-5), (20.0, 1e-5), (28.0, 1e-2)):
        raw = torch.tensor([[0.6 * distance, -0.8 * distance, 0.2, -0.4]])
        noise = torch.randn(20, 1, 2, generator=torch.Generator().manual_seed(0))
        z, q, _ = posterior.draw(None, raw, 20, lambda shape, like, e=noise: e, None)
        alike = torch.distributions.MixtureSameFamily(
            torch.distributions.Categorical(torch.ones(1)), posterior.distribution(None, raw), validate_args=False
        )
        level = Level(z, q, alike)
        assert level.log_p.numpy() == pytest.approx(level.log_q.numpy(), abs=off)
        assert distance < 12 or (alike.log_prob(z.clone()) - level.log_q).abs().max() > 0.01


@pytest.mark.parametrize("d", [2, 3, 5])
def test_wrapping_changes_volume_by_the_determinant_of_its_jacobian(d):
    rng = torch.Generator().manual_seed(d)
    v, loc = (torch.randn(d, generator=rng).double() for _ in range(2))
    loc = 0.5 * loc / loc.norm()
    jacobian = torch.autograd.functional.jacobian(lambda v: manifolds.ball_exp(loc, v), v)
    conformal = d * (2 / (1 - manifolds.ball_exp(loc, v).square().sum())).log()  # hyperbolic by Euclidean volume
    expected = jacobian.det().abs().log() + conformal
    assert manifolds.ball_log_det(v).item() == pytest.approx(expected.item(), abs=1e-9)


def test_distances_and_ways_on_the_ball():
    a, b = torch.tensor([0.3, 0.1]).double(), torch.tensor([-0.5, 0.6]).double()
    known = math.acosh(1 + 2 * (a - b).square().sum() / ((1 - a.square().sum()) * (1 - b.square().sum())))
    assert manifolds.ball_log(a, b).norm().item() == pytest.approx(known)
    assert manifolds.ball_exp(a, manifolds.ball_log(a, b)).numpy() == pytest.approx(b.numpy())
    t = torch.linspace(0, 1, 5).double()[:, None]
    way = posteriors.Poincare().geodesic(a, b, t)
    steps = [manifolds.ball_log(x, y).norm().item() for x, y in zip(way[:-1], way[1:], strict=True)]
    assert steps == pytest.approx([known / 4] * 4)
    straight = a + t * (b - a)
    assert sum(manifolds.ball_log(x, y).norm() for x, y in zip(straight[:-1], straight[1:], strict=True)) > known + 0.01


def test_ways_on_the_sphere_stay_on_it_and_take_equal_steps():
    a, b = MU[0], torch.tensor([0.0, 0.0, 1.0]).double()
    way = posteriors.Sphere().geodesic(a, b, torch.linspace(0, 1, 5).double()[:, None])
    assert way.norm(dim=-1).numpy() == pytest.approx(1)
    angles = torch.acos((way[:-1] * way[1:]).sum(-1))
    assert angles.numpy() == pytest.approx(torch.acos((a * b).sum()).item() / 4)
    assert torch.allclose(way[0], a) and torch.allclose(way[-1], b)
    assert (a + 0.5 * (b - a)).norm() < 0.95  # the straight line leaves it


def test_uniform_draws_lie_on_the_sphere_with_no_direction_of_their_own():
    draws = manifolds.UniformOnSphere(torch.zeros(3)).sample((4000,))
    assert draws.norm(dim=-1).numpy() == pytest.approx(1, abs=1e-5)
    assert draws.T.cov(correction=0).numpy() == pytest.approx(np.eye(3) / 3, abs=0.05)  # 8 standard errors


def test_ways_of_many_pairs_on_the_sphere_are_those_of_each():
    a, b = torch.nn.functional.normalize(
        torch.randn(2, 6, 4, generator=torch.Generator().manual_seed(0)).double(), dim=-1
    )
    angle, t = (a * b).sum(-1, keepdim=True).acos(), torch.linspace(0, 1, 6).double()[:, None]
    expected = (((1 - t) * angle).sin() * a + (t * angle).sin() * b) / angle.sin()
    assert torch.allclose(manifolds.sphere_geodesic(a, b, t), expected)


@pytest.mark.parametrize("part", [posteriors.Sphere(), posteriors.Poincare()], ids=repr)
def test_curved_spaces_need_two_components(part):
    with pytest.raises(PartError, match=r"n_components of 2 or more, got 1"):
        part.build(Sizes((6,), 1))


@pytest.mark.parametrize(
    ("posterior", "prior"),
    [
        (posteriors.Sphere(), priors.Normal()),
        (posteriors.Gaussian(), priors.Uniform()),
        (posteriors.Poincare(), priors.Mixture(3)),
        (posteriors.Poincare(), priors.Uniform()),
        (posteriors.Deterministic(), priors.WrappedNormal()),
    ],
    ids=repr,
)
def test_priors_of_another_space_are_refused(posterior, prior):
    with pytest.raises(PartError, match="leave the prior out"):
        prior.check_posterior(posterior)


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
@pytest.mark.parametrize("posterior", [posteriors.Sphere(), posteriors.Poincare()], ids=repr)
def test_codes_and_ways_of_a_fit_lie_on_the_space(posterior):
    digits = load_digits().data[:300]
    network = networks.MLP((32,))
    vae = VAE(3, variational_family=posterior, encoder=network, decoder=network, max_epochs=3, random_state=0)
    radius = np.linalg.norm(vae.fit_transform(digits), axis=1)
    assert (radius < 1).all() if posterior.manifold == "ball" else radius == pytest.approx(1, abs=1e-5)
    a, b = vae.transform(digits[:2])
    quarter = vae.interpolate(digits[:1], digits[1:2], 5)[1]
    way = posterior.geodesic(*map(torch.from_numpy, (a, b)), torch.tensor(0.25))
    assert quarter == pytest.approx(vae.inverse_transform(way.numpy()[None])[0], abs=1e-4)
    assert quarter != pytest.approx(vae.inverse_transform((a + (b - a) / 4)[None])[0], abs=1e-4)
    assert vae.inverse_transform([3 * a / radius[0]]) == pytest.approx(vae.inverse_transform([5 * a / radius[0]]))
    with pytest.raises(PartError, match="leave the prior out"):
        vae.fit_prior(digits, priors.Mixture(3))


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_the_recipe_of_the_sphere_learns_and_without_its_warm_up_codes_say_less():
    """Of two seeds together: how much less a single one says hangs on the rounding of the processor."""
    rates = {0.3: [], 0.0: []}
    for seed in (0, 2):
        for warmup, found in rates.items():
            vae = VAE(3, **recipes.sphere(warmup), learning_rate=7e-3, max_epochs=100, random_state=seed)
            found.append(vae.fit(load_digits().data).history_[-1]["val_rate"])
    assert min(rates[0.3]) > 5 and np.mean(rates[0.0]) < np.mean(rates[0.3]) - 2
