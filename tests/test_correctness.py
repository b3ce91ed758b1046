"""Numbers beside independent computations: scipy, quadrature, scikit-learn, plain numpy. Each is a row of
docs/correctness.md, which ``python -m pytest tests --correctness docs/correctness.md`` makes from them."""

import numpy as np
import pytest
import torch
from scipy import integrate, linalg, spatial, special, stats
from sklearn import datasets, manifold, metrics, mixture, neighbors

from latentmap import VAE, likelihoods, networks, objectives, posteriors, priors
from latentmap.evaluation import generation, neighborhood
from latentmap.model import manifolds
from latentmap.model.distributions import independent, normal
from latentmap.model.part import Learned, Sizes
from latentmap.model.trace import Level
from latentmap.objectives.neighbors import contrast

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

RAW = torch.randn(7, 5, 8, generator=torch.Generator().manual_seed(0)).double()
COUNTS = np.random.default_rng(0).poisson(4.0, (7, 5)).astype(float)
REALS = np.random.default_rng(1).normal(size=(7, 5))
SIZES = Sizes((5,), 2)


def log_prob(part, heads, x):
    own = part.build(SIZES).double()
    return part.distribution(own, RAW[..., :heads]).log_prob(torch.from_numpy(x)).detach().numpy()


def rates(d):
    """The mean of counts whose average is one, from what the decoder gives."""
    return np.exp(15 * np.tanh(d[..., 0] / 15))


def levels(x):
    """Which of eight levels."""
    return np.rint(7 * x).astype(int)


@pytest.mark.parametrize(
    ("name", "part", "x", "law"),
    [
        ("Gaussian", likelihoods.Gaussian(0.3), REALS, lambda d, x: stats.norm.logpdf(x, d[..., 0], 0.3)),
        ("Laplace", likelihoods.Laplace(0.3), REALS, lambda d, x: stats.laplace.logpdf(x, d[..., 0], 0.3)),
        ("StudentT", likelihoods.StudentT(0.3, 4.0), REALS, lambda d, x: stats.t.logpdf(x, 4.0, d[..., 0], 0.3)),
        ("Poisson", likelihoods.Poisson(), COUNTS, lambda d, x: stats.poisson.logpmf(x, rates(d))),
        (
            "NegativeBinomial",
            likelihoods.NegativeBinomial(0.5),
            COUNTS,
            lambda d, x: stats.nbinom.logpmf(x, 2.0, 1 / (1 + 0.5 * rates(d))),
        ),
        (
            "Bernoulli",
            likelihoods.Bernoulli(),
            COUNTS % 2,
            lambda d, x: stats.bernoulli.logpmf(x, special.expit(d[..., 0])),
        ),
        (
            "Categorical",
            likelihoods.Categorical(8),
            np.clip(COUNTS, 0, 7) / 7,
            lambda d, x: np.take_along_axis(special.log_softmax(d, -1), levels(x)[..., None], -1)[..., 0],
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_log_densities_of_likelihoods(name, part, x, law, agree):
    agree(f"log p(x given z), {name}", "scipy.stats", log_prob(part, part.heads, x), law(RAW.numpy(), x), 1e-5)
    assert np.abs(law(1.1 * RAW.numpy(), x) - law(RAW.numpy(), x)).max() > 1e-3  # the control


def test_zero_inflated_counts(agree):
    part = likelihoods.ZeroInflated(likelihoods.Poisson())
    rate, gate = rates(RAW.numpy()), special.expit(RAW[..., 1].numpy())
    x = COUNTS * (COUNTS > 3)
    expected = np.log(gate * (x == 0) + (1 - gate) * stats.poisson.pmf(x, rate))
    agree("log p(x given z), ZeroInflated", "scipy.stats", log_prob(part, 2, x), expected, 1e-5)


def test_the_normaliser_of_the_continuous_bernoulli(agree):
    logits = np.array([-6.0, -1.0, -1e-4, 0.3, 4.0])
    p = likelihoods.ContinuousBernoulli().distribution(Learned(), torch.from_numpy(logits)[:, None])
    bent = 15 * np.tanh(logits / 15)
    mass = np.array([integrate.quad(lambda x, b=b: np.exp(x * b - np.logaddexp(0, b)), 0, 1)[0] for b in bent])
    expected = 0.3 * bent - np.logaddexp(0, bent) - np.log(mass)
    found = p.log_prob(torch.full((5,), 0.3).double()).numpy()
    agree("log p(x given z), ContinuousBernoulli", "quadrature of its normaliser", found, expected, 1e-5)


def test_masses_of_discretized_logistics(agree):
    part, levels = likelihoods.DiscretizedLogistic(16), np.arange(16)
    p = part.distribution(Learned(), RAW[:1, :1, :2])
    cdf = stats.logistic(p.loc.item() * 15, p.scale.item() * 15).cdf
    expected = np.r_[cdf(0.5), cdf(levels[1:-1] + 0.5) - cdf(levels[1:-1] - 0.5), 1 - cdf(14.5)]
    found = p.log_prob(torch.from_numpy(levels / 15)[:, None, None]).exp().flatten().numpy()
    agree("mass of a level, DiscretizedLogistic", "scipy.stats.logistic.cdf", found, expected, 1e-6)


def test_rates_of_gaussians(agree):
    mean, scale = np.array([-1.5, 0.0, 2.0]), np.array([0.2, 1.0, 3.0])
    q = normal(torch.from_numpy(mean)[:, None], torch.from_numpy(scale)[:, None])
    prior = priors.Normal()
    level = Level(q.mean[None], q, prior.distribution(prior.build(Sizes((5,), 1)).double(), None))

    def integrand(z, m, s):
        return stats.norm.pdf(z, m, s) * (stats.norm.logpdf(z, m, s) - stats.norm.logpdf(z))

    expected = [integrate.quad(integrand, m - 12 * s, m + 12 * s, args=(m, s))[0] for m, s in zip(mean, scale)]
    agree("rate, Gaussian beside N(0, I)", "quadrature", level.rate.numpy(), expected, 1e-6)


def test_the_rate_on_the_sphere(agree):
    kappa = np.array([0.5, 5.0, 80.0])
    q = manifolds.PowerSpherical(torch.eye(3).double(), torch.from_numpy(kappa))
    p = manifolds.UniformOnSphere(torch.zeros(3).double())

    def entropy_gap(k):
        weight = lambda t: (1 + t) ** k  # noqa: E731
        total = 2 * np.pi * integrate.quad(weight, -1, 1)[0]
        log_q = lambda t: k * np.log1p(t) - np.log(total)  # noqa: E731
        inside = integrate.quad(lambda t: weight(t) / total * log_q(t), -1 + 1e-12, 1)[0]
        return 2 * np.pi * inside + np.log(4 * np.pi)

    found = torch.distributions.kl_divergence(q, p).numpy()
    agree("rate, Sphere beside Uniform", "quadrature over the angle", found, [entropy_gap(k) for k in kappa], 1e-6)


def test_densities_of_flows(agree):
    part = posteriors.Flow("nsf", width=8)
    torch.manual_seed(0)
    own = part.build(SIZES).double()
    q = part.distribution(own, RAW[:, 0, :1].expand(7, part.heads(2)))
    z = q.push(q.base.mean + q.base.stddev * RAW[:, 1, :2])
    u = RAW[:, 1, :2].numpy()
    forward = lambda u: q.forward(u)[0]  # noqa: E731
    base = (q.base.mean + q.base.stddev * RAW[:, 1, :2]).detach()
    jacobian = torch.autograd.functional.jacobian(forward, base)  # (7, 2, 7, 2)
    determinants = [np.linalg.slogdet(jacobian[i, :, i].numpy())[1] for i in range(7)]
    expected = stats.norm.logpdf(u).sum(-1) - q.base.stddev.log().sum(-1).detach().numpy() - determinants
    agree("log q(z given x), Flow", "determinant of the Jacobian", q.log_prob(z).detach().numpy(), expected, 1e-6)


def test_mixtures_are_scikit_learns(agree):
    codes = np.random.default_rng(0).normal(size=(400, 2)) * [1.0, 3.0] + np.repeat([[0, 0], [6, 1]], 200, 0)
    prior = priors.Mixture(2)
    own = prior.build(SIZES).double()
    expected = mixture.GaussianMixture(2, random_state=3).fit(codes).score_samples(codes)
    with torch.no_grad():
        prior.prepare(own, torch.from_numpy(codes), seed=3)
        found = prior.distribution(own, None).log_prob(torch.from_numpy(codes)).numpy()
    agree("log p(z), Mixture after fit_prior", "sklearn.mixture.GaussianMixture", found, expected, 1e-5)


# ---- fitted models, from their weights alone


def decode(vae, z):
    """The decoder in plain numpy, of standardised codes."""
    shift, log_scale = (v.double().numpy() for v in vae.model_.posterior_state.buffers())
    z = shift + np.exp(log_scale) * z
    layers = [m for m in vae.model_.decoder.modules() if isinstance(m, torch.nn.Linear)]
    for i, layer in enumerate(layers):
        weight, bias = (p.detach().double().numpy() for p in (layer.weight, layer.bias))
        z = z @ weight.T + bias
        z = z * special.expit(z) if i < len(layers) - 1 else z
    return z


GRID = np.linspace(-9, 9, 6001)


@pytest.fixture(scope="module")
def iris():
    """A model of one component, whose evidence is an integral over a line, in the units of the data."""
    X = datasets.load_iris().data
    return VAE(1, encoder=networks.MLP((32,)), decoder=networks.MLP((32,)), max_epochs=60, random_state=0).fit(X), X


def test_scores_of_a_fitted_model(iris, agree):
    vae, X = iris
    mean = decode(vae, GRID[:, None])  # (G, P)
    scale = np.exp(6 * np.tanh(vae.model_.likelihood_state.log_scale.item() / 6))
    shift, unit = (getattr(vae.scaling_, name).numpy() for name in ("shift", "scale"))
    rows = np.r_[X[::10], X[:1] + 3.0]  # the last is unlike the data
    density = stats.norm.logpdf(rows[:, None], shift + unit * mean, unit * scale).sum(-1) + stats.norm.logpdf(GRID)
    expected = special.logsumexp(density, axis=1) + np.log(GRID[1] - GRID[0])
    found = vae.score_samples(rows, 20_000)
    name = "score_samples(k=20,000), real data in their own units"
    agree(name, "quadrature over z in numpy", found[:-1], expected[:-1], 0.03)
    assert found[-1] < expected[-1] + 0.03  # a bound, however loose
    assert np.abs(vae.score_samples(rows) - expected).max() > 0.05  # the control: the ELBO is below


def test_the_elbo_of_a_fitted_model(iris, agree):
    vae, X = iris
    mu, sigma = vae.posterior(X[:20])
    scale = np.exp(6 * np.tanh(vae.model_.likelihood_state.log_scale.item() / 6))
    shift, unit = (getattr(vae.scaling_, name).numpy() for name in ("shift", "scale"))
    nodes, weights = np.polynomial.hermite_e.hermegauss(80)
    z = mu + sigma * nodes  # (n, 80)
    mean = shift + unit * decode(vae, z.reshape(-1, 1)).reshape(20, 80, -1)
    distortion = -(stats.norm.logpdf(X[:20, None], mean, unit * scale).sum(-1) * weights).sum(1) / weights.sum()
    rate = 0.5 * (mu**2 + sigma**2 - 1 - 2 * np.log(sigma)).sum(1)
    drawn = vae.log_weights(X[:20], 20_000).mean(1)
    agree("ELBO, mean of 20,000 log weights", "Gauss-Hermite quadrature in numpy", drawn, -(distortion + rate), 0.05)
    assert np.abs(drawn + distortion).max() > 1  # the control: without the rate


# ---- objectives


def test_the_total_correlation_of_a_gaussian(agree):
    rho = 0.8
    covariance = np.array([[1.0, rho], [rho, 1.0]])
    means = np.random.default_rng(0).multivariate_normal([0, 0], covariance - 0.15 * np.eye(2), 1500)
    q = normal(torch.from_numpy(means), torch.full((1500, 2), 0.15**0.5).double())
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=(1, 1500, 2)))
    z = q.mean + q.stddev * noise
    from latentmap.objectives.penalties import aggregate_density

    joint, marginals = aggregate_density(q.base_dist, z, torch.tensor(1500.0))
    joint_kde = np.array([stats.norm.logpdf(z[0, i].numpy(), means, 0.15**0.5) for i in range(0, 1500, 100)])
    expected = special.logsumexp(joint_kde.sum(-1), axis=1) - np.log(1500)
    agree("log q(z) over all rows", "sum of scipy's densities", joint[0, ::100].numpy(), expected, 1e-5)
    total = (joint - marginals.sum(-1)).mean().item()
    agree("total correlation of a Gaussian", "-log(1 - rho^2) / 2", total, -0.5 * np.log(1 - rho**2), 0.1)


def test_the_neighbour_term(agree):
    codes = np.random.default_rng(0).normal(size=(12, 2)) * 3
    kernel = 1 / (1 + spatial.distance.cdist(codes, codes, "sqeuclidean"))
    near = [(i, i + 4 * lot) for lot in (1, 2) for i in range(4)]
    np.fill_diagonal(kernel, 0)
    expected = -np.mean([np.log(kernel[i, j]) for i, j in near]) + np.log(kernel.sum(1)).mean()
    found = contrast(torch.from_numpy(codes), 4).item()
    agree("neighbour term of a batch", "the equation in numpy", found, expected, 1e-6)


def test_maximum_mean_discrepancy(agree):
    penalty = objectives.MMD(kernel="rbf", scales=(0.5,))
    z, y = (np.random.default_rng(s).normal(size=(9, 3)) for s in (0, 1))
    kernel = lambda a, b: np.exp(-spatial.distance.cdist(a, b, "sqeuclidean") / 6 / 0.5)  # noqa: E731
    found = penalty._kernel(torch.from_numpy(z)[None], torch.from_numpy(y)[None])[0]
    agree("kernel of MMD", "scipy.spatial.distance", found.numpy(), kernel(z, y), 1e-6)


# ---- measures of maps and samples


@pytest.mark.parametrize("offset", [0.0, 1e6], ids=["centred", "offset"])
def test_trustworthiness_and_continuity(offset, agree):
    X = datasets.load_wine().data[:, :6]
    Z = X[:, :2] + np.random.default_rng(0).normal(size=(len(X), 2))
    where = f", offset {offset:g}" if offset else ""
    for name, measure, given in (
        ("trustworthiness", neighborhood.trustworthiness, (X, Z)),
        ("continuity", neighborhood.continuity, (Z, X)),
    ):
        expected = manifold.trustworthiness(*given, n_neighbors=7)
        agree(f"{name}{where}", "sklearn.manifold.trustworthiness", measure(X + offset, Z, 7), expected, 1e-9)


def test_accuracy_and_silhouette(agree):
    X, y = datasets.load_wine(return_X_y=True)
    Z = X[:, [0, 6]]
    expected = neighbors.KNeighborsClassifier(10).fit(Z[::2], y[::2]).score(Z[1::2], y[1::2])
    found = neighborhood.neighbor_accuracy(Z[::2], y[::2], Z[1::2], y[1::2])
    agree("10-NN accuracy of new rows", "sklearn.neighbors", found, expected, 1e-12)
    agree("silhouette", "sklearn.metrics", neighborhood.silhouette(Z, y), metrics.silhouette_score(Z, y), 1e-9)


def test_correlations_of_distances(agree):
    X = datasets.load_wine().data
    Z = X[:, :2]
    expected = stats.spearmanr(spatial.distance.pdist(X), spatial.distance.pdist(Z)).statistic
    agree(
        "rank correlation of distances",
        "scipy.stats.spearmanr",
        neighborhood.distance_rank_correlation(X, Z),
        expected,
        1e-9,
    )


def test_frechet_distances(agree):
    real, made = (np.random.default_rng(s).normal(size=(300, 4)) @ np.diag([1, 2, 3, 1 + s]) for s in (0, 1))
    a, b = np.cov(real.T), np.cov(made.T)
    root = linalg.sqrtm(a @ b).real
    expected = np.sum((real.mean(0) - made.mean(0)) ** 2) + np.trace(a + b - 2 * root)
    agree("Frechet distance", "scipy.linalg.sqrtm", generation.frechet_distance(real, made), expected, 1e-6)


def test_coverage_and_density(agree):
    real, made = (np.random.default_rng(s).normal(size=(80, 3)) + s / 2 for s in (0, 1))
    k, between = 5, spatial.distance.cdist(made, real)
    radius = np.sort(spatial.distance.cdist(real, real), 1)[:, k]
    found = generation.overlap(real, made, n_neighbors=k)
    expected = [(between <= radius).sum() / (k * len(made)), (between.min(0) <= radius).mean()]
    agree("density and coverage", "their definition in numpy", [found.density, found.coverage], expected, 1e-9)


def test_independent_features_are_summed():
    """The control of the page: a comparison that is off by a rounding error of single precision is seen."""
    p = independent(torch.distributions.Normal(torch.zeros(3).double(), 1.0))
    assert p.log_prob(torch.ones(3).double()).item() == pytest.approx(3 * stats.norm.logpdf(1.0), abs=1e-12)
