"""Missing cells: what is there is scored alone, what is not is filled from it, and nothing else changes."""

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits, load_wine

from command import must
from latentmap import VAE, Autoencoder, load
from latentmap.exceptions import DataError, NoDensityError, PartError
from latentmap.model import likelihoods, networks, priors
from latentmap.objectives import IWAE, VAEGAN

MLP = networks.MLP((32,))
QUICK = {"encoder": MLP, "decoder": MLP, "neighbors": None, "max_epochs": 4, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def holes(X, rate=0.3, seed=0):
    gone = np.random.default_rng(seed).random(X.shape) < rate
    return np.where(gone, np.nan, X), gone


def linear(n=2000, seed=0):
    """Rows of two dimensions in five, with little noise, whose conditional means are known."""
    rng = np.random.default_rng(seed)
    w = rng.normal(size=(2, 5))
    return rng.normal(size=(n, 2)) @ w + 0.3 * rng.normal(size=(n, 5)), w.T @ w + 0.09 * np.eye(5)


@pytest.fixture(scope="module")
def fitted():
    rows, covariance = linear()
    X, gone = holes(rows)
    settings = {"neighbors": None, "max_epochs": 150, "random_state": 0, "objective": IWAE(5)}
    settings["likelihood"] = likelihoods.Gaussian("feature")
    return VAE(2, **settings).fit(X), rows, X, gone, covariance


def conditional_means(X, covariance):
    filled = X.copy()
    for row, gone in zip(filled, np.isnan(X), strict=True):
        seen = covariance[np.ix_(~gone, ~gone)]
        row[gone] = covariance[np.ix_(gone, ~gone)] @ np.linalg.solve(seen, row[~gone])
    return filled


def test_filled_cells_are_near_their_conditional_means(fitted):
    vae, rows, X, gone, covariance = fitted
    best = np.square(conditional_means(X, covariance) - rows)[gone].mean()
    ours = np.square(vae.impute(X, random_state=0) - rows)[gone].mean()
    of_means = np.square(np.nanmean(X, 0) - rows)[gone].mean()
    assert ours < best + 0.05 * (of_means - best)


def test_scores_of_incomplete_rows_are_near_the_log_density_of_what_is_there(fitted):
    vae, _, X, gone, covariance = fitted
    known = [
        multivariate_normal(np.zeros((~g).sum()), covariance[np.ix_(~g, ~g)]).logpdf(x[~g]) if not g.all() else 0.0
        for x, g in zip(X[:300], gone[:300], strict=True)
    ]
    scores = vae.score_samples(X[:300], 500)
    assert abs(scores.mean() - np.mean(known)) < 0.1
    assert abs(vae.score_samples(np.where(gone, 0.0, X)[:300], 500).mean() - np.mean(known)) > 0.5  # zeros are data


def test_draws_spread_as_the_conditional_distribution_and_means_do_not(fitted):
    vae, _, X, gone, covariance = fitted
    x, g = X[(gone.sum(1) == 2)][:1], gone[(gone.sum(1) == 2)][0]
    seen = covariance[np.ix_(~g, ~g)]
    spread = covariance[np.ix_(g, g)] - covariance[np.ix_(g, ~g)] @ np.linalg.solve(seen, covariance[np.ix_(~g, g)])
    draws = vae.impute(np.repeat(x, 50, 0), 20, n_samples=200)[..., g].reshape(-1, 2)
    assert draws.std(0) == pytest.approx(np.sqrt(np.diag(spread)), rel=0.25)
    means = vae.impute(np.repeat(x, 50, 0), n_samples=200)[:, g]
    assert (means.std(0) < 0.5 * draws.std(0)).all()


def test_cells_that_are_there_stay_and_impute_is_repeatable(fitted):
    vae, _, X, gone, _ = fitted
    filled = vae.impute(X)
    assert np.array_equal(filled[~gone], X[~gone]) and np.isfinite(filled).all()
    assert np.array_equal(filled, vae.impute(X)) and not np.array_equal(filled, vae.impute(X, random_state=1))
    assert vae.impute(X, 3).shape == (3, *X.shape)
    assert np.array_equal(vae.impute(filled), filled)


def test_frames_come_back_as_frames(fitted):
    vae, _, X, _, _ = fitted
    names = list("abcde")
    frame = pd.DataFrame(X[:9], columns=names, index=range(10, 19))
    filled = VAE(2, **QUICK).fit(frame).impute(frame)
    assert list(filled.columns) == names and list(filled.index) == list(frame.index) and not filled.isna().any().any()
    table = pl.DataFrame({name: X[:9, i] for i, name in enumerate(names)}).fill_nan(None)
    filled = VAE(2, **QUICK).fit(table).impute(table)
    assert isinstance(filled, pl.DataFrame) and filled.columns == names and np.isfinite(filled.to_numpy()).all()


@pytest.mark.parametrize(
    "settings",
    [
        {"likelihood": likelihoods.Gaussian("optimal")},
        {"likelihood": likelihoods.StudentT()},
        {"likelihood": likelihoods.LogisticMixture(17)},
        {"likelihood": likelihoods.NegativeBinomial()},
        {"prior": priors.Vamp(5)},
        {"ladder": (4,)},
        {"neighbors": 5},
        {"encoder": networks.Conv((4,), 8), "decoder": networks.Conv((4,), 8)},
    ],
    ids=repr,
)
def test_every_kind_of_model_takes_missing_cells(settings, tmp_path):
    X, _ = holes(load_digits().images[:200])
    vae = VAE(2, **QUICK | settings).fit(X)
    assert np.isfinite(vae.transform(X)).all() and np.isfinite(vae.score_samples(X, 3)).all()
    assert np.isfinite(vae.impute(X)).all() and vae.impute(X, 2).shape == (2, *X.shape)
    vae.save(tmp_path / "model")
    assert np.array_equal(load(tmp_path / "model").transform(X), vae.transform(X))
    assert all(torch.isfinite(value).all() for value in vae.model_.state_dict().values())


def test_an_autoencoder_fills_with_what_it_reconstructs():
    X, gone = holes(load_wine().data)
    model = Autoencoder(4, max_epochs=30, random_state=0).fit(X)
    assert model.impute(X)[gone] == pytest.approx(model.reconstruct(X)[gone])
    assert np.isfinite(model.score(X))
    with pytest.raises(NoDensityError, match="no density"):
        model.impute(X, 2)


def test_complete_rows_are_as_they_were():
    X = load_wine().data
    unmasked = likelihoods.Incomplete(masked=0.0)
    plain, ready = (VAE(2, **QUICK, likelihood=part).fit(X) for part in (None, unmasked))
    assert not plain.takes_missing_ and ready.takes_missing_
    assert plain.score_samples(X) == pytest.approx(ready.score_samples(X))
    assert np.array_equal(plain.impute(X), X)
    X[3, 2] = np.nan
    assert np.isfinite(ready.impute(X)).all()
    with pytest.raises(DataError, match=r"1 NaN value, the first at index \[3, 2\]"):
        plain.transform(X)


def test_what_cannot_be_is_refused():
    X, _ = holes(load_wine().data)
    with pytest.raises(DataError, match="1 infinite value"):
        VAE(2, **QUICK).fit(np.where(np.arange(X.size).reshape(X.shape) == 7, np.inf, X))
    empty = X.copy()
    empty[:, 4] = np.nan
    with pytest.raises(DataError, match="holds no value in column 4"):
        VAE(2, **QUICK).fit(empty)
    with pytest.raises(DataError, match="no finite value at all"):
        VAE(2, **QUICK).fit(np.full((5, 3), np.nan))
    with pytest.raises(PartError, match="VAEGAN compares whole rows"):
        VAE(2, **QUICK, objective=VAEGAN()).fit(X)
    with pytest.raises(PartError, match="missing cells cannot be left out of MSSSIM"):
        likelihoods.Incomplete(likelihoods.MSSSIM())
    with pytest.raises(PartError, match="n_samples must be a whole number"):
        VAE(2, **QUICK).fit(X).impute(X, n_samples=0)


def test_the_command_fits_reports_and_fills_a_table_with_holes(capsys, tmp_path):
    X, gone = holes(load_wine().data)
    names = load_wine().feature_names
    pd.DataFrame(X, columns=names).to_csv(tmp_path / "wine.csv", index=False)
    must(capsys, "fit", tmp_path / "wine.csv", "-o", tmp_path / "run", "--set", "max_epochs=5")
    assert (tmp_path / "run" / "report.html").exists()
    assert "Incomplete" in must(capsys, "info", tmp_path / "wine.csv").err
    must(capsys, "impute", tmp_path / "run", "-o", tmp_path / "filled.csv")
    filled = pd.read_csv(tmp_path / "filled.csv")
    assert list(filled.columns) == names and not filled.isna().any().any()
    assert filled.to_numpy()[~gone] == pytest.approx(X[~gone])
    must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.csv", "--details")
    assert np.isfinite(pd.read_csv(tmp_path / "z.csv").to_numpy()).all()
    must(capsys, "impute", tmp_path / "run", tmp_path / "wine.csv", "-o", tmp_path / "draws.npy", "--draws", 3)
    assert np.load(tmp_path / "draws.npy").shape == (3, *X.shape)


def test_the_example_of_the_documentation_beats_column_means():
    code = (Path(__file__).parents[1] / "docs/missing.md").read_text().split("```python\n")[1].split("```")[0]
    found: dict[str, Any] = {}
    exec(compile(code, "docs/missing.md", "exec"), found)
    X, gone = load_wine().data, np.isnan(found["X"])
    spread, means = X.std(0), np.broadcast_to(np.nanmean(found["X"], 0), X.shape)
    ours, theirs = (np.sqrt(np.square((filled - X) / spread)[gone].mean()) for filled in (found["filled"], means))
    assert ours < 0.85 * theirs and found["draws"].shape == (5, *X.shape)
