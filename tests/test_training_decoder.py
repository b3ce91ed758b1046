"""The decoder of a map learns the places of its rows beside the draws of their posteriors."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from latentmap import VAE, likelihoods, networks, objectives
from latentmap.data.sampling import split_rows
from latentmap.estimators import fit as fitting
from latentmap.exceptions import PartError
from latentmap.model import autoencoder
from latentmap.model.noise import Generated, generator_for


@pytest.fixture(scope="module")
def rings():
    """Rows on three noisy rings in ten columns."""
    rng = np.random.default_rng(0)
    angle, which = rng.uniform(0, 2 * np.pi, 900), rng.integers(3, size=900)
    flat = np.c_[np.cos(angle) + 3 * which, np.sin(angle), (which == 1) * 1.0]
    return (flat @ rng.normal(size=(3, 10)) + 0.05 * rng.normal(size=(900, 10))).astype(np.float32)


def fitted(X, **options):
    return VAE(2, **{"random_state": 0, "max_epochs": 40} | options).fit(X)


def error(vae, X):
    return float(np.square(vae.inverse_transform(vae.transform(X)) - X).mean())


def with_and_without(monkeypatch, share, measure):
    """Return what a fit measures on average of seeds, with this share of rows at their places, and with none."""
    found = []
    for at in (share, 0.0):
        monkeypatch.setattr(autoencoder, "AT_PLACES", at)
        found.append(np.mean([measure(seed) for seed in range(3)]))
    return found


def test_places_decode_no_worse_than_without(rings, monkeypatch):
    """On rings, where the encoder learns the places well, the two are near to each other."""
    train, new = split_rows(len(rings), 0.2, 0)

    def measure(seed):
        return error(fitted(rings[train], random_state=seed), rings[new])

    ours, without = with_and_without(monkeypatch, 0.6, measure)
    assert ours < 1.05 * without


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.UnderfitWarning")
@pytest.mark.parametrize("objective", [objectives.ELBO(), objectives.DReG(5)])
def test_the_bound_of_any_objective_is_kept(rings, objective, monkeypatch):
    train, new = split_rows(len(rings), 0.2, 0)

    def measure(seed):
        vae = fitted(rings[train], objective=objective, random_state=seed)
        return vae.score_samples(rings[new], objective.samples).mean()

    ours, without = with_and_without(monkeypatch, autoencoder.AT_PLACES, measure)
    assert ours > without - 0.2


def traced(model, x, places, *, training):
    model.train(training)
    return model.trace(x, 4, Generated(generator_for(1)), places=places)


def test_some_rows_are_decoded_around_their_places_in_training_alone(rings):
    """Means of q(z|x) are the places of these rows, deviations stay, and a bound is that of the moved q(z|x)."""
    vae = fitted(rings, max_epochs=2)
    model, x = vae.model_, vae.state_.scaling(torch.from_numpy(rings[:400]))
    places = 3 + torch.randn(400, 2, generator=generator_for(0))
    q = model.encode(x)
    trace = traced(model, x, places, training=True)
    level = trace.levels[0]
    moved = (level.q.mean - places).norm(dim=1) < 1e-4
    assert 0.1 < moved.float().mean() < 0.3
    torch.testing.assert_close(level.q.mean[~moved], q.mean[~moved])
    torch.testing.assert_close(level.q.stddev, q.stddev)
    torch.testing.assert_close(trace.off, q.mean - places)
    noise = ((level.z - level.q.mean) / q.stddev).detach()
    assert abs(float(noise.mean())) < 0.1 and abs(float(noise.std()) - 1) < 0.1
    torch.testing.assert_close(level.log_q, level.q.log_prob(level.z))
    at_rest = traced(model, x, places, training=False)
    torch.testing.assert_close(at_rest.levels[0].q.mean, q.mean)
    torch.testing.assert_close(at_rest.off, q.mean - places)


@pytest.mark.parametrize("missing", [False, True])
@pytest.mark.parametrize("layers", [1, 3])
def test_frozen_parameters_stay_and_cells_may_be_missing(rings, missing, layers):
    X = rings.copy()
    if missing:
        X[np.random.default_rng(1).random(X.shape) < 0.1] = np.nan
    net = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.Tanh(), torch.nn.Linear(32, 10))
    net[:layers].requires_grad_(False)
    vae = VAE(2, decoder=net, random_state=0, max_epochs=3).fit(X)
    learned = dict(vae.model_.decoder.named_parameters())
    stay = [sum(torch.equal(p, q) for q in learned.values() if q.shape == p.shape) for p in net.parameters()]
    assert stay == [1, 1, layers == 3, layers == 3] and np.isfinite(vae.transform(X)).all()


def test_everything_frozen_is_named(rings):
    own = {"encoder": torch.nn.Linear(10, 4), "decoder": torch.nn.Linear(2, 10)}
    frozen = {name: networks.WithHeads(layer).requires_grad_(False) for name, layer in own.items()}
    with pytest.raises(PartError, match="all parameters are frozen"):
        VAE(2, neighbors=None, likelihood=likelihoods.Bernoulli(), **frozen).fit((rings > 0).astype(float))


def test_processes_end_together_when_the_budget_of_one_is_spent():
    one = fitting.Fit.__new__(fitting.Fit)
    one.parameters, one.timer, one.begun = VAE(2, time_budget=1.0), lambda: 0.5, 0.0
    for slowest, over in ((0.7, False), (1.2, True)):
        one.processes = SimpleNamespace(maximum=lambda own, slowest=slowest: [max(*own, slowest)])
        assert one._ends() == over
