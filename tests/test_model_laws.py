"""Laws that hold for every part, each with a control that has to fail."""

import math

import pytest
import torch
from torch.distributions import MultivariateNormal

from latentmap.exceptions import NoDensityError, PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.distributions import independent, normal
from latentmap.model.ladder import compose
from latentmap.model.noise import RowNoise, fresh, generator_for
from latentmap.model.part import Learned, Sizes
from latentmap.model.trace import Level, Trace
from latentmap.objectives.evidence import evidence_bound
from parts import LIKELIHOODS, PAIRS, LikelihoodCase, name

SIZES = Sizes(event=(6, 5), latent=3)
MLP = networks.MLP((16,))


def model_of(posterior=posteriors.Gaussian(), prior=priors.Normal(), likelihood=likelihoods.Gaussian(), network=MLP):
    torch.manual_seed(0)
    return GenerativeAutoencoder(Parts(network, network, posterior, prior, likelihood), SIZES)


LINEAR = [case for case in LIKELIHOODS if not isinstance(case.part, likelihoods.VonMises)]
"""Those whose mean and variance are not those of a circle."""


def total_mass(case: LikelihoodCase, raw: torch.Tensor) -> torch.Tensor:
    """Sum the mass, or integrate the density by the trapezoid rule, of each feature."""
    own = case.part.build(Sizes((raw.shape[0],), 2)).double()
    p = case.part.distribution(own, raw).log_prob(case.grid[:, None]).exp().detach()  # (G, P)
    return p.sum(0) if case.part.discrete else torch.trapezoid(p, case.grid, dim=0)


@pytest.mark.parametrize("case", LIKELIHOODS, ids=name)
def test_likelihoods_integrate_to_one(case):
    raw = torch.linspace(-3, 3, 7 * case.part.heads, dtype=torch.float64).view(7, case.part.heads)
    assert total_mass(case, raw) == pytest.approx(1, abs=1e-4)


def test_control_cross_entropy_of_grey_values_is_no_density():
    grey = LikelihoodCase(likelihoods.Bernoulli(), LIKELIHOODS[1].grid, LIKELIHOODS[1].outside)
    own = grey.part.build(SIZES)
    p = grey.part.distribution(own, torch.full((7, 1), 1.5, dtype=torch.float64)).log_prob(grey.grid[:, None]).exp()
    assert torch.trapezoid(p, grey.grid, dim=0) != pytest.approx(1, abs=0.1)


def given_a_code(part, dtype=torch.float64):
    """p(x|z) of two features, on the parameters of a decoder that say something of both."""
    sizes, heads = part.decoder_sizes(Sizes((2,), 1))
    raw = torch.linspace(-1, 1, sizes.features * heads, dtype=dtype).view(1, sizes.features, heads)
    p = part.distribution(part.build(Sizes((2,), 1)).to(dtype), raw)
    return p if p.event_shape else independent(p)


def places(part):
    """The likelihood alone, in a table beside another column, and with cells that may be missing."""
    both = likelihoods.Heterogeneous((part, likelihoods.Gaussian("feature")))
    return part, both, likelihoods.Incomplete(part), likelihoods.Incomplete(both)


def mass_outside(part, outside, beside, dtype=torch.float64):
    """log p(x|z) of rows whose first value lies outside, in every place of the likelihood, (places, rows)."""
    rows = torch.stack([outside, beside.expand(len(outside))], 1).to(dtype)
    return torch.stack([given_a_code(place, dtype).log_prob(rows) for place in places(part)])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("case", LIKELIHOODS, ids=name)
@torch.no_grad()
def test_there_is_no_mass_or_density_outside_the_support(case, dtype):
    inside = case.grid[len(case.grid) // 2]
    assert (mass_outside(case.part, case.outside, inside, dtype) == -math.inf).all()
    assert mass_outside(case.part, inside[None], inside, dtype).isfinite().all()
    each = case.part.distribution(case.part.build(Sizes((3,), 1)).to(dtype), torch.zeros(3, case.part.heads).to(dtype))
    x = torch.tensor([inside, case.outside[0], inside], dtype=dtype)
    assert (each.log_prob(x) == -math.inf).tolist() == [False, True, False]  # of each feature by itself


class Unchecked(likelihoods.Bernoulli):
    """The control: torch's distribution as it is, with numbers for values that it does not hold."""

    def distribution(self, own, raw):
        return torch.distributions.Bernoulli(logits=raw.squeeze(-1), validate_args=False)

    of_columns = distribution


@torch.no_grad()
def test_control_a_support_that_is_not_checked_has_mass_outside():
    found = mass_outside(Unchecked(), LIKELIHOODS[0].outside[:5], torch.tensor(1.0))
    assert found.isfinite().all() and (found > 0).any()


@pytest.mark.parametrize("case", LIKELIHOODS, ids=name)
@torch.no_grad()
def test_cells_that_are_missing_count_for_nothing_and_others_are_excluded_all_the_same(case):
    gone = torch.tensor(math.nan)
    for place in places(case.part)[2:]:
        p, inside = given_a_code(place), case.grid[len(case.grid) // 2]
        assert p.log_prob(torch.stack([gone, inside])[None]).isfinite().all()
        assert p.log_prob(torch.stack([gone, gone])[None]) == 0
        assert p.log_prob(torch.stack([case.outside[0], gone])[None]) == -math.inf


def test_bits_of_a_table_are_bits_and_grey_values_of_an_array_cost_their_cross_entropy():
    raw, x = torch.tensor([[[0.7]]]), torch.tensor([[0.25]])
    alone = likelihoods.Bernoulli().distribution(Learned(), raw[0]).log_prob(x)
    chance = torch.sigmoid(torch.tensor(0.7))
    torch.testing.assert_close(alone[0, 0], 0.25 * chance.log() + 0.75 * (1 - chance).log())
    table = likelihoods.Heterogeneous((likelihoods.Bernoulli(),))
    bits = table.distribution(table.build(Sizes((1,), 1)), raw)
    assert bits.log_prob(x) == -math.inf
    torch.testing.assert_close(bits.log_prob(torch.ones(1, 1))[0, 0], chance.log())


@pytest.mark.parametrize("case", LIKELIHOODS, ids=name)
@torch.no_grad()
def test_bounds_of_rows_outside_are_minus_infinity(case):
    model = GenerativeAutoencoder(Parts(MLP, MLP, posteriors.Gaussian(), priors.Normal(), case.part), Sizes((3,), 2))
    inside = case.grid[len(case.grid) // 2].float()
    x = inside.expand(2, 3).clone()
    x[1, 1] = case.outside[0]
    model.eval()
    trace = model.trace(x, 5)
    for found in (
        trace.bound(),
        trace.bound(5),
        -trace.distortion,
        *(evidence_bound(model, x, k, fresh) for k in (1, 5)),
    ):
        assert found[0].isfinite() and found[1] == -math.inf
    assert model.encode(x).mean.isfinite().all() and model.reconstruct(x).mean.isfinite().all()


def state_of(module):
    return {key: value.clone() for key, value in module.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[key], b[key]) for key in a)


WITH_TOTALS = [
    likelihoods.Poisson(library=True),
    likelihoods.NegativeBinomial(library=True),
    likelihoods.ZeroInflated(likelihoods.NegativeBinomial(library=True)),
]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("likelihood", [place for c in LIKELIHOODS for place in places(c.part)] + WITH_TOTALS, ids=repr)
def test_queries_of_a_likelihood_leave_its_state_and_updates_change_running_scales(likelihood, training):
    sizes, x = Sizes((2,), 1), torch.tensor([[0.0, 1.0], [1.0, 1.0], [1.0, 0.0]])
    own, part = likelihood.build(sizes).train(training), likelihood
    with torch.no_grad():
        part.start(own, x)
    before, (output, heads) = state_of(own), part.decoder_sizes(sizes)
    p = part.distribution(own, torch.linspace(-1, 1, 3 * output.features * heads).view(3, -1, heads))
    for query in (p, part.condition_on(own, x, p)):
        assert query.log_prob(x).isfinite().all() and query.mean.shape == query.variance.shape == x.shape
    part.append_mask(part.encoder_inputs(own, x), x), part.complete(own, x), part.copies(x, fresh)
    part.is_discrete(2), part.blank(x[0]), part.encoder_sizes(sizes), part.sizes_with_mask(sizes)
    assert same(before, own.state_dict())
    part.update(own, x, p)
    assert same(before, own.state_dict()) == ("optimal" not in repr(part))


@pytest.mark.parametrize("below", [(), (2,)])
def test_a_trace_in_training_updates_the_likelihood_and_no_query_does(below):
    parts = Parts(MLP, MLP, posteriors.Gaussian(), priors.Normal(), likelihoods.Gaussian("optimal"))
    model, x = compose(parts, Sizes((3,), 2, below=below), generator_for(0)), torch.ones(4, 3)
    before = state_of(model.likelihood_state)
    model.encode(x), model.reconstruct(x), model.eval().trace(x)
    assert same(before, model.likelihood_state.state_dict())
    model.train().trace(x)
    assert not same(before, model.likelihood_state.state_dict())


@pytest.mark.parametrize("case", LINEAR, ids=name)
@torch.no_grad()
def test_variances_are_those_of_masses_and_densities(case):
    raw = torch.linspace(-1, 1, 5 * case.part.heads, dtype=torch.float64).view(5, case.part.heads)
    p = case.part.distribution(case.part.build(Sizes((5,), 2)).double(), raw)
    x = case.grid[:, None]
    mass = p.log_prob(x).exp() * (1.0 if case.part.discrete else float(case.grid[1] - case.grid[0]))
    mean = (mass * x).sum(0)
    assert p.variance.numpy() == pytest.approx((mass * (x - mean) ** 2).sum(0).numpy(), rel=2e-2, abs=1e-5)
    if not isinstance(case.part, likelihoods.Categorical):  # of whose categories a table knows no distances
        table = likelihoods.Heterogeneous((case.part,) * 5)
        for place in (table, likelihoods.Incomplete(table)):
            own = place.build(Sizes((5,), 2)).double()
            assert torch.allclose(place.distribution(own, raw.view(1, -1, 1)).variance[0], p.variance)
    square = (mass * x**2).sum(0).numpy()
    assert p.variance.numpy() != pytest.approx(square, rel=2e-2, abs=1e-5)  # the control: not around the mean


@pytest.mark.parametrize("case", LINEAR, ids=name)
def test_likelihood_means_are_the_means_of_their_draws(case):
    own = case.part.build(Sizes((3,), 2))
    p = case.part.distribution(own, torch.tensor([-1.0, 0.2, 2.0]).view(3, 1).expand(3, case.part.heads))
    torch.manual_seed(0)
    draws = p.sample(torch.Size((100_000,)))
    error = draws.std(0) / math.sqrt(len(draws))
    assert ((draws.mean(0) - p.mean) / error).abs().max() < 4.5


def test_the_mean_of_a_continuous_bernoulli_is_not_its_parameter():
    p = likelihoods.ContinuousBernoulli().distribution(Learned(), torch.tensor([[1.5]]))
    assert abs(p.mean.item() - torch.sigmoid(torch.tensor(1.5)).item()) > 0.1


@pytest.mark.parametrize("case", LIKELIHOODS, ids=name)
def test_likelihoods_stay_finite_for_extreme_decoders(case):
    raw = torch.tensor([-1e4, -50.0, 0.0, 50.0, 1e4])[:, None].expand(5, case.part.heads).clone().requires_grad_()
    own = case.part.build(Sizes((5,), 2))
    x = torch.full((5,), 1.0)
    log_p = case.part.distribution(own, raw).log_prob(x)
    (gradient,) = torch.autograd.grad(log_p.sum(), raw)
    assert torch.isfinite(log_p).all() and torch.isfinite(gradient).all()


@pytest.mark.parametrize(("posterior", "prior"), PAIRS, ids=name)
@torch.no_grad()
def test_rates_match_monte_carlo(posterior, prior):
    model, x = model_of(posterior, prior), torch.randn(4, 30)
    slow = isinstance(posterior, posteriors.RiemannianHamiltonian) or isinstance(prior, priors.Vamp | priors.Flow)
    k = 1_000 if slow and not isinstance(posterior, posteriors.Sphere) else 5_000  # a sphere's q has little entropy
    rate = model.trace(x, k=k).rate  # in closed form, or from these draws
    (level,) = model.trace(x, k=k).levels
    draws = level.log_q - level.log_p  # (K, B)
    error = draws.std(0) / math.sqrt(len(draws) / 2)
    assert ((draws.mean(0) - rate) / error).abs().max() < 4.5
    assert ((-level.log_p.mean(0) - rate) / error).abs().max() > 2 * 4.5  # without the entropy of q, small as it may be


def test_rate_per_component_sums_to_the_rate():
    trace = model_of().trace(torch.randn(4, 30))
    assert torch.allclose(trace.levels[0].rate_per_component.sum(-1), trace.rate, atol=1e-5)
    with pytest.raises(PartError, match="factorise"):
        _ = model_of(prior=priors.FittedNormal()).trace(torch.randn(4, 30)).levels[0].rate_per_component


# ---- the evidence of a linear Gaussian model is known: z ~ N(0, I), x | z ~ N(Wz, s^2 I)

D, P, S = 2, 3, 0.7


def linear_gaussian(widen: float = 1.0, shift: float = 0.0, forget: bool = False):
    """A model with the exact posterior, or one that is widened, shifted, or forgets log q; and log p(x)."""
    generator = torch.Generator().manual_seed(0)
    w = torch.randn(P, D, generator=generator, dtype=torch.float64)
    x = torch.randn(4, P, generator=generator, dtype=torch.float64)
    covariance = torch.linalg.inv(torch.eye(D, dtype=torch.float64) + w.T @ w / S**2)

    class Linear:
        def trace(self, x, k=1, noise=fresh):
            q = MultivariateNormal(x @ w @ covariance / S**2 + shift, widen * covariance)
            z = q.mean + noise((k, len(x), D), x) @ q.scale_tril[0].T
            level = Level(z, q, normal(x.new_zeros(D), x.new_ones(D)))
            if forget:
                level.__dict__["log_q"] = torch.zeros_like(level.log_p)
            return Trace(x, (level,), normal(z @ w.T, x.new_tensor(S)))

    evidence = MultivariateNormal(x.new_zeros(P), w @ w.T + S**2 * torch.eye(P, dtype=torch.float64)).log_prob(x)
    return Linear(), x, evidence


def test_with_the_exact_posterior_every_weight_is_the_evidence():
    model, x, evidence = linear_gaussian()
    assert (model.trace(x, 7).log_w - evidence).abs().max() < 1e-9
    control, _, _ = linear_gaussian(forget=True)
    assert (control.trace(x, 7).log_w - evidence).abs().max() > 0.1


def test_importance_weights_are_unbiased():
    def worst(model, x, evidence, k=40_000):
        ratio = (model.trace(x, k).log_w - evidence).exp()
        return ((ratio.mean(0) - 1) / (ratio.std(0) / math.sqrt(k))).abs().max()

    torch.manual_seed(0)
    assert worst(*linear_gaussian(widen=1.5, shift=0.3)) < 4
    assert worst(*linear_gaussian(widen=1.5, shift=0.3, forget=True)) > 50


def test_bounds_rise_with_the_number_of_draws_and_stay_below_the_evidence():
    model, x, evidence = linear_gaussian(widen=0.5, shift=0.3)
    torch.manual_seed(0)
    gap = [(evidence - model.trace(x, 2000 * k).bound(groups=2000)).mean().item() for k in (1, 5, 50)]
    assert gap[0] > gap[1] > gap[2] > -0.01


def test_identities_of_bounds():
    model, x, _ = linear_gaussian(widen=0.5, shift=0.3)
    trace = model.trace(x, 12)
    assert torch.allclose(trace.bound(groups=12), trace.log_w.mean(0))  # K = M is the ELBO
    assert torch.allclose(trace.bound(), trace.log_w.logsumexp(0) - math.log(12))
    torch.manual_seed(1)
    one = evidence_bound(model, x, 1, fresh)
    torch.manual_seed(1)
    again = model.trace(x, 1)
    assert torch.allclose(one, again.log_px[0] - again.rate)


def test_the_evidence_bound_of_many_draws_is_computed_in_blocks():
    model, x, evidence = linear_gaussian(widen=1.5, shift=0.3)
    assert evidence_bound(model, x, 1000, RowNoise(x, 0)) == pytest.approx(evidence, abs=0.15)


def test_an_autoencoder_has_neither_rate_nor_bound():
    trace = model_of(posteriors.Deterministic()).trace(torch.randn(4, 30))
    assert not trace.has_density
    for ask in (lambda: trace.rate, lambda: trace.log_w, lambda: trace.bound()):
        with pytest.raises(NoDensityError, match="Deterministic"):
            ask()
