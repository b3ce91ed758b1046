"""The density term of a map against values computed by hand, and what it does to a map."""

import numpy as np
import pytest
import torch
from scipy.stats import pearsonr
from sklearn.neighbors import NearestNeighbors

from latentmap import VAE
from latentmap.exceptions import PartError
from latentmap.model.autoencoder import GenerativeAutoencoder, Parts
from latentmap.model.likelihoods import Gaussian
from latentmap.model.networks import MLP
from latentmap.model.noise import Generated, generator_for
from latentmap.model.part import Sizes
from latentmap.model.posteriors import Gaussian as Posterior
from latentmap.model.priors import Normal
from latentmap.objectives.densities import density_agreement, log_radii
from latentmap.objectives.neighbors import NeighborEmbedding

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def traced(rows, batch=6):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = GenerativeAutoencoder(Parts(MLP((8,)), MLP((8,)), Posterior(), Normal(), Gaussian()), Sizes((5,), 2))
    return model, model.train().trace(rows, 1, Generated(generator_for(0)), batch=batch)


def test_radii_and_their_agreement_are_those_of_numpy():
    noise = torch.Generator().manual_seed(0)
    anchors, data = (torch.randn(6, p, generator=noise, dtype=torch.float64) for p in (2, 5))
    positives, near = (torch.randn(12, p, generator=noise, dtype=torch.float64) for p in (2, 5))

    def expected(a, b):
        return np.log(np.square(b.numpy().reshape(2, *a.shape) - a.numpy()).sum(2).mean(0))

    codes, rows = log_radii(anchors, positives), log_radii(data, near)
    np.testing.assert_allclose(codes, expected(anchors, positives))
    r = pearsonr(expected(data, near), expected(anchors, positives)).statistic
    assert density_agreement(rows, codes).item() == pytest.approx(r, rel=1e-9)
    assert density_agreement(rows, 3 * codes + 1).item() == pytest.approx(r), "no unit counts"
    rows[0], codes[0] = log_radii(data[:1], data[:1])[0], 7.0  # a row that equals its positives says nothing
    r = pearsonr(rows[1:], codes[1:]).statistic
    assert density_agreement(rows, codes).item() == pytest.approx(r, rel=1e-9)
    assert density_agreement(torch.zeros(4), torch.arange(4.0)).item() == 0
    where = anchors.clone().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: density_agreement(rows[1:], log_radii(z, positives[:6])[1:]), where)


@pytest.mark.parametrize("sparse", [False, True])
def test_the_term_is_that_of_the_equation(sparse):
    rows = torch.randn(18, 5, generator=torch.Generator().manual_seed(1))
    model, trace = traced(rows.to_sparse() if sparse else rows)
    losses = {}
    for weight in (0.0, 0.3):
        objective = NeighborEmbedding(density_weight=weight)
        losses[weight] = objective.losses(objective.build(model.sizes), model, trace, torch.ones(()))
    codes = torch.cat([trace.levels[0].q.mean, trace.positives])
    rho = density_agreement(log_radii(rows[:6], rows[6:]), log_radii(codes[:6], codes[6:])).item()
    assert losses[0.3]["density_correlation"].item() == pytest.approx(5 * 0.3 * (1 - rho), rel=1e-4)
    assert "density_correlation" not in losses[0.0]
    for player in losses[0.0].keys() - {"neighbors", "global_correlation"}:
        added = (losses[0.3][player] - losses[0.0][player]).item()
        assert added == pytest.approx(5 * 0.3 * (1 - rho), rel=1e-3) or added == 0
    first = next(iter(losses[0.3]))
    assert (losses[0.3][first] - losses[0.0][first]).item() > 0


def test_a_map_keeps_densities():
    rng, group = np.random.default_rng(0), np.repeat(np.arange(8), 50)
    X = 3 * rng.normal(size=(8, 20))[group] + np.geomspace(0.1, 2, 8)[group, None] * rng.normal(size=(400, 20))
    settings = {"encoder": MLP((32, 32)), "decoder": MLP((32,)), "max_epochs": 20, "random_state": 0, "device": "cpu"}

    def radii(Z):
        return np.log(np.square(NearestNeighbors(n_neighbors=15).fit(Z).kneighbors()[0]).mean(1))

    plain, dense = (VAE(2, density_weight=weight, **settings).fit(X) for weight in (0.0, 0.5))
    kept = [pearsonr(radii(X), radii(one.transform(X))).statistic for one in (plain, dense)]
    assert kept[1] > kept[0] + 0.1, kept
    assert "density_correlation" in dense.evaluation_.parts and "density_correlation" not in plain.evaluation_.parts


def test_weights_that_cannot_be_are_refused():
    with pytest.raises(PartError, match="density_weight must be a finite number >= 0, got -1.0"):
        NeighborEmbedding(density_weight=-1.0)
    with pytest.raises(PartError, match="density_weight must be a finite number > 0, got -1"):
        VAE(2, density_weight=-1).fit(np.eye(30))
    with pytest.raises(PartError, match="density_weight= takes radii of neighbours: leave neighbors='auto'"):
        VAE(2, density_weight=0.1, neighbors=None).fit(np.eye(30))
