"""Missing cells: what is there is scored alone, what is not is filled from it, and nothing else changes."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from scipy.stats import multivariate_normal
from sklearn.datasets import load_digits, load_wine
from torch import nn

from command import must
from latentmap import VAE, Autoencoder, load
from latentmap.exceptions import DataError, NoDensityError, PartError
from latentmap.model import likelihoods, networks, posteriors, priors
from latentmap.model.noise import fresh
from latentmap.model.part import Part, Sizes
from latentmap.objectives import ELBO, IWAE, MMD, PIWAE, VAEGAN, PriorCritic

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
    settings = QUICK | {"max_epochs": 40, "objective": IWAE(5), "likelihood": likelihoods.Gaussian("feature")}
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
        {"variational_family": posteriors.Flow("iaf", width=8)},
        {"variational_family": posteriors.Hamiltonian()},
        {"variational_family": posteriors.Poincare(), "prior": priors.WrappedNormal()},
        {"prior": priors.Mixture(3)},
        {"objective": ELBO(capacity=5.0, penalties=(MMD(),))},
        {"objective": PIWAE()},
        {"objective": ELBO(penalties=(PriorCritic(),))},
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


def test_copies_hide_any_share_of_the_cells_of_some_rows():
    x = torch.randn(4000, 50)
    torch.manual_seed(0)
    copies = likelihoods.Incomplete(masked=0.5).copies(x, fresh)
    gone = copies.isnan()
    assert len(copies) == 2000 and torch.equal(copies[~gone], x[:2000][~gone]) and not x.isnan().any()
    shares = gone.float().mean(1)
    assert torch.quantile(shares, torch.tensor([0.1, 0.5, 0.9])).tolist() == pytest.approx([0.1, 0.5, 0.9], abs=0.03)
    assert likelihoods.Incomplete(masked=0.0).copies(x, fresh) is None
    assert likelihoods.Gaussian().copies(x, fresh) is None
    holed = x[:1].masked_fill(torch.arange(50) < 25, torch.nan)
    assert likelihoods.Incomplete().copies(holed, fresh)[0, :25].isnan().all()  # beside what is missing already


@pytest.mark.parametrize("event", [(5,), (4, 3), (4, 3, 2)])
def test_the_encoder_is_told_which_cells_are_missing(event):
    """A value at the mean of its column is not the same as none."""
    part, sizes = likelihoods.Incomplete(), Sizes(event, 2)
    own, x = part.build(sizes), torch.zeros(1, sizes.features)
    x[0, 1] = torch.nan
    marked = part.append_mask(part.encoder_inputs(own, x), x)
    assert marked.shape == (1, part.sizes_with_mask(sizes).features) and marked.sum() == 1 and not marked.isnan().any()
    if len(event) > 1:
        image = marked.view(*part.sizes_with_mask(sizes).event)  # the mark is a channel at the place of the cell
        assert image[0, 1 if len(event) == 2 else 0].tolist().count(1.0) == 1
    assert not torch.equal(marked, part.append_mask(part.encoder_inputs(own, torch.zeros_like(x)), torch.zeros_like(x)))


def test_held_out_losses_and_history_are_those_of_whole_rows():
    X = load_wine().data
    vae = VAE(2, **QUICK, likelihood=likelihoods.Incomplete(), callbacks=[]).fit(X)
    plain = VAE(2, **QUICK, likelihood=likelihoods.Incomplete(masked=0.0)).fit(X)
    for ours, theirs in zip(vae.history_, plain.history_, strict=True):
        for name in ("loss", "val_loss"):
            assert ours[name] == pytest.approx(theirs[name], rel=0.25)  # copies have half the cells, and half the cost
        assert ours["loss"] == pytest.approx(ours["distortion"] + ours["rate"], rel=1e-5)


def test_runs_of_before_masks_were_given_load_as_they_were(tmp_path):
    X, _ = holes(load_wine().data)
    vae = VAE(2, **QUICK, likelihood=likelihoods.Incomplete(masked=0.0)).fit(X)
    vae.save(tmp_path / "run")
    config = tmp_path / "run" / "config.json"
    text = config.read_text()
    old = re.sub(r',\s*"masked": 0\.0', "", text)
    assert old != text and "masked" not in json.loads(old)["fitted"]["parts"]["likelihood"]
    config.write_text(old)
    again = load(tmp_path / "run")
    assert again.model_.parts.likelihood.masked == 0.0 == again.likelihood.masked
    assert np.array_equal(again.transform(X), vae.transform(X))
    assert likelihoods.Incomplete().masked == Part.from_json(likelihoods.Incomplete().to_json()).masked > 0


def test_an_encoder_of_ones_own_takes_rows_as_they_are():
    X, _ = holes(load_digits().images[:100])
    own = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.Tanh())
    vae = VAE(2, **QUICK | {"encoder": own}).fit(X)
    assert np.isfinite(vae.impute(X)).all() and np.isfinite(vae.score_samples(X, 5)).all()


@pytest.mark.parametrize("some", [True, False])
def test_conditional_models_train_on_copies_with_their_condition(some):
    X, y = load_wine(return_X_y=True)
    labels = np.where(np.arange(len(y)) % 3 == 0, -1, y) if some else y
    labels = [None if label < 0 else f"k{label}" for label in labels]
    vae = VAE(2, **QUICK, condition="labels", likelihood=likelihoods.Incomplete()).fit(X, labels)
    holed, _ = holes(X)
    assert np.isfinite(vae.impute(holed, y=[f"k{label}" for label in y])).all()
    assert np.isfinite(vae.score_samples(holed, 4, y=labels)).all()


def test_pieces_bytes_and_graphs(tmp_path):
    digits = load_digits()
    images = digits.images.astype(np.uint8)
    part = likelihoods.Incomplete(likelihoods.Gaussian("feature"))
    vae = VAE(2, **QUICK, likelihood=part).fit(images[:200])
    holed, _ = holes(images[:50].astype(float))
    assert np.isfinite(vae.impute(holed)).all()
    vae.partial_fit(images[200:300])
    assert np.isfinite(vae.score_samples(holed, 5)).all()
    np.save(tmp_path / "rows.npy", np.tile(digits.data, (2, 1)))
    streamed = VAE(2, **QUICK | {"max_epochs": 1}, likelihood=part, memory="1MB").fit(tmp_path / "rows.npy")
    assert np.isfinite(streamed.impute(holes(digits.data[:20])[0])).all()


def test_what_cannot_be_is_refused():
    with pytest.raises(PartError, match="masked must be a fraction of the rows of a batch, from 0 to 1, got 2"):
        likelihoods.Incomplete(masked=2.0)
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
