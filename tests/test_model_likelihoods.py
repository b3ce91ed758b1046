"""Likelihoods against what is known of them in closed form."""

import math

import mpmath
import numpy as np
import pytest
import torch
from scipy import stats

from latentmap.exceptions import PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.likelihoods.counts import PoissonCounts
from latentmap.model.part import Learned, Sizes

RAW = torch.linspace(-3, 3, 12, dtype=torch.float64)


def model_of(likelihood, event=(6,)):
    torch.manual_seed(0)
    mlp = networks.MLP((16,))
    parts = Parts(mlp, mlp, posteriors.Gaussian(), priors.Normal(), likelihood)
    return GenerativeAutoencoder(parts, Sizes(event, 2))


def distribution(part, raw):
    return part.distribution(part.build(Sizes((len(raw),), 2)).double(), raw.view(len(raw), -1))


# ---- real values


@pytest.mark.parametrize(("family", "moment"), [(likelihoods.Gaussian, 2), (likelihoods.Laplace, 1)])
def test_the_optimal_scale_is_the_likeliest_for_the_batch(family, moment):
    model, x = model_of(family(scale="optimal")), 3 * torch.randn(16, 6)
    trace = model.trace(x)

    def log_px(factor):
        fixed = family(scale=factor * trace.px.base_dist.scale.flatten()[0].item())
        own = fixed.build(model.sizes)
        return fixed.distribution(own, trace.px.mean[..., None]).log_prob(x).sum(-1).mean().item()

    assert trace.log_px.mean().item() == pytest.approx(log_px(1.0), rel=1e-5)
    assert max(log_px(0.9), log_px(1.1)) < log_px(1.0)
    residual = (x - trace.px.mean).abs().pow(moment).mean() ** (1 / moment)
    assert trace.px.base_dist.scale.flatten()[0].item() == pytest.approx(residual.item(), rel=1e-5)


def test_the_gradient_of_an_optimal_scale_is_that_of_the_logarithm_of_the_error():
    model, x = model_of(likelihoods.Gaussian(scale="optimal")), torch.randn(16, 6)
    torch.manual_seed(1)
    trace = model.trace(x)
    gradients = torch.autograd.grad(trace.distortion.mean(), list(model.decoder.parameters()))
    torch.manual_seed(1)
    error = (x - model.trace(x).px.mean).square().mean()
    expected = torch.autograd.grad(3 * error.log(), list(model.decoder.parameters()))  # P / 2 = 3
    assert all(torch.allclose(a, b, atol=1e-5) for a, b in zip(gradients, expected, strict=True))


def test_an_optimal_scale_is_remembered_for_evaluation():
    model, x = model_of(likelihoods.Gaussian(scale="optimal")), torch.randn(64, 6)
    start = model.decode(torch.zeros(1, 2)).stddev[0, 0].item()
    assert start == pytest.approx(math.exp(-1), rel=1e-5)
    scales = [model.trace(x).px.stddev[0, 0, 0].item() for _ in range(300)]
    model.eval()
    before = model.likelihood_state.running.clone()
    assert model.trace(x).px.stddev[0, 0, 0].item() == pytest.approx(np.mean(scales), rel=0.01)
    assert torch.equal(model.likelihood_state.running, before)  # evaluation notes nothing
    model.train().trace(torch.full((64, 6), float("inf")))
    assert torch.equal(model.likelihood_state.running, before)  # nor does a batch gone wrong


def test_only_families_with_an_optimum_take_an_optimal_scale():
    with pytest.raises(PartError, match="scale must be 'shared', 'feature' or a positive number"):
        likelihoods.StudentT(scale="optimal")


def test_student_t_is_normal_for_many_degrees_and_robust_for_few():
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)[:, None]
    many = distribution(likelihoods.StudentT(scale=1.0, degrees=1e7), torch.zeros(1, dtype=torch.float64)).log_prob(x)
    assert torch.allclose(many, torch.distributions.Normal(0.0, 1.0).log_prob(x), atol=1e-5)

    def pull(part, distance):
        loc = torch.zeros(1, dtype=torch.float64, requires_grad=True)
        log_p = distribution(part, loc).log_prob(torch.tensor([distance], dtype=torch.float64))
        return torch.autograd.grad(log_p.sum(), loc)[0].item()

    robust, control = likelihoods.StudentT(scale=1.0, degrees=4.0), likelihoods.Gaussian(scale=1.0)
    assert pull(robust, 100.0) < 0.2 * pull(robust, 2.0)
    assert pull(control, 100.0) > 10 * pull(control, 2.0)


@pytest.mark.parametrize(
    ("part", "family"),
    [
        (likelihoods.Gaussian(scale=0.3), stats.norm(0, 0.3)),
        (likelihoods.Laplace(scale=0.3), stats.laplace(0, 0.3)),
        (likelihoods.StudentT(scale=0.3, degrees=4.0), stats.t(4, 0, 0.3)),
        (
            likelihoods.StudentT(),
            stats.t(1 + math.exp(6 * math.tanh(math.log(4) / 6)), 0, math.exp(6 * math.tanh(-1 / 6))),
        ),
    ],
    ids=["normal", "Laplace", "Student's t", "learned"],
)
def test_densities_of_real_values_are_those_of_scipy(part, family):
    x = torch.linspace(-3, 3, 50, dtype=torch.float64)[:, None]
    found = distribution(part, torch.zeros(1, dtype=torch.float64)).log_prob(x).detach()
    np.testing.assert_allclose(found, family.logpdf(x), rtol=1e-5, atol=1e-6)


# ---- levels


def test_a_level_holds_the_logistic_mass_around_it():
    part = likelihoods.DiscretizedLogistic(levels=8)
    p = distribution(part, torch.stack([RAW, RAW.flip(0)], 1))
    loc, scale = p.loc[:, 0].numpy(), p.scale[:, 0].numpy()
    edges = np.array([-np.inf, *(np.arange(7) + 0.5) / 7, np.inf])[:, None]
    expected = np.diff(stats.logistic.cdf(edges, loc, scale), axis=0)  # (8, 12)
    assert p.log_prob(torch.arange(8.0, dtype=torch.float64)[:, None] / 7).exp().numpy() == pytest.approx(expected)


def test_masses_of_levels_are_exact_far_out_in_single_precision():
    part, raw = likelihoods.DiscretizedLogistic(), torch.tensor([[40.0, -1.0]])
    x = torch.tensor([0.4])
    p = part.distribution(Learned(), raw)
    exact = part.distribution(Learned(), raw.double()).log_prob(x.double())
    assert torch.allclose(p.log_prob(x).double(), exact, rtol=1e-5)
    loc, scale = p.loc[0, 0], p.scale[0, 0]
    naive = torch.sigmoid((x + 0.5 / 255 - loc) / scale) - torch.sigmoid((x - 0.5 / 255 - loc) / scale)
    assert torch.isinf(naive.log())  # the control: the difference of two tails vanishes


@pytest.mark.parametrize("levels", [2, 5, 256])
@pytest.mark.parametrize("log_scale", [-10.0, -2.0, 2.0, 10.0])
def test_the_mean_level_is_the_sum_over_levels(levels, log_scale):
    part = likelihoods.LogisticMixture(components=2, levels=levels)
    raw = torch.stack([RAW, -RAW, 0.3 * RAW, -0.2 * RAW, *torch.full((2, 12), log_scale).double()], 1)
    p = distribution(part, raw)
    values = torch.linspace(0, 1, levels, dtype=torch.float64)[:, None]
    expected = (p.log_prob(values).exp() * values).sum(0)
    assert torch.allclose(p.mean, expected, atol=3e-4 / (levels - 1))
    control = (p.log_weights.exp() * p.loc).sum(-1)  # the location is not the mean
    assert not torch.allclose(control, expected, atol=0.05)


def test_a_mixture_of_one_logistic_is_a_logistic():
    raw = torch.stack([RAW, RAW.flip(0)], 1)
    one = distribution(likelihoods.DiscretizedLogistic(), raw)
    mixture = distribution(likelihoods.LogisticMixture(components=1), torch.cat([RAW[:, None], raw], 1))
    x = torch.rand(30, 12, dtype=torch.float64)
    assert torch.allclose(one.log_prob(x), mixture.log_prob(x))
    assert likelihoods.LogisticMixture(components=4).heads == 12


def test_components_of_a_mixture_start_apart():
    p = distribution(likelihoods.LogisticMixture(components=4), torch.zeros(1, 12, dtype=torch.float64))
    assert p.loc[0].tolist() == [0.125, 0.375, 0.625, 0.875]


@pytest.mark.parametrize(
    "part", [likelihoods.DiscretizedLogistic(levels=5), likelihoods.Categorical(levels=5)], ids=repr
)
def test_values_belong_to_the_nearest_level_and_beyond_the_ends_is_no_mass(part):
    p = distribution(part, torch.linspace(-1, 1, part.heads, dtype=torch.float64)[None])
    at = p.log_prob(torch.tensor([[0.25], [0.2], [0.3], [1.0], [1.2], [-0.2]], dtype=torch.float64))[:, 0]
    assert at[0] == at[1] == at[2] != at[3]
    assert torch.isinf(at[4:]).all()
    draws = p.sample(torch.Size((1000,)))
    assert torch.equal((draws * 4).round() / 4, draws) and draws.min() >= 0 and draws.max() <= 1


def test_a_flat_categorical_over_bytes_costs_eight_bits_a_dimension():
    p = distribution(likelihoods.Categorical(), torch.zeros(3, 256, dtype=torch.float64))
    nats = -p.log_prob(torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64))
    assert torch.allclose(nats / math.log(2), torch.full((3,), 8.0, dtype=torch.float64))
    assert torch.allclose(p.mean, torch.full((3,), 0.5, dtype=torch.float64))


# ---- counts

COUNTS = np.arange(2000)[:, None]


def masses(part, *raw):
    return distribution(part, torch.stack(raw, 1)).log_prob(torch.from_numpy(COUNTS).double()).exp().detach().numpy()


def test_counts_have_the_masses_of_scipy():
    mean = torch.exp(15 * torch.tanh(RAW / 15)).numpy()
    assert masses(likelihoods.Poisson(), RAW) == pytest.approx(stats.poisson.pmf(COUNTS, mean), abs=1e-12)
    alpha = 0.4
    expected = stats.nbinom.pmf(COUNTS, 1 / alpha, 1 / (1 + alpha * mean))
    assert masses(likelihoods.NegativeBinomial(dispersion=alpha), RAW) == pytest.approx(expected, abs=1e-7)
    gate = torch.sigmoid(RAW.flip(0)).numpy()
    inflated = gate * (COUNTS == 0) + (1 - gate) * stats.poisson.pmf(COUNTS, mean)
    part = likelihoods.ZeroInflated(likelihoods.Poisson())
    assert masses(part, RAW, RAW.flip(0)) == pytest.approx(inflated, abs=1e-12)


@pytest.mark.parametrize(
    "part",
    [
        likelihoods.Poisson(),
        likelihoods.NegativeBinomial(dispersion=0.3),
        likelihoods.ZeroInflated(likelihoods.Poisson()),
        likelihoods.ZeroInflated(likelihoods.NegativeBinomial(dispersion=0.3)),
    ],
    ids=repr,
)
def test_moments_of_counts_are_those_of_their_masses(part):
    raw = [RAW.flip(0), RAW][: part.heads]
    p, mass = distribution(part, torch.stack(raw, 1)), masses(part, *raw)
    mean = (mass * COUNTS).sum(0)
    assert p.mean.detach().numpy() == pytest.approx(mean, rel=1e-5)
    assert p.variance.detach().numpy() == pytest.approx((mass * (COUNTS - mean) ** 2).sum(0), rel=1e-5)


def test_a_negative_binomial_without_dispersion_is_poisson_and_with_it_varies_more():
    almost = masses(likelihoods.NegativeBinomial(dispersion=1e-6), RAW)
    assert almost == pytest.approx(masses(likelihoods.Poisson(), RAW), abs=1e-5)
    p = distribution(likelihoods.NegativeBinomial(dispersion=0.5), RAW)
    assert torch.allclose(p.variance, p.mean + 0.5 * p.mean**2, rtol=1e-6)


def test_the_encoder_sees_counts_on_a_logarithmic_scale_and_the_likelihood_the_counts():
    model = model_of(likelihoods.Poisson())
    x = torch.tensor([0.0, 1.0, 10.0, 1e3, 1e5, 1e6]).repeat(4, 1)
    seen = []
    model.encoder.register_forward_pre_hook(lambda module, given: seen.append(given[0]))
    trace = model.trace(x)
    assert torch.allclose(seen[0], torch.asinh(x)) and seen[0].max() < 15
    assert torch.equal(trace.x, x)
    model.encode(-torch.ones(1, 6))  # such as pseudo-inputs of a prior, which are free to go anywhere
    assert torch.isfinite(seen[-1]).all()


@pytest.mark.parametrize(
    "part",
    [
        likelihoods.Poisson(library=True),
        likelihoods.NegativeBinomial(dispersion=0.5, library=True),
        likelihoods.ZeroInflated(likelihoods.Poisson(library=True)),
    ],
    ids=repr,
)
def test_a_total_that_is_given_is_shared_out(part):
    own, x = part.build(Sizes((3,), 2)), torch.tensor([[1.0, 2, 3], [4.0, 0, 14], [0.0, 0, 0]])
    part.start(own, x)
    raw = torch.randn(3, 3, part.heads, generator=torch.Generator().manual_seed(0))
    totals, depth = x.sum(1).numpy(), np.array([6.0, 18.0, 1.0])  # a row of zeros counts as one
    logits = np.log(x.mean(0).clamp_min(1 / 3).numpy()) + 15 * np.tanh(raw[..., 0].numpy() / 15)
    shares = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    opened = torch.sigmoid(-raw[..., -1]).numpy() if part.heads == 2 else 1.0
    px = part.distribution(own, raw)
    np.testing.assert_allclose(px.mean, totals.mean() * shares * opened, rtol=1e-5)
    observed = part.condition_on(own, x, px)
    np.testing.assert_allclose(observed.mean, depth[:, None] * shares * opened, rtol=1e-5)
    seen = np.arcsinh(x.numpy() * totals.mean() / depth[:, None])
    np.testing.assert_allclose(part.encoder_inputs(own, x), seen, rtol=1e-5)


# ---- refusals


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: likelihoods.DiscretizedLogistic(levels=1), "levels must be a whole number >= 2"),
        (lambda: likelihoods.Categorical(levels=2.5), "levels must be"),
        (lambda: likelihoods.LogisticMixture(components=0), "components must be"),
        (lambda: likelihoods.NegativeBinomial(dispersion=0.0), "dispersion must be"),
        (lambda: likelihoods.NegativeBinomial(dispersion="row"), "dispersion must be 'shared', 'feature'"),
        (lambda: likelihoods.ZeroInflated(likelihoods.Gaussian()), r"counts must be Poisson\(\) or NegativeBinomial"),
        (lambda: likelihoods.ZeroInflated(likelihoods.ZeroInflated()), "counts must be"),
        (lambda: likelihoods.StudentT(degrees=0.5), "degrees must be 'learned' or a finite number > 1"),
        (lambda: likelihoods.StudentT(degrees="two"), "degrees must be"),
        (lambda: likelihoods.Laplace(scale=-1.0), "scale must be"),
        (lambda: likelihoods.MSSSIM(weight=0.0), "weight must be"),
        (
            lambda: likelihoods.MSSSIM().build(Sizes((64,), 2)),
            r"likelihood MSSSIM takes images.*use likelihoods.Gaussian",
        ),
    ],
)
def test_impossible_settings_are_refused(make, message):
    with pytest.raises(PartError, match=message):
        make()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("size", [1.0, 1e2, 1e5, 1e7, 1e9, 1e12])
def test_masses_of_large_counts_lose_no_digits(size, dtype, agree):
    """Log-gammas of large counts cancel: in single precision by tens of nats from a million on."""
    x = (size * np.array([0.3, 0.9, 1.0, 1.001, 1.2, 3.0, 20.0])).round().astype(np.float32).astype(float)
    value = torch.from_numpy(x).to(dtype)
    within = {"rel": 2e-5, "abs": 2e-4} if dtype == torch.float32 else {"rel": 1e-9, "abs": 1e-7}
    for alpha in (0.01, 0.5, 8.0):
        part = likelihoods.NegativeBinomial(alpha)
        own = part.build(Sizes((1,), 2)).to(dtype)
        own.log_mean.fill_(math.log(size))
        found = part.distribution(own, torch.zeros(7, 1, 1, dtype=dtype)).log_prob(value[:, None])[:, 0]
        exact = [negative_binomial(v, size, math.exp(own.log_dispersion.item())) for v in x]
        assert found.detach().numpy() == pytest.approx(exact, **within)
        of = f"log-mass of counts up to 2e13, over 1 + its size, {str(dtype).removeprefix('torch.')}"
        apart = np.abs(found.detach().numpy() - exact) / (1 + np.abs(exact))
        agree(of, "mpmath, 40 digits", apart, np.zeros(7), 2e-4)
    p = PoissonCounts(torch.tensor(size, dtype=dtype), validate_args=False)
    with mpmath.workdps(40):
        exact = [float(v * mpmath.log(size) - size - mpmath.loggamma(v + 1)) for v in map(mpmath.mpf, x)]
    assert p.log_prob(value).numpy() == pytest.approx(exact, **within)


def negative_binomial(x, mean, alpha):
    """Log-mass in 40 digits."""
    with mpmath.workdps(40):
        x, mean, r = mpmath.mpf(x), mpmath.mpf(mean), 1 / mpmath.mpf(alpha)
        gammas = mpmath.loggamma(x + r) - mpmath.loggamma(x + 1) - mpmath.loggamma(r)
        return float(gammas + r * mpmath.log(r / (r + mean)) + x * mpmath.log(mean / (r + mean)))


def test_directions_have_the_mean_of_a_circle():
    own = likelihoods.VonMises().build(Sizes((3,), 1))
    p = likelihoods.VonMises().distribution(own, torch.tensor([[3.0, 0.1], [3.0, -0.1], [-1.0, 2.0]]))
    torch.manual_seed(0)
    draws = p.sample((50_000,))
    assert ((draws >= 0) & (draws < 2 * math.pi)).all()
    middle = torch.stack([draws.cos().mean(0), draws.sin().mean(0)], -1)
    angle = torch.remainder(torch.atan2(middle[:, 1], middle[:, 0]), 2 * math.pi)
    torch.testing.assert_close(angle, p.mean, atol=0.02, rtol=0)
    torch.testing.assert_close(1 - middle.norm(dim=-1), p.variance, atol=0.01, rtol=0)
    reference = stats.vonmises(p.concentration.detach().double().numpy(), p.mean.numpy()).logpdf(1.3)
    np.testing.assert_allclose(p.log_prob(torch.tensor(1.3)).detach(), reference, atol=1e-5)
    either = likelihoods.VonMises().distribution(own, torch.tensor([[[[1.0, 0.2]] * 3], [[[1.0, -0.2]] * 3]]))
    assert (either.average(torch.full((2, 1), 0.5)).cos() > 0.99).all()  # just before and after midnight, not at noon
