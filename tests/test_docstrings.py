"""The check of docstrings finds what is missing, and leaves complete ones alone."""

import importlib

import pytest
from sklearn.base import BaseEstimator
from tools import docstrings

from latentmap import VAE

MODULE = '''
"""A module with faults."""

import functools


def complete(X, *, k=1):
    """Return the rows times k.

    Parameters
    ----------
    X : array-like of shape (n, d)
        Rows.
    k : int, default=1
        Factor.

    Returns
    -------
    ndarray of shape (n, d)
        The product.
    """
    return k * X


def incomplete(X, *, k=1):
    """Returns the rows times k.

    Parameters
    ----------
    X
        rows
    """
    return k * X


def short():
    """Return one."""
    return 1


def _private(X):
    return X


class Base:
    """A base.

    Parameters
    ----------
    k : int, default=1
        Factor.
    """

    def __init__(self, k=1):
        self.k = k

    @property
    def silent(self):
        return self.k

    @functools.cached_property
    def fault(self):
        """no capital."""

    def scale(self, X):
        """Scale rows."""
        return X


class Derived(Base):
    """A class that inherits."""

    def scale(self, X):
        """Scale rows otherwise."""
        return 2 * X
'''
EXPECTED = {
    "incomplete": {"SS05", "PR01", "PR04", "PR08", "PR09", "RT01"},
    "Base.silent": {"GL08"},
    "Base.fault": {"SS02"},
    "Base.scale": {"PR01", "RT01"},
    "Derived": {"PR01"},
}


@pytest.fixture
def faulty(tmp_path, monkeypatch):
    (tmp_path / "faulty.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    return importlib.import_module("faulty")


def test_every_fault_is_found_once_and_complete_docstrings_have_none(faulty):
    found = list(docstrings.faults_of_module("faulty", faulty, set()))
    assert len(found) == len(set(found))
    codes = {}
    for name, code, _ in found:
        codes.setdefault(name.removeprefix("faulty."), set()).add(code)
    assert codes == EXPECTED


def test_the_public_interface_holds_estimators_parts_and_functions():
    names = {
        f"{module}.{member}"
        for module, found in docstrings.public_modules()
        for member, _ in docstrings.public_members(found)
    }
    assert names >= {
        "latentmap.VAE",
        "latentmap.load",
        "latentmap.likelihoods.Gaussian",
        "latentmap.networks.MLP",
        "latentmap.plot.map",
        "latentmap.recipes.vae",
        "latentmap.exceptions.DataError",
        "latentmap.evaluation.neighborhood.trustworthiness",
    }
    assert not any(name.endswith((".Any", ".dataclass", ".Tensor")) for name in names)
    assert {"fit", "transform", "predict", "prior_"} <= {name for name, _, _ in docstrings.public_methods(VAE)}
    assert "get_params" not in {name for name, _, _ in docstrings.public_methods(VAE)}  # which is scikit-learn's


class Documented(BaseEstimator):
    """An estimator.

    Attributes
    ----------
    a_, b_ : int
        Two that are there.
    gone_ : int
        One that is not.
    """


def test_attributes_of_a_fit_are_listed():
    found = [
        (code, message) for _, code, message in docstrings.faults_of_attributes("D", Documented, {"a_", "b_", "c_"})
    ]
    assert found == [("AT01", 'Attribute "c_" not documented'), ("AT02", 'Unknown attribute "gone_"')]
    assert docstrings.fitted_attributes(VAE) >= {"history_", "classes_", "prior_", "n_features_in_"}
