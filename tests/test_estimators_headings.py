"""Names of columns of pandas that are numbers, dates or tuples come back as they were, from every method."""

from datetime import date

import numpy as np
import pandas as pd
import pytest

from latentmap import VAE, load, networks

TINY = networks.MLP((8,))
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
COLUMNS = {
    "whole numbers": [0, 1, 2],
    "numbers": [0.5, 1.0, 2.5],
    "truth": pd.Index([True, False, 2], dtype=object),
    "dates": pd.date_range("2020-01-31", periods=3),
    "days": pd.Index([date(2020, 1, 1), date(2020, 1, 2), date(2020, 1, 3)], dtype=object),
    "zoned": pd.date_range("2020-01-31", periods=3, tz="Europe/Berlin"),
    "quarters": pd.period_range("2020", periods=3, freq="Q"),
    "spans": pd.to_timedelta([1, 2, 3], unit="h"),
    "intervals": pd.interval_range(0, 3),
    "levels": pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1)], names=["kind", None]),
    "levels of text": pd.MultiIndex.from_product([["a"], ["x", "y", "z"]]),
    "named": pd.Index(["x", "y", "z"], name="feature"),
}


@pytest.mark.parametrize("name", COLUMNS)
def test_names_come_back(name, tmp_path):
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"x": rng.normal(size=40), "kind": rng.choice(["a", "b"], 40), "n": rng.poisson(2.0, 40)})
    frame.columns = COLUMNS[name]
    frame.iloc[::7, 1] = None
    vae = VAE(1, encoder=TINY, decoder=TINY, neighbors=None, max_epochs=1, random_state=0).fit(frame)
    vae.save(tmp_path / "run")
    assert vae.get_feature_names_out().tolist() == ["vae0"]
    for model in (vae, load(tmp_path / "run")):
        codes = model.transform(frame)
        made = [
            model.sample(2, random_state=0), model.inverse_transform(codes[:2]), model.reconstruct(frame),
            model.interpolate(frame[:1], frame[1:2], n=3), model.impute(frame), *model.impute(frame, 1),
        ]  # fmt: skip
        for back in made:
            assert type(back.columns) is type(frame.columns) or isinstance(frame.columns, pd.RangeIndex)
            assert back.columns.tolist() == frame.columns.tolist() and back.columns.names == frame.columns.names
            assert [*map(type, back.columns)] == [*map(type, frame.columns)]


def test_columns_that_new_data_lack_have_the_names_of_the_fit():
    rng = np.random.default_rng(0)
    port = rng.choice(["S", "C"], 60)
    towns = pd.Series(port).map({"S": "Southampton", "C": "Cherbourg"})
    frame = pd.DataFrame({0: rng.normal(size=60), 1: port, 2: towns})
    vae = VAE(1, encoder=TINY, decoder=TINY, neighbors=None, max_epochs=1, random_state=0).fit(frame)
    assert vae.impute(frame[[0, 1]]).columns.tolist() == [0, 1, 2]


def test_levels_of_numbers_of_numpy_and_of_python_are_the_same_names():
    rng = np.random.default_rng(0)
    frame = pd.DataFrame({("a", 1): rng.normal(size=40), ("a", 2): rng.choice(["u", "v"], 40)})
    other = frame.set_axis(pd.MultiIndex.from_tuples([("a", np.int64(1)), ("a", np.int64(2))]), axis=1)
    vae = VAE(1, encoder=TINY, decoder=TINY, neighbors=None, max_epochs=1, random_state=0).fit(frame)
    assert vae.table_.names == ["('a', 1)", "('a', 2)"]
    np.testing.assert_array_equal(vae.transform(other), vae.transform(frame))
