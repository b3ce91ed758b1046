"""Days of eight digits, times of day of four, and durations in units: read as such, and written alike."""

import re

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap import VAE, Columns, load, networks
from latentmap.data.text import cells_of_text

TINY = networks.MLP((8,))
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
N = 120
GAPS = np.arange(N) % 9 == 4
RNG = np.random.default_rng(0)
MINUTES = RNG.integers(0, 1440, N)
DAYS = pd.date_range("1999-03-05", periods=N, freq="17D")


def fitted(data, **settings):
    return VAE(1, encoder=TINY, decoder=TINY, neighbors=None, max_epochs=1, random_state=0, **settings).fit(data)


def table(**columns):
    rng = np.random.default_rng(1)
    return pd.DataFrame({"x": rng.normal(size=N), "c": rng.choice(["a", "b"], N)} | columns)


TEXT = {
    "day": [f"{day:%Y%m%d}" for day in DAYS],
    "dep_time": [f"{m // 60:02d}{m % 60:02d}" for m in MINUTES],
    "run": [f"{m // 60}h {m % 60}m".removeprefix("0h ").removesuffix(" 0m") for m in MINUTES],
    "took": [f"{m // 60} hours {m % 60:02d} min" for m in MINUTES],
}  # fmt: skip
FORMS = {
    "day": r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])", "dep_time": r"([01]\d|2[0-4])[0-5]\d",
    "run": r"\d+h( \d+m)?|\d+m", "took": r"(1 hour|\d+ hours) [0-5]\d min",
}  # fmt: skip
KINDS = {"day": ("date", "Date"), "dep_time": ("real", "Int64"), "run": ("real", "Int64"), "took": ("real", "Int64")}


@pytest.mark.parametrize("way", ["csv", "pandas", "polars"])
@pytest.mark.parametrize("name", TEXT)
def test_text_is_read_and_written_in_its_form(name, way, tmp_path):
    own = pd.Series(TEXT[name]).mask(GAPS)
    frame = table(**{name: own})
    data = tmp_path / "x.csv" if way == "csv" else pl.from_pandas(frame) if way == "polars" else frame
    if way == "csv":
        frame.to_csv(data, index=False)
    model = fitted(data)
    column = model.table_.columns[-1]
    assert (column.kind, column.type) == KINDS[name]
    assert model.transform(data).shape == (N, 1)
    seconds = model.encode_table(data)[:, -1]
    expected = (DAYS - pd.Timestamp(0)).days if name == "day" else 60.0 * MINUTES
    np.testing.assert_array_equal(seconds, np.where(GAPS, np.nan, expected))
    model.save(tmp_path / "run")
    for one in (model, load(tmp_path / "run")):
        filled = one.impute(frame)[name]
        assert (filled == own)[~GAPS].all()
        made = [filled, one.reconstruct(frame)[name]]
        made += [] if way == "csv" else [one.sample(99, random_state=0, noise=True)[name]]
        for back in made:
            assert all(re.fullmatch(FORMS[name], text) for text in back), list(back)[:5]


@pytest.mark.parametrize("dtype", ["int64", "Int64", "float64", "int32"])
@pytest.mark.parametrize("name", ["day", "dep_time"])
def test_whole_numbers_come_back_as_such(name, dtype, tmp_path):
    own = pd.Series([int(text) for text in TEXT[name]], dtype=dtype)
    own = own if dtype in ("int64", "int32") else own.mask(GAPS)
    frame = table(**{name: own})
    model = fitted(frame)
    assert model.table_.columns[-1].kind == KINDS[name][0]
    model.save(tmp_path / "run")
    for one in (model, load(tmp_path / "run")):
        filled = one.impute(frame)[name]
        assert filled.dtype == own.dtype and not filled.isna().any() and (filled == own)[own.notna()].all()
        for back in (one.sample(99, random_state=0, noise=True)[name], one.reconstruct(frame)[name], filled):
            assert back.dtype == own.dtype
            assert all(re.fullmatch(FORMS[name], str(int(value)).zfill(4)) for value in back)
    other = pl.from_pandas(frame)
    np.testing.assert_array_equal(model.transform(other), model.transform(frame))
    assert model.impute(other)[name].dtype == other[name].dtype
    drawn = fitted(other).sample(5, random_state=0)
    assert drawn[name].dtype.is_numeric()


@pytest.mark.parametrize("name", ["day", "dep_time"])
def test_a_file_and_how_pandas_reads_it_agree(name, tmp_path):
    path = tmp_path / "x.csv"
    table(**{name: pd.Series(TEXT[name]).mask(GAPS)}).to_csv(path, index=False)
    frame = pd.read_csv(path)
    assert frame[name].dtype.kind == "f"
    of_file, of_frame = fitted(path), fitted(frame)
    for model in (of_file, of_frame):
        np.testing.assert_array_equal(model.encode_table(path)[:, -1], model.encode_table(frame)[:, -1])
    filled = of_file.impute(frame)[name]
    assert filled.dtype == frame[name].dtype and (filled == frame[name])[frame[name].notna()].all()


@pytest.mark.parametrize(("name", "cells"), [
    ("code", [f"{m:04d}" for m in MINUTES]), ("time", [str(m) for m in range(100, 300)]),
    ("time", [str(50 * i) for i in range(2, 40)]), ("n", ["20011229", "20011332", "20020101", "20020102"]),
    ("wait", [f"{m}m" for m in MINUTES]),
])  # fmt: skip
def test_other_digits_stay_what_they_are(name, cells):
    read = cells_of_text(name, cells)
    assert not read.type.startswith("Date") and (read.format is None or read.format.kind == "number")


def test_the_reading_is_said_and_can_be_set():
    assert "'20010101' are read as days" in cells_of_text("d", ["20010101", "20010301", "20020101"]).note
    assert "'0400' are read as times of day" in cells_of_text("time", ["0400", "1730"]).note
    frame = table(day=[int(text) for text in TEXT["day"]])
    assert fitted(frame, columns=Columns({"day": "real"})).table_.columns[-1].type == "Int64"


@pytest.mark.parametrize("of", [lambda f: f, pl.from_pandas, lambda f: pl.from_pandas(f).to_arrow()])
def test_numbers_alone_with_days_are_a_table(of, tmp_path):
    frame = pd.DataFrame({"day": [int(text) for text in TEXT["day"]], "x": np.arange(N) / 7})
    frame.to_csv(tmp_path / "x.csv", index=False)
    for data in (of(frame), tmp_path / "x.csv"):
        assert [column.kind for column in fitted(data).table_.columns] == ["date", "real"]


def test_a_file_sorted_by_day_is_read_as_a_whole(tmp_path):
    days = np.repeat([20010101, 20010102, 20010103, 20020105], 1500)
    frame = pd.DataFrame({"day": days, "x": np.arange(6000) / 7, "c": ["a", "b"] * 3000})
    frame.to_csv(tmp_path / "x.csv", index=False)
    assert fitted(tmp_path / "x.csv").table_.columns[0].kind == "date"
