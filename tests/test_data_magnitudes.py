"""Magnitudes of columns: any unit and offset of a column gives the same model, or is refused in one line."""

import numpy as np
import pandas as pd
import pytest

from latentmap import VAE, Autoencoder, likelihoods, load
from latentmap.exceptions import DataError
from test_data_values import NAMES, QUICK, X

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


SCALES = [1e-149, 1e-100, 1e-40, 1e-20, 1e37, 1e39, 1e100, 1e149]


@pytest.mark.parametrize("unit", SCALES)
@pytest.mark.parametrize("cls", [VAE, Autoencoder])
def test_columns_of_any_scale_work(unit, cls):
    """In units of 1e-149 to 1e149 a model is that of the plain units, but for rounding."""
    Z = np.random.default_rng(0).normal(size=(60, 2))
    rows = Z @ np.array([[1.0, 0.5, 0.1], [0.2, -1.0, 0.7]])
    quick = {key: value for key, value in QUICK.items() if cls is VAE or key != "neighbors"} | {"max_epochs": 5}
    plain, scaled = cls(2, **quick).fit(rows), cls(2, **quick).fit(rows * unit)
    np.testing.assert_allclose(scaled.transform(rows * unit), plain.transform(rows), rtol=1e-3, atol=1e-4)
    for mine, other in (
        (scaled.sample(20, random_state=0), plain.sample(20, random_state=0)),
        (scaled.reconstruct(rows * unit), plain.reconstruct(rows)),
        (scaled.inverse_transform(Z.astype(np.float32)), plain.inverse_transform(Z)),
    ):
        np.testing.assert_allclose(mine / unit, other, rtol=1e-3, atol=1e-3)
    assert np.isfinite(scaled.score(rows * unit)) or cls is Autoencoder
    if cls is VAE:
        gained = scaled.score_samples(rows * unit) - plain.score_samples(rows)
        np.testing.assert_allclose(gained, -3 * np.log(unit), rtol=1e-3)


@pytest.mark.parametrize("offset", [1e3, 1e6, 1e9])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_an_offset_drowns_no_column(offset, dtype):
    rows = (
        np.random.default_rng(0).normal(size=(60, 3)) * max(1, offset * 1e-5 * (dtype == np.float32)) + offset
    ).astype(dtype)
    model = VAE(2, **QUICK).fit(rows)
    seen = model.encoder_inputs(rows)
    np.testing.assert_allclose(seen.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(seen.std(0), 1, atol=1e-3)
    np.testing.assert_allclose(model.encoder_inputs(rows.astype(float)), seen, atol=1e-3)
    assert len(np.unique(model.sample(20, random_state=0)[:, 0])) == 20


@pytest.mark.parametrize("shape", [(40, 3), (40, 20), (40, 4, 4)])
@pytest.mark.parametrize("unit, offset", [(1e-9, 0.0), (1e-9, 0.5), (1e-3, 0.5), (1e-40, 0.0), (1.0, 1e8)])
def test_faint_values_are_told_apart(shape, unit, offset):
    rows = np.random.default_rng(0).random(shape) * unit + offset
    seen = VAE(2, **QUICK).fit(rows).encoder_inputs(rows)
    assert 0.2 < seen.std() < 2


@pytest.mark.parametrize(
    "rows, message",
    [
        (X * 1e-160, "X: column 0 varies by .*e-1(60|59): below 1e-150 squares vanish"),
        (
            pd.DataFrame(X * [1, 1, 1e-200], columns=NAMES),
            "X: column 'c' varies by .*e-200: below 1e-150 squares vanish",
        ),
        (pd.DataFrame({"b": ["u", "v"] * 12, "c": X[:, 0] * 1e-200}), "X: column 'c' varies by .*e-200: below 1e-150"),
        (np.random.default_rng(0).random((9, 20)) * 1e-155, "X varies by .*e-156: below 1e-150 squares vanish"),
        (np.random.default_rng(0).random((9, 4, 4)) * 1e-155, "X varies by .*e-156: below 1e-150 squares vanish"),
        (X * 1e151, "X holds values up to .*beyond 1e.150 squares overflow; rescale"),
        (pd.DataFrame({"b": ["u", "v"] * 12, "c": X[:, 0] * 1e151}), "X: column 'c' holds .*e.151: beyond 1e.150"),
    ],
)
def test_columns_whose_squares_vanish_or_overflow_are_refused_by_name(rows, message):
    with pytest.raises(DataError, match=message) as caught:
        VAE(2, likelihood=None if hasattr(rows, "columns") else likelihoods.Gaussian(), **QUICK).fit(rows)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("scale", [1e17, 1e22, 1e30, 1e40])
def test_large_amounts_are_no_counts_though_every_such_number_is_whole(scale, tmp_path):
    z = np.random.default_rng(0).normal(size=150)
    frame = pd.DataFrame({"kind": np.where(z > 0, "a", "b"), "kg": np.exp(z) * scale})
    vae = VAE(1, neighbors=None, max_epochs=3, random_state=0).fit(frame)
    assert vae.table_.columns[1].kind == "real"
    drawn = vae.sample(50, random_state=0, noise=True)["kg"].to_numpy()
    assert np.isfinite(drawn).all() and 1e-3 < np.median(np.abs(drawn)) / scale < 1e3
    assert np.isfinite(vae.score_samples(frame)).all() and np.isfinite(vae.evaluation_.elbo)
    holed = frame.assign(kg=frame["kg"].mask(np.arange(150) % 3 == 0))
    assert np.isfinite(vae.impute(holed)["kg"]).all()
    vae.save(tmp_path / "run")
    assert load(tmp_path / "run").score(frame) == vae.score(frame)


def test_a_constant_beyond_single_precision_harms_no_other_column(tmp_path):
    x = np.random.default_rng(0).normal(size=100)
    frame = pd.DataFrame({"kind": np.where(x > 0, "a", "b"), "x": x, "far": 1e40})
    vae = VAE(1, neighbors=None, max_epochs=3, random_state=0).fit(frame)
    assert np.isfinite(vae.score(frame)) and (vae.reconstruct(frame)["far"] > 1e39).all()
    vae.save(tmp_path / "run")
    assert np.isfinite(load(tmp_path / "run").score(frame))
