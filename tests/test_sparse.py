"""Sparse rows in training: the same losses, gradients and fits as from dense rows."""

import numpy as np
import pytest
import torch
from scipy import sparse

from latentmap import VAE
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.likelihoods import Bernoulli, Gaussian, Incomplete, NegativeBinomial, Poisson
from latentmap.model.networks import MLP, ResidualMLP
from latentmap.model.noise import Generated, generator_for
from latentmap.model.part import Sizes
from latentmap.model.posteriors import Gaussian as Posterior
from latentmap.model.priors import Normal
from latentmap.model.scaling import Affine
from latentmap.objectives.evidence import ELBO
from latentmap.training.feed import Resident, SparseRows

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
RNG = np.random.default_rng(0)
COUNTS = sparse.csr_array(RNG.poisson(0.2, (60, 40)).astype(np.float32))
SMALL = {"max_epochs": 3, "batch_size": 16, "random_state": 0, "device": "cpu", "precision": "float32"}
SMALL |= {"encoder": MLP((16,)), "decoder": MLP((16,)), "compile": False}


def model_of(likelihood, encoder=MLP((8, 8))):
    parts = Parts(encoder, MLP((8,)), Posterior(), Normal(), likelihood)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return GenerativeAutoencoder(parts, Sizes((40,), 2))


@pytest.mark.parametrize(
    "likelihood", [Gaussian(), Bernoulli(), Poisson(), Poisson(library=True), NegativeBinomial(library=True)], ids=repr
)
def test_losses_and_gradients_of_sparse_rows_are_those_of_dense_ones(likelihood):
    X = COUNTS if not isinstance(likelihood, Bernoulli) else COUNTS.sign()
    model, x = model_of(likelihood).train(), torch.from_numpy(X.toarray())
    likelihood.start(model.likelihood_state, x)
    assert model.takes_sparse
    results = []
    for rows in (x, x.to_sparse()):
        trace = model.trace(rows, 2, Generated(generator_for(0)), batch=20)
        loss = sum(ELBO().losses(ELBO().build(model.sizes), model, trace, torch.ones(())).values())
        loss = loss + trace.positives.square().sum()
        results.append([trace.x, loss, *torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)])
    for dense, kept in zip(*results, strict=True):
        assert (dense is None) == (kept is None)
        if dense is not None:
            torch.testing.assert_close(kept, dense, rtol=1e-4, atol=1e-5)
    assert results[1][3].is_contiguous()  # fused optimizers take gradients in the layout of the weights


def test_models_that_read_all_cells_take_dense_rows():
    class Shifted(Gaussian):
        def encoder_inputs(self, own, x):
            return x + 1

    for model in (model_of(Incomplete(Gaussian())), model_of(Gaussian(), ResidualMLP(8, 1)), model_of(Shifted())):
        assert not model.takes_sparse


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("offset", [0.0, 3.0])
def test_stored_values_and_zeros_are_scaled_as_dense_rows_are(dtype, offset):
    scaling = Affine(np.linspace(0, offset, 40), np.linspace(0.5, 7, 40))
    rows, numbers, device = COUNTS.astype(dtype), np.arange(5, 55), torch.device("cpu")
    kept = SparseRows(rows, numbers, scaling, device)
    expected = scaling(torch.from_numpy(rows.toarray())).float()[5:55]
    assert torch.equal(kept[:], expected) and torch.equal(kept[torch.tensor([3, 1, 3])], expected[[3, 1, 3]])
    graph = torch.arange(50)[:, None].roll(1, 0)
    wanted = Resident(expected, graph).epoch(0, 0, 16, generator_for(0))
    for sparse_batches in (False, offset == 0):
        feed = Resident(kept, graph, sparse=sparse_batches)
        for batch, other in zip(feed.epoch(0, 0, 16, generator_for(0)), wanted, strict=False):
            rows = batch.rows.to_dense() if batch.rows.is_sparse else batch.rows
            assert torch.equal(rows, other.rows) and batch.rows.is_sparse == sparse_batches


@pytest.mark.parametrize("counts", [False, True])
def test_a_fit_to_sparse_rows_is_the_fit_to_dense_ones(counts, monkeypatch):
    X, trained = COUNTS if counts else COUNTS.astype(np.float64) / 8, []
    own = GenerativeAutoencoder.trace

    def trace(self, x, *arguments, **keywords):
        trained.append(x.is_sparse and self.training)
        return own(self, x, *arguments, **keywords)

    likelihood = NegativeBinomial(library=True) if counts else Gaussian()
    inside = VAE(2, likelihood=likelihood, **SMALL).fit(X.toarray())
    monkeypatch.setattr(GenerativeAutoencoder, "trace", trace)
    kept = VAE(2, likelihood=likelihood, **SMALL).fit(X)
    assert sum(trained) == 9  # steps of three batches in three epochs
    np.testing.assert_allclose(kept.transform(X), inside.transform(X.toarray()), atol=1e-3)
    np.testing.assert_allclose(kept.score(X), inside.score(X.toarray()), rtol=1e-3)


@pytest.mark.parametrize("scaling", ["standard", "none"])
def test_columns_that_are_shifted_have_no_sparse_batches(scaling, monkeypatch):
    monkeypatch.setattr(SparseRows, "sparse", None if scaling == "standard" else SparseRows.sparse)
    X = COUNTS.astype(np.float64)
    vae = VAE(2, scaling=scaling, likelihood=Gaussian(), **SMALL).fit(X)
    other = VAE(2, scaling=scaling, likelihood=Gaussian(), **SMALL).fit(X.toarray())
    np.testing.assert_allclose(vae.transform(X), other.transform(X.toarray()), atol=1e-3)
