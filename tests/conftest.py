"""What every test stands on: one thread a worker, no windows, checked shapes, and small models fitted once."""

import os
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import pytest
import torch
from jaxtyping import install_import_hook

install_import_hook(["latentmap.model", "latentmap.objectives", "latentmap.training"], "shapes.checked")
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """Real pictures of digits as vectors (1797, 64), from 0 to 16."""
    from sklearn.datasets import load_digits

    return load_digits().data


@pytest.fixture(scope="session")
def rows(digits):
    """The first of them (400, 64): enough for most laws."""
    return digits[:400]


@pytest.fixture(scope="session")
def images(rows):
    """The same as pictures (400, 8, 8)."""
    return rows.reshape(-1, 8, 8)


def fit(estimator, X, y=None):
    """Fit without what a short fit says about itself."""
    from latentmap.exceptions import DiagnosisWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosisWarning)
        return estimator.fit(X, y)


@pytest.fixture(scope="session")
def vae(rows):
    """A small VAE of vectors, fitted in a second; tests must not change it."""
    from latentmap import VAE

    return fit(VAE(2, max_epochs=12, random_state=0), rows)


@pytest.fixture(scope="session")
def autoencoder(rows):
    """A small autoencoder of vectors; tests must not change it."""
    from latentmap import Autoencoder

    return fit(Autoencoder(3, max_epochs=12, random_state=0), rows)
