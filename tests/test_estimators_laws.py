"""Laws of every estimator: determinism, any batch and container, data units, seeds, and what a fit leaves alone."""

import contextlib
import copy
import random

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch
from torch import nn

from latentmap import VAE, Autoencoder, likelihoods, networks, objectives, posteriors, priors
from latentmap.exceptions import NoDensityError, PartError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

TINY = networks.MLP((16,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 3, "random_state": 0}


@pytest.fixture(params=["vae", "autoencoder"])
def model(request):
    return request.getfixturevalue(request.param)


def methods(model):
    """Methods that give one result a row."""
    names = ["transform", "reconstruct", *(["score_samples"] if hasattr(model, "score_samples") else [])]
    return {name: getattr(model, name) for name in names} | {"deviation": lambda X: model.posterior(X)[1]}


def assert_close(a, b, name=""):
    np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4 * (1 + np.abs(b).max()), err_msg=name)


def test_a_row_is_treated_alike_in_any_company_and_order(model, rows):
    order = np.random.default_rng(0).permutation(len(rows))
    for name, method in methods(model).items():
        for X in (rows, rows.astype(np.float32)):
            whole = method(X)
            np.testing.assert_array_equal(method(X), whole, err_msg=name)
            assert_close(np.concatenate([method(part) for part in np.array_split(X, 7)]), whole, name)
            assert_close(method(X[order]), whole[order], name)
            assert_close(method(X[5:6])[0], whole[5], name)


def test_scores_would_depend_on_company_if_noise_were_drawn_in_turn(vae, rows):
    """The control: the noise of training, in the place of the noise of rows, breaks the law."""
    from latentmap.model.noise import fresh
    from latentmap.objectives.evidence import evidence_bound

    torch.manual_seed(0)
    x = vae.scaling_(torch.from_numpy(rows)).float()
    with torch.no_grad():
        apart = torch.cat([evidence_bound(vae.model_, part, 1, fresh) for part in x.split(100)])
        assert (evidence_bound(vae.model_, x, 1, fresh) - apart).abs().max() > 1


@pytest.mark.parametrize("given, expected", [("float32", "float32"), ("float64", "float64"), ("uint8", "float32"),
                                             ("int64", "float64"), ("bool", "float64")])  # fmt: skip
def test_results_have_the_precision_of_what_was_given(model, rows, given, expected):
    X = rows[:5].astype(given)
    for name, method in methods(model).items():
        assert method(X).dtype == expected, name
    assert model.inverse_transform(model.transform(X)).dtype == expected


def test_precisions_agree(model, rows):
    for name, method in methods(model).items():
        if name != "score_samples":  # whose noise is that of the rounded row
            assert_close(method(rows.astype(np.float32)), method(rows), name)
            assert_close(method(rows.astype(np.uint8)), method(rows), name)


def test_containers_of_rows_agree(model, rows):
    X = rows[:6]
    names = [f"c{i}" for i in range(64)]
    containers = {
        "tensor": torch.from_numpy(X),
        "gradient": torch.from_numpy(X.copy()).requires_grad_(),
        "pandas": pd.DataFrame(X, columns=names),
        "polars": pl.DataFrame(X, schema=names),
        "lists": X.tolist(),
        "fortran": np.asfortranarray(X),
        "backwards": X[::-1].copy()[::-1],
        "swapped": X.astype(">f8"),
    }
    for name, given in containers.items():
        with contextlib.nullcontext() if name not in ("pandas", "polars") else pytest.warns(match="fitted without"):
            np.testing.assert_array_equal(model.transform(given), model.transform(X), err_msg=name)
    half = torch.from_numpy(X).bfloat16()
    np.testing.assert_array_equal(model.transform(half), model.transform(half.float().numpy()))


@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_fits_do_not_depend_on_the_container(cls, rows):
    X = rows[:60].astype(np.float32)
    containers = [torch.from_numpy(X), pd.DataFrame(X).rename(columns=str), pl.DataFrame(X), np.asfortranarray(X)]
    expected = cls(2, **QUICK).fit(X)
    for given in containers:
        fitted = cls(2, **QUICK).fit(given)
        np.testing.assert_array_equal(fitted.reconstruct(given), expected.reconstruct(X))
        assert fitted.data_fingerprint_ == expected.data_fingerprint_


@pytest.mark.parametrize("shape", [(6, 5), (6, 5, 3), (7, 7, 1)])
@pytest.mark.parametrize("network", [networks.MLP((16,)), networks.Conv((4, 8), width=16)], ids=["MLP", "Conv"])
@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_images_keep_their_shape(cls, network, shape):
    X = np.random.default_rng(0).integers(0, 256, (40, *shape), dtype=np.uint8)
    model = cls(2, encoder=network, decoder=network, max_epochs=1, random_state=0).fit(X)
    Z = model.transform(X)
    assert Z.shape == (40, 2) and model.event_shape_ == shape
    assert model.inverse_transform(Z[:3]).shape == model.reconstruct(X[:3]).shape == (3, *shape)
    assert model.sample(4).shape == (4, *shape)
    assert model.interpolate(X[0], X[1], 5).shape == (5, *shape)
    np.testing.assert_array_equal(model.transform(X.reshape(40, -1)), Z)  # flat rows are the same rows
    np.testing.assert_array_equal(model.transform(torch.from_numpy(X)), Z)


def test_images_in_colour_of_32_by_32_get_convolutions():
    rng = np.random.default_rng(0)
    tint, place = rng.random((48, 1, 1, 3)), rng.integers(4, 28, 48)
    X = np.where(np.arange(32)[None, None, :, None] < place[:, None, None, None], tint, 0.0).repeat(32, axis=1)
    X = (255 * X).astype(np.uint8)
    short, longer = (VAE(2, max_epochs=n, batch_size=16, neighbors=None, random_state=0).fit(X) for n in (2, 8))
    assert longer.choices_["encoder"].startswith("Conv")
    assert longer.reconstruct(X[:2]).shape == (2, 32, 32, 3)
    assert longer.score(X) > short.score(X) + 100


def test_one_row_is_enough_for_every_method(model, rows):
    x = rows[:1]
    Z = model.transform(x)
    assert Z.shape == model.posterior(x)[1].shape == (1, model.n_components)
    assert model.inverse_transform(Z).shape == model.reconstruct(x).shape == model.sample().shape == (1, 64)
    assert model.interpolate(x, x, 2).shape == (2, 64)
    assert np.isfinite(model.score(x))
    copy.deepcopy(model).partial_fit(x)


def test_the_score_is_the_mean_over_rows(vae, autoencoder, rows):
    assert vae.score(rows) == pytest.approx(vae.score_samples(rows).mean(), rel=1e-12)
    errors = np.square(rows - autoencoder.reconstruct(rows))
    assert autoencoder.score(rows) == pytest.approx(-errors.mean(), rel=1e-9)


def test_an_autoencoder_is_certain_and_has_no_density(autoencoder, rows):
    assert not autoencoder.posterior(rows)[1].any()
    assert not hasattr(Autoencoder(), "score_samples")
    with pytest.raises(NoDensityError, match="Deterministic; use VAE"):
        autoencoder.score_samples(rows)
    assert autoencoder.kl_per_component_ is None


def test_more_samples_give_a_tighter_bound(vae, rows):
    elbo, five, fifty = (vae.score_samples(rows, n_samples=k).mean() for k in (1, 5, 50))
    assert elbo < five < fifty


def test_scores_change_units_by_the_jacobian():
    """Data in other units is fitted alike (to the last bit, for such integers), and its density is that of the change
    of variables; without the Jacobian the scores would be equal."""
    rng = np.random.default_rng(0)
    X = rng.integers(0, 50, (80, 5)).astype(float)
    settings = {"scaling": "range", "likelihood": likelihoods.Gaussian(), **QUICK}
    one, other = VAE(2, **settings).fit(X), VAE(2, **settings).fit(10 * X + 3)
    np.testing.assert_array_equal(one.transform(X), other.transform(10 * X + 3))
    for k in (1, 4):
        difference = one.score_samples(X, n_samples=k) - other.score_samples(10 * X + 3, n_samples=k)
        np.testing.assert_allclose(difference, 5 * np.log(10), rtol=1e-9)


def test_scores_change_units_by_the_jacobian_of_each_column():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(80, 4)) * [1, 30, 0.2, 5]
    factors = np.array([2.0, 0.25, 64.0, 1024.0])  # powers of two, which rounding leaves alone
    settings = {"scaling": "standard", "likelihood": likelihoods.Gaussian("feature"), **QUICK}
    one, other = VAE(2, **settings).fit(X), VAE(2, **settings).fit(X * factors)
    difference = one.score_samples(X) - other.score_samples(X * factors)
    np.testing.assert_allclose(difference, np.log(factors).sum(), rtol=1e-9)
    np.testing.assert_allclose(one.inverse_transform([[0.1, 0.2]]) * factors, other.inverse_transform([[0.1, 0.2]]))


def test_the_probability_of_bits_has_no_units():
    X = np.random.default_rng(0).integers(0, 2, (60, 6))
    vae = VAE(2, **QUICK).fit(X)
    assert vae.choices_["likelihood"].startswith("Bernoulli")
    assert (vae.score_samples(X, n_samples=20) < 0).all()
    flipped = VAE(2, scaling="range", likelihood=likelihoods.Bernoulli(), **QUICK).fit(X * 255.0)
    np.testing.assert_allclose(flipped.score_samples(X * 255.0), vae.score_samples(X), rtol=1e-5)


def test_seeds_of_samples(model):
    first = model.sample(5, random_state=1)
    np.testing.assert_array_equal(model.sample(5, random_state=1), first)
    assert not np.array_equal(model.sample(5, random_state=2), first)
    assert not np.array_equal(model.sample(5), model.sample(5))
    generators = [np.random.default_rng(3), np.random.RandomState(3)]
    for generator in generators:
        assert not np.array_equal(model.sample(5, random_state=generator), model.sample(5, random_state=generator))
    noisy = [model.sample(5, random_state=1, noise=True) for _ in range(2)]
    np.testing.assert_array_equal(*noisy)
    assert not np.array_equal(noisy[0], first)


def test_a_path_begins_and_ends_where_transform_places_its_rows(model, rows):
    path = model.interpolate(rows[3], rows[9], 6)
    assert_close(path[[0, -1]], model.inverse_transform(model.transform(rows[[3, 9]])))
    assert not np.allclose(path[2], path[0])
    np.testing.assert_array_equal(model.interpolate(torch.from_numpy(rows[3]), rows[9].tolist(), 6), path)


def global_states():
    return torch.get_rng_state().tolist(), np.random.get_state()[1].tolist(), random.getstate()


@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_the_global_generators_are_left_alone(cls, rows):
    before = global_states()
    model = cls(2, max_epochs=1).fit(rows[:60])
    model.partial_fit(rows[:60])
    model.sample(3), model.sample(3, random_state=0, noise=True), model.score(rows[:9]), model.transform(rows[:9])
    assert global_states() == before
    torch.rand(1)  # the control
    assert global_states() != before


def vector_modules():
    return nn.Sequential(nn.Linear(64, 20), nn.BatchNorm1d(20), nn.Tanh()), nn.Sequential(nn.Linear(2, 20), nn.Tanh())


def image_modules():
    encoder = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2), nn.ReLU())
    return encoder, nn.Sequential(nn.Linear(2, 20), nn.ReLU(), nn.Unflatten(1, (5, 2, 2)))


@pytest.mark.parametrize("make, image", [(vector_modules, False), (image_modules, True)], ids=["vectors", "images"])
@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_modules_of_your_own_are_used_and_left_as_they_were(cls, make, image, images, rows):
    X = images if image else rows
    encoder, decoder = make()
    state = copy.deepcopy([encoder.state_dict(), decoder.state_dict()])
    model = cls(2, encoder=encoder, decoder=decoder, max_epochs=3, random_state=0).fit(X)
    assert model.transform(X).shape == (400, 2) and model.reconstruct(X).shape == X.shape
    for module, before in zip((encoder, decoder), state, strict=True):
        assert module.training and all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert model.encoder is encoder
    inside = [type(m) for m in model.model_.encoder.modules()]
    assert (nn.Conv2d if image else nn.BatchNorm1d) in inside


def test_an_empty_module_is_a_network_too(rows):
    """`nn.Sequential()` is false in Python, and the identity all the same: heads alone make a linear model."""
    vae = VAE(2, encoder=nn.Sequential(), decoder=nn.Sequential(), max_epochs=1, random_state=0).fit(rows)
    assert [type(m) for m in vae.model_.encoder.modules() if isinstance(m, nn.Linear)] == [nn.Linear]


def test_modules_that_do_not_fit_are_refused(rows):
    with pytest.raises(PartError, match=r"your encoder must turn rows of shape \(2, 64\), float32, into one tensor"):
        VAE(2, encoder=nn.Linear(3, 4)).fit(rows)
    with pytest.raises(PartError, match=r"your decoder must turn codes of shape \(2, 2\), float32, into one tensor"):
        VAE(2, decoder=nn.Linear(3, 4)).fit(rows)
    with pytest.raises(PartError, match=r"your encoder returned a tuple of \(2, 4\), tuple: expected one tensor"):
        VAE(2, encoder=nn.LSTM(64, 4)).fit(rows)


def test_a_prior_that_does_not_factorise_has_no_rate_by_component(rows):
    vae = VAE(2, prior=priors.FittedNormal(), **QUICK).fit(rows)
    assert vae.kl_per_component_ is None and np.isfinite(vae.score(rows))


def test_a_point_posterior_makes_a_vae_an_autoencoder(rows):
    vae = VAE(2, variational_family=posteriors.Deterministic(), objective=objectives.ELBO(beta=0.0), **QUICK).fit(rows)
    with pytest.raises(NoDensityError, match="its posterior is Deterministic"):
        vae.score_samples(rows)
    assert vae.score(rows) < 0
    with pytest.raises(PartError, match="needs a posterior with a density"):
        VAE(2, variational_family=posteriors.Deterministic(), **QUICK).fit(rows)


def test_a_penalty_on_the_rate_lowers_it(rows):
    free, dear = (
        VAE(2, objective=objectives.ELBO(beta=beta), neighbors=None, max_epochs=30, random_state=0).fit(rows)
        for beta in (0.1, 20.0)
    )
    assert dear.kl_per_component_.sum() < 0.5 < free.kl_per_component_.sum()
    assert free.active_components_.all() and not dear.active_components_.all()


def test_progress_is_shown_only_when_asked_for(rows, capsys):
    VAE(2, **QUICK).fit(rows)
    assert capsys.readouterr() == ("", "")
    VAE(2, verbose=1, **QUICK).fit(rows)
    shown = capsys.readouterr()
    assert shown.out == "" and "rows/s" in shown.err
