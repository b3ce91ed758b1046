"""Weekdays and months in words run in a circle, as they do in numbers."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap import VAE, Columns, load, networks
from latentmap.data.column_kinds import learn_column, learn_table
from latentmap.data.columns import Cells
from latentmap.exceptions import DataError

TINY = networks.MLP((16,))
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
DAYS = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"]
MONTHS = ["Januar", "Februar", "März", "April", "Mai", "Juni", "Juli", "August", "September", "Oktober", "November",
          "Dezember"]  # fmt: skip


def column_of(words, settings=None, times=10):
    return learn_column(Cells("when", np.array(words * times, dtype=object), "String"), settings)


@pytest.mark.parametrize(("words", "kind", "period"), [
    (DAYS, "cyclic", 7), (MONTHS, "cyclic", 12), (DAYS[:5], "cyclic", 7), (["JAN", "MAY", "SEP", "NOV"], "cyclic", 12),
    ([f" {word}" for word in DAYS], "cyclic", 7), (["June", "July", "August"], "ordinal", 0),
    (["Mon", "Sun"], "categorical", 0), (["Mon", "Tue", "oak"], "categorical", 0),
])  # fmt: skip
def test_kinds_of_calendar_words(words, kind, period):
    column = column_of(words[::-1])
    assert (column.kind, column.period) == (kind, period)
    if kind != "categorical":
        assert column.categories == tuple(words)


def test_places_are_those_of_the_calendar():
    column = column_of(["Wed", "Sun", "Tue", "Fri"])
    assert column.categories == ("Tue", "Wed", "Fri", "Sun") and column.places.tolist() == [1, 2, 4, 6]
    cells = Cells("when", np.array(["Sun", "Tue", None], dtype=object), "String")
    numbers = column.encode(cells, "error", "X")
    np.testing.assert_array_equal(numbers, [6, 1, np.nan])
    assert column.decode(np.array([6.4, 0.2, -0.4, 7.6, 13.1])).tolist() == ["Sun", "Tue", "Sun", "Tue", "Sun"]
    np.testing.assert_array_equal(column.within(np.array([-0.8, 3.2])), [6, 4])


def test_words_of_the_own_circle():
    seasons = ["winter", "spring", "summer", "autumn"]
    column = column_of(seasons, {"kind": "cyclic", "categories": seasons})
    assert column.period == 4 and column.decode(np.array([3.8, -1.0])).tolist() == ["winter", "autumn"]
    with pytest.raises(DataError, match="give categories in order"):
        column_of(seasons, {"kind": "cyclic"})


def test_what_follows_from_a_month_follows_from_its_place():
    months = np.random.default_rng(0).choice(MONTHS, 600)
    half = np.where(np.isin(months, MONTHS[3:9]), "summer", "winter")
    cells = [Cells("half", half.astype(object), "String"), Cells("month", months.astype(object), "String"),
             Cells("x", np.arange(600.0))]  # fmt: skip
    table = learn_table(cells)
    assert [one.source for one in table.derived] == ["month"]
    rows = table.within(np.stack([np.array([11.7, 4.2, -0.6, 9.4]), np.zeros(4)], 1))
    made = table.decode(rows)
    assert made["month"].tolist() == ["Januar", "Mai", "Dezember", "Oktober"]
    assert made["half"].tolist() == ["winter", "summer", "winter", "winter"]


@pytest.mark.parametrize("of", [
    lambda f: f, lambda f: f.astype({"day": "category"}), pl.from_pandas,
    lambda f: pl.from_pandas(f).with_columns(pl.col("day").cast(pl.Enum(sorted(DAYS)))),
])  # fmt: skip
def test_the_ends_of_the_week_are_neighbours(of, tmp_path):
    rng = np.random.default_rng(0)
    weekend = rng.random(400) < 0.5
    place = np.where(weekend, rng.integers(5, 9, 400) % 7, rng.integers(2, 4, 400))
    frame = of(pd.DataFrame({"day": np.array(DAYS)[place], "x": np.where(weekend, 3.0, -3.0) + rng.normal(size=400)}))
    vae = VAE(1, encoder=TINY, decoder=TINY, neighbors=None, max_epochs=40, random_state=0).fit(frame)
    assert vae.table_.columns[0].kind == "cyclic"
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    assert again.table_ == vae.table_
    for model in (vae, again):
        back = model.reconstruct(frame)["day"]
        assert back.dtype == frame["day"].dtype
        apart = np.abs((np.array([DAYS.index(day) for day in back]) - place + 3) % 7 - 3)
        assert (apart <= 2).mean() > 0.9
    assert set(vae.sample(50, random_state=0, noise=True)["day"]) <= set(DAYS)
    assert vae.impute(frame)["day"].to_list() == frame["day"].to_list()


def test_a_specification_of_calendar_words_reads_back(tmp_path):
    from latentmap.data.template import template

    cells = [Cells("day", np.array(DAYS[:5] * 10, dtype=object), "String"), Cells("x", np.arange(50.0) / 3)]
    table = learn_table(cells)
    path = tmp_path / "spec.toml"
    path.write_text(template(table, "x.csv"))
    assert learn_table(cells, Columns.read(path).requested).columns == table.columns
