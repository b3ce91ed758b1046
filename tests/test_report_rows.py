"""A report knows which of its rows the model was trained on, and which it held out."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits

from latentmap import VAE
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.sampling import split_rows
from latentmap.estimators.columns import numbers
from latentmap.exceptions import DataError
from latentmap.report import ReportRows, write_report

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS = load_digits()
QUICK = {"max_epochs": 1, "neighbors": None, "random_state": 0}


@pytest.fixture(scope="module")
def vae():
    return VAE(2, **QUICK).fit(DIGITS.images[:300])


def kinds(rows):
    return {kind: int((rows.kinds == kind).sum()) for kind in np.unique(rows.kinds)}


def test_rows_of_the_fit_are_known_as_trained_on_or_held_out(vae):
    rows = ReportRows.of(vae, DIGITS.images[:300])
    assert kinds(rows) == {"training": 270, "held-out": 30} and rows.whole
    np.testing.assert_array_equal(rows.measured, split_rows(300, 0.1, 0)[1])  # those that the fit held out
    assert str(rows) == "300 rows of the fit, 270 trained on and 30 held out"
    assert kinds(ReportRows.of(vae, DIGITS.data[:300])) == kinds(rows)  # images may come flat


@pytest.mark.parametrize("X", [DIGITS.images[300:600], DIGITS.images[:300][::-1], DIGITS.images[:300] + 0.1])
def test_other_rows_are_new(vae, X):
    rows = ReportRows.of(vae, X)
    assert kinds(rows) == {"new": 300} and not rows.whole and str(rows) == "300 new rows"


def test_rows_of_the_fit_are_found_among_others_where_they_are_pointed_at(vae):
    mixed = np.concatenate([DIGITS.images[500:510], DIGITS.images[:300]])
    rows = ReportRows.of(vae, mixed, np.arange(10, 310))
    assert kinds(rows) == {"new": 10, "training": 270, "held-out": 30} and rows.measured.tolist() == list(range(10))
    assert "10 new rows" in str(rows) and "270 trained on" in str(rows)
    assert kinds(ReportRows.of(vae, mixed, np.arange(300))) == {"unknown": 310}  # the wrong ones are not believed


def test_nothing_is_said_of_rows_that_came_before_the_last_piece():
    vae = VAE(2, **QUICK)
    for start in (0, 100):
        vae.partial_fit(DIGITS.data[start : start + 100])
    assert kinds(ReportRows.of(vae, DIGITS.data[:200])) == {"unknown": 200}
    assert kinds(ReportRows.of(vae, DIGITS.data[100:200])) == {"training": 100}
    warm = VAE(2, warm_start=True, **QUICK).fit(DIGITS.data[:100]).fit(DIGITS.data[100:200])
    assert kinds(ReportRows.of(warm, DIGITS.data[:100])) == {"unknown": 100}


def test_rows_of_a_table_are_known_as_cells_and_as_numbers():
    table = pd.DataFrame({"size": np.arange(60.0), "kind": ["elm", "oak", None] * 20})
    vae = VAE(1, **QUICK).fit(table)
    assert kinds(ReportRows.of(vae, table)) == {"training": 54, "held-out": 6}
    assert kinds(ReportRows.of(*numbers(vae, table))) == {"training": 54, "held-out": 6}


def test_nothing_is_held_out_of_few_rows_or_without_early_stopping():
    for more, n in (({}, 10), ({"early_stopping": False}, 100)):
        vae = VAE(1, **QUICK | more).fit(DIGITS.data[:n])
        assert kinds(ReportRows.of(vae, DIGITS.data[:n])) == {"training": n}
        assert "all trained on" in str(ReportRows.of(vae, DIGITS.data[:n]))


def test_a_sample_of_the_rows_keeps_its_kinds(vae):
    whole = ReportRows.of_fit(vae, ArraySource(DIGITS.images[:300]))
    some = whole.take(np.arange(0, 300, 3))
    assert len(some.kinds) == 100 and not some.whole and (some.trained, some.held_out) == (270, 30)


def test_kinds_of_another_number_of_rows_are_refused(vae, tmp_path):
    rows = ReportRows.of(vae, DIGITS.images[:20])
    with pytest.raises(DataError, match=r"20 kinds, expected one for each of the 9 rows"):
        write_report(vae, DIGITS.images[:9], folder=tmp_path, rows=rows)
