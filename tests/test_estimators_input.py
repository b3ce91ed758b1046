"""Bad input: one line that says what was expected and what came."""

import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import torch

from latentmap import VAE, Autoencoder, likelihoods, networks, objectives, posteriors
from latentmap.exceptions import ConstantFeatureWarning, DataError, LikelihoodMismatchWarning, PartError

TINY = networks.MLP((8,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 1, "random_state": 0}
X = np.random.default_rng(0).normal(size=(40, 4)) * [1, 9, 3, 2]

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def with_value(value, dtype=float):
    spoilt = X.astype(dtype)
    spoilt[3, 2] = value
    return spoilt


def frame(**columns):
    return pd.DataFrame(X, columns=list("abcd")).assign(**columns)


NAN, INF = "contains 1 NaN value, the first at index [3, 2]", "contains 1 infinite value, the first at index [3, 2]"
BAD_ROWS = {
    "NaN": (with_value(np.nan), NAN),
    "NaN in single precision": (with_value(np.nan, np.float32), NAN),
    "infinity": (with_value(np.inf), INF),
    "minus infinity": (with_value(-np.inf), INF),
    "NaN in a tensor": (torch.from_numpy(with_value(np.nan)), NAN),
    "NaN in a frame": (pd.DataFrame(with_value(np.nan), columns=list("abcd")), "NaN"),
    "null in a frame": (pl.DataFrame({"a": [1.0, None, 3.0], "b": [1.0, 2.0, 3.0]}), "NaN"),
    "too large": (with_value(1e300), "beyond 1e+150"),
    "a column of lists": (pd.DataFrame({"d": [["blue"]] * 40}), "'d': it holds list, not numbers, text or dates"),
    "a column of vectors": (
        pd.DataFrame({"d": list(X)}),
        "it holds ndarray, not numbers, text or dates: fit vectors as",
    ),
    "vectors of polars": (
        pl.DataFrame({"d": X.tolist()}),
        "dates: fit vectors as an array, numpy.stack of the",
    ),
    "a dictionary": ({"a": X}, "or the name of a data set; give one of its entries, or pandas.DataFrame(X)"),
    "text": (np.array([["a", "b"], ["c", "d"]]), "X has dtype str32: expected numbers"),
    "complex": (X + 1j, "Complex data not supported"),
    "no rows": (X[:0], "X has no rows (shape (0, 4)): at least one is needed"),
    "no pictures": (np.zeros((0, 8, 8)), "X has no rows (shape (0, 8, 8))"),
    "no columns": (X[:, :0], "0 feature(s)"),
    "one row": (X[:1], "minimum of 2 is required"),
    "one vector": (X[0], "expected rows and features in X, got an array of shape (4,): use X.reshape(-1, 1)"),
    "a list": ([1.0, 2.0], "got an array of shape (2,)"),
    "uneven lists": ([[1.0], [1.0, 2.0]], "inhomogeneous shape"),
    "a series": (pd.Series([1.0, 2.0]), "got an array of shape (2,)"),
    "a path": ("rows.csv", "no such file: rows.csv"),
    "a number": (np.float64(3.0), "got an array of shape ()"),
    "five axes": (np.zeros((5, 2, 2, 2, 2)), "expected rows that are vectors or images"),
}


@pytest.mark.parametrize("name", [name for name in BAD_ROWS if not name.startswith(("NaN", "null"))])
@pytest.mark.parametrize("method", ["fit", "partial_fit"])
def test_bad_rows_are_refused_in_one_line(method, name):
    rows, message = BAD_ROWS[name]
    with pytest.raises((ValueError, TypeError)) as caught:
        getattr(VAE(2, **QUICK), method)(rows)
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["transform", "reconstruct", "score_samples", "partial_fit"])
def test_text_is_refused_by_a_model_of_numbers(method):
    fitted = VAE(2, **QUICK).fit(frame())
    with pytest.raises(ValueError, match="expected numeric columns, as in fit, got 'd' of type String"):
        getattr(fitted, method)(frame(d="blue"))


@pytest.mark.parametrize("name", ["NaN", "infinity", "NaN in a tensor", "complex", "no rows", "one vector", "text"])
@pytest.mark.parametrize("method", ["transform", "reconstruct", "posterior", "score_samples", "score", "partial_fit"])
def test_bad_rows_are_refused_by_every_method(method, name):
    fitted = VAE(2, **QUICK).fit(X)
    rows, message = BAD_ROWS[name]
    before = fitted.transform(X)
    with pytest.raises(ValueError) as caught:
        getattr(fitted, method)(rows)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    np.testing.assert_array_equal(fitted.transform(X), before)


def test_rows_of_another_width_are_refused():
    fitted = VAE(2, **QUICK).fit(X)
    with pytest.raises(ValueError, match="X has 3 features, but VAE is expecting 4 features"):
        fitted.transform(X[:, :3])
    with pytest.raises(ValueError, match="X has 5 features, but VAE is expecting 4 features"):
        fitted.partial_fit(np.ones((9, 5)))
    with pytest.raises(DataError, match="expected codes with 2 components, got 3"):
        fitted.inverse_transform(np.ones((2, 3)))
    with pytest.raises(ValueError, match="NaN"):
        fitted.inverse_transform([[np.nan, 0.0]])
    with pytest.raises(ValueError, match="3.*4|4.*3"):
        fitted.interpolate(X[0, :3], X[1])


def test_pictures_of_another_shape_are_refused():
    fitted = VAE(2, **QUICK).fit(np.random.default_rng(0).random((20, 4, 3)))
    with pytest.raises(DataError, match=r"expected rows of shape \(4, 3\), as in fit, got \(3, 4\)"):
        fitted.transform(np.zeros((5, 3, 4)))
    with pytest.raises(ValueError, match="X has 3 features, but VAE is expecting 12"):
        fitted.transform(np.zeros((4, 3)))  # one picture, which would be four rows of 3
    vectors = VAE(2, **QUICK).fit(X)
    with pytest.raises(DataError, match=r"expected rows of shape \(4,\), as in fit, got \(2, 2\)"):
        vectors.transform(np.zeros((5, 2, 2)))


def test_counts_are_refused_where_they_are_none():
    fitted = VAE(2, **QUICK).fit(X)
    for call in (lambda: fitted.sample(0), lambda: fitted.sample(2.5), lambda: fitted.score_samples(X, n_samples=0)):
        with pytest.raises(PartError, match="n_samples must be a whole number >= 1, got"):
            call()
    with pytest.raises(PartError, match="n must be a whole number >= 2, got 1"):
        fitted.interpolate(X[0], X[1], 1)
    with pytest.raises(PartError, match="random_state must be"):
        fitted.sample(2, random_state="seed")


BAD_SETTINGS = [
    ({"n_components": 0}, "n_components must be a whole number >= 1, got 0"),
    ({"n_components": 2.5}, "n_components must be a whole number >= 1, got 2.5"),
    ({"n_components": "two"}, "n_components must be a whole number >= 1, got 'two'"),
    ({"n_components": True}, "n_components must be a whole number >= 1, got True"),
    ({"batch_size": -1}, "batch_size must be a whole number >= 1, got -1"),
    ({"batch_size": 0}, "batch_size must be a whole number >= 1, got 0"),
    ({"max_epochs": 0}, "max_epochs must be a whole number >= 1, got 0"),
    ({"max_epochs": 1.5}, "max_epochs must be a whole number >= 1, got 1.5"),
    ({"learning_rate": float("nan")}, "learning_rate must be a finite number > 0, got nan"),
    ({"learning_rate": float("inf")}, "learning_rate must be a finite number > 0, got inf"),
    ({"learning_rate": 0.0}, "learning_rate must be a finite number > 0, got 0.0"),
    ({"learning_rate": "fast"}, "learning_rate must be a finite number > 0, got 'fast'"),
    ({"time_budget": -3}, "time_budget must be a finite number > 0, got -3"),
    ({"time_budget": 0}, "time_budget must be a finite number > 0, got 0"),
    ({"validation_fraction": 2}, "validation_fraction must lie between 0 and 1, got 2"),
    ({"validation_fraction": 0.0}, "validation_fraction must be a finite number > 0, got 0.0"),
    ({"validation_fraction": 1.0}, "validation_fraction must lie between 0 and 1, got 1.0"),
    ({"device": "abacus"}, "device must be 'auto' or one torch can use here, got 'abacus'"),
    ({"device": "cuda:99"}, "device must be 'auto' or one torch can use here, got 'cuda:99'"),
    ({"precision": "float16"}, "precision must be 'auto', 'float32' or 'bfloat16', got 'float16'"),
    ({"scaling": "minmax"}, "no scaling is called 'minmax': expected auto, none, range, center or"),
    ({"compile": "yes"}, "compile must be 'auto', True or False, got 'yes'"),
    ({"random_state": -1}, "random_state must be a whole number >= 0, got -1"),
    ({"random_state": "seed"}, "random_state must be None, a whole number or a numpy generator, got 'seed'"),
    ({"callbacks": print}, "callbacks must be None or a list of functions, got"),
    ({"callbacks": ["print"]}, "callbacks must be None or a list of functions, got"),
    ({"encoder": "mlp"}, "encoder must be None or a network such as networks.MLP()"),
    ({"decoder": networks.MLP}, "decoder must be None or a network such as networks.MLP()"),
    ({"likelihood": "gaussian"}, "likelihood must be None or a likelihood such as likelihoods.Gaussian(), got 'gaus"),
    ({"likelihood": likelihoods.Gaussian}, "likelihood must be None or a likelihood such as likelihoods.Gaussian()"),
]
BAD_OF_VAES = [
    ({"objective": 2.0}, "objective must be None or an objective such as objectives.ELBO(), got 2.0"),
    ({"prior": posteriors.Gaussian()}, "prior must be None or a prior such as priors.Normal()"),
    ({"variational_family": "gauss"}, "variational_family must be None or a posterior such as posteriors.Gaussian()"),
    ({"neighbors": -2}, "neighbors must be a whole number >= 1, got -2"),
    ({"neighbors": "many"}, "neighbors must be a whole number >= 1, got 'many'"),
    ({"neighbors": 99}, "lower neighbors"),
    ({"likelihood": likelihoods.Bernoulli()}, "likelihood Bernoulli takes values from 0 to 1, got"),
]


@pytest.mark.parametrize(
    "cls, settings, message",
    [(cls, *case) for case in BAD_SETTINGS for cls in (VAE, Autoencoder)] + [(VAE, *case) for case in BAD_OF_VAES],
    ids=str,
)
def test_bad_settings_are_refused_in_one_line_and_by_fit_alone(cls, settings, message):
    estimator = cls(**QUICK | settings)
    for fit in (estimator.fit, estimator.partial_fit)[: 1 if "neighbors" in settings else 2]:
        with pytest.raises(ValueError) as caught:
            fit(X)
        assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("method", ["transform", "inverse_transform", "reconstruct", "score", "posterior", "save"])
def test_what_is_not_fitted_says_so(method):
    with pytest.raises(ValueError, match="This VAE instance is not fitted yet"):
        getattr(VAE(), method)(X)


def test_few_rows_are_enough_to_fit():
    for n in (2, 3, 5, 20):
        for cls in (VAE, Autoencoder):
            model = cls(2, max_epochs=2, random_state=0).fit(X[:n])
            assert np.isfinite(model.reconstruct(X)).all() and np.isfinite(model.score(X))


def test_a_split_leaves_rows_to_train_on():
    assert np.isfinite(VAE(2, validation_fraction=0.999, **QUICK).fit(X[:20]).score(X))


@pytest.mark.filterwarnings("error")
def test_constant_columns_are_pointed_out():
    flat = X.copy()
    flat[:, 1] = 7.0
    for cls in (VAE, Autoencoder):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            model = cls(2, **QUICK).fit(flat)
        about = [w for w in caught if w.category is ConstantFeatureWarning]
        assert "1 of 4 features never vary" in str(about[0].message) and about[0].filename == __file__
        assert [f.kind for f in model.findings_ if f.warning == "ConstantFeatureWarning"] == ["constant"]
        np.testing.assert_allclose(model.reconstruct(flat)[:, 1], 7.0, atol=3)
        varied = cls(2, **QUICK)
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            varied.fit(X)
        assert not [w for w in caught if w.category is ConstantFeatureWarning]  # the control


def test_data_that_never_vary_are_fitted_all_the_same():
    for cls in (VAE, Autoencoder):
        model = cls(2, max_epochs=3, random_state=0).fit(np.full((30, 4), 5.0))
        assert np.isfinite(model.sample(3)).all() and np.isfinite(model.score(np.full((3, 4), 5.0)))


def test_one_row_in_a_partial_fit_of_an_autoencoder():
    model = Autoencoder(2, **QUICK).fit(X).partial_fit(X[:1])
    assert np.isfinite(model.reconstruct(X)).all()


def test_a_likelihood_that_does_not_match_is_pointed_out():
    with pytest.warns(LikelihoodMismatchWarning, match="describes bits and the data hold values in between"):
        VAE(2, likelihood=likelihoods.Bernoulli(), scaling="range", **QUICK).fit(X)
    with pytest.warns(LikelihoodMismatchWarning, match="are all 0 or 1"):
        VAE(2, likelihood=likelihoods.Gaussian(), **QUICK).fit((X > 0).astype(float))


def test_huge_and_tiny_units_are_fitted():
    for unit, offset in ((1e12, 0.0), (1e-12, 0.0), (1.0, 1e9)):
        scaled = X * unit + offset
        model = VAE(2, max_epochs=20, neighbors=None, random_state=0).fit(scaled)
        assert np.isfinite(model.score(scaled))
        error = np.abs(model.reconstruct(scaled) - scaled).mean(0) / scaled.std(0)
        assert (error < 1.5).all()


def test_a_penalised_posterior_that_collapses_is_pointed_out():
    with pytest.warns(match="no component carries information"):
        VAE(2, objective=objectives.ELBO(beta=1000.0), neighbors=None, max_epochs=20, random_state=0).fit(X)
