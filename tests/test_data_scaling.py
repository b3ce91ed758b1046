"""Streamed statistics are numpy's; the rule of the scaling; densities change units by the Jacobian."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from latentmap import VAE, likelihoods
from latentmap.data.datasets import load_dataset
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.moments import Moments
from latentmap.data.scaling import Scaling, choose_scaling
from latentmap.exceptions import DataError

RNG = np.random.default_rng(0)


def scaled(X, scaling):
    return (X.reshape(len(X), -1).astype(float) - scaling.shift) / scaling.scale


@given(hnp.arrays(np.float64, hnp.array_shapes(min_dims=2, max_dims=2, min_side=2, max_side=30),
                  elements=st.floats(-1e6, 1e6)), st.data())  # fmt: skip
def test_merged_moments_are_those_of_the_whole(X, data):
    cut = data.draw(st.integers(1, len(X) - 1))
    merged, whole = Moments.of(X[:cut]) + Moments.of(X[cut:]), Moments.of(X)
    for moments in (merged, whole):
        assert (moments.count == len(X)).all()
        np.testing.assert_allclose(moments.mean, X.mean(0), rtol=1e-12, atol=1e-8)
        np.testing.assert_allclose(moments.deviation, X.std(0), rtol=1e-9, atol=1e-6)
        np.testing.assert_array_equal(moments.lowest, X.min(0))
        np.testing.assert_array_equal(moments.highest, X.max(0))


@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9])
def test_statistics_in_blocks_keep_their_digits_beside_a_large_offset(offset):
    X = RNG.normal(size=(300_000, 8)) * np.geomspace(1e-2, 1e2, 8) + offset  # three blocks
    scaling = choose_scaling(X)
    exact = (X - offset).mean(0) + offset  # numpy's own mean of X loses digits to the offset
    np.testing.assert_allclose(scaling.shift, exact, rtol=0, atol=np.finfo(float).eps * (offset + 100))
    np.testing.assert_allclose(scaling.scale, (X - offset).std(0), rtol=1e-7)
    naive = np.sqrt(np.abs(np.square(X).mean(0) - np.square(X.mean(0))))  # the control: its digits cancel
    assert (np.abs(naive / scaling.scale - 1).max() > 1e-3) == (offset > 0)


def test_a_memory_mapped_file_gives_the_same_scaling(tmp_path):
    X = RNG.normal(size=(1000, 4)) * [1, 2, 3, 400]
    np.save(tmp_path / "x.npy", X)
    mapped = choose_scaling(np.load(tmp_path / "x.npy", mmap_mode="r"))
    np.testing.assert_array_equal(mapped.scale, choose_scaling(X).scale)


def table(columns, spread):
    return RNG.normal(size=(500, columns)) * np.geomspace(1, spread, columns)


@pytest.mark.parametrize(
    ("X", "kind", "shift", "scale"),
    [
        pytest.param(np.array([[[0, 255], [3, 9]]], np.uint8), "range", 0, 255, id="8-bit images"),
        pytest.param(np.array([[[30, 200], [3, 9]]], np.uint8), "range", 0, 255, id="8-bit images that miss the ends"),
        pytest.param(np.array([[0, 17]], np.uint8), "range", 0, 255, id="flat 8-bit images"),
        pytest.param(load_dataset("digits")[0], "range", 0, 16, id="digits, 16 grey levels"),
        pytest.param(load_dataset("digits")[0].reshape(-1, 64).astype(float), "range", 0, 16, id="digits as vectors"),
        pytest.param(np.array([[[5.0, 40.0]]]), "range", 0, 40, id="images from 5"),
        pytest.param(np.array([[[-1.0, 1.0]]]), "range", -1, 2, id="images around 0"),
        pytest.param(np.array([[[0.0, 0.5]]]), "none", 0, 1, id="images in [0, 1]"),
        pytest.param(np.array([[0, 1], [1, 1]], np.uint8), "none", 0, 1, id="bits"),
        pytest.param(np.zeros((3, 4, 4)), "none", 0, 1, id="black images"),
        pytest.param(np.full((3, 4, 4), 7.0), "range", 0, 7, id="grey images"),
        pytest.param(np.full((3, 4, 4), -7.0), "range", -7, 1, id="constant negative images"),
        pytest.param(np.linspace(100, 110, 160).reshape(10, 16), "range", 100, 10, id="a spectrum"),
    ],
)
def test_one_scaling_for_all_features(X, kind, shift, scale):
    chosen = choose_scaling(X)
    assert (chosen.kind, chosen.shift, chosen.scale) == (kind, shift, scale)
    assert scaled(X, chosen).min() >= 0
    assert scaled(X, chosen).max() <= 1


@pytest.mark.parametrize(
    ("X", "kind"),
    [
        pytest.param(table(16, 2), "range", id="16 columns, one unit"),
        pytest.param(np.hstack([table(16, 2), np.full((500, 40), 3.0)]), "range", id="constant columns left out"),
        pytest.param(table(15, 2), "standard", id="15 columns"),
        pytest.param(table(64, 1000), "standard", id="many units"),
        pytest.param(np.hstack([table(15, 2), np.full((500, 40), 3.0)]), "standard", id="15 that vary"),
    ],
)
def test_vectors_share_a_scaling_only_where_their_ranges_are_alike(X, kind):
    assert choose_scaling(X).kind == kind
    assert choose_scaling(X[:, ::-1] * 1e-3 - 5).kind == kind  # whatever the order and the unit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_standard_columns_have_mean_zero_and_deviation_one_and_constants_become_zero(dtype):
    X = (table(6, 1e30) + [0, 5, 0, 0, 0, 0]).astype(dtype)
    X[:, 1], X[:, 2] = 0.1, -1e30
    scaling = choose_scaling(X)
    Z = scaled(X, scaling)
    varies = [True, False, False, True, True, True]
    np.testing.assert_allclose(Z.mean(0), 0, atol=1e-12)
    np.testing.assert_allclose(Z.std(0), varies, rtol=1e-9)
    np.testing.assert_array_equal(Z[:, 1:3], 0)
    np.testing.assert_array_equal(np.asarray(scaling.scale)[1:3], 1)


@pytest.mark.parametrize("kind", ["none", "range", "center", "standard"])
def test_a_forced_kind_is_taken(kind):
    X = RNG.normal(size=(50, 3)) + 10
    chosen = choose_scaling(ArraySource(X), kind)
    assert chosen.kind == kind
    if kind == "range":
        assert (scaled(X, chosen).min(), scaled(X, chosen).max()) == (0, 1)
    if kind == "center":
        assert abs(scaled(X, chosen).mean(0)).max() < 1e-12 and np.ptp(scaled(X, chosen)) == pytest.approx(1)
    assert choose_scaling(RNG.normal(size=(50, 3, 3)), "standard").kind == "standard"


@pytest.mark.parametrize("kind", ["none", "range", "center", "standard"])
def test_a_density_in_model_units_plus_the_jacobian_is_one_in_data_units(kind):
    X = RNG.normal(size=(400, 3)) * [0.5, 2.0, 30.0] + [1.0, -4.0, 100.0]
    scaling = choose_scaling(X, kind)
    mean, scale = np.array([1.0, -4.0, 100.0]), np.array([0.5, 2.0, 30.0])

    def log_normal(x, mean, scale):
        return (-0.5 * np.square((x - mean) / scale) - np.log(scale) - 0.5 * np.log(2 * np.pi)).sum(-1)

    model = log_normal(scaled(X, scaling), (mean - scaling.shift) / scaling.scale, scale / scaling.scale)
    data = log_normal(X, mean, scale)
    np.testing.assert_allclose(model + scaling.log_jacobian(3), data, rtol=1e-10)
    if kind != "none":
        assert np.abs(model - data).min() > 0.1  # without the Jacobian it is another number


@pytest.mark.parametrize("kind", ["none", "range", "center", "standard"])
def test_json_keeps_every_bit(kind):
    scaling = choose_scaling(RNG.normal(size=(50, 3)) / 3, kind)
    again = Scaling.from_json(json.loads(json.dumps(scaling.to_json())))
    assert again.kind == kind
    assert np.shape(again.shift) == np.shape(scaling.shift)
    np.testing.assert_array_equal(again.shift, scaling.shift)
    np.testing.assert_array_equal(again.scale, scaling.scale)


@pytest.mark.parametrize(
    ("X", "kind", "message"),
    [
        (np.array([[0.0, np.nan], [1.0, np.inf]]), "auto", r"1 NaN and 1 infinite values, the first at index \[0, 1\]"),
        (np.array([[0.0, 1e200]]), "auto", r"up to 1e\+200: beyond 1e\+150 squares overflow"),
        (
            np.array([[0.0, 2.0]]),
            "minmax",
            "no scaling is called 'minmax': expected auto, none, range, center or standard",
        ),
    ],
)
def test_what_cannot_be_scaled_is_refused(X, kind, message):
    with pytest.raises(DataError, match=message):
        choose_scaling(X, kind)


@pytest.mark.parametrize("shape", [(400, 20), (400, 6, 6), (400, 1, 36)])
@pytest.mark.parametrize("offsets", [100.0, 1e5])
def test_offsets_are_no_part_of_the_range(shape, offsets):
    """What is added to each feature changes no differences between rows, nor the units in which they are measured."""
    values = RNG.normal(size=shape)
    near, away = (values + far * np.linspace(0, 1, values[0].size).reshape(shape[1:]) for far in (1.0, offsets))
    assert choose_scaling(near).kind == "range", "control"
    chosen = choose_scaling(away)
    assert chosen.kind == "center"
    centred = values - values.mean(0)
    np.testing.assert_allclose(scaled(away, chosen), centred.reshape(len(centred), -1) / np.ptp(centred), atol=1e-9)


def test_bright_images_are_centred_and_dark_ones_are_not():
    grey = RNG.random((200, 8, 8))
    for pixels, kind in (
        (grey, "none"),
        (0.9 + 0.1 * grey, "center"),
        (0.2 * grey, "none"),
        (1 - 0.1 * grey, "center"),
    ):
        assert choose_scaling(pixels).kind == kind
    bright = (225 + 30 * grey).astype(np.uint8)
    assert choose_scaling(bright).kind == "center" and choose_scaling((255 * grey).astype(np.uint8)).kind == "range"
    assert choose_scaling(np.where(grey > 0.98, 0.0, 1.0)).kind == "none", "bits"


def test_channels_of_other_units_are_standardised():
    widths, offsets = np.array([1.0, 10, 7, 5, 0.5])[:, None], np.array([1010.0, 10, 5, 3, 0.2])[:, None]
    chosen = choose_scaling(RNG.normal(size=(300, 5, 7)) * widths + offsets)
    assert chosen.kind == "standard"


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_likelihoods_of_values_in_the_unit_interval_keep_bright_ones():
    bright = np.clip(RNG.normal(0.8, 0.05, (100, 64)), 0, 1)
    assert choose_scaling(bright).kind == "center" and choose_scaling(bright, unit=True).kind == "none"
    for pixels in (bright, (255 * bright.reshape(100, 8, 8)).astype(np.uint8)):
        VAE(2, max_epochs=1, neighbors=None, likelihood=likelihoods.ContinuousBernoulli(), random_state=0).fit(pixels)


def test_bytes_have_one_unit_however_much_pixels_differ():
    scene = RNG.normal(180, 1, (300, 12, 12))
    scene[:, :4] -= RNG.choice([0, 150], (300, 4, 12), p=[0.9, 0.1])
    assert choose_scaling(scene.astype(np.uint8)).kind == "center"
    assert choose_scaling(scene).kind == "standard", "control: numbers may be channels of other units"
