"""Aligned maps: linked rows of several tables lie together, and links that cannot hold are named."""

import warnings

import numpy as np
import pandas as pd
import pytest
from scipy import sparse
from sklearn.datasets import load_digits, make_blobs
from sklearn.neighbors import KNeighborsClassifier, NearestNeighbors

from latentmap import VAE, fit_aligned
from latentmap.estimators.anchor import Matches
from latentmap.estimators.matching import by_columns
from latentmap.exceptions import DataError, DiagnosisWarning, PartError, UnderfitWarning

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
        ({"shared": "s0"}, DataError, "names or indices of columns, as"),
        ({"shared": []}, DataError, "names or indices of columns, as"),
        ({"shared": ["s0"]}, DataError, "table 0 is no data frame"),
        ({"shared": [[0], [0, 1]]}, DataError, "for each of the 2 tables, got 1, 2"),
        ({"shared": [[0]]}, DataError, "for each of the 2 tables, got 1"),
        ({"shared": [[9], [0]]}, DataError, "table 0 has no column"),
        ({"shared": [[0], [0]], "links": [[0, 0]]}, PartError, "give one of them"),
    ],
)
def test_shared_columns_that_cannot_be(options, error, message):
    with pytest.raises(error, match=message):
        fit_aligned([LEFT, RIGHT], **options)


def test_shared_columns_that_link_nothing():
    with pytest.raises(
        DataError,
        match="0 of 400 rows of tables 0 and 1 are alike in the shared columns, and 10 are needed; the medians of",
    ):
        fit_aligned([X, X[::-1] + 1e3], shared=[range(8)] * 2)
    frames = [pd.DataFrame({"a": ["x", "y"] * 20, "b": range(40)}) for _ in range(2)]
    with pytest.raises(DataError, match="shared column 'a' of table 0 is to hold numbers"):
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
        ([LEFT, RIGHT, LEFT], [[[0, 0]]], "in a list of 2, one for each further table, got 1"),
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


def test_links_of_columns_that_say_little_are_not_pinned_and_a_warning_says_so():
    noise = np.random.default_rng(2).normal(size=(400, 2))
    tables = np.c_[noise, X][:200], np.c_[noise[::-1], X][200:]
    with pytest.warns(DiagnosisWarning, match=r"only .* of 200 links .* say little of the others; share more"):
        second = fit_aligned(tables, shared=[0, 1], **QUICK)[1]
    assert "linked rows near the places of their partners" in second.choices_["anchor"]


def test_links_that_disagree_with_those_of_rows_like_them_are_left_out():
    first, second = X[::2], X[1::2]
    left = VAE(2, max_epochs=30, random_state=0).fit(first)
    near = NearestNeighbors(n_neighbors=1).fit(first).kneighbors(second)[1][:, 0]
    codes = left.transform(first)[near]
    wrong = np.arange(0, 200, 5)
    codes[wrong] = codes[np.roll(wrong, 7)]
    off = np.linalg.norm(codes[wrong] - left.transform(first)[near[wrong]], axis=1) > 0.7 * codes.std()
    right = VAE(2, max_epochs=30, random_state=0, anchor=Matches(np.arange(200), codes)).fit(second)
    placed = np.linalg.norm(right.transform(second) - codes, axis=1)
    assert np.median(placed[wrong][off]) > 0.5 and np.median(np.delete(placed, wrong)) < 1e-6
    pinned = VAE(2, max_epochs=1, random_state=0, anchor=(np.arange(200), codes)).fit(second)
    assert np.abs(pinned.transform(second) - codes).max() < 1e-6, "control: what the user chose stays"


def test_other_offsets_of_a_table_are_named():
    shifted = X[200:] + np.r_[np.zeros(3), 3 * X.std(0)[3:4], np.zeros(4)]
    tables = pd.DataFrame(X[:200]).add_prefix("c"), pd.DataFrame(shifted).add_prefix("c")
    with pytest.raises(DataError, match="the medians of column 'c3' differ most"):
        fit_aligned(tables, shared=list(tables[0]))
    with pytest.warns(DiagnosisWarning, match="only .* alike in the shared columns, so that the maps may not agree"):
        by_columns([X[:200, :3], np.r_[X[:15, :3], X[200:385, :3] + 8]], [0, 1, 2])


def test_shared_columns_are_named_in_many_ways():
    frames = pd.DataFrame(LEFT[:200]), pd.DataFrame(LEFT[150:])
    expected = by_columns([frames[0].to_numpy(), frames[1].to_numpy()], [[1, 2, 3]] * 2)[0]
    mask = np.isin(np.arange(5), [1, 2, 3])
    named = [frame.add_prefix("c") for frame in frames]
    for tables, shared in (
        (frames, [1, 2, 3]),
        (frames, [[1, 2, 3], [1, 2, 3]]),
        (frames, np.array([1, 2, 3])),
        (frames, [mask, mask]),
        (named, pd.Index(["c1", "c2", "c3"])),
        (named, [["c1", "c2", "c3"], [1, 2, 3]]),
        (named, [[1, 2, 3], mask]),
        ([sparse.csr_array(frame) for frame in frames], [1, 2, 3]),
        ([named[0], sparse.coo_array(frames[1].to_numpy())], [["c1", "c2", "c3"], [1, 2, 3]]),
    ):
        np.testing.assert_array_equal(by_columns(tables, shared)[0], expected)


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (["a", "text"], "shared column 'text' of table 0 is to hold numbers"),
        (["a", "empty"], "shared column 'empty' of table 0 holds no number at all"),
        (["a", "far"], "shared column 'far' of table 0 has infinite values"),
        (["a", "a"], "shared names column 'a' of table 0 twice"),
        ([["a"], [None]], "got None among those of one"),
        ([["a"], "a"], "got 'a' for one"),
    ],
)
def test_shared_columns_that_cannot_serve_are_named(shared, message):
    frame = pd.DataFrame({"a": np.arange(40.0), "text": ["86.0%", "x"] * 20, "empty": np.nan, "far": [np.inf, 1] * 20})
    with pytest.raises(DataError, match=message):
        fit_aligned([frame, frame], shared=shared)


@pytest.mark.parametrize("links", [3, {"a": 1}, [[0, 1], [2]], np.ma.masked_less(np.arange(6).reshape(3, 2), 1)])
def test_links_of_other_kinds_are_refused(links):
    with pytest.raises(DataError, match=r"links takes pairs of rows \(n, 2\)"):
        fit_aligned([LEFT, RIGHT], links)


def test_missing_names_link_nothing():
    names = [None, np.nan, *range(398)]
    left, right = (pd.DataFrame(X).add_prefix("c").assign(id=pd.Series(names, dtype=object)) for _ in range(2))
    indices = fit_aligned([left, right], "id", **QUICK)[1].anchor[0]
    assert indices.tolist() == list(range(2, 400))
    right.loc[:5, "id"] = pd.NA
    assert len(fit_aligned([left, right], "id", **QUICK)[1].anchor[0]) == 394


def test_the_default_index_of_tables_of_other_lengths_names_no_rows():
    with pytest.raises(DataError, match="200 and 400 rows and the default index, which does not name them"):
        fit_aligned([pd.DataFrame(LEFT[:200]), pd.DataFrame(RIGHT)])
    with pytest.raises(PartError, match="the same n_components: give a number"):
        fit_aligned([LEFT, RIGHT], [[0, 0]], n_components="auto")


def test_equal_rows_that_are_linked_to_several_take_their_median():
    """As answers of a short questionnaire, of which many are alike."""
    X = load_digits().data[:300]
    left, right = X[:, :40], (X[:, 24:31] > 8).astype(float)
    _, groups, counts = np.unique(right, axis=0, return_inverse=True, return_counts=True)
    assert counts.max() > 5
    links = np.arange(300)[:, None].repeat(2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        first, second = fit_aligned([left, right], links, max_epochs=2, random_state=0)
    partners, found = first.transform(left), second.transform(right)
    for group in range(len(counts)):
        median = np.median(partners[groups == group], axis=0)
        np.testing.assert_allclose(found[groups == group], np.tile(median, (counts[group], 1)), atol=1e-5)


def test_links_that_put_rows_where_those_like_them_are_not_are_warned_of():
    """As those of tables that were sorted otherwise."""
    links = np.arange(400)[:, None].repeat(2, 1)
    with warnings.catch_warnings():
        warnings.simplefilter("error", DiagnosisWarning)
        warnings.filterwarnings("ignore", category=UnderfitWarning)
        fit_aligned([LEFT, RIGHT], links, **QUICK)
    links[:, 1] = np.random.default_rng(0).permutation(400)
    with pytest.warns(DiagnosisWarning, match="the links put most rows where those of rows like them are not"):
        fit_aligned([LEFT, RIGHT], links, **QUICK)
