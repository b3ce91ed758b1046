"""Text that stands for dates and numbers: the order that a fit has learned, lists, codes and large numbers."""

import numpy as np
import pandas as pd
import pytest

from latentmap.data.sources import open_source


def opened(way, path, column, spec=None):
    """A column of text with one of numbers beside it, from a file or a frame."""
    frame = pd.DataFrame({"d": column, "x": np.arange(len(column)) + 0.5})
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
    assert source.read(slice(None))[:2, 0].tolist() == [(pd.Timestamp(d) - pd.Timestamp(0)).days for d in ("2024-03-02", "2024-03-13")]
