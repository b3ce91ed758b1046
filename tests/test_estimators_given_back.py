"""Cells that were there come back as they were, whatever new data hold, and the others in the type of their column."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap import VAE, networks
from latentmap.cli import main

TINY = networks.MLP((16,))
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
N = 60


def fitted(frame, **settings):
    return VAE(1, encoder=TINY, decoder=TINY, neighbors=None, max_epochs=2, random_state=0, **settings).fit(frame)


def measures(seed=0, n=N):
    rng = np.random.default_rng(seed)
    frame = pd.DataFrame({"x": rng.normal(size=n).round(2), "c": rng.choice(["a", "b"], n)})
    frame.loc[::7, "x"] = None
    return frame


@pytest.fixture(scope="module")
def payments():
    frame = measures().assign(paid="paid", agreed="yes", port=lambda f: np.where(f["x"] > 0, "S", "C"))
    return frame.assign(town=frame["port"].map({"S": "Southampton", "C": "Cherbourg"}))


NEW = pd.DataFrame({
    "x": [None, 1.5, 0.5], "c": [None, "a", "b"],
    "paid": ["refunded", "chargeback", None], "agreed": ["no", "yes", None],
    "port": ["S", "C", "S"], "town": ["Plymouth", "Belfast", None],
})  # fmt: skip
KEPT = {"paid": ["refunded", "chargeback", "paid"], "agreed": ["no", "yes", "yes"], "town": ["Plymouth", "Belfast",
        "Southampton"]}  # fmt: skip


@pytest.mark.parametrize("of", [lambda f: f, lambda f: f.astype({"paid": "category"}), pl.from_pandas])
def test_new_values_of_constants_and_of_what_follows_stay(of, payments):
    filled = fitted(of(payments)).impute(of(NEW))
    assert {name: list(filled[name]) for name in KEPT} == KEPT


RATING = np.random.default_rng(1).integers(1, 6, N).tolist()


@pytest.fixture(scope="module")
def run(payments, tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    frame = payments.assign(key=[f"k{i}" for i in range(N)], stars=pd.Series(RATING, dtype=object))
    frame.loc[::5, "stars"] = None
    frame.to_csv(folder / "a.csv", index=False)
    small = [f"--set={name}={value}" for name, value in {"max_epochs": 1, "encoder": "MLP(hidden=(16,))"}.items()]
    assert main(["fit", str(folder / "a.csv"), "-o", str(folder / "run"), "--id", "key", *small]) == 0
    return folder


def table_of(path):
    match path.suffix:
        case ".jsonl":
            return pd.DataFrame([json.loads(line) for line in path.read_text().splitlines()])
        case ".parquet":
            return pd.read_parquet(path)
        case ".xlsx":
            return pd.read_excel(path)
    return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",")


@pytest.mark.parametrize("end", [".csv", ".tsv", ".parquet", ".jsonl", ".xlsx"])
def test_files_hold_cells_of_one_type_in_a_column(run, end, tmp_path):
    assert main(["impute", str(run / "run"), "-o", str(tmp_path / f"o{end}")]) == 0
    filled = table_of(tmp_path / f"o{end}")
    assert {type(value) for value in filled["stars"].tolist()} == {int}
    assert [v for i, v in enumerate(filled["stars"]) if i % 5] == [v for i, v in enumerate(RATING) if i % 5]
    NEW.assign(key=["p", "q", "r"], stars=[1, None, 3]).to_csv(tmp_path / "b.csv", index=False)
    assert main(["impute", str(run / "run"), str(tmp_path / "b.csv"), "-o", str(tmp_path / f"n{end}")]) == 0
    filled = table_of(tmp_path / f"n{end}")
    assert {name: filled[name].tolist() for name in KEPT} == KEPT
    for command in (["sample", "-n", "3"], ["transform"], ["score"]):
        assert main([command[0], str(run / "run"), *command[1:], "-o", str(tmp_path / f"{command[0]}{end}")]) == 0


@pytest.mark.parametrize("of", [lambda f: f, pl.from_pandas, lambda f: pl.from_pandas(f).to_arrow()])
def test_rare_codes_of_numbers_are_missing_and_not_words(of):
    frame = measures(n=600).assign(zipcode=np.random.default_rng(2).integers(100, 1000, 600))
    frame["zipcode"] = frame["zipcode"].where(frame.index % 9 > 0)
    vae = fitted(of(frame))
    assert vae.table_.columns[2].other == "other"
    for made in (vae.sample(20, noise=True, random_state=0), vae.impute(of(frame))):
        codes = pd.DataFrame({"code": made["zipcode"].to_numpy()})["code"]
        assert codes.dtype.kind in "if" and codes.min() >= 100


def test_durations_are_never_negative():
    spans = pd.to_timedelta(np.random.default_rng(0).exponential(5, N), unit="s")
    drawn = fitted(measures().assign(span=spans)).sample(500, noise=True, random_state=0)
    assert drawn["span"].min() >= pd.Timedelta(0) and drawn["span"].max() > pd.Timedelta(seconds=1)


def test_decimals_of_text_are_filled_with_as_many():
    cells = [f"{v:.2f}" if i % 6 else "-" for i, v in enumerate(np.random.default_rng(0).normal(size=N))]
    filled = fitted(measures().assign(t=cells)).impute(measures().assign(t=cells))["t"]
    assert max(map(len, filled)) <= 5 and [a for a, b in zip(filled, cells) if b != "-"] == [
        b for b in cells if b != "-"
    ]


SEXES = pd.Series([" Male", " Female", " Male", "Other ", " Male", " Female"] * 10)


@pytest.mark.parametrize("of", [lambda f: f, pl.from_pandas, lambda f: pl.from_pandas(f).to_arrow()])
@pytest.mark.parametrize("dtype", ["object", "category", "string"])
def test_blanks_around_categories_come_back(of, dtype):
    own = SEXES.astype(dtype).mask(np.arange(N) % 7 == 3)
    frame = of(measures().assign(sex=own))
    model = fitted(frame)
    back = model.impute(frame)["sex"]
    filled = pd.Series(back.to_pylist() if hasattr(back, "to_pylist") else back.to_list())
    assert (filled == own.astype(object))[own.notna()].all() and set(filled) == set(SEXES)
    assert set(map(str, pd.Series(model.sample(50, noise=True, random_state=0)["sex"]))) <= set(SEXES)
    bare = of(measures().assign(sex=own.astype(object).str.strip().astype(dtype)))
    np.testing.assert_array_equal(model.transform(bare), model.transform(frame))


def test_blanks_around_categories_come_back_in_files(tmp_path):
    own = SEXES.mask(np.arange(N) % 7 == 3)
    measures().assign(sex=own).to_csv(tmp_path / "a.csv", index=False)
    small = ["--set=max_epochs=1", "--set=encoder=MLP(hidden=(16,))"]
    assert main(["fit", str(tmp_path / "a.csv"), "-o", str(tmp_path / "run"), *small]) == 0
    for command in (["impute"], ["sample", "-n", "9"]):
        assert main([command[0], str(tmp_path / "run"), *command[1:], "-o", str(tmp_path / "o.csv")]) == 0
        made = pd.read_csv(tmp_path / "o.csv")["sex"]
        assert set(made) <= set(SEXES) and (command[0] != "impute" or (made == own)[own.notna()].all())
