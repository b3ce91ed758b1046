"""Aligned maps: linked rows of several tables lie together, and links that cannot hold are named."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_blobs
from sklearn.neighbors import KNeighborsClassifier

from latentmap import VAE, fit_aligned
from latentmap.estimators.links import by_columns
from latentmap.exceptions import DataError, PartError

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.UnderfitWarning")  # few epochs
X, GROUP = make_blobs(400, centers=6 * np.random.default_rng(0).normal(size=(4, 8)), random_state=0)
LEFT, RIGHT = X[:, :5], 100 * X[:, 3:]
LINKED = np.arange(150)
QUICK = {"max_epochs": 1, "random_state": 0}


def test_linked_rows_lie_together_and_others_join_them():
    options = {"max_epochs": 50, "random_state": 0}
    links = np.column_stack([LINKED, LINKED])
    left, right = fit_aligned([LEFT, RIGHT], links, **options)
    one, two = left.transform(LEFT), right.transform(RIGHT)
    distance = np.linalg.norm(one - two, axis=1) / np.sqrt(one.var(0).sum())
    assert np.median(distance[LINKED]) < 0.1 and np.median(distance[len(LINKED) :]) < 0.3
    alone = VAE(2, **options).fit(RIGHT).transform(RIGHT)
    apart = np.linalg.norm(one - alone, axis=1) / np.sqrt(one.var(0).sum())
    assert np.median(apart) > 0.5, "control"
    assert KNeighborsClassifier(10).fit(one, GROUP).score(two, GROUP) > 0.95
    separate = KNeighborsClassifier(10).fit(alone, GROUP).score(alone, GROUP)
    assert KNeighborsClassifier(10).fit(two, GROUP).score(two, GROUP) > separate - 0.02


def test_tables_of_other_rows_are_linked_by_columns_that_they_share():
    options = {"max_epochs": 50, "random_state": 0}
    which = np.random.default_rng(1).permutation(400)
    first, second = which[:220], which[180:]  # forty rows are in both
    tables, shared = [X[first][:, :6], 3 * X[second][:, 2:]], [[2, 3, 4, 5], [0, 1, 2, 3]]
    tables[1][:, :4] /= 3
    left, right = fit_aligned(tables, shared=shared, **options)
    one, two = left.transform(tables[0]), right.transform(tables[1])
    assert KNeighborsClassifier(10).fit(one, GROUP[first]).score(two, GROUP[second]) > 0.9
    alone = VAE(2, **options).fit(tables[1]).transform(tables[1])
    apart = [np.median(np.linalg.norm(one[180:] - Z[:40], axis=1)) for Z in (two, alone)]  # of the rows in both
    assert apart[0] < 0.3 and 2 * apart[0] < apart[1], (apart, "control")
    frames = [pd.DataFrame(table).add_prefix("ab"[number]) for number, table in enumerate(tables)]
    for frame, columns in zip(frames, shared, strict=True):
        frame.rename(columns={frame.columns[c]: f"s{i}" for i, c in enumerate(columns)}, inplace=True)
    named = fit_aligned(frames, shared=["s0", "s1", "s2", "s3"], **QUICK)[1].anchor[0]
    np.testing.assert_array_equal(named, fit_aligned(tables, shared=shared, **QUICK)[1].anchor[0])


def test_links_by_columns_are_those_of_equal_rows_whatever_offset_units_and_missing_cells():
    for offset, unit in ((0.0, 1.0), (1e6, 1e-3), (-1e9, 1e5)):
        a, b = offset + unit * X[:250], offset + unit * X[150:]
        a[200, 0] = np.nan
        pairs = by_columns([a, b], [range(8)] * 2)[0]
        equal = {(int(row), int(row) - 150) for row in range(150, 250) if row != 200}
        assert equal <= {(int(row), int(other)) for row, other in pairs} and 200 not in pairs[:, 0]
        assert len(set(pairs[:, 1].tolist())) == len(pairs)


def test_rows_of_a_group_that_the_other_table_does_not_have_are_not_linked():
    here, there = X[GROUP < 3], X[GROUP != 1]
    pairs = by_columns([here, there], [range(8)] * 2)[0]
    groups = GROUP[GROUP < 3][pairs[:, 0]], GROUP[GROUP != 1][pairs[:, 1]]
    np.testing.assert_array_equal(*groups)
    assert set(groups[0].tolist()) == {0, 2}


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"shared": "s0"}, DataError, "names of columns, as"),
        ({"shared": []}, DataError, "names of columns, as"),
        ({"shared": ["s0"]}, DataError, "table 0 is no data frame"),
        ({"shared": [[0], [0, 1]]}, DataError, "lists of 1, 2"),
        ({"shared": [[0]]}, DataError, "for each of the 2 tables"),
        ({"shared": [[9], [0]]}, DataError, "table 0 has no column"),
        ({"shared": [[0], [0]], "links": [[0, 0]]}, PartError, "give one of them"),
    ],
)
def test_shared_columns_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        fit_aligned([LEFT, RIGHT], **options)


def test_shared_columns_that_link_nothing():
    with pytest.raises(DataError, match="rows of tables 0 and 1 are alike in the shared columns, of 10"):
        fit_aligned([X, X[::-1] + 1e3], shared=[range(8)] * 2)
    frames = [pd.DataFrame({"a": ["x", "y"] * 20, "b": range(40)}) for _ in range(2)]
    with pytest.raises(DataError, match="shared columns of table 0 are to be numbers"):
        fit_aligned(frames, shared=["a"])
    with pytest.raises(DataError, match="table 0 has no column 'c'"):
        fit_aligned(frames, shared=["c"])


def test_frames_are_linked_by_index_or_column():
    left = pd.DataFrame(LEFT[:200]).add_prefix("a")
    right = pd.DataFrame(RIGHT[100:], index=range(100, 400)).add_prefix("b")
    for tables, links in (
        ([left, right], None),
        ([left.assign(name=left.index), right.assign(name=right.index)], "name"),
    ):
        fits = fit_aligned(tables, links, **QUICK)
        assert [fit.n_features_in_ for fit in fits] == [5, 5]
        indices, codes = fits[1].anchor
        assert indices.tolist() == list(range(100))
        np.testing.assert_allclose(codes, fits[0].transform(left)[100:200])


def test_three_tables_and_estimators_of_their_own():
    pair = np.column_stack([LINKED, LINKED])
    own = [VAE(2, neighbors=k, **QUICK) for k in (5, 6, 7)]
    fits = fit_aligned([LEFT, RIGHT, LEFT], [pair, pair], estimators=own)
    assert [fit.neighbors for fit in fits] == [5, 6, 7] and own[1].anchor is None


@pytest.mark.parametrize(
    ("tables", "links", "message"),
    [
        ([LEFT], [[0, 0]], "two tables or more"),
        ([LEFT, RIGHT], [[0, 400]], "row 400 of table 1, which has rows 0 to 399"),
        ([LEFT, RIGHT], [[-1, 0]], "row -1 of table 0"),
        ([LEFT, RIGHT], [[0, 7], [3, 7]], "contradict: row 7 of table 1 is linked to rows 0 and 3 of table 0"),
        ([LEFT, RIGHT], [[0.0, 1.0]], "whole numbers"),
        ([LEFT, RIGHT], np.zeros((0, 2), int), "whole numbers"),
        ([LEFT, RIGHT, LEFT], [[[0, 0]]], "3 tables have 2 arrays of links"),
        ([LEFT, RIGHT], None, "table 0 is no data frame"),
        ([pd.DataFrame(LEFT), pd.DataFrame(RIGHT)], "id", "table 0 has no column 'id'"),
        ([pd.DataFrame(LEFT), pd.DataFrame(RIGHT, index=range(900, 1300))], None, "share no row name"),
        ([pd.DataFrame(LEFT), pd.DataFrame(RIGHT, index=[0] * 400)], None, "two rows 0"),
    ],
)
def test_links_that_cannot_hold_are_named(tables, links, message):
    with pytest.raises(DataError, match=message):
        fit_aligned(tables, links, **QUICK)


def test_estimators_must_suit_the_tables():
    pair = [[0, 0]]
    with pytest.raises(PartError, match="a VAE for each of the 2 tables"):
        fit_aligned([LEFT, RIGHT], pair, estimators=[VAE()])
    with pytest.raises(PartError, match="same n_components"):
        fit_aligned([LEFT, RIGHT], pair, estimators=[VAE(2), VAE(3)])
    with pytest.raises(PartError, match="set max_epochs there"):
        fit_aligned([LEFT, RIGHT], pair, estimators=[VAE(), VAE()], max_epochs=2)
