"""Rows outside the support of a likelihood, and means of columns on a logarithmic scale, through every method."""

import json

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats

from latentmap import VAE, Columns, likelihoods, load, networks
from latentmap.cli import main
from latentmap.estimators.imputation import expected, normalised
from latentmap.evaluation.details import map_details
from latentmap.evaluation.evidence import evidence, importance_bound
from latentmap.exceptions import DataError, PartError
from latentmap.model.distributions import exponential_mean, independent, log_prob_inside
from latentmap.model.part import Sizes
from latentmap.model.scaling import Affine

TINY = networks.MLP((16,))
SMALL = {"encoder": TINY, "decoder": TINY, "neighbors": None, "random_state": 0, "max_epochs": 3}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

RNG = np.random.default_rng(0)
BITS = (RNG.random((120, 6)) < 0.4).astype(float)
UNIT = RNG.random((120, 6))
COUNTS = RNG.poisson(3.0, (120, 6)).astype(float)
LEVELS = RNG.integers(0, 8, (120, 6)).astype(float)


def scores_of(vae, rows):
    """Every way to score rows, (ways, n)."""
    one, many = vae.score_samples(rows), vae.score_samples(rows, 20)
    return np.stack([one, many, *vae.log_weights(rows, 3).T])


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(
    ("likelihood", "X", "strange"),
    [
        (likelihoods.Bernoulli(), BITS, [5, 5, 5, -5, -5, -5]),
        (likelihoods.ContinuousBernoulli(), UNIT, [-5] * 6),
        (likelihoods.Poisson(), COUNTS, [2.5, 1, 1, 1, 1, 1]),
        (likelihoods.NegativeBinomial(), COUNTS, [-1, 0, 0, 0, 0, 0]),
        (likelihoods.NegativeBinomial(library=True), COUNTS, [2.5, 2, 2, 2, 2, 2]),
        (likelihoods.ZeroInflated(), COUNTS, [2.5] * 6),
        (likelihoods.DiscretizedLogistic(8), LEVELS, [2.5, 1, 1, 1, 1, 1]),
        (likelihoods.LogisticMixture(8, components=2), LEVELS, [8, 1, 1, 1, 1, 1]),
        (likelihoods.Categorical(8), LEVELS, [-1, 1, 1, 1, 1, 1]),
    ],
    ids=lambda value: repr(value) if isinstance(value, likelihoods.Likelihood) else "",
)
def test_rows_outside_score_minus_infinity_and_are_encoded_all_the_same(likelihood, X, strange, dtype, tmp_path):
    vae = VAE(2, likelihood=likelihood, **SMALL).fit(X)
    rows = np.stack([X[0], strange, X[1]]).astype(dtype)
    found = scores_of(vae, rows)
    assert (found[:, 1] == -np.inf).all() and np.isfinite(found[:, [0, 2]]).all()
    np.testing.assert_allclose(vae.score_samples(rows[[0, 2]]), found[0, [0, 2]], rtol=1e-5)  # as without it
    assert vae.score(rows) == -np.inf
    assert np.isfinite(vae.transform(rows)).all() and np.isfinite(vae.reconstruct(rows)).all()
    bound = evidence(vae, rows, 5)
    assert bound.mean == -np.inf and np.isnan(bound.error) and np.isfinite(bound.sampling_error)
    vae.save(tmp_path / "run")
    np.testing.assert_array_equal(scores_of(load(tmp_path / "run"), rows), found)
    with pytest.raises(PartError, match="takes"):
        VAE(2, likelihood=likelihood, **SMALL).fit(np.concatenate([X, [strange]]))


def test_fits_that_go_on_refuse_rows_outside():
    strange = np.concatenate([BITS[:30], np.full((1, 6), 5.0)])
    vae = VAE(2, likelihood=likelihoods.Bernoulli(), warm_start=True, **SMALL)
    vae.partial_fit(BITS).partial_fit(BITS[:30])
    for go_on in (vae.partial_fit, vae.fit):
        with pytest.raises(DataError, match="X: row 31 holds a value outside the support of the likelihood"):
            go_on(strange)
    rows = table()
    vae = VAE(2, **SMALL).partial_fit(rows)
    with pytest.raises(DataError, match="X: row 2 holds a value outside"):
        vae.partial_fit(rows.assign(member=np.arange(len(rows)) * 0.5))


def test_a_model_in_training_takes_rows_for_checked_and_scores_them_alike():
    vae = VAE(2, likelihood=likelihoods.Incomplete(likelihoods.ZeroInflated()), **SMALL).fit(COUNTS)
    x = torch.from_numpy(COUNTS).float()
    found = []
    for mode in (True, False):
        trace = vae.model_.train(mode).trace(x)
        assert trace.inside is mode
        found.append(trace.px.log_prob(x) - log_prob_inside(trace.px, x))
    vae.model_.eval()
    assert not torch.cat(found).any()


def test_fractions_are_rounded_to_their_level_and_whole_numbers_are_not():
    whole, fractions = (VAE(2, likelihood=likelihoods.DiscretizedLogistic(8), **SMALL).fit(X) for X in (LEVELS, UNIT))
    assert (fractions.score_samples(UNIT) > -np.inf).all()
    assert np.isfinite(whole.score_samples(whole.sample(20, noise=True, random_state=0))).all()
    assert np.isfinite(whole.score_samples(LEVELS.astype(np.uint8))).all()


def test_a_bound_of_rows_without_mass_keeps_the_others_errors():
    log_w = np.random.default_rng(0).normal(size=(50, 4))
    log_w[:, 1] = -np.inf
    found, others = importance_bound(log_w), importance_bound(np.delete(log_w, 1, 1))
    assert found.mean == -np.inf and np.isnan(found.error)
    assert found.sampling_error == pytest.approx(others.sampling_error * 3 / 4)
    assert found.effective_draws == pytest.approx((others.effective_draws * 3 + 50) / 4)


def test_rows_without_labels_outside_the_support_score_minus_infinity():
    y = np.where(np.arange(120) < 80, BITS[:, 0], np.nan)
    vae = VAE(2, likelihood=likelihoods.Bernoulli(), condition="labels", **SMALL).fit(BITS, y)
    rows = np.stack([BITS[0], np.full(6, 7.0)])
    for k in (1, 20):
        assert (vae.score_samples(rows, k) == -np.inf).tolist() == [False, True]
    assert np.isfinite(vae.predict_proba(rows)).all()


# ---- tables


def table(n=300):
    rng = np.random.default_rng(1)
    z = rng.normal(size=n)
    return pd.DataFrame({
        "income": np.exp(4 + 1.2 * z + 0.7 * rng.normal(size=n)),
        "weight": 5 * z + rng.normal(size=n),
        "member": (z > rng.normal(size=n)).astype(float),
        "visits": rng.poisson(np.exp(1 + z)).astype(float),
        "city": np.array(["Rome", "Oslo", "Lima"])[rng.integers(0, 3, n)],
        "size": pd.Categorical(rng.choice(["S", "M", "L"], n), categories=["S", "M", "L"], ordered=True),
    })  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.fixture(scope="module")
def vae(rows):
    return VAE(1, columns=Columns({"income": {"scaling": "log1p"}}), **SMALL | {"max_epochs": 20}).fit(rows)


@pytest.mark.parametrize(
    ("column", "value"),
    [("member", 50.0), ("member", 0.5), ("member", -1.0), ("visits", 2.5), ("visits", -1.0)]
    + [("income", -1.0), ("income", -7.0), ("income", -1e9)],
)
def test_cells_outside_make_the_row_of_a_table_minus_infinity(vae, rows, column, value, tmp_path):
    some = rows.head(4).copy()
    usual = scores_of(vae, some)
    some.loc[1, column] = value
    some.loc[2, column] = np.nan  # a missing cell counts for nothing
    found = scores_of(vae, some)
    assert (found[:, 1] == -np.inf).all() and np.isfinite(found[:, 2]).all()
    np.testing.assert_allclose(found[:, [0, 3]], usual[:, [0, 3]])
    assert np.isfinite(vae.transform(some)).all()
    some.loc[1, ["weight", "city"]] = np.nan, None
    filled, draws = vae.impute(some), vae.impute(some, 2)
    for frame in (filled, *draws, vae.reconstruct(some)):
        assert not frame.isna().any().any() and np.isfinite(frame["weight"]).all()
    vae.save(tmp_path / "run")
    np.testing.assert_array_equal(scores_of(load(tmp_path / "run"), some), found)
    assert load(tmp_path / "run").score_samples(some)[1] == -np.inf


@pytest.mark.parametrize("place", [-1.0, 0.5, 1.5, 3.0, 50.0])
def test_places_that_are_no_category_have_no_mass(vae, rows, place):
    for column in (4, 5):
        numbers = vae.encode_table(rows.head(3))
        numbers[1, column] = place
        assert (scores_of(vae, numbers)[:, 1] == -np.inf).all()
        assert np.isfinite(vae.transform(numbers)).all()


def test_what_the_model_gives_can_be_scored(vae, rows):
    """Means of counts and bits are rounded in frames, so that what fills cells has a mass."""
    holes = rows.mask(np.random.default_rng(2).random(rows.shape) < 0.4)
    drawn = vae.sample(50, random_state=0, noise=True)
    for frame in (vae.impute(holes), vae.reconstruct(holes), vae.sample(50, random_state=0), drawn):
        assert set(frame["member"]) <= {0.0, 1.0} and (frame["visits"] % 1 == 0).all()
        assert np.isfinite(vae.score_samples(frame)).all()
    assert np.isfinite(map_details(vae, holes, rows).evidence).all()


def test_the_command_scores_rows_outside(vae, rows, tmp_path, capsys):
    vae.save(tmp_path / "run")
    for strange, outside in ((rows.head(5), 0), (rows.head(5).assign(member=[50, 1, 0.5, 0, 1]), 2)):
        strange.to_csv(tmp_path / "x.csv", index=False)
        for end in (".csv", ".npy"):
            asked = ["score", str(tmp_path / "run"), str(tmp_path / "x.csv"), "-o", str(tmp_path / f"s{end}"), "--json"]
            assert main(asked) == 0
            said = capsys.readouterr()
            found = json.loads(said.out)
            assert found["rows_outside"] == outside and (found["mean"] is None) == (outside > 0)
            assert ("2 rows of 5 hold values that the model excludes" in said.err) == (outside > 0)
        text, binary = pd.read_csv(tmp_path / "s.csv")["elbo"], np.load(tmp_path / "s.npy")
        np.testing.assert_allclose(text, binary.ravel())
        assert (binary == -np.inf).sum() == outside


def test_columns_refuse_what_cannot_be_one():
    for part in (
        likelihoods.Poisson(library=True),
        likelihoods.NegativeBinomial(library=True),
        likelihoods.ZeroInflated(likelihoods.Poisson(library=True)),
    ):
        with pytest.raises(PartError, match=r"library=True.*use library=False"):
            likelihoods.Heterogeneous((part, likelihoods.Gaussian("feature")))
        with pytest.raises(PartError, match="a row of one feature is its total; use library=False"):
            part.build(Sizes((1,), 1))
        part.build(Sizes((2,), 1))
    grey = pd.DataFrame({"x": UNIT[:, 0], "city": ["Rome", "Oslo"] * 60})
    with pytest.raises(PartError, match="column 'x': likelihood Bernoulli takes 0 and 1 in a table, got values in b"):
        VAE(1, columns=Columns({"x": {"likelihood": likelihoods.Bernoulli(), "scaling": "none"}}), **SMALL).fit(grey)
    counted = pd.DataFrame({"x": np.rint(np.exp(9 * UNIT[:, 0])), "city": ["Rome", "Oslo"] * 60})
    kind = {"kind": "real", "likelihood": likelihoods.NegativeBinomial()}  # amounts, but not on a logarithmic scale
    assert np.isfinite(VAE(1, columns=Columns({"x": kind}), **SMALL).fit(counted).score_samples(counted)).all()


# ---- means of columns on a logarithmic scale


@pytest.mark.parametrize("scale", [0.3, 0.6])
def test_means_of_exponentials_are_those_of_scipy(scale):
    loc, rate = torch.tensor([[-1.0], [0.5]], dtype=torch.float64), torch.tensor([1.05], dtype=torch.float64)
    grid = np.linspace(-60, 60, 400_001)
    for part, family in ((likelihoods.Gaussian(scale), stats.norm), (likelihoods.Laplace(scale), stats.laplace)):
        p = independent(part.distribution(part.build(Sizes((1,), 1)).double(), loc[..., None]))
        found = (rate * exponential_mean(p, rate)).exp()[:, 0]
        exact = [np.trapezoid(np.exp(rate.item() * grid) * family.pdf(grid, m, scale), grid) for m in loc[:, 0].numpy()]
        assert found.numpy() == pytest.approx(exact, rel=1e-5)
        assert np.exp(rate.item() * loc[:, 0].numpy()) != pytest.approx(exact, rel=0.02)  # the control: medians
    wide = likelihoods.Laplace(1.5)
    for part in (wide, likelihoods.StudentT(scale)):  # there is no mean of the exponential
        p = part.distribution(part.build(Sizes((1,), 1)).double(), loc[..., None])
        assert torch.equal(exponential_mean(p, rate), loc)


def test_means_are_averaged_over_codes_in_the_units_of_the_data():
    columns = likelihoods.Gaussian(0.8), likelihoods.Gaussian(0.5), likelihoods.Categorical(levels=3)
    part = likelihoods.Incomplete(likelihoods.Heterogeneous(columns))
    generator = torch.Generator().manual_seed(0)
    raw = torch.randn(7, 4, 5, 1, generator=generator, dtype=torch.float64)
    px = part.distribution(part.build(Sizes((3,), 1)).double(), raw)
    weight = normalised(torch.randn(7, 4, generator=generator, dtype=torch.float64))
    units = Affine([2.0, 1.0, 0.0], [1.5, 3.0, 2.0], [True, False, False], [False, False, True], [0.5, 1.0, 1.0])
    found = expected(px, weight, units).numpy()
    w, y = weight.numpy(), raw[..., 0].numpy()
    lognormal = 0.5 * (stats.lognorm.mean(1.5 * 0.8, scale=np.exp(2 + 1.5 * y[..., 0])) - 1)
    np.testing.assert_allclose(found[:, 0], (w * lognormal).sum(0))
    np.testing.assert_allclose(found[:, 1], 1 + 3 * (w * y[..., 1]).sum(0))
    masses = np.einsum("kb,kbl->bl", w, np.exp(y[..., 2:]) / np.exp(y[..., 2:]).sum(-1, keepdims=True))
    np.testing.assert_array_equal(found[:, 2], masses.argmax(1))
    np.testing.assert_allclose(normalised(torch.full((4, 2), -torch.inf)), 0.25)


def by_quadrature(vae, weight):
    """E[income | weight] and exp(E[log(1 + income) | weight]) - 1, over a grid of codes, by numpy alone."""
    z = np.linspace(-8, 8, 4001)
    with torch.no_grad():
        px = vae.model_.double().decode(torch.from_numpy(z)[:, None])
        loc, scale = (px.mean[:, :2].numpy(), px.variance[:, :2].sqrt().numpy())
    vae.model_.float()
    shift, unit = (t[:2].numpy() for t in (vae.scaling_.shift, vae.scaling_.scale))
    loc, scale = loc * unit + shift, scale * unit
    mass = stats.norm.pdf(z) * stats.norm.pdf(weight, loc[:, 1], scale[:, 1])
    mass /= mass.sum()
    return (mass * (np.exp(loc[:, 0] + scale[:, 0] ** 2 / 2) - 1)).sum(), np.expm1((mass * loc[:, 0]).sum())


@pytest.mark.parametrize("scale", ["feature", "optimal"])
def test_imputed_amounts_are_conditional_means(rows, scale, agree):
    both = {
        "income": {"likelihood": likelihoods.Gaussian(scale), "scaling": "log1p"},
        "weight": {"likelihood": likelihoods.Gaussian()},
    }
    gone = np.random.default_rng(0).random(len(rows)) < 0.5
    two = rows[["income", "weight"]].assign(income=rows["income"].mask(gone))
    vae = VAE(1, columns=Columns(both), **SMALL | {"max_epochs": 20}).fit(two)
    assert vae.scaling_.stretched.tolist() == [True, False]
    asked = pd.DataFrame({"income": np.nan, "weight": [-5.0, 0.0, 5.0]})
    found = vae.impute(asked, n_samples=10_000)["income"].to_numpy()
    exact, of_logarithms = np.array([by_quadrature(vae, weight) for weight in asked["weight"]]).T
    agree("impute, column on a logarithmic scale, relative", "quadrature over z", found / exact, np.ones(3), 0.05)
    assert of_logarithms != pytest.approx(exact, rel=0.2)


def test_what_is_decoded_of_amounts_is_the_median(vae, rows):
    codes = np.array([[-1.0], [0.0], [1.5]])
    with torch.no_grad():
        loc = vae.model_.decode(torch.from_numpy(codes).float()).mean[:, 0].double()
    loc = (loc * vae.scaling_.scale[0] + vae.scaling_.shift[0]).numpy()
    median = stats.lognorm.median(0.7, scale=np.exp(loc)) - 1
    np.testing.assert_allclose(vae.inverse_transform(codes)["income"], median, rtol=1e-4)
    np.testing.assert_allclose(
        vae.reconstruct(rows)["income"], vae.inverse_transform(vae.transform(rows))["income"], rtol=1e-6
    )
    medians, draws = (vae.sample(2000, random_state=0, noise=noise)["income"] for noise in (False, True))
    assert medians.mean() < draws.mean()


@pytest.mark.parametrize("part", [likelihoods.StudentT("feature"), likelihoods.Laplace(3.0)])
def test_amounts_whose_mean_is_infinite_are_filled_with_medians(rows, part):
    two = rows[["income", "weight"]]
    vae = VAE(1, columns=Columns({"income": {"likelihood": part}}), **SMALL).fit(two)
    filled = vae.impute(two.head(5).assign(income=np.nan))["income"]
    assert np.isfinite(filled).all() and filled.between(two["income"].min() / 10, two["income"].max()).all()
