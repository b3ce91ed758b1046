"""What models of tables give back: every column, cells that were there, and nothing that the table could not hold."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap import VAE, Columns, load, networks
from latentmap.cli import main

TINY = networks.MLP((32,))
SMALL = {"encoder": TINY, "decoder": TINY, "neighbors": None, "random_state": 0, "max_epochs": 8}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
N = 300
TOWNS = {"S": "Southampton", "C": "Cherbourg", "Q": "Queenstown"}


@pytest.fixture(scope="module")
def titanic():
    rng = np.random.default_rng(0)
    z = rng.normal(size=N)
    port, survived = rng.choice([*TOWNS], N, p=[0.6, 0.3, 0.1]), (z + rng.normal(size=N) > 0).astype(int)
    frame = pd.DataFrame({
        "PassengerId": np.arange(1, N + 1), "Survived": survived, "Pclass": np.clip(np.rint(2 - z), 1, 3).astype(int),
        "Name": [f"Person, {i}." for i in range(N)], "Age": rng.integers(1, 80, N) / 2,
        "SibSp": rng.poisson(np.exp(-z / 2)), "Ticket": [f"A/5 {i}" if i % 3 else str(1000 + i) for i in range(N)],
        "Fare": np.exp(3 + z).round(2), "Embarked": port, "embark_town": pd.Series(port).map(TOWNS),
        "alive": np.where(survived == 1, "yes", "no"), "ship": "Titanic", "hour": rng.integers(0, 24, N),
    })  # fmt: skip
    frame = frame.astype({"embark_town": object})
    for column in ("Age", "Embarked", "SibSp", "hour", "ship", "Name"):
        frame.loc[rng.random(N) < 0.1, column] = None
    return frame.set_axis([f"row {i}" for i in range(N)])


@pytest.fixture(scope="module")
def vae(titanic):
    return VAE(2, **SMALL).fit(titanic)


def agree(frame):
    return (frame["Embarked"].map(TOWNS) == frame["embark_town"]).all() and (
        (frame["Survived"] == 1) == (frame["alive"] == "yes")
    ).all()


@pytest.mark.parametrize("noise", [False, True])
def test_a_thousand_samples_keep_to_what_the_table_holds(vae, titanic, noise):
    drawn = vae.sample(1000, random_state=0, noise=noise)
    assert [*drawn.columns] == [c for c in titanic.columns if c not in ("PassengerId", "Name", "Ticket")]
    assert agree(drawn) and (drawn["ship"] == "Titanic").all()
    assert drawn["SibSp"].between(0, titanic["SibSp"].max()).all() and (drawn["Fare"] >= 0).all()
    assert drawn["hour"].between(0, 23).all() and (drawn["hour"] == drawn["hour"].round()).all()
    assert set(drawn["Pclass"]) <= {1, 2, 3} and (drawn["Age"] * 10 == (drawn["Age"] * 10).round()).all()


def test_reconstructions_agree_too(vae, titanic):
    back = vae.reconstruct(titanic)
    assert agree(back) and back.index.equals(titanic.index)


def test_impute_keeps_every_column_and_every_cell(vae, titanic):
    holes = titanic[titanic.columns[::-1]].assign(alive=None)
    for filled in (vae.impute(holes), *vae.impute(holes, 2)):
        assert filled.columns.equals(holes.columns) and filled.index.equals(holes.index)
        there = holes.notna()
        for column in holes:
            assert (filled[column][there[column]] == holes[column][there[column]]).all(), column
        gone = filled.isna().any()
        assert gone[gone].index.tolist() == ["Name"]  # names are not made up
        assert agree(filled)
    other = vae.impute(pl.from_pandas(holes))
    assert isinstance(other, pl.DataFrame) and other.columns == holes.columns.tolist()
    assert other["PassengerId"].to_list() == holes["PassengerId"].tolist()
    assert vae.impute(titanic.drop(columns=["Name", "embark_town"])).columns.tolist()[-1] == "embark_town"


def test_a_saved_model_keeps_to_it(vae, titanic, tmp_path):
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.table_ == vae.table_
    pd.testing.assert_frame_equal(again.sample(20, random_state=0), vae.sample(20, random_state=0))
    pd.testing.assert_frame_equal(again.impute(titanic), vae.impute(titanic))


def test_hours_are_neighbours_across_midnight():
    rng = np.random.default_rng(0)
    night = rng.random(400) < 0.5
    hour = np.where(night, rng.integers(-2, 3, 400), rng.integers(10, 15, 400)) % 24
    frame = pd.DataFrame({"hour": hour, "x": np.where(night, 3.0, -3.0) + rng.normal(size=400)})
    vae = VAE(1, **SMALL | {"max_epochs": 40}, columns=Columns({"hour": {"kind": "cyclic", "period": 24}})).fit(frame)
    back = vae.reconstruct(frame)["hour"]
    assert (np.abs((back - hour + 12) % 24 - 12) <= 4).mean() > 0.9


def test_the_commands_write_tables_like_the_one_that_came(titanic, tmp_path, capsys):
    data, run = tmp_path / "x.csv", str(tmp_path / "run")
    titanic.to_csv(data, index=False)
    spec = tmp_path / "spec.toml"
    assert main(["info", str(data), "--columns-template", str(spec)]) == 0
    assert "wrote the specification of 13 columns" in capsys.readouterr().err
    assert main(["info", str(data), "--columns-template", "-"]) == 0
    assert capsys.readouterr().out == spec.read_text(encoding="utf-8")
    assert main(["info", str(data), "--columns-template", str(tmp_path / "spec.txt")]) == 2
    fit = ["fit", str(data), "-o", run, "--columns", str(spec), "--set", "max_epochs=2", "--set", "neighbors=None"]
    assert main(fit) == 0
    for end in (".csv", ".parquet"):
        read = pd.read_csv if end == ".csv" else pd.read_parquet
        assert main(["sample", run, "-n", "50", "-o", str(tmp_path / f"s{end}")]) == 0
        drawn = read(tmp_path / f"s{end}")
        assert [*drawn.columns] == [c for c in titanic.columns if c not in ("PassengerId", "Name", "Ticket")]
        assert agree(drawn)
        assert main(["impute", run, "-o", str(tmp_path / f"i{end}")]) == 0
        filled, came = read(tmp_path / f"i{end}"), pd.read_csv(data)
        assert [*filled.columns] == [*titanic.columns]
        for column in came:
            there = came[column].notna()
            assert (filled[column][there] == came[column][there]).all(), column
    assert json.loads((tmp_path / "run" / "config.json").read_text())["fitted"]["table"]["derived"]
    assert main(["info", run, "--columns-template", str(spec)]) == 2


def test_text_comes_back_as_it_was_written(tmp_path):
    rng = np.random.default_rng(0)
    n = 120
    frame = pd.DataFrame({
        "price": [f"${value:,.2f}" for value in rng.lognormal(8, 1, n)],
        "rate": [f"{value:.1f}%" for value in rng.uniform(1, 99, n)],
        "when": pd.date_range("2020-01-15", periods=n).strftime("%d.%m.%Y"),
        "smoker": rng.choice(["Yes", "No"], n),
        "zip": rng.choice(["02139", "00501", "10001"], n),
        "x": rng.normal(size=n).round(2),
    })  # fmt: skip
    frame.loc[3:9, ["price", "rate", "when", "smoker", "zip"]] = None
    path = tmp_path / "x.csv"
    frame.to_csv(path, index=False)
    forms = {
        "price": r"\$[\d,]+\.\d\d",
        "rate": r"[\d.]+%",
        "when": r"\d\d\.\d\d\.20\d\d",
        "smoker": "Yes|No",
        "zip": r"\d{5}",
    }
    there = frame.notna()
    for data in (frame, path):
        vae = VAE(2, **SMALL).fit(data)
        filled = vae.impute(frame)
        for made in (filled, vae.reconstruct(frame), *([] if data is path else [vae.sample(50, random_state=0)])):
            for name, form in forms.items():
                assert made[name].str.fullmatch(form).all(), (name, made[name][:5].tolist())
        for name in frame:
            assert (filled[name][there[name]] == frame[name][there[name]]).all(), name
    assert (
        main(["fit", str(path), "-o", str(tmp_path / "run"), "--set", "max_epochs=2", "--set", "neighbors=None"]) == 0
    )
    for command in (["sample", "-n", "30"], ["impute"]):
        out = tmp_path / "out.csv"
        assert main([command[0], str(tmp_path / "run"), *command[1:], "-o", str(out)]) == 0
        made = pd.read_csv(out, dtype=str)
        for name, form in forms.items():
            assert made[name].str.fullmatch(form).all(), (name, made[name][:5].tolist())


def filled(frame, holes=None):
    """The frame as a model fitted to it imputes it."""
    return VAE(2, **SMALL | {"max_epochs": 1}).fit(frame).impute(frame if holes is None else holes)


HOLES = np.arange(60) % 9 == 4
X60 = np.random.default_rng(0).normal(size=60)
WHOLE = np.random.default_rng(1).integers(0, 10**12, 60)
INTERVALS = pd.Series(pd.cut(X60, 4))
PANDAS = {
    "intervals": INTERVALS,
    "intervals, ordered": INTERVALS.cat.as_ordered(),
    "months": pd.Series(pd.Categorical(pd.period_range("2020-01", periods=4, freq="M").take(np.arange(60) % 4))),
    "days": pd.Series(pd.Categorical(pd.to_datetime(["2020-01-01", "2020-02-01"] * 30))),
    "nanoseconds": pd.Series(pd.to_timedelta(WHOLE)),
}
POLARS = {
    **{f"durations in {u}": pl.Series(WHOLE // 10**3).cast(pl.Duration(u)) for u in ("ns", "us", "ms")},
    "times": pl.Series(WHOLE).cast(pl.Datetime("ns", "Europe/Berlin")),
    "times of day": pl.Series(WHOLE * 80).cast(pl.Time),
    "decimals": pl.Series((X60 * 100).round()).cast(pl.Decimal(10, 2)),
    "categories": pl.Series(list("abc") * 20).cast(pl.Categorical),
    "an enum": pl.Series(list("abc") * 20).cast(pl.Enum(list("abcd"))),
    "single precision": pl.Series(X60).cast(pl.Float32),
}


@pytest.mark.parametrize("name", PANDAS)
def test_types_of_pandas_come_back(name):
    came = PANDAS[name].mask(HOLES)
    frame = pd.DataFrame({"own": came, "x": X60, "kind": list("ab") * 30})
    back = filled(frame)["own"]
    assert back.dtype == came.dtype and not back.isna().any() and (back == came)[~HOLES].all()
    if came.dtype == "category":
        assert VAE(2, **SMALL | {"max_epochs": 1}).fit(frame).reconstruct(frame)["own"].dtype == came.dtype


@pytest.mark.parametrize("kind", [True, False])
@pytest.mark.parametrize("backend", ["polars", "pyarrow"])
@pytest.mark.parametrize("name", POLARS)
def test_types_of_polars_come_back(name, backend, kind):
    own = pl.select(pl.when(pl.Series(~HOLES)).then(POLARS[name])).to_series()
    frame = pl.DataFrame({"own": own, "x": X60} | ({"kind": list("ab") * 30} if kind else {}))
    back = filled(frame if backend == "polars" else frame.to_arrow())
    if backend == "pyarrow":
        assert back.schema.field("own").type == frame.to_arrow().schema.field("own").type
        back = pl.from_arrow(back)
    else:
        assert back["own"].dtype == own.dtype
    assert back["own"].null_count() == 0
    kept = pl.Series(~HOLES)
    if own.dtype in (pl.Categorical, pl.Enum):
        back, own = back.with_columns(pl.col("own").cast(str)), own.cast(str)
    assert back["own"].filter(kept).equals(own.filter(kept))


def test_columns_of_numbers_without_gaps_keep_their_type():
    frame = pd.DataFrame({"whole": WHOLE, "true": WHOLE % 2 == 0, "x": np.where(HOLES, np.nan, X60)})
    frame["single"] = frame["x"].astype("float32")
    for came in (frame, pl.from_pandas(frame)):
        back = filled(came, came)
        assert list(back.dtypes) == list(came.dtypes)
        assert (back["whole"] == came["whole"]).all() and not np.isnan(back["x"].to_numpy()).any()


def test_new_values_of_what_never_varied_stay(tmp_path):
    frame = pd.DataFrame({"ship": "Titanic", "x": X60, "kind": list("ab") * 30, "name": list("AB") * 30})
    new = frame.assign(ship=["Olympic", None] * 30, name=["C", None] * 30)
    back = filled(frame, new)
    assert back["ship"].tolist() == ["Olympic", "Titanic"] * 30 and back["name"].tolist() == ["C", "B"] * 30


@pytest.mark.parametrize("convert", [lambda frame: frame, pl.from_pandas])
def test_ids_of_many_digits_come_back(convert):
    frame = pd.DataFrame({
        "key": 2**60 + np.arange(60) % 20, "unsigned": np.uint64(2**63) + np.arange(60, dtype=np.uint64),
        "x": np.where(HOLES, np.nan, X60), "kind": list("ab") * 30,
    })  # fmt: skip
    new = convert(frame.assign(key=frame["key"] + 100, unsigned=frame["unsigned"] + np.uint64(99)))
    back = filled(convert(frame), new)
    assert list(back.dtypes) == list(new.dtypes)
    assert (back["key"] == new["key"]).all() and (back["unsigned"] == new["unsigned"]).all()


@pytest.mark.parametrize("type_", [pl.Null, pl.Float32, pl.Int8, pl.String, "object"])
def test_columns_without_a_cell_are_filled_whatever_their_type(type_):
    """A column of missing cells alone has the type that its reader happened to give it."""
    days = pd.date_range("2021-01-01", periods=60, freq="25h").strftime("%Y-%m-%d %H:%M:%S").astype(object)
    frame = pd.DataFrame({"day": days.where(~HOLES, None), "x": np.where(HOLES, np.nan, X60), "y": X60[::-1]})
    if type_ == "object":
        empty = [frame.astype({"x": object}).assign(day=None, x=None)]
    else:
        x = pl.Null if type_ == pl.String else type_
        nothing = pl.from_pandas(frame).with_columns(pl.lit(None, type_).alias("day"), pl.lit(None, x).alias("x"))
        empty = [nothing, nothing.to_arrow(), nothing.to_pandas()]
    for new in empty:
        back = filled(frame, new)
        back = back if isinstance(back, pd.DataFrame) else pl.DataFrame(back).to_pandas()
        assert back["day"].str.fullmatch(r"2021-\d\d-\d\d \d\d:\d\d:\d\d").all()
        assert np.isfinite(back["x"].astype(float)).all() and back["y"].tolist() == frame["y"].tolist()


@pytest.mark.parametrize("zone", ["Europe/Berlin", "America/New_York", "Etc/GMT+5", "America/Port-au-Prince"])
@pytest.mark.parametrize("unit", ["us", "ns"])
def test_times_in_every_zone_come_back(zone, unit):
    times = pd.Series(pd.date_range("2020-03-01", periods=60, freq="25h", tz=zone).as_unit(unit))
    frame = pd.DataFrame({"time": times.mask(HOLES), "x": X60, "y": X60[::-1]})
    back = filled(frame)
    assert back["time"].dtype == times.dtype and back["time"].notna().all()
    assert (back["time"][~HOLES] == times[~HOLES]).all()
    objects = filled(frame, frame.assign(time=times.astype(object).where(~HOLES, None)))
    assert (objects["time"][~HOLES] == times[~HOLES]).all() and objects["time"].notna().all()
