"""Text that stands for dates and numbers: the order that a fit has learned, lists, codes and large numbers."""

import numpy as np
import pandas as pd
import pytest

from latentmap.data.sources import open_source


def opened(way, path, column, spec=None):
    """A column of text beside others, from a file or a frame."""
    frame = pd.DataFrame(
        {
            "d": column,
            "x": np.arange(len(column)) + 0.5,
            "k": ["a", "b", "b"] * (len(column) // 3) + ["a"] * (len(column) % 3),
        }
    )
    if way == "csv":
        frame.to_csv(path, index=False)
        return open_source(path, columns=spec)
    if way == "polars":
        import polars as pl

        return open_source(pl.from_pandas(frame), columns=spec)
    return open_source(frame, columns=spec)


def cells_of(source, name="d"):
    return next(one for one in source.cells if one.name == name)


@pytest.mark.parametrize("way", ["csv", "pandas", "polars"])
def test_the_learned_order_of_day_and_month_outlasts_a_typing_error(way, tmp_path):
    days = pd.date_range("2024-01-01", periods=40)
    table = opened(way, tmp_path / "a.csv", days.strftime("%d/%m/%Y").tolist()).table
    source = opened(way, tmp_path / "b.csv", ["02/03/2024"] * 20 + ["01/13/2024"], table)
    second_of_march = (pd.Timestamp("2024-03-02") - pd.Timestamp(0)).days
    np.testing.assert_array_equal(source.read(slice(None))[:, 0], [second_of_march] * 20 + [np.nan])
    assert "'01/13/2024'" in source.remark and "missing" in source.remark


def test_an_order_that_a_fit_has_not_learned_is_that_of_the_new_data(tmp_path):
    days = pd.date_range("2024-01-01", periods=40)
    table = opened("csv", tmp_path / "a.csv", days.strftime("%Y-%m-%d").tolist()).table
    source = opened("csv", tmp_path / "b.csv", ["02/03/2024", "13/03/2024"] * 3, table)
    assert source.read(slice(None))[:2, 0].tolist() == [
        (pd.Timestamp(d) - pd.Timestamp(0)).days for d in ("2024-03-02", "2024-03-13")
    ]


@pytest.mark.parametrize("way", ["csv", "pandas", "polars"])
@pytest.mark.parametrize("form", ["{}.5e24", "{}.13e24", "{}.2e+20", "${},000,000,000,000.50"])
def test_large_numbers_in_text_come_back_as_they_are(way, form, tmp_path):
    source = opened(way, tmp_path / "x.csv", [form.format(1 + i % 7) for i in range(70)])
    column = source.table.columns[0]
    values = source.read(slice(None))[:, 0]
    assert column.kind in ("real", "ordinal") and column.type == "Float64"
    np.testing.assert_array_equal(source.table.decode(source.read(slice(None)))["d"].astype(float), values)
    assert values.max() > 7e12


@pytest.mark.parametrize("way", ["csv", "pandas", "polars"])
@pytest.mark.parametrize("length", [3, 4, 5, 10, 40])
def test_lists_are_no_thousands(way, length, tmp_path):
    lists = [",".join(str(290 + i + 2 * j) for j in range(length)) for i in range(40)] * 2
    source = opened(way, tmp_path / "x.csv", lists)
    assert source.table.names == ["x", "k"] or source.table.columns[0].categories
    assert cells_of(source).values[0] == lists[0]


def test_thousands_are_no_lists(tmp_path):
    numbers = [1_234_567 * i**2 for i in range(1, 60)]
    source = opened("csv", tmp_path / "x.csv", [f"{n:,}" for n in numbers])
    assert cells_of(source).values.tolist() == numbers
    one_list = [*(f"{n:,}" for n in numbers), "290,291,292,293,294,295,296"]
    np.testing.assert_array_equal(cells_of(opened("csv", tmp_path / "y.csv", one_list)).values, [*numbers, np.nan])


@pytest.mark.parametrize("way", ["csv", "pandas", "polars"])
@pytest.mark.parametrize("whole", [1, 60])
def test_a_long_whole_number_among_decimals_is_one(way, whole, tmp_path):
    column = [f"{0.5 + 0.37 * i:.2f}" for i in range(200)] + [f"{24298830 + i}000000000000" for i in range(whole)]
    values = cells_of(opened(way, tmp_path / "x.csv", column)).values
    np.testing.assert_array_equal(values, list(map(float, column)))
    codes = ["24298830000000000000", *(str(12345678901234567000 + 37 * i) for i in range(60))]
    assert cells_of(opened(way, tmp_path / "y.csv", codes)).values[0] == "24298830000000000000"


@pytest.mark.parametrize("way", ["csv", "pandas", "polars"])
def test_a_no_break_space_is_text_and_missing_among_numbers(way, tmp_path):
    source = opened(way, tmp_path / "x.csv", [",", "\u00a0", ".", ""] * 20)
    assert cells_of(source).values[:4].tolist() == [",", "\u00a0", ".", None]
    numbers = opened(way, tmp_path / "y.csv", ["0.5", "\u00a0", "1.5", ""] * 20)
    np.testing.assert_array_equal(cells_of(numbers).values[:4], [0.5, np.nan, 1.5, np.nan])


@pytest.mark.parametrize(
    "form", ["$({:,.2f})", "$ ({:,.2f})", "({:,.2f}) €", "({:.1f})%", "USD ({:,.2f})", "(${:,.2f})"]
)
@pytest.mark.parametrize("way", ["csv", "pandas", "polars"])
def test_negative_amounts_in_parentheses_behind_or_before_their_currency(way, form, tmp_path):
    amounts = [(37.5 * i + 0.5) * (-1) ** i for i in range(60)]
    column = [form.format(abs(x)) if x < 0 else form.replace("(", "").replace(")", "").format(x) for x in amounts]
    frame = opened(way, tmp_path / "x.csv", column)
    values = cells_of(frame).values
    assert values.tolist() == amounts
    assert frame.table.columns[0].write(values).tolist() == column
    table, few = frame.table, opened(way, tmp_path / "y.csv", column[:3], frame.table)
    assert few.table == table and few.read(slice(None))[:, 0].tolist() == amounts[:3]
