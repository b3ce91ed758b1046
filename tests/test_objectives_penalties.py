"""Laws of penalties: values known in closed form, estimates without bias, each with a control that has to fail."""

import math

import pytest
import torch

from latentmap.exceptions import PartError
from latentmap.model import likelihoods, modules, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.distributions import normal
from latentmap.model.part import Sizes
from latentmap.model.trace import Level, Trace
from latentmap.objectives import MMD, CodeNorm, DecoderGradient, DecoderNorm, TotalCorrelation
from latentmap.objectives import penalties as module
from latentmap.objectives.penalties import aggregate_density
from parts import PENALTIES, name

LINEAR = networks.MLP(())
LIMIT = 4.5
"""Standard errors that an unbiased estimate may be off; a control has to be off by twice as many."""


def model_of(network=LINEAR, likelihood=likelihoods.Gaussian(), latent=6, event=(10,)):
    torch.manual_seed(0)
    parts = Parts(network, network, posteriors.Gaussian(), priors.Normal(), likelihood)
    return GenerativeAutoencoder(parts, Sizes(event, latent))


def codes(z, q=None):
    """A trace that holds these codes (K, B, D), and nothing that a penalty over codes may look at."""
    q = q or normal(z[0], torch.ones_like(z[0]))
    level = Level(z, q, normal(z.new_zeros(z.shape[-1]), z.new_ones(z.shape[-1])))
    x = z.new_zeros(z.shape[1], 1)
    return Trace(x, (level,), normal(x.expand(len(z), *x.shape), torch.ones(())))


def cost(penalty, trace, rows=None, model=None):
    own = penalty.build(Sizes((1,), trace.levels[0].z.shape[-1], rows))
    return penalty.cost(own, model, trace)


def standard_errors(draws, expected):
    return ((draws.mean() - expected) / (draws.std() / math.sqrt(len(draws)))).item()


# ---- total correlation


def correlated(n, generator, correlation=0.8, scale=0.5):
    """Posterior means whose aggregate is close to a Gaussian with known covariance."""
    mix = torch.tensor([[1.0, 0.0], [correlation, math.sqrt(1 - correlation**2)]])
    white = torch.randn(n, 2, generator=generator)
    white = (white - white.mean(0)) @ torch.linalg.inv(torch.linalg.cholesky(torch.cov(white.T, correction=0))).T
    q = normal(white @ mix.T, torch.full((n, 2), scale))
    covariance = mix @ mix.T + scale**2 * torch.eye(2)
    return q, 0.5 * (covariance.diagonal().log().sum() - covariance.logdet()).item()


def test_total_correlation_of_a_correlated_gaussian():
    generator = torch.Generator().manual_seed(0)
    for correlation in (0.8, 0.0):
        q, exact = correlated(1500, generator, correlation)
        z = q.mean + q.stddev * torch.randn(4, 1500, 2, generator=generator)
        assert cost(TotalCorrelation(), codes(z, q), rows=1500).item() == pytest.approx(exact, abs=0.03)
    assert exact == pytest.approx(0, abs=1e-6)


def test_densities_of_a_batch_are_unbiased_for_those_of_all_rows():
    generator = torch.Generator().manual_seed(0)
    n, b = 120, 12
    q, _ = correlated(n, generator)
    z = q.mean[:1] + 0.3  # a code of the first row
    every = normal(q.mean, q.stddev).base_dist.log_prob(z[:, None])[0]  # (N, D)
    joint, marginals = every.sum(-1).exp().mean(), every.exp().mean(0)

    def estimates(weigh):
        draws = []
        for _ in range(1000):
            rows = torch.cat([torch.zeros(1).long(), 1 + torch.randperm(n - 1, generator=generator)[: b - 1]])
            draws.append(weigh(normal(q.mean[rows], q.stddev[rows]).base_dist))
        return torch.stack(draws)  # (R, 1 + D)

    def ours(factors):
        joint, marginals = aggregate_density(factors, z.expand(1, b, 2), torch.tensor(float(n)))
        return torch.cat([joint[0, :1], marginals[0, 0]]).exp()

    def first_column(factors):  # 1/N in the first column, not on the diagonal: right for no row but the first
        weight = torch.full((b,), 1 / (b - 1))
        weight[1], weight[0] = 1 / n, 1 / (b - 1)
        pairs = factors.log_prob(z)
        return torch.cat([(pairs.sum(-1).exp() * weight).sum()[None], (pairs.exp() * weight[:, None]).sum(0)])

    right, wrong = estimates(ours), estimates(first_column)
    for d, exact in enumerate([joint, *marginals]):
        assert abs(standard_errors(right[:, d], exact)) < LIMIT
        assert abs(standard_errors(wrong[:, d], exact)) > 2 * LIMIT


def test_densities_do_not_depend_on_the_order_or_on_the_pieces(monkeypatch):
    q, _ = correlated(20, torch.Generator().manual_seed(0))
    z, rows = q.mean[None] + 0.1, torch.tensor(100.0)
    joint, marginals = aggregate_density(q.base_dist, z, rows)
    order = torch.randperm(20, generator=torch.Generator().manual_seed(1))
    again, _ = aggregate_density(normal(q.mean[order], q.stddev[order]).base_dist, z[:, order], rows)
    assert torch.allclose(again, joint[:, order], atol=1e-5)
    monkeypatch.setattr(module, "PAIRS", 3 * 40)
    pieces = aggregate_density(q.base_dist, z, rows)
    assert torch.allclose(pieces[0], joint, atol=1e-6) and torch.allclose(pieces[1], marginals, atol=1e-6)


def test_a_batch_of_one_has_no_total_correlation():
    q, _ = correlated(20, torch.Generator().manual_seed(0))
    one = normal(q.mean[:1], q.stddev[:1])
    assert cost(TotalCorrelation(), codes(q.mean[None, :1], one), rows=100).abs() < 1e-6
    assert cost(TotalCorrelation(), codes(q.mean[None], q), rows=100).abs() > 0.1


def test_total_correlation_asks_for_the_number_of_rows():
    with pytest.raises(PartError, match="number of rows"):
        TotalCorrelation().build(Sizes((4,), 2))


# ---- maximum mean discrepancy


def expected_kernel(shift, variance, scale, d=2):
    """E exp(-|u|^2 / 2h) for u ~ N(shift, variance I) and h = d * scale."""
    h = d * scale
    return (h / (h + variance)) ** (d / 2) * math.exp(-(shift**2) * d / (2 * (h + variance)))


def discrepancies(kernel, shift, spread, n=60):
    penalty = MMD(kernel=kernel, scales=(0.5, 2.0))
    torch.manual_seed(0)
    return torch.stack([cost(penalty, codes(shift + spread * torch.randn(100, 8, 2))) for _ in range(n)])


@pytest.mark.parametrize(("shift", "spread"), [(0.0, 1.0), (0.5, 0.7), (0.0, 0.3)])
def test_mmd_is_unbiased(shift, spread):
    expected = 0.0
    for scale in (0.5, 2.0):
        within = expected_kernel(0, 2 * spread**2, scale) + expected_kernel(0, 2, scale)
        expected += 0.5 * (within - 2 * expected_kernel(shift, 1 + spread**2, scale))
    draws = discrepancies("rbf", shift, spread)
    assert abs(standard_errors(draws, expected)) < LIMIT
    assert (
        standard_errors(draws + 2 / 8 * (1 - expected_kernel(0, 2, 2.0)), expected) > 2 * LIMIT
    )  # pairs of a code with itself


@pytest.mark.parametrize("kernel", ["imq", "rbf"])
def test_mmd_is_zero_for_the_prior_alone(kernel):
    assert abs(standard_errors(discrepancies(kernel, 0.0, 1.0), 0.0)) < LIMIT
    for shift, spread in ((0.3, 1.0), (0.0, 0.7), (0.0, 1.4)):
        assert standard_errors(discrepancies(kernel, shift, spread), 0.0) > 2 * LIMIT


def test_mmd_of_a_batch_of_one_is_nothing_and_equal_codes_have_a_gradient():
    assert cost(MMD(), codes(torch.randn(3, 1, 2))) == 0
    z = torch.zeros(1, 4, 2, requires_grad=True)
    (gradient,) = torch.autograd.grad(cost(MMD(), codes(z)), z)
    assert torch.isfinite(gradient).all()


# ---- norms and gradients


def test_norms_by_hand():
    z = torch.tensor([[[3.0, 4.0], [0.0, 2.0]]])
    assert cost(CodeNorm(), codes(z)).item() == pytest.approx(0.5 * (25 + 4) / 2)
    model = model_of(networks.MLP((5,)))
    weights = [p for p in model.decoder.parameters() if p.ndim == 2]
    assert len(weights) == 2
    expected = 0.5 * sum(w.square().sum().item() for w in weights)
    assert cost(DecoderNorm(), codes(z), model=model).item() == pytest.approx(expected, rel=1e-5)


def gradient_cost(penalty, trace, model):
    penalty.check_model(model, trace)
    return cost(penalty, trace, model=model)


def test_the_gradient_of_a_linear_decoder_is_its_matrix():
    model = model_of()
    weight = model.decoder[0][0].weight  # (P, D)
    value = gradient_cost(DecoderGradient(projections=6), model.trace(torch.randn(5, 10), 2), model=model)
    assert value.item() == pytest.approx(weight.square().sum().item(), rel=1e-5)
    (gradient,) = torch.autograd.grad(value, weight)
    assert torch.allclose(gradient, 2 * weight, rtol=1e-4)


@pytest.mark.parametrize("network", [networks.MLP((7,)), networks.SpectralNorm(networks.Conv((3,), width=8))], ids=name)
def test_the_gradient_of_a_decoder_is_its_jacobian(network):
    model = model_of(network, likelihoods.Bernoulli(), latent=3, event=(4, 4)).eval()
    trace = model.trace(torch.rand(2, 16))
    jacobians = [
        torch.autograd.functional.jacobian(lambda z: model.decode(z[None]).mean, z) for z in trace.levels[0].z[0]
    ]
    expected = torch.stack([j.square().sum() for j in jacobians]).mean().item()
    assert gradient_cost(DecoderGradient(), trace, model=model).item() == pytest.approx(expected, rel=1e-4)


def test_random_projections_are_unbiased():
    model = model_of(networks.MLP((7,)))
    trace = model.trace(torch.randn(2, 10))
    exact = gradient_cost(DecoderGradient(projections=6), trace, model=model).item()
    torch.manual_seed(0)
    draws = torch.stack(
        [gradient_cost(DecoderGradient(projections=2), trace, model=model) for _ in range(500)]
    ).detach()
    assert draws.std() > 0
    assert abs(standard_errors(draws, exact)) < LIMIT
    assert standard_errors(draws / 6, exact) < -2 * LIMIT  # directions of length one


def test_a_decoder_that_has_no_forward_derivative_is_refused():
    class Opaque(torch.autograd.Function):
        @staticmethod
        def forward(ctx, z):
            return z.repeat(1, 2)

        @staticmethod
        def backward(ctx, gradient):
            return gradient.unflatten(1, (2, -1)).sum(1)

    class Decoder(torch.nn.Module):
        def forward(self, z):
            return Opaque.apply(z)

    model = model_of()
    model.decoder = modules.adapt_decoder(Decoder(), model.sizes, 1)
    with pytest.raises(PartError, match=r"forwards.*DecoderNorm"):
        DecoderGradient().check_model(model, model.trace(torch.randn(2, 10)))


@pytest.mark.parametrize("network", [networks.MLP((7,)), networks.ResidualMLP(8, 2), networks.Conv((3, 4), width=8)])
def test_spectral_norms_of_a_decoder_are_one(network):
    def norms(network):
        """Largest singular value of each layer, from what it makes of its inputs."""
        decoder, values = model_of(network, latent=3, event=(4, 4)).decoder, []

        def look(layer, given, output):
            weight = layer.weight.flatten(1)
            values.append(torch.linalg.matrix_norm(weight, 2).item())

        for layer in decoder.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d):
                layer.weight.data.mul_(3)
                layer.register_forward_hook(look)
        for _ in range(200):
            decoder(torch.randn(4, 3))
        return values[-sum(isinstance(m, torch.nn.Linear | torch.nn.Conv2d) for m in decoder.modules()) :]

    assert norms(networks.SpectralNorm(network)) == pytest.approx([1.0] * len(norms(network)), abs=1e-3)
    assert max(abs(value - 1) for value in norms(network)) > 0.1


def test_spectral_norms_rest_when_a_model_is_evaluated():
    model = model_of(networks.SpectralNorm(networks.MLP((7,))))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    model.eval().decode(torch.randn(4, 6))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    model.train().decode(torch.randn(4, 6))
    assert not all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# ---- refusals


@pytest.mark.parametrize("penalty", PENALTIES, ids=name)
@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_impossible_weights_are_refused(penalty, weight):
    with pytest.raises(PartError, match="weight"):
        type(penalty)(weight)


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (lambda: MMD(kernel="cosine"), "kernel"),
        (lambda: MMD(scales=()), "scales"),
        (lambda: MMD(scales=(1.0, -1.0)), "scales"),
        (lambda: DecoderGradient(projections=0), "projections"),
    ],
)
def test_impossible_settings_are_refused(make, word):
    with pytest.raises(PartError, match=word):
        make()


def test_a_penalty_is_one_class():
    from dataclasses import dataclass

    from latentmap.objectives import ELBO, Penalty

    @dataclass(frozen=True)
    class Sparsity(Penalty):
        def cost(self, own, model, trace):
            return trace.levels[0].z.abs().sum(-1).mean()

    model = model_of()
    trace = model.trace(torch.randn(5, 10))
    objective = ELBO(beta=0.0, penalties=(Sparsity(2.0),))
    got = objective.losses(objective.build(model.sizes), model, trace, torch.ones(()))["model"]
    assert torch.allclose(got, trace.distortion.mean() + 2 * trace.levels[0].z[0].abs().sum(1).mean())
    assert Penalty.from_json(Sparsity(2.0).to_json()) == Sparsity(2.0)
