"""Figures ask the model for its prior: they name it, draw from it and stay on its manifold."""

import numpy as np
import pytest

from latentmap import VAE, Autoencoder, plot, posteriors, priors, recipes
from latentmap.plot.latent import information_per_component
from latentmap.training import density
from test_plot_figures import FIT, digits, fit


def small(**settings):
    """A model of grey digits, fitted for one epoch."""
    return fit(VAE(**{"n_components": 2, "neighbors": None} | FIT | {"max_epochs": 1} | settings), digits())


PRIORS = {
    "the prior": {},
    "the prior Mixture(components=3)": {"prior": priors.Mixture(3)},
    "the prior Flow(kind='maf', transforms=3, width=8)": {"prior": priors.Flow("maf", width=8)},
    "the prior Vamp(inputs=5)": {"prior": priors.Vamp(5)},
    "a Gaussian fitted to the codes": {"prior": priors.FittedNormal()},
    "the prior Uniform()": {"variational_family": posteriors.Sphere()},
    "the prior WrappedNormal()": {"variational_family": posteriors.Poincare()},
}


@pytest.mark.parametrize("name", PRIORS)
def test_figures_name_and_follow_the_prior_that_the_model_draws_from(name):
    model, X = small(**PRIORS[name]), digits()
    assert f"at random from {name}, then" in plot.samples(model, 4).caption
    display = plot.traversals(model, n_steps=3)
    assert f"to the high end of {name}, the others" in display.caption
    assert f"even quantiles of {name}, so" in plot.decoded_grid(model, n=3).caption
    assert ("standard deviations of the prior" in plot.map(model, X).caption) == (name == "the prior")
    draws = np.concatenate([model.model_.prior().sample((4000,)).numpy() for _ in range(2)])
    low, middle, high = np.quantile(draws, [0.02, 0.5, 0.98], axis=0)
    best = int(np.argmax(information_per_component(model)[0]))
    ends = np.tile(middle, (2, 1))
    ends[:, best] = low[best], high[best]
    if model.manifold_ == "sphere":
        ends[:, 1 - best] = np.sqrt(1 - ends[:, best] ** 2)
    expected = model.inverse_transform(ends.astype("float32"))
    spread = np.abs(expected[0] - expected[1]).max()
    assert np.abs(display.data_[0, [0, 2]] - expected).max() < 0.2 * spread + 1e-3


def test_captions_name_the_prior_that_was_fitted_last(monkeypatch):
    monkeypatch.setattr(density, "STEPS", 100)
    model, X = small(), digits()
    model.fit_prior(X, priors.Mixture(3), random_state=0)
    assert "from the prior Mixture(components=3), fitted to the codes, then" in plot.samples(model, 4).caption
    assert "standard deviations of the prior" not in plot.map(model, X).caption
    quantised = small(**recipes.vq(codes=8)).fit_prior(X, priors.Autoregressive(8), random_state=0)
    display = plot.traversals(quantised, X, n_steps=3)
    assert "Autoregressive(width=8), fitted to the codes" in display.caption and np.isfinite(display.data_).all()
    auto = fit(Autoencoder(2, **FIT), X).fit_prior(X, priors.Mixture(2), random_state=0)
    assert "the prior Mixture(components=2), fitted" in plot.samples(auto, 4).caption
    assert plot.traversals(auto).data_.shape == (2, 11, 8, 8)


def test_traversals_of_a_sphere_stay_on_it(monkeypatch):
    model, codes = small(n_components=3, variational_family=posteriors.Sphere()), []
    decode = VAE.inverse_transform
    monkeypatch.setattr(VAE, "inverse_transform", lambda self, Z, y=None: codes.append(Z) or decode(self, Z, y))
    plot.traversals(model, n_steps=5)
    np.testing.assert_allclose(np.linalg.norm(codes[-1], axis=1), 1, atol=1e-6)
    assert np.ptp(codes[-1].reshape(3, 5, 3), axis=1).max(1).min() > 0.5  # each line moves
