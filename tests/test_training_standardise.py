"""Codes standardised after a fit: moments, what changes and what does not, and the models that are left alone."""

import copy

import numpy as np
import pytest
import torch
from torch import nn

import latentmap
from conftest import fit
from latentmap import VAE, Autoencoder, likelihoods, networks, objectives, posteriors, priors
from latentmap.data.sampling import scattered, split_rows
from latentmap.estimators.history import best_row
from latentmap.model.distributions import normal
from latentmap.model.noise import Generated, generator_for
from latentmap.model.part import Learned, Sizes
from latentmap.training import finish
from latentmap.training.metrics import METADATA, STANDARDISED, parts_of

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

TINY = networks.MLP((16,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 3, "neighbors": None, "random_state": 0}
WHOLE = QUICK | {"early_stopping": False}
LABELS = np.arange(120) % 3


class Own(nn.Sequential):
    """Layers of a user's own, which differ between training and use."""

    def __init__(self, features):
        super().__init__(nn.Linear(features, 8, bias=False), nn.BatchNorm1d(8), nn.SiLU(), nn.Dropout(0.2))


def holes(X):
    return np.where(np.random.default_rng(0).random(X.shape) < 0.2, np.nan, X)


def changed(X, y=None, **settings):
    return settings, X, y


MODELS = {
    "plain": lambda X: changed(X),
    "beta": lambda X: changed(X, objective=objectives.ELBO(beta=4.0, warmup=0.5)),
    "total correlation": lambda X: changed(X, objective=objectives.ELBO(penalties=(objectives.TotalCorrelation(),))),
    "decoder norm": lambda X: changed(X, objective=objectives.ELBO(penalties=(objectives.DecoderNorm(1e-3),))),
    "distortion": lambda X: changed(X.reshape(-1, 8, 8), likelihood=likelihoods.MSSSIM(), scaling="range"),
    "bytes": lambda X: changed(X.astype(np.uint8)),
    "convolutions": lambda X: changed(X.reshape(-1, 8, 8), encoder=networks.Conv((4,)), decoder=networks.Conv((4,))),
    "spectral norm": lambda X: changed(X, decoder=networks.SpectralNorm(TINY)),
    "own modules": lambda X: changed(X, encoder=Own(64), decoder=Own(2)),
    "labels": lambda X: changed(X, LABELS, condition="labels"),
    "covariates": lambda X: changed(X, X[:, 20:22], condition="covariates"),
    "missing cells": lambda X: changed(holes(X)),
    "ladder": lambda X: changed(X, ladder=(3,), batch_size=16),
}


@pytest.fixture(scope="module", params=MODELS)
def case(request, digits):
    """A fitted model, the same before its codes were standardised, its rows, and their condition."""
    settings, X, y = MODELS[request.param](digits[:120])
    vae = fit(VAE(2, **WHOLE | settings), X, y)
    return vae, before(vae), X, y


def before(vae):
    """The same model with the codes that training ended with."""
    vae = copy.deepcopy(vae)
    for change in vae.model_.posterior_state.buffers():
        change.zero_()
    return vae


def second_moments(vae, X, y=None):
    mean, deviation = vae.posterior(X) if y is None else vae.posterior(X, y)
    return mean.mean(0), (mean**2 + deviation**2).mean(0)


def traced(vae, X, y=None):
    """The trace of rows in double precision, always of the same noise."""
    model, scaling = copy.deepcopy(vae.model_).double(), copy.deepcopy(vae.scaling_).double()
    given = None if y is None else torch.tensor(vae.state_.given(y, len(X))).double()
    rows = scaling(torch.from_numpy(X.reshape(len(X), -1).astype(np.float64)))
    with torch.no_grad():
        return model.given(given).trace(rows, 3, Generated(generator_for(0)))


def test_the_codes_of_the_training_rows_have_mean_0_and_variance_1(case):
    vae, unlike, X, y = case
    mean, square = second_moments(vae, X, y)
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    np.testing.assert_allclose(square, 1, atol=1e-4)
    assert np.abs(np.concatenate(second_moments(unlike, X, y)) - [0, 0, 1, 1]).max() > 0.01  # the control


def test_every_code_decodes_as_before(case):
    vae, unlike, X, y = case
    given = () if y is None else (y,)
    codes = vae.transform(X, *given)
    assert np.abs(codes - unlike.transform(X, *given)).max() > 1e-3
    one, other = (v.inverse_transform(v.transform(X, *given), *given) for v in (vae, unlike))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-4 * np.abs(other).max())
    np.testing.assert_allclose(
        vae.reconstruct(X, *given), unlike.reconstruct(X, *given), rtol=1e-4, atol=1e-4 * np.abs(other).max()
    )


def test_the_distortion_stays_and_the_rate_falls_by_the_closed_form(case, agree):
    vae, unlike, X, y = case
    one, other = (traced(v, X, y) for v in (vae, unlike))
    torch.testing.assert_close(one.distortion, other.distortion, rtol=1e-5, atol=1e-5)
    mean, square = second_moments(unlike, X.astype(np.float64), y)
    fall = 0.5 * (square - 1 - np.log(square - mean**2)).sum()
    found = (other.rate.mean() - one.rate.mean()).item()
    agree("fall of the rate, standardised codes", "its closed form", found, fall, 2e-5)
    assert found > 0 and (one.distortion + one.rate).mean() < (other.distortion + other.rate).mean()


def test_no_other_shift_and_scale_have_a_lower_rate(case):
    """The control: half a percent off, in any component and direction, raises the rate."""
    vae, _, X, y = case
    best = traced(vae, X, y).levels[0].rate.mean()
    for component in range(2):
        for shift, scale in ((0.01, 1), (-0.01, 1), (0, 1.005), (0, 1 / 1.005)):
            off = copy.deepcopy(vae)
            mean, factor = torch.zeros(2).double(), torch.ones(2).double()
            mean[component], factor[component] = shift, scale
            off.model_.standardise(mean, factor)
            assert traced(off, X, y).levels[0].rate.mean() > best + 1e-6


@pytest.mark.parametrize("name", ["plain", "beta", "total correlation", "decoder norm", "ladder"])
def test_the_history_describes_the_codes_that_are_kept(name, digits):
    """The held-out rows are measured again, the training rows change by the closed form, and parts add up."""
    settings, X, y = MODELS[name](digits[:200])
    seen = []
    vae = fit(VAE(2, **QUICK | settings | {"max_epochs": 40}, callbacks=[seen.append]), X, y)
    kept = best_row(vae.history_)
    (was,) = (row for row in seen if row["epoch"] == kept["epoch"])
    assert [row for row in vae.history_ if row is not kept] == [row for row in seen if row is not was]
    assert kept[STANDARDISED] == 1 and vae.loss_ == kept["loss"] < was["loss"] and not was.get(STANDARDISED)
    for prefix in ("", "val_"):
        parts, past = parts_of(kept, prefix), parts_of(was, prefix)
        assert sum(parts.values()) == pytest.approx(kept[f"{prefix}loss"], rel=1e-5)
        assert parts["rate"] != past["rate"]
        for part in parts.keys() - {"rate", "rate_weighting"}:
            assert parts[part] == pytest.approx(past[part], rel=1e-4, abs=1e-5)
    train, held_out = split_rows(len(X), 0.1, vae.seed_)
    fall = (traced(before(vae), X[train]).rate - traced(vae, X[train]).rate).mean().item()
    assert kept["rate"] == pytest.approx(was["rate"] - fall, abs=1e-4)
    if name != "ladder":  # whose rate has noise
        assert kept["val_rate"] == pytest.approx(traced(vae, X[held_out]).rate.mean().item(), abs=1e-4)
    codes = vae.transform(X)
    np.testing.assert_allclose(vae.code_variance_, codes.var(0), rtol=1e-4)
    np.testing.assert_allclose(vae.code_mean_, codes.mean(0), atol=1e-5)
    np.testing.assert_allclose(second_moments(vae, X[train])[1], 1, atol=1e-4)


def test_the_row_of_the_kept_weights_is_found_where_another_has_a_lower_loss():
    history = [{"val_loss": 3.0, "epoch": 1}, {"val_loss": 3.1, "epoch": 2, STANDARDISED: 1.0}]
    assert best_row(history)["epoch"] == 2
    assert best_row([history[0], {"val_loss": 3.1, "epoch": 2}])["epoch"] == 1  # the control
    assert STANDARDISED in METADATA


def test_a_map_takes_one_scale_and_its_kernel_the_same(digits):
    """Terms over distances between codes stay as they are, so the shape of the map does."""
    seen = []
    vae = fit(VAE(2, **QUICK | {"neighbors": 5, "max_epochs": 6}, callbacks=[seen.append]), digits[:200])
    train, _ = split_rows(200, 0.1, vae.seed_)
    mean, square = second_moments(vae, digits[train])
    np.testing.assert_allclose(mean, 0, atol=1e-4)
    assert square.mean() == pytest.approx(1, abs=1e-4) and np.abs(square - 1).max() > 0.01
    scale = vae.model_.posterior_state.log_scale
    assert scale[0] == scale[1] and abs(scale[0]) > 0.01
    kept = best_row(vae.history_)
    (was,) = (row for row in seen if row["epoch"] == kept["epoch"])
    for part in ("distortion", "neighbors", "global_correlation"):
        assert kept[f"val_{part}"] == pytest.approx(was[f"val_{part}"], rel=1e-4, abs=1e-4)
    assert kept["rate"] < was["rate"]


def test_rows_without_class_count_by_the_probability_of_each(digits):
    """The rate of the objective is the lowest, and falls by the closed form of codes of all classes."""
    X, y = digits[:120], [None if i % 4 else label for i, label in enumerate(LABELS)]
    vae = fit(VAE(2, **WHOLE, condition="labels"), X, y)
    objective, scaling = objectives.SemiSupervised(), copy.deepcopy(vae.scaling_).double()
    given, rows = torch.tensor(vae.state_.given(y, 120)).double(), scaling(torch.from_numpy(X))

    def losses(v):
        model, noise = copy.deepcopy(v.model_).double().given(given), Generated(generator_for(0))
        with torch.no_grad():
            return objective.losses(Learned(), model, model.trace(rows, 1, noise), torch.ones(()))

    one, other = losses(vae), losses(before(vae))
    torch.testing.assert_close(one["distortion"], other["distortion"], rtol=1e-5, atol=1e-5)
    weights = given + (1 - given.sum(1, keepdim=True)) * torch.from_numpy(vae.predict_proba(X))
    codes = [before(vae).posterior(X, [label] * 120) for label in range(3)]
    mean = sum((weights[:, c, None] * torch.from_numpy(codes[c][0])).mean(0) for c in range(3))
    square = sum(
        (weights[:, c, None] * torch.from_numpy(codes[c][0] ** 2 + codes[c][1] ** 2)).mean(0) for c in range(3)
    )
    fall = 0.5 * (square - 1 - (square - mean**2).log()).sum()
    assert (other["rate"] - one["rate"]).item() == pytest.approx(fall.item(), abs=1e-5) and fall > 1e-3
    for factor in (1.01, 1 / 1.01):
        off = copy.deepcopy(vae)
        off.model_.standardise(torch.zeros(2).double(), torch.full((2,), factor).double())
        assert losses(off)["rate"] > one["rate"] + 1e-6


def test_a_run_keeps_standardised_codes_and_a_continued_fit_standardises_them_anew(digits, tmp_path):
    X = digits[:120]
    vae = fit(VAE(2, **WHOLE | {"warm_start": True}), X)
    vae.save(tmp_path)
    loaded = latentmap.load(tmp_path)
    np.testing.assert_array_equal(loaded.transform(X), vae.transform(X))
    np.testing.assert_array_equal(loaded.sample(5, random_state=0), vae.sample(5, random_state=0))
    assert loaded.evaluation_ == vae.evaluation_
    first, scores = vae.model_.posterior_state.log_scale.clone(), vae.score(X)
    fit(vae, X)
    assert not torch.equal(vae.model_.posterior_state.log_scale, first) and vae.score(X) > scores
    for continued in (vae, fit(loaded, X)):
        np.testing.assert_allclose(second_moments(continued, X)[1], 1, atol=1e-4)


def test_a_file_that_is_read_block_by_block_is_standardised_by_some_of_its_rows(digits, tmp_path):
    X = np.tile(digits, (3, 1)).astype(np.float32)
    np.save(tmp_path / "rows.npy", X)
    vae = fit(VAE(2, **QUICK, memory="1MB"), tmp_path / "rows.npy")
    assert "read in blocks" in vae.choices_["memory"]
    np.testing.assert_allclose(second_moments(vae, X)[1], 1, atol=0.1)
    assert np.abs(second_moments(before(vae), X)[1] - 1).max() > 0.1  # the control


def test_more_rows_than_needed_are_represented_by_some(digits, monkeypatch):
    monkeypatch.setattr(finish, "STANDARDISATION_ROWS", 50)
    vae = fit(VAE(2, **WHOLE), digits[:120])
    np.testing.assert_allclose(second_moments(vae, digits[scattered(120, 3)])[1], 1, atol=1e-4)


ALONE = {
    "free bits": {"objective": objectives.ELBO(free_bits=0.1)},
    "capacity": {"objective": objectives.ELBO(capacity=3.0)},
    "no rate": {"objective": objectives.ELBO(beta=0.0)},
    "importance": {"objective": objectives.IWAE(k=2)},
    "two bounds": {"objective": objectives.PIWAE(k=2, groups=2)},
    "path derivative": {"objective": objectives.DReG(k=2)},
    "critic of rows": {"objective": objectives.VAEGAN(network=TINY, width=4)},
    **{
        type(penalty).__name__: {"objective": objectives.ELBO(penalties=(penalty,))}
        for penalty in (
            objectives.MMD(),
            objectives.CodeNorm(),
            objectives.DecoderGradient(),
            objectives.PriorCritic(network=TINY),
            objectives.FactorCritic(network=TINY),
        )
    },
    "neighbours of a base": {"objective": objectives.IWAE(k=2), "neighbors": 3},
    "mixture": {"prior": priors.Mixture(2)},
    "pseudo-inputs": {"prior": priors.Vamp(3)},
    "fitted afterwards": {"prior": priors.FittedNormal()},
    "conditional prior": {"prior": priors.Conditional(), "condition": "labels"},
    "planar flow": {"variational_family": posteriors.Flow("planar")},
    "Hamiltonian": {"variational_family": posteriors.Hamiltonian()},
    "sphere": {"variational_family": posteriors.Sphere()},
    "ball": {"variational_family": posteriors.Poincare()},
    "points": {"variational_family": posteriors.Deterministic(), "objective": objectives.ELBO(beta=0.0)},
    "indices": {"variational_family": posteriors.FiniteScalar(5), "objective": objectives.ELBO(beta=0.0)},
}


@pytest.mark.parametrize("name", ALONE)
def test_other_models_are_left_as_they_are(name, digits, monkeypatch):
    settings = QUICK | {"max_epochs": 2, "early_stopping": False} | ALONE[name]
    assert_left_alone(lambda: fit(VAE(2, **settings), digits[:120], LABELS), monkeypatch)


def test_autoencoders_and_pieces_are_left_as_they_are(digits, monkeypatch):
    small = {name: value for name, value in QUICK.items() if name != "neighbors"}
    assert_left_alone(lambda: fit(Autoencoder(2, **small), digits[:120]), monkeypatch)
    assert_left_alone(lambda: VAE(2, **QUICK).partial_fit(digits[:120]), monkeypatch)


def assert_left_alone(make, monkeypatch):
    """Compare with a fit that ends without standardising, by every bit."""
    one = make()
    with monkeypatch.context() as patch:
        patch.setattr("latentmap.estimators.fit.standardise", lambda trainer: None)
        other = make()
    assert_same_weights(one, other)
    timed = {"seconds", "rows_per_second"}
    histories = [[{k: v for k, v in row.items() if k not in timed} for row in v.history_] for v in (one, other)]
    assert histories[0] == histories[1] and not any(STANDARDISED in row for row in one.history_)


def assert_same_weights(one, other):
    weights, others = one.model_.state_dict(), other.model_.state_dict()
    assert weights.keys() == others.keys()
    for key, values in weights.items():
        assert torch.equal(values, others[key]), key


def test_the_comparison_by_bits_finds_a_difference(digits, monkeypatch):
    """The control: a plain model is not left as it is."""
    with pytest.raises(AssertionError):
        assert_left_alone(lambda: fit(VAE(2, **QUICK), digits[:120]), monkeypatch)


class Wide(posteriors.Gaussian):
    """A Gaussian that ignores the state."""

    def distribution(self, own, raw):
        loc, _ = raw.chunk(2, -1)
        return normal(loc, torch.ones_like(loc))


class Squared(objectives.ELBO):
    """A loss in which the rate is not linear."""

    def losses(self, own, model, trace, progress):
        return {"model": trace.distortion.mean() + trace.rate.mean() ** 2}


class Shifted(priors.Normal):
    """A normal around 1."""

    def distribution(self, own, encode):
        return normal(own.loc + 1, own.scale)


@pytest.mark.parametrize("own", [{"variational_family": Wide()}, {"objective": Squared()}, {"prior": Shifted()}])
def test_a_subclass_that_changes_a_method_has_to_claim_it_anew(own, digits, monkeypatch):
    assert_left_alone(lambda: fit(VAE(2, **QUICK | own), digits[:120]), monkeypatch)


def test_changes_of_codes_compose():
    posterior, raw = posteriors.Gaussian(), torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    own, plain = posterior.build(Sizes((3,), 2)), posterior.distribution(Learned(), raw)
    for mean, scale in (([1.0, -2.0], [2.0, 0.5]), ([0.5, 0.0], [0.1, 3.0])):
        posterior.standardise(own, torch.tensor(mean).double(), torch.tensor(scale).double())
    q = posterior.distribution(own, raw)
    shift, scale = torch.tensor([2.0, -2.0]), torch.tensor([0.2, 1.5])
    torch.testing.assert_close(q.mean, (plain.mean - shift) / scale)
    torch.testing.assert_close(q.stddev, plain.stddev / scale)
    torch.testing.assert_close(posterior.decoder_inputs(own, q.mean), plain.mean)
    with pytest.raises(latentmap.exceptions.PartError, match="cannot be shifted"):
        posteriors.Sphere().standardise(own, shift, scale)
