"""Columns come back in the types that they came in: time zones, decimals, types of pyarrow, objects with words."""

import datetime as dt
import json
from decimal import Decimal
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from latentmap import VAE, likelihoods, load, networks
from latentmap.cli import main

TINY = networks.MLP((8,))
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
N = 60
GAPS = np.arange(N) % 6 == 5
HOURS = [dt.datetime(2024, 3, 1, tzinfo=dt.UTC) + dt.timedelta(hours=7 * i) for i in range(N)]


def fitted(frame, **settings):
    return VAE(1, encoder=TINY, decoder=TINY, neighbors=None, max_epochs=1, random_state=0, **settings).fit(frame)


def table(own):
    rng = np.random.default_rng(0)
    return pd.DataFrame({"x": rng.normal(size=N), "c": rng.choice(["a", "b"], N), "own": own})


def columns_back(frame, model):
    """The column ``own`` of all that a model makes of a frame."""
    codes = model.transform(frame)
    made = [model.sample(4, random_state=0), model.inverse_transform(codes[:3]), model.reconstruct(frame)]
    return [one["own"] for one in (*made, model.impute(frame), *model.impute(frame, 1))]


@pytest.mark.parametrize(
    "zone", [dt.UTC, ZoneInfo("Europe/Berlin"), dt.timezone(dt.timedelta(hours=-5)), "Asia/Kolkata"]
)
@pytest.mark.parametrize("as_objects", [True, False])
def test_time_zones_come_back(zone, as_objects, tmp_path):
    own = pd.Series(pd.to_datetime(HOURS)).dt.tz_convert(zone)
    own = pd.Series([time.to_pydatetime() for time in own], dtype=object) if as_objects else own
    frame = table(own.mask(GAPS))
    model = fitted(frame)
    model.save(tmp_path / "run")
    for back in [*columns_back(frame, model), *columns_back(frame, load(tmp_path / "run"))]:
        assert str(back.dtype) == str(own.dtype) and not back.isna().any()
        assert {time.utcoffset() for time in back} <= {time.utcoffset() for time in own}
    imputed = model.impute(frame)["own"]
    assert (imputed == own)[~GAPS].all() and imputed.min() >= own.min() - pd.Timedelta(days=9)


def test_files_tell_the_zone_of_times(tmp_path):
    frame = table(pd.Series(pd.to_datetime(HOURS)).dt.tz_convert("Europe/Berlin").mask(GAPS))
    frame.to_parquet(tmp_path / "a.parquet")
    run = str(tmp_path / "run")
    assert (
        main(["fit", str(tmp_path / "a.parquet"), "-o", run, "--set", "max_epochs=1", "--set", "neighbors=None"]) == 0
    )
    for end in (".csv", ".jsonl"):
        assert main(["sample", run, "-n", "3", "-o", str(tmp_path / f"s{end}")]) == 0
    texts = pd.read_csv(tmp_path / "s.csv")["own"].tolist()
    texts += [json.loads(line)["own"] for line in (tmp_path / "s.jsonl").read_text().splitlines()]
    assert all(text[-6:] in ("+01:00", "+02:00") for text in texts)


@pytest.mark.parametrize(("zone", "end"), [(2, "+02:00"), (-5.5, "-0530"), (1, "+01"), (0, "Z"), (0, "+00:00")])
def test_text_is_written_in_the_zone_of_all_cells(zone, end):
    zone = dt.timezone(dt.timedelta(hours=zone))
    own = pd.Series([time.astimezone(zone).strftime("%Y-%m-%dT%H:%M:%S") + end for time in HOURS]).mask(GAPS)
    for back in columns_back(table(own), fitted(table(own))):
        assert back.str.endswith(end).all()
        middle = pd.to_datetime(back, utc=True, format="ISO8601").mean()
        assert HOURS[0] - dt.timedelta(days=2) < middle < HOURS[-1] + dt.timedelta(days=2)


ARROW = {
    "decimal128(10, 2)": [Decimal(i) / 4 for i in range(N)],
    "date32[day]": [time.date() for time in HOURS],
    "time64[us]": [time.time() for time in HOURS],
    "time32[s]": [time.time() for time in HOURS],
    "duration[ms]": [dt.timedelta(hours=i) for i in range(N)],
    "timestamp[ns]": [time.replace(tzinfo=None) for time in HOURS],
    "timestamp[us, tz=Europe/Berlin]": HOURS,
    "string": list("abc") * 20,
    "large_string": [f"${i}.50" for i in range(N)],
    "bool": [True, False] * 30,
    "uint8": [1, 2, 4] * 20,
    "float": [i / 8 for i in range(N)],
    "dictionary<values=string, indices=int32, ordered=0>": list("abc") * 20,
}


@pytest.mark.parametrize("name", ARROW)
def test_types_of_pyarrow_come_back_in_pandas(name, tmp_path):
    types = {
        "decimal128(10, 2)": pa.decimal128(10, 2),
        "timestamp[us, tz=Europe/Berlin]": pa.timestamp("us", "Europe/Berlin"),
        "dictionary<values=string, indices=int32, ordered=0>": pa.dictionary(pa.int32(), pa.string()),
    }
    values = [None if gap else value for value, gap in zip(ARROW[name], GAPS, strict=True)]
    type_ = types.get(name) or pa.type_for_alias(name)
    assert str(type_) == name
    own = pd.Series(pd.array(values, dtype=pd.ArrowDtype(type_)))
    frame = table(own)
    model = fitted(frame)
    model.save(tmp_path / "run")
    for back in [*columns_back(frame, model), *columns_back(frame, load(tmp_path / "run"))]:
        assert str(back.dtype) == str(own.dtype) and not back.isna().any()
    assert (model.impute(frame)["own"] == own)[~GAPS].all()


@pytest.mark.parametrize("of", [pl.from_pandas, pa.Table.from_pandas])
def test_decimals_of_polars_and_pyarrow_come_back(of):
    own = pd.Series(pd.array([Decimal(i) / 4 for i in range(N)], dtype=pd.ArrowDtype(pa.decimal128(4, 2))))
    frame = of(table(own.mask(GAPS)))
    drawn = fitted(frame).sample(200, random_state=0, noise=True)
    types = (drawn["own"].dtype, frame["own"].dtype) if hasattr(frame, "dtypes") else (
        drawn["own"].type, frame["own"].type)  # fmt: skip
    assert types[0] == types[1]


def test_decimals_among_objects_come_back():
    own = pd.Series([Decimal(i) / 4 for i in range(N)], dtype=object).where(~GAPS, None)
    for back in columns_back(table(own), fitted(table(own))):
        assert {type(value) for value in back} == {Decimal} and all(value == round(value, 2) for value in back)


@pytest.mark.parametrize("dtype", ["string", "string[pyarrow]", "object"])
def test_amounts_in_text_come_back_in_the_type_of_text(dtype):
    own = pd.Series([f"${i}.50" for i in range(N)], dtype=dtype).mask(GAPS)
    for back in columns_back(table(own), fitted(table(own))):
        assert str(back.dtype) == str(own.dtype) and back.str.fullmatch(r"\$\d+\.\d\d").all()


@pytest.mark.parametrize("dtype", ["object", "string", "large_string[pyarrow]"])
@pytest.mark.parametrize("cells", [["1.5", "2.25", "-3", "."], ["12", "17", "140", "9"], ["1e-7", "0.25", "3e-9", "2"]])
def test_plain_numbers_in_text_come_back_as_text(cells, dtype, tmp_path):
    own = pd.Series(cells * 15).astype(dtype)
    model = fitted(table(own))
    assert model.table_.columns[-1].kind in ("real", "ordinal", "count")
    model.save(tmp_path / "run")
    for one in (model, load(tmp_path / "run")):
        for back in columns_back(table(own), one):
            assert str(back.dtype) == dtype and all(np.isfinite(float(text)) for text in back)
            assert all(isinstance(text, str) for text in back)
    there = own != "."
    assert (model.impute(table(own))["own"] == own)[there].all()
    if dtype == "object":
        frame = pl.from_pandas(table(own))
        assert fitted(frame).sample(3, random_state=0)["own"].dtype == pl.String
        rest = np.where(there, own, "nan").astype(float)
        np.testing.assert_array_equal(model.encode_table(table(rest))[:, -1], model.encode_table(table(own))[:, -1])


def test_codes_that_are_rare_throughout_are_missing_numbers():
    frame = table(np.arange(N) % 30).iloc[list(range(N)) * 10].reset_index(drop=True)
    frame["zip"] = np.random.default_rng(2).integers(100, 9000, len(frame))
    back = fitted(frame).reconstruct(frame[:2])["zip"]
    assert back.dtype.kind in "if"


OBJECTS = {
    "dates": [time.date() for time in HOURS],
    "times": [time.replace(tzinfo=None) for time in HOURS],
    "zoned": HOURS,
    "times of day": [time.time() for time in HOURS],
    "durations": [dt.timedelta(hours=i) for i in range(N)],
    "truth": [True, False] * 30,
}


@pytest.mark.parametrize("word", ["N/A", "-", "?", " ", "unknown"])
@pytest.mark.parametrize("name", OBJECTS)
def test_words_among_objects_are_missing(name, word):
    gaps = GAPS if word != "unknown" else np.arange(N) % 12 == 5  # one in ten of the cells at the most
    own = pd.Series(OBJECTS[name], dtype=object).where(~gaps, word)
    model = fitted(table(own))
    kind = type(OBJECTS[name][0])
    assert model.table_.columns[-1].missing == gaps.sum()
    for back in columns_back(table(own), model):
        assert all(isinstance(value, kind) for value in back)
    assert (model.impute(table(own))["own"] == own)[~gaps].all()


@pytest.mark.parametrize("word", ["N/A", "-", "?", "unknown", "#N/A", "NaT"])
@pytest.mark.parametrize("end", [".csv", "frame"])
def test_words_among_dates_in_text_are_missing(word, end, tmp_path):
    gaps = np.arange(N) % 12 == 5
    own = pd.Series([f"{time:%d.%m.%Y}" for time in HOURS]).where(~gaps, word)
    data = frame = table(own)
    if end == ".csv":
        data = tmp_path / "a.csv"
        frame.to_csv(data, index=False)
    model = fitted(data)
    assert model.table_.columns[-1].kind == "date" and model.table_.columns[-1].missing == gaps.sum()
    back = model.impute(frame)["own"]
    assert back.str.fullmatch(r"\d\d\.\d\d\.2024").all() and (back == own)[~gaps].all()


def test_words_that_say_more_leave_a_column_of_objects_text():
    own = pd.Series(OBJECTS["dates"], dtype=object)
    own[5] = "2024-05-01"
    column = fitted(table(own)).table_.columns[-1]
    assert column.kind == "date" and column.missing == 0


def test_pixels_of_bytes_stay_between_0_and_255():
    """`.astype(np.uint8)` would turn what is below into white, and what is above into black."""
    pixels = np.random.default_rng(0).choice(np.array([0, 255], np.uint8), (N, 4, 4))
    model = fitted(pixels)
    codes = 50 * np.random.default_rng(1).normal(size=(N, 1))
    made = [model.reconstruct(pixels), model.inverse_transform(codes), model.sample(N, random_state=0, noise=True)]
    for rows in (*made, model.interpolate(pixels[:1], pixels[1:2])):
        assert rows.min() >= 0 and rows.max() <= 255 and rows.dtype.kind == "f"
    assert made[2].min() == 0 and made[2].max() == 255
    assert fitted(pixels.astype(float)).sample(N, random_state=0, noise=True).min() < 0, "control: no bytes"
    gaps = pixels.astype(float)
    gaps[:, 0, 0] = np.nan
    filled = fitted(pixels, likelihood=likelihoods.Incomplete()).impute(gaps, 5)
    assert filled.min() == 0 and filled.max() == 255
    counts = fitted(np.full((N, 4), 250, np.uint8) - np.arange(4, dtype=np.uint8), likelihood=likelihoods.Poisson())
    assert counts.sample(500, random_state=0, noise=True).max() > 255, "counts have no such end"
