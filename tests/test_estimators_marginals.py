"""Rows with missing cells against quadrature over the code of the same model, fitted to complete rows."""

import copy
import warnings

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.stats import norm

from latentmap import VAE, exceptions, likelihoods, networks
from latentmap.estimators.scoring import log_units
from latentmap.evaluation.evidence import effective_draws
from latentmap.model.distributions import average
from latentmap.model.noise import RowNoise

GRID = np.linspace(-7, 7, 1401)
QUADRATURE = "quadrature over z"
MLP = networks.MLP((32, 32))
SETTINGS = {"encoder": MLP, "decoder": MLP, "neighbors": None, "random_state": 0}
SETTINGS |= {"max_epochs": 80, "batch_size": 64}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def curve(n=500):
    """Rows along a curve in four dimensions, with little noise: one cell tells much, but not all."""
    rng = np.random.default_rng(0)
    t = rng.normal(size=n)
    return 20 + np.stack([10 * t, 8 * np.tanh(2 * t), t * (2 * t - 6), 5 * np.sin(2 * t)], 1) + rng.normal(size=(n, 4))


def table(n=500):
    """The same for columns of every kind."""
    rng = np.random.default_rng(0)
    t, noise = rng.normal(size=n), 0.3 * rng.normal(size=(2, n))
    grade = np.array(["low", "mid", "high"])[np.digitize(t + noise[0], [-0.5, 0.7])]
    return pd.DataFrame({
        "income": 30 + 12 * t + rng.normal(size=n),
        "visits": rng.poisson(np.exp(1 + 0.8 * t)),
        "town": np.array(["Lima", "Oslo", "Rome"])[np.digitize(t + noise[1], [-1.0, 0.6])],
        "grade": pd.Categorical(grade, categories=["low", "mid", "high"], ordered=True),
    })  # fmt: skip


def fit(X, masked=0.5):
    """Fit one code to complete rows; with ``masked=0`` the fit meets no missing cell, as before version 0.2."""
    if isinstance(X, np.ndarray):
        part = likelihoods.Incomplete(likelihoods.Gaussian("feature"), masked=masked)
        return VAE(1, likelihood=part, **SETTINGS).fit(X)
    return VAE(1, **SETTINGS).fit(X)


@pytest.fixture(scope="module")
def array():
    return fit(curve())


@pytest.fixture(scope="module")
def unprepared():
    return fit(curve(), masked=0.0)


@pytest.fixture(scope="module", params=["array", "table"])
def case(request):
    """Give a model and rows with one to all four cells missing, sixty of each."""
    vae = request.getfixturevalue("array") if request.param == "array" else fit(table())
    rows = curve()[:60] if request.param == "array" else vae.encode_table(table()[:60]).astype(float)
    holed = np.concatenate([rows] * 4)
    rng = np.random.default_rng(1)
    for i, row in enumerate(holed):
        row[rng.permutation(4)[: 1 + i // 60]] = np.nan
    return vae, holed


def joint(vae, rows):
    """p(x_obs, z) on the grid, (G, B), times its step, and p(x|z); from the decoder and the standard normal alone."""
    model, scaling = copy.deepcopy(vae.model_).double().eval(), copy.deepcopy(vae.scaling_).double()
    z = torch.from_numpy(GRID)[:, None, None].expand(-1, len(rows), 1)
    with torch.no_grad():
        x, px = scaling(torch.from_numpy(rows)), model.decode(z)
        log_p = px.log_prob(x).numpy() + norm.logpdf(GRID)[:, None] + np.log(GRID[1] - GRID[0])
        units = scaling.log_jacobian(x, but=model.parts.likelihood.is_discrete(4)).numpy()
    return log_p + units, px, scaling


def evidence(vae, rows):
    return np.logaddexp.reduce(joint(vae, rows)[0])


def means(vae, rows):
    log_p, px, scaling = joint(vae, rows)
    with torch.no_grad():
        return scaling.inverse(average(px, torch.from_numpy(log_p).softmax(0))).numpy()


def of_q_alone(vae, rows, k=500):
    """Log-weights of draws of q, as before version 0.2."""
    model, scaling = copy.deepcopy(vae.model_).double().eval(), copy.deepcopy(vae.scaling_).double()
    torch.manual_seed(0)
    with torch.no_grad():
        x = scaling(torch.from_numpy(rows))
        trace = model.trace(x, k)
        cells = scaling.inverse(average(trace.px, trace.log_w.softmax(0))).numpy()
        return np.logaddexp.reduce(trace.log_w.numpy()) - np.log(k) + log_units(vae.state_, scaling, x).numpy(), cells


def spread(vae):
    """Standard deviation of each column under the model."""
    drawn = vae.sample(4000, random_state=0, noise=True)
    return (drawn if isinstance(drawn, np.ndarray) else vae.encode_table(drawn)).std(0)


def test_scores_of_rows_with_any_cells_missing_are_those_of_quadrature(case, agree):
    vae, holed = case
    error = vae.score_samples(holed, 2000) - evidence(vae, holed)
    agree("log p of what is there, any cells missing, mean error", QUADRATURE, np.abs(error).mean(), 0.0, 0.06)
    assert np.abs(error[-60:]).max() < 0.02  # no cell at all: log 1
    assert np.abs(evidence(vae, holed)[-60:]).max() < 1e-6


def test_filled_cells_are_the_conditional_means_of_quadrature(case, agree):
    vae, holed = case
    gone = np.isnan(holed)
    error = (np.abs(vae.impute(holed, n_samples=2000) - means(vae, holed)) / spread(vae))[gone]
    agree("impute, in standard deviations, mean error", QUADRATURE, error.mean(), 0.0, 0.05)
    assert np.quantile(error, 0.95) < 0.2


def test_a_fit_that_meets_no_missing_cell_and_draws_of_q_alone_are_wrong(unprepared):
    """The control: what was done before version 0.2 passes none of this."""
    vae, holed = unprepared, np.where(np.arange(4) == 0, curve()[:60], np.nan)
    bound, cells = of_q_alone(vae, holed)
    assert np.abs(bound - evidence(vae, holed)).mean() > 0.5
    assert (np.abs(cells - means(vae, holed)) / spread(vae))[:, 1:].mean() > 0.1
    assert np.abs(vae.score_samples(holed, 2000) - evidence(vae, holed)).mean() < 0.1  # the mixture alone mends much


def test_marginals_of_single_columns_sum_to_one(case):
    vae, holed = case
    discrete = vae.model_.parts.likelihood.is_discrete(4).numpy()
    for j in range(4):
        if vae.table_ is None or not discrete[j]:
            low, high = np.nanmin(holed[:, j]), np.nanmax(holed[:, j])
            values = np.linspace(low - (high - low), high + (high - low), 400)
        else:
            values = np.arange(200.0 if j == 1 else 3.0)
        rows = np.full((len(values), 4), np.nan)
        rows[:, j] = values
        mass = np.exp(vae.score_samples(rows, 500))
        assert (mass.sum() if discrete[j] else np.trapezoid(mass, values)) == pytest.approx(1, abs=0.03), j


def test_rows_without_any_cell_get_the_marginal_means(case):
    vae, holed = case
    nothing = holed[-1:]
    assert np.isnan(nothing).all()
    assert vae.score_samples(nothing, 4000) == pytest.approx(0, abs=0.01)
    error = (vae.impute(nothing, n_samples=4000) - means(vae, nothing)) / spread(vae)
    assert np.abs(error).max() < 0.06


def test_draws_have_the_width_of_the_exact_predictive(array):
    vae, row = array, np.array([[25.0, np.nan, np.nan, np.nan]])
    log_p, px, scaling = joint(vae, row)
    weight = np.exp(log_p - np.logaddexp.reduce(log_p))[:, :, None]
    with torch.no_grad():
        mean, scale = px.mean.numpy(), px.variance.sqrt().numpy()
    mean, scale = mean * scaling.scale.numpy() + scaling.shift.numpy(), scale * scaling.scale.numpy()
    first = (weight * mean).sum(0)
    exact = np.sqrt((weight * (scale**2 + (mean - first) ** 2)).sum(0))[0, 1:]
    draws = vae.impute(np.repeat(row, 100, 0), 30, n_samples=400).reshape(-1, 4)[:, 1:]
    assert draws.std(0) == pytest.approx(exact, rel=0.1)
    assert draws.mean(0) == pytest.approx(first[0, 1:], abs=0.15)


def test_complete_rows_keep_their_scores_whatever_comes_with_them(case):
    vae, holed = case
    complete = means(vae, holed[:20])
    together = vae.score_samples(np.concatenate([complete, holed]), 130)
    np.testing.assert_allclose(together[:20], vae.score_samples(complete, 130), rtol=1e-12)
    np.testing.assert_allclose(together[20:], vae.score_samples(holed, 130), rtol=1e-12)
    np.testing.assert_allclose(vae.impute(holed[100:130]), vae.impute(holed)[100:130], rtol=1e-9)
    model, x = copy.deepcopy(vae.model_).double().eval(), vae.scaling_.double()(torch.from_numpy(complete))
    noise = RowNoise(x, vae.seed_)
    with torch.no_grad():
        log_w = torch.cat([model.trace(x, k, noise).log_w for k in (64, 64, 2)])
    plain = log_w.logsumexp(0).numpy() - np.log(130) + log_units(vae.state_, vae.scaling_, x).numpy()
    np.testing.assert_allclose(together[:20], plain, rtol=1e-12)  # draws of q alone


def test_few_effective_draws_are_said_and_counted(array, unprepared):
    vae, holed = unprepared, np.where(np.arange(4) == 0, curve()[:60], np.nan)
    with pytest.warns(exceptions.FewDrawsWarning, match="of 60 rows with missing cells rest on fewer than"):
        vae.impute(holed, n_samples=100)
    with pytest.warns(exceptions.FewDrawsWarning, match="raise n_samples"):
        vae.score_samples(holed, 100)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        array.impute(holed)
        array.score_samples(holed, 100)
        vae.score_samples(holed)  # one draw is one draw
        vae.impute(holed, n_samples=1)
        vae.score_samples(curve(), 100)  # no cell is missing
    draws = effective_draws(vae.log_weights(holed, 100).T)
    assert draws.shape == (60,) and (draws >= 1).all() and (draws <= 100).all()
