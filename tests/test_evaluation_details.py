"""What is known of places on a map: pinned to models whose answers are known, and to rows that do not belong."""

import copy

import numpy as np
import pytest
import torch

from latentmap import VAE, Autoencoder, load_dataset, networks, posteriors
from latentmap.evaluation.details import log_density, magnification, map_details
from latentmap.exceptions import DataError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


@pytest.fixture(scope="module")
def digits():
    return load_dataset("digits")[0]


@pytest.fixture(scope="module")
def vae(digits):
    return VAE(2, max_epochs=40, random_state=0).fit(digits[:1200])


def test_magnification_of_a_linear_decoder_is_the_volume_of_its_axes():
    X = np.random.default_rng(0).normal(size=(200, 6))
    model = VAE(3, decoder=networks.MLP(()), scaling="none", max_epochs=2, random_state=0).fit(X)
    weight = [p for p in model.model_.decoder.parameters() if p.shape == (6, 3)]
    assert len(weight) == 1
    unit = model.model_.posterior_state.log_scale.exp()  # of standardised codes
    W = (weight[0] * unit).detach().double().numpy()
    Z = np.random.default_rng(1).normal(size=(5, 3))
    assert magnification(model, Z) == pytest.approx(np.full(5, np.sqrt(np.linalg.det(W.T @ W))), rel=1e-5)


def difference(model, ends):
    """What a step between places changes in what they decode to, in the units of the model."""
    with torch.no_grad():
        low, high = (model.model_.double().decode(torch.from_numpy(end)).mean.numpy() for end in ends)
    return high - low


def test_magnification_is_what_differences_give(vae):
    model, Z, step = copy.deepcopy(vae), np.array([[0.3, -0.2], [1.0, 0.5]]), 1e-5
    rows = [difference(model, (Z - move, Z + move)) / (2 * step) for move in step * np.eye(2)]
    J = np.stack(rows, 2)
    assert magnification(vae, Z) == pytest.approx(np.sqrt(np.linalg.det(np.swapaxes(J, 1, 2) @ J)), rel=1e-4)


def test_magnification_of_a_sphere_is_that_of_its_own_moves(digits):
    settings = {"encoder": networks.MLP((8,)), "decoder": networks.MLP((8,)), "max_epochs": 1, "random_state": 0}
    model = VAE(2, variational_family=posteriors.Sphere(), neighbors=None, **settings).fit(digits[:200])
    angle, step = np.array([0.3, 2.0]), 1e-4
    circle = lambda t: np.column_stack([np.cos(t), np.sin(t)])  # noqa: E731
    rows = difference(copy.deepcopy(model), (circle(angle - step), circle(angle + step)))
    assert magnification(model, circle(angle)) == pytest.approx(np.linalg.norm(rows, axis=1) / (2 * step), rel=1e-4)


def test_density_is_that_of_the_draws_in_any_dimension():
    rng = np.random.default_rng(0)
    for d in (1, 2, 3):
        at = rng.normal(size=(50, d))
        exact = -0.5 * np.square(at).sum(1) - d / 2 * np.log(2 * np.pi)
        density = log_density(rng.normal(size=(200_000, d)), at, 200)
        assert np.abs(density - exact).mean() < 0.15
        assert np.abs(density - exact[::-1]).mean() > 0.3


def test_rows_like_those_of_the_fit_are_called_unusual_at_the_stated_rate_and_noise_always(digits, vae):
    train, new = digits[:1200], digits[1200:]
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 17, size=(200, 8, 8)).astype(np.uint8)
    shuffled = rng.permuted(new.reshape(len(new), -1), axis=1).reshape(new.shape)  # the right values at wrong places
    for rate in (0.05, 0.1):
        details = map_details(vae, new, train, false_alarm_rate=rate)
        assert details.false_alarm_rate <= rate
        assert details.unusual.mean() < 2.5 * rate  # other writers wrote the last rows of digits
    assert details.unusual.mean() > 0
    assert map_details(vae, noise, train, false_alarm_rate=0.01).unusual.mean() > 0.99
    assert map_details(vae, shuffled, train, false_alarm_rate=0.01).unusual.mean() > 0.8


def test_the_stated_rate_holds_for_rows_of_the_same_distribution():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(8, 10)) * 3
    X = centres[rng.integers(0, 8, 12_000)] + rng.normal(size=(12_000, 10))
    model = VAE(2, max_epochs=3, neighbors=None, random_state=0).fit(X[:6000])
    details = map_details(model, X[6000:], X[:6000], false_alarm_rate=0.05)
    assert details.unusual.mean() == pytest.approx(0.05, abs=0.03)


def test_a_row_that_the_encoder_misplaces_has_less_trust(digits, vae):
    details = map_details(vae, digits[:1200])
    assert details.trust.mean() > 0.85 and details.trust.max() <= 1
    torn = VAE(2, max_epochs=1, neighbors=None, random_state=0).fit(digits[:1200])
    assert map_details(torn, digits[:1200]).trust.mean() < details.trust.mean()


def test_an_autoencoder_is_certain_and_is_judged_by_its_reconstructions(digits):
    model = Autoencoder(2, max_epochs=20, random_state=0).fit(digits[:600])
    details = map_details(model, digits[600:700], digits[:600])
    assert (details.uncertainty == 0).all() and (details.evidence < 0).all()
    errors = np.square(digits[600:700] - model.reconstruct(digits[600:700])).mean((1, 2))
    assert details.evidence == pytest.approx(-errors)
    assert details.columns().shape == (100, 2 + len(details.COLUMNS))


def test_rates_and_references_that_make_no_sense_are_refused(digits, vae):
    with pytest.raises(DataError, match="between 0 and 1, got 0"):
        map_details(vae, digits[:50], false_alarm_rate=0)
    with pytest.raises(DataError, match="n_neighbors must be 1 to 10"):
        map_details(vae, digits[:50], digits[:10])


def test_details_leave_the_generator_alone(digits, vae):
    before = torch.get_rng_state()
    map_details(vae, digits[:100])
    assert torch.equal(torch.get_rng_state(), before)


def test_codes_and_evidence_of_rows_with_missing_cells_are_those_of_transform_and_score(digits):
    holed = digits[:80].reshape(80, -1).astype(float)
    holed[::2, :30] = np.nan
    tiny = networks.MLP((16,))
    vae = VAE(2, encoder=tiny, decoder=tiny, max_epochs=3, neighbors=None, random_state=0).fit(holed)
    details = map_details(vae, holed)
    np.testing.assert_allclose(details.codes, vae.transform(holed), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(details.evidence, vae.score_samples(holed), rtol=1e-5)
    assert np.abs(details.evidence - vae.score_samples(vae.impute(holed)))[::2].min() > 1  # the control
