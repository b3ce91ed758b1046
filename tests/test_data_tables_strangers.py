"""Tables with values that change late in a file, come back changed, or are lost on the way."""

import datetime
import gzip
import json

import numpy as np
import pandas as pd
import pytest

from conftest import fit
from latentmap import VAE, Columns
from latentmap.cli import main
from latentmap.data.columns import Requested
from latentmap.data.formats import json_tables
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

N = 200
RNG = np.random.default_rng(0)
LEVELS = {
    "term": ["36 months", "60 months", "84 months"],
    "pct": ["5%", "10%", "25%"],
    "pay": ["$1,000", "$2,500", "$5,000"],
    "time": ["1:30:00", "2:45:00", "3:00:00"],
}


def levels():
    frame = pd.DataFrame({name: RNG.choice(words, N) for name, words in LEVELS.items()})
    return frame.assign(x=RNG.normal(size=N).round(3))


@pytest.mark.parametrize("kind", ["ordinal", "categorical"])
def test_levels_with_units_come_back_as_they_are_written(kind, tmp_path):
    frame = levels()
    holes = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.2)
    columns = None if kind == "ordinal" else Columns(dict.fromkeys(LEVELS, kind))
    vae = fit(VAE(2, max_epochs=1, random_state=0, columns=columns), holes)
    filled, drawn = vae.impute(holes), vae.sample(20, random_state=0)
    for name, words in LEVELS.items():
        assert set(filled[name]) <= set(words) and set(drawn[name]) <= set(words)
        assert (filled[name] == holes[name])[holes[name].notna()].all()
    holes.to_csv(tmp_path / "x.csv", index=False)
    assert main(["fit", str(tmp_path / "x.csv"), "-o", str(tmp_path / "run"), "--max-epochs", "1", "--no-report"]) == 0
    assert main(["impute", str(tmp_path / "run"), "-o", str(tmp_path / "out.csv")]) == 0
    back = pd.read_csv(tmp_path / "out.csv")
    assert (back[list(LEVELS)] == holes[list(LEVELS)])[holes[list(LEVELS)].notna()].sum().sum() == holes[
        list(LEVELS)
    ].notna().sum().sum()
    assert all(set(back[name]) <= set(words) for name, words in LEVELS.items())


def test_text_that_was_there_comes_back_letter_by_letter(tmp_path):
    frame = pd.DataFrame({
        "when": [f"2024-01-{i % 28 + 1:02d}" for i in range(N)],
        "sum": [f"${v:,.2f}" for v in RNG.lognormal(5, 1, N)],
        "flag": RNG.choice(["TRUE", "FALSE"], N),
        "note": [f"   note {i % 5}" for i in range(N)],
        "x": RNG.normal(size=N).round(3),
    })  # fmt: skip
    frame.loc[3, "when"], frame.loc[4, "sum"], frame.loc[5, ["flag", "x"]] = "2024-01-03 13:05", "$5.5", None
    path, run = tmp_path / "x.csv", str(tmp_path / "run")
    frame.to_csv(path)
    assert main(["fit", str(path), "-o", run, "--max-epochs", "1", "--no-report"]) == 0
    assert main(["impute", run, "-o", str(tmp_path / "out.csv")]) == 0
    back = pd.read_csv(tmp_path / "out.csv", dtype=str, index_col=0)
    was = pd.read_csv(path, dtype=str, index_col=0)
    names = ["when", "sum", "flag", "note"]
    assert back.shape == was.shape and back.index.equals(was.index)
    assert ((back[names] == was[names]) | was[names].isna()).to_numpy().all()


LATE = {
    "codes": (["10001"] * 1500 + ["02139", "10001"] * 20_000, "02139"),
    "codes among fractions": ([f"{i % 997}.5" for i in range(30_000)] + ["02139"], "02139"),
    "hexadecimal": ([str(i % 997) for i in range(30_000)] + ["0x1F"], "0x1F"),
    "long": ([str(i * 7 + 1_000_003) for i in range(30_000)] + ["9007199254740993"], "9007199254740993"),
}


@pytest.mark.parametrize("name", LATE)
@pytest.mark.parametrize("large", [None, 0])
def test_what_whole_numbers_turn_out_to_be_late(name, large, tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    cells, late = LATE[name]
    words = np.random.default_rng(0).choice(["elm", "oak"], len(cells))
    frame = pd.DataFrame({"v": cells, "kind": words, "x": np.arange(len(cells)) + 0.5})
    frame.to_csv(tmp_path / "x.csv", index=False)
    monkeypatch.setattr("latentmap.data.formats.delimited.LARGE", large)
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    source, memory = open_source(tmp_path / "x.csv", columns=Requested()), open_source(frame, columns=Requested())
    assert source.table.names == memory.table.names
    np.testing.assert_array_equal(source.read(slice(None)), memory.read(slice(None)))
    if large is None:
        value = next(one for one in source.cells if one.name == "v")
        assert late in value.values.tolist() or np.isnan(value.values[cells.index(late)])


def test_days_that_no_calendar_has_are_missing(tmp_path):
    days = [(datetime.date(2020, 1, 1) + datetime.timedelta(days=i % 900)).strftime("%m/%d/%Y") for i in range(25_000)]
    days[15_000], days[15_001] = "02/30/2024", "01/05/24"
    frame = pd.DataFrame({"when": days, "x": np.arange(25_000) + 0.5})
    frame.to_csv(tmp_path / "x.csv", index=False)
    for source in (open_source(tmp_path / "x.csv"), open_source(frame)):
        when = source.read(slice(None))[:, 0]
        assert np.isnan(when[15_000]) and np.isfinite(when[14_999])
        assert when[15_001] == (datetime.date(2024, 1, 5) - datetime.date(1970, 1, 1)).days
        assert "02/30/2024" in str(source.remark) or source.cells[0].note


def test_a_mark_of_missing_cells_is_one_in_numbers_too(tmp_path):
    frame = pd.DataFrame({"v": [5, -99, 7] * 40, "x": np.arange(120) + 0.5})
    frame.to_csv(tmp_path / "x.csv", index=False)
    frame.to_parquet(tmp_path / "x.parquet")
    asked = Requested(missing=("-99",))
    rows = [open_source(one, columns=asked).all_rows() for one in (frame, tmp_path / "x.csv", tmp_path / "x.parquet")]
    assert np.isnan(rows[0][:, 0]).sum() == 40
    for other in rows[1:]:
        np.testing.assert_array_equal(other, rows[0])


def test_records_by_row_number_are_rows(tmp_path):
    frame = pd.DataFrame({"height": RNG.normal(size=30).round(3), "girth": RNG.normal(size=30).round(3)})
    for orient in ("index", "columns"):
        frame.to_json(tmp_path / "x.json", orient=orient)
        np.testing.assert_array_equal(open_source(tmp_path / "x.json").all_rows(), frame.to_numpy())


def test_large_measurements_are_no_ids():
    source = open_source(
        pd.DataFrame({"mass": [f"{v:.3e}" for v in np.linspace(1e30, 9e30, 100)], "x": ["a", "b"] * 50})
    )
    assert source.table.names == ["mass", "x"]


def test_json_that_needs_more_than_the_memory_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.data.formats.unpacked.read_memory", lambda amount: 10_000)
    (tmp_path / "x.json.gz").write_bytes(gzip.compress(json.dumps([{"a": 1}] * 200).encode()))
    assert 200 * 8 * json_tables.ROOM > 10_000
    with pytest.raises(DataError, match="needs more than"):
        open_source(tmp_path / "x.json.gz")


def test_times_of_arrow_may_have_nanoseconds_and_any_year():
    pa = pytest.importorskip("pyarrow")
    table = pa.table({
        "t": pa.array([1_600_000_000_123_456_789, None, 5], pa.timestamp("ns")),
        "d": pa.array([datetime.date(1, 1, 1), datetime.date(9999, 12, 31), None]),
        "x": [1.0, 2.0, 3.5],
    })  # fmt: skip
    rows = open_source(table).all_rows()
    np.testing.assert_allclose(rows[:, 0], [1_600_000_000.123456 / 86_400, np.nan, 0.0], atol=2e-9)
    np.testing.assert_array_equal(rows[:2, 1], [-719_162, 2_932_896])


def test_columns_that_hold_nothing_are_left_out_of_numbers(tmp_path):
    frame = pd.DataFrame({"wage": RNG.normal(size=30).round(2), "sex": np.nan, "age": np.arange(30) + 0.5})
    frame.to_csv(tmp_path / "x.csv", index=False)
    for data in (frame, tmp_path / "x.csv"):
        source = open_source(data)
        assert source.table.names == ["wage", "age"] and source.table.dropped == {"sex": "it holds nothing"}


def test_what_a_template_says_of_the_labels_is_no_column(tmp_path, capsys):
    path, spec = tmp_path / "x.csv", tmp_path / "spec.toml"
    levels().assign(y=["a", "b"] * (N // 2)).to_csv(path, index=False)
    assert main(["info", str(path), "--columns-template", str(spec)]) == 0
    run = str(tmp_path / "run")
    told = ["--columns", str(spec), "--labels", "y", "--max-epochs", "1", "--no-report"]
    assert main(["fit", str(path), "-o", run, *told]) == 0
    assert main(["impute", run, "-o", str(tmp_path / "out.csv")]) == 0
    assert pd.read_csv(tmp_path / "out.csv").columns.tolist() == [*LEVELS, "x", "y"]
    capsys.readouterr()


def test_dropped_columns_are_dropped_block_by_block(tmp_path, monkeypatch):
    pytest.importorskip("pyarrow")
    levels().to_csv(tmp_path / "x.csv", index=False)
    monkeypatch.setattr("latentmap.data.formats.delimited.LARGE", 0)
    source = open_source(tmp_path / "x.csv", columns=Requested({"term": {"kind": "drop"}}))
    assert "term" not in source.table.names


def test_cells_of_pandas_that_were_there_keep_every_digit():
    times = pd.to_datetime(RNG.integers(10**18, 2 * 10**18, 60))
    spans = pd.to_timedelta(RNG.integers(1, 10**15, 60))
    frame = pd.DataFrame({"t": times, "d": spans, "x": RNG.normal(size=60), "k": ["a", "b", "c"] * 20})
    holes = frame.mask(np.random.default_rng(1).random(frame.shape) < 0.1)
    filled = fit(VAE(2, max_epochs=1, random_state=0), holes).impute(holes)
    for name in frame:
        there = holes[name].notna()
        assert filled[name].dtype == holes[name].dtype and (filled[name] == holes[name])[there].all()


def test_times_of_day_are_seconds_whichever_library_read_them(tmp_path):
    pl, csv = pytest.importorskip("polars"), pytest.importorskip("pyarrow.csv")
    clocks = [datetime.time(8 + i % 9, i % 60, 7 * i % 60) for i in range(120)]
    frame = pd.DataFrame({"at": [str(clock) for clock in clocks], "x": RNG.normal(size=120).round(3)})
    path = tmp_path / "x.csv"
    frame.to_csv(path, index=False)
    vae = fit(VAE(2, max_epochs=1, random_state=0), path)
    codes = vae.transform(path)
    readings = [pl.read_csv(path, try_parse_dates=True), csv.read_csv(path), frame, frame.assign(at=clocks)]
    for reading in readings:
        np.testing.assert_allclose(vae.transform(reading), codes, atol=1e-5)
    for reading in readings[:2] + readings[3:]:
        drawn = fit(VAE(2, max_epochs=1, random_state=0), reading).sample(3, random_state=0)
        values = drawn["at"].to_pylist() if hasattr(drawn["at"], "to_pylist") else list(drawn["at"])
        assert type(drawn) is type(reading) and all(isinstance(value, datetime.time) for value in values)
