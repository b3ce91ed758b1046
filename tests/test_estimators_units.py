"""Nats are those of the data's own units, and one quantity has one number, wherever it is told."""

import json
import math
import shutil

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from sklearn.datasets import load_breast_cancer, load_digits

from command import must
from latentmap import VAE, Autoencoder, Columns, likelihoods, load, networks, plot, priors
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.sampling import split_rows
from latentmap.estimators.diagnosis import Facts, diagnose
from latentmap.estimators.history import Evaluation
from latentmap.report.facts import headline_facts
from latentmap.report.numbers import standard_error, with_error

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

SMALL = networks.MLP((16,))
QUICK = {"max_epochs": 10, "batch_size": 32, "learning_rate": 5e-3, "validation_fraction": 0.4, "random_state": 0}
DIGITS = load_digits()
RNG = np.random.default_rng(0)
CELLS = 1000.0 * load_breast_cancer().data[:300, :6]
HOLES = np.where(RNG.random(CELLS.shape) < 0.3, np.nan, CELLS)
AMOUNTS = pd.DataFrame(
    {"paid": RNG.lognormal(8, 2, 300), "due": RNG.lognormal(3, 1, 300), "at": RNG.normal(5, 99, 300)}
)
HOLED = AMOUNTS.mask(RNG.random(AMOUNTS.shape) < 0.3)
MIXED = HOLED.assign(kind=RNG.choice(["oak", "elm", "ash"], 300), leaves=RNG.poisson(4, 300))
LOGARITHMIC = Columns({"paid": {"kind": "real", "scaling": "log1p"}, "due": {"kind": "real", "scaling": "log1p"}})

ROWS = {
    "standard scaling": (CELLS, {"neighbors": None}),
    "range scaling": (DIGITS.data[:300], {"neighbors": None}),
    "neighbours": (DIGITS.data[:300], {}),
    "missing cells": (HOLES, {}),
    "logarithmic columns": (AMOUNTS, {"columns": LOGARITHMIC}),
    "mixed columns with missing cells": (MIXED, {}),
    "counts": (RNG.poisson(3.0, (300, 5)), {"likelihood": likelihoods.NegativeBinomial()}),
    "bits": ((DIGITS.data[:300] > 7).astype(np.uint8), {}),
    "bytes": ((15 * DIGITS.images[:300]).astype(np.uint8), {}),
    "images": (DIGITS.images[:300], {}),
    "a ladder": (DIGITS.data[:300], {"ladder": (3,)}),
    "a condition": (DIGITS.data[:300], {"condition": "labels"}),
}


def fit(X, y=None, model=VAE, **settings):
    return model(2, encoder=SMALL, decoder=SMALL, **QUICK | settings).fit(X, y)


def held_out(vae, X):
    """The rows that a fit held out."""
    rows = split_rows(len(X), 0.4, vae.seed_)[1]
    return X.iloc[rows] if hasattr(X, "iloc") else X[rows]


@pytest.mark.parametrize("rows", ROWS)
def test_the_history_and_score_agree(rows, agree):
    X, settings = ROWS[rows]
    y = DIGITS.target[:300] if "condition" in settings else None
    vae = fit(X, y, **settings)
    new, given = held_out(vae, X), None if y is None else held_out(vae, y)
    score, draws = vae.score(new, given), vae.log_weights(new, 50, y=given)
    error = math.sqrt(2 * draws.var(1, ddof=1).sum()) / len(draws)  # of two ELBOs of one draw a row
    agree("held-out ELBO of the history", "score of the same rows, other draws", vae.evaluation_.elbo, score, 5 * error)
    discrete = vae.model_.parts.likelihood.is_discrete(vae.n_features_in_)
    scaled = vae.scaling_(
        torch.as_tensor(vae.encode_table(new).astype(float) if vae.table_ else new.reshape(len(new), -1))
    )
    gained = vae.scaling_.log_jacobian(scaled, but=discrete).double().mean().item()
    if not discrete.all():  # the control: a score of scaled rows
        assert abs(vae.evaluation_.elbo - gained - score) > 5 * error


@pytest.mark.parametrize("X", [CELLS, HOLES, HOLED], ids=["complete", "missing", "logarithmic"])
def test_distortion_is_that_of_the_data_s_own_units(X):
    table = isinstance(X, pd.DataFrame)
    vae = fit(X, neighbors=None, **({"columns": LOGARITHMIC} if table else {}))
    new = held_out(vae, X)
    with torch.no_grad():
        mean, deviation = vae.posterior(new)
        z = mean + deviation * np.random.default_rng(1).normal(size=(400, *mean.shape))
        px = vae.model_.decode(torch.as_tensor(z, dtype=torch.float32))
        mean, deviation = px.mean.double().numpy(), px.variance.sqrt().double().expand(px.mean.shape).numpy()
    shift, scale = vae.scaling_.shift.numpy(), vae.scaling_.scale.numpy()
    mean, deviation, x = shift + scale * mean, scale * deviation, np.asarray(new, dtype=float)
    nats = -stats.norm.logpdf(x, mean, deviation)
    if table:
        some = [0, 1]
        with np.errstate(over="ignore"):
            amounts = stats.lognorm.logpdf(1 + x[:, some], deviation[..., some], scale=np.exp(mean[..., some]))
        nats[..., some] = -amounts
    exact = np.nansum(nats, -1)
    error = math.sqrt(exact.var(0, ddof=1).sum()) / len(new)
    assert vae.evaluation_.parts["distortion"] == pytest.approx(exact.mean(), abs=5 * error)
    assert abs(exact.mean() - vae.evaluation_.parts["rate"] - vae.evaluation_.elbo) > 5  # the control: other quantities


def test_rows_that_are_read_in_blocks_have_the_same_units(tmp_path):
    X = np.tile(HOLES, (140, 1)) * RNG.uniform(0.9, 1.1, (42_000, 6))
    np.save(tmp_path / "X.npy", X)
    settings = {"neighbors": None, "max_epochs": 1, "scaling": "standard", "batch_size": 500}
    whole, blocks = fit(X, **settings), fit(str(tmp_path / "X.npy"), memory="1MB", **settings)
    assert "blocks" in blocks.choices_["memory"]
    for vae in (whole, blocks):
        assert vae.evaluation_.elbo == pytest.approx(vae.score(X), abs=0.5)
        assert vae.history_[-1]["distortion"] > 30  # scaled rows cost about 5 nats


def test_what_has_no_density_has_no_other_units():
    similar = fit(16 * DIGITS.images[:300], likelihood=likelihoods.MSSSIM(), scaling="range", neighbors=None)
    assert 0 < similar.history_[-1]["distortion"] < 64 and similar.evaluation_.elbo is None
    auto = fit(CELLS, model=Autoencoder)
    exact = stats.norm.logpdf(
        CELLS,
        auto.reconstruct(CELLS),
        auto.scaling_.scale.numpy() * auto.model_.likelihood_state.log_scale.exp().item(),
    )
    assert auto.evaluation_.elbo is None
    assert auto.evaluation_.parts["distortion"] == pytest.approx(-exact.sum(1).mean(), abs=1.0)


# ---- one number


def test_every_place_tells_the_same_number(capsys, tmp_path):
    np.save(tmp_path / "X.npy", CELLS)
    quick = [text for key, value in QUICK.items() if key != "random_state" for text in ("--set", f"{key}={value}")]
    fitted = must(capsys, "fit", tmp_path / "X.npy", "-o", tmp_path / "run", *quick, "--json", "--no-report")
    vae = load(tmp_path / "run")
    found = fitted.json["evaluation"]
    assert found == vae.evaluation_.to_json() and found["rows"] == "held-out rows" and found["units"] == "data"
    assert math.fsum(found["parts"].values()) == pytest.approx(found["loss"], rel=1e-5)
    assert {"distortion", "rate", "places"} == found["parts"].keys()
    best = min(vae.history_, key=lambda row: row["val_loss"])
    assert found["loss"] == best["val_loss"] and found["elbo"] == -best["val_distortion"] - best["val_rate"]
    told = fitted.json["facts"]["ELBO"]["value"]
    value, error = (float(part.replace("−", "-")) for part in told.removesuffix(" nats").split(" ± "))
    assert value == pytest.approx(found["elbo"], abs=error) and f"ELBO            {told}" in fitted.err
    assert [fact.value for fact in headline_facts(vae, CELLS) if fact.label == "ELBO"] == [told]  # as the report has it
    card = (tmp_path / "run" / "README.md").read_text()
    assert f"- ELBO: {found['elbo']:.3f}\n- {vae.evaluation_}\n" in card and "places" in card
    info = must(capsys, "info", tmp_path / "run", "--json")
    assert info.json["evaluation"] == found and f"{found['elbo']:.5g}" in info.err
    np.save(tmp_path / "new.npy", held_out(vae, CELLS))
    score = must(capsys, "score", tmp_path / "run", tmp_path / "new.npy", "--json")
    assert score.json["mean"] == pytest.approx(found["elbo"], abs=1.0) and ": ELBO −" in score.err.replace("-", "−")
    assert found["elbo"] < -40, "control: in the units that the model sees it is near 0"
    curves = plot.learning_curves(vae)
    assert curves.data_[vae.history_.index(best), 4] == pytest.approx(-found["elbo"])
    assert "The loss adds places." in curves.caption
    plt.close("all")


def test_an_evaluation_reads_as_a_sum():
    found = Evaluation("held-out rows", 4.0, {"distortion": 5.0, "rate": 1.0, "rate_weighting": -2.0}, bound=True)
    assert str(found) == "loss 4.000 = distortion 5.000 + rate 1.000 - rate weighting 2.000" and found.elbo == -6.0


def test_a_prior_that_is_fitted_afterwards_is_in_the_headline():
    vae = fit(CELLS, neighbors=None)
    assert vae.evaluation_.elbo is not None
    vae.fit_prior(CELLS, priors.Mixture(3), random_state=0)
    assert vae.evaluation_.elbo is None, "the rate of the history is that of the prior before"
    (fact,) = [fact for fact in headline_facts(vae, CELLS) if fact.label == "ELBO"]
    scores = vae.score_samples(held_out(vae, CELLS))
    assert fact.value == f"{with_error(scores.mean(), standard_error(scores))} nats" and "held-out rows" in fact.note


def test_the_bound_of_rows_without_class_counts_what_their_class_costs():
    y = DIGITS.target[:300].astype(float)
    y[::2] = np.nan
    vae = fit(DIGITS.data[:300], y, condition="labels", max_epochs=4)
    parts = vae.evaluation_.parts
    assert vae.evaluation_.elbo == pytest.approx(-parts["distortion"] - parts["rate"] - parts["class_rate"])
    new, given = held_out(vae, DIGITS.data[:300]), held_out(vae, y)
    with torch.no_grad():
        q = vae.predict_proba(new[np.isnan(given)])
    rate = (q * np.log(10 * q)).sum() / len(new)
    assert parts["class_rate"] == pytest.approx(rate, abs=1e-3)
    assert parts["class_prior"] == pytest.approx(np.log(10) * np.isfinite(given).mean(), rel=1e-4)


# ---- what is said of a fit hangs on no unit


SCHEMA = ArraySource(CELLS).schema


def diagnosed(shift=0.0, moved=0.0, val_moved=0.0):
    rows = [
        {"loss": 9.0 - i + moved, "distortion": 9.0 - i + moved}
        | {"val_loss": 9.0 - 0.5 * i + val_moved, "val_distortion": 9.0 - 0.5 * i + val_moved}
        for i in range(9)
    ]
    facts = Facts(rows, np.ones(2, bool), 1.0, likelihoods.Gaussian(), SCHEMA, 0, 0, shift)
    return {finding.kind: finding.value for finding in diagnose(facts) if finding.kind in ("overfit", "underfit")}


def test_findings_do_not_hang_on_the_units():
    plain = diagnosed()
    assert plain.keys() == {"overfit", "underfit"}
    for other in (diagnosed(moved=-1e4, val_moved=-1e4), diagnosed(moved=50.0, val_moved=20.0, shift=30.0)):
        assert other == pytest.approx(plain)
    assert diagnosed(moved=50.0, val_moved=20.0) != pytest.approx(plain), "control: rows with other cells"


# ---- runs of earlier versions


def of_old(gained, vae, path):
    """Write a run as earlier versions did: a history in the model's units, without names for what else a loss holds."""
    vae.save(path)
    names = ("epoch", "step", "seconds", "loss", "distortion", "rate", "val_loss", "val_distortion", "val_rate")
    rows = [{name: row[name] for name in names} for row in vae.history_]
    for row in rows:
        for name in ("loss", "distortion", "val_loss", "val_distortion"):
            row[name] += gained
    (path / "history.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    config = json.loads((path / "config.json").read_text())
    config["fitted"]["loss_"] += gained
    for name in ("history_units", "history_bounds"):
        del config["fitted"][name]
    (path / "config.json").write_text(json.dumps(config))
    return path


def test_a_history_in_other_units_is_brought_to_the_data_s(capsys, tmp_path):
    vae = fit(CELLS)
    gained = -float(np.log(vae.scaling_.scale.numpy()).sum())
    run = of_old(gained, vae, tmp_path / "old")
    again = load(run)
    assert again.history_units_ == "data" and again.loss_ == pytest.approx(vae.loss_)
    assert again.evaluation_.elbo == pytest.approx(vae.evaluation_.elbo)
    adds = vae.evaluation_.parts["neighbors"] + vae.evaluation_.parts["global_correlation"]
    assert again.evaluation_.parts["penalty"] == pytest.approx(adds, rel=1e-4)
    told = [f.message for model in (vae, again) for f in model.findings_ if f.kind == "distortion"]
    assert told[0] == told[1]
    again.save(tmp_path / "new")
    assert load(tmp_path / "new").history_ == again.history_
    assert "in the units of the model" in must(capsys, "info", run).err
    assert "in the data's own units" in must(capsys, "info", tmp_path / "new").err


def test_a_history_that_cannot_be_brought_to_the_data_s_units_says_so(tmp_path):
    vae = fit(HOLES, neighbors=None, max_epochs=4)
    again = load(of_old(7.0, vae, tmp_path / "old"))
    assert again.history_units_ == "model" and again.loss_ == pytest.approx(vae.loss_ + 7.0)
    display = plot.learning_curves(again)
    assert display.ax_[0].get_title(loc="left").endswith("scaled") and "an earlier version" in display.caption
    (fact,) = [fact for fact in headline_facts(again, HOLES) if fact.label == "ELBO"]
    scores = again.score_samples(held_out(again, HOLES))
    assert fact.value == f"{with_error(scores.mean(), standard_error(scores))} nats"
    again.save(tmp_path / "again")
    assert load(tmp_path / "again").history_units_ == "model"
    assert "the units of the model" in (tmp_path / "again" / "README.md").read_text()
    shutil.rmtree(tmp_path / "old")
    again.partial_fit(HOLES)
    assert again.history_units_ == "data" and len(again.history_) == 1
    plt.close("all")
