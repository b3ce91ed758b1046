"""Anchors: old rows stay on a map that grows, new ones find room, and what cannot be kept is refused."""

import copy
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer, make_blobs

import latentmap
from latentmap import VAE, Autoencoder
from latentmap.estimators.anchor import decoding_costs, oddness
from latentmap.evaluation.drift import drift
from latentmap.exceptions import DataError, DiagnosisWarning, ModelError, PartError

CENTRES = 6 * np.random.default_rng(0).normal(size=(4, 6))
X, GROUP = make_blobs([100, 100, 100, 100], centers=CENTRES, random_state=0)
OLD = np.flatnonzero(GROUP < 3)
"""Rows of the first fit: three of four groups."""


def spread(Z):
    return np.sqrt(Z.var(0).sum())


def moved(earlier, later, rows=X[OLD]):
    before = earlier.transform(rows)
    return np.median(np.linalg.norm(later.transform(rows) - before, axis=1)) / spread(before)


@pytest.fixture(scope="module")
def earlier():
    return VAE(2, max_epochs=25, random_state=0).fit(X[OLD])


@pytest.fixture(scope="module")
def later(earlier):
    return VAE(2, anchor=earlier, max_epochs=25, random_state=1).fit(X)


def test_old_rows_stay_and_a_new_group_finds_room(earlier, later):
    anew = VAE(2, max_epochs=25, random_state=1).fit(X)
    assert moved(earlier, later) < 0.03 < moved(earlier, anew)
    Z = later.transform(X)
    centres = np.array([Z[GROUP == group].mean(0) for group in range(4)])
    near = np.linalg.norm(Z[:, None] - centres, axis=-1).argmin(1)
    assert (near == GROUP).mean() > 0.97, "the new group lies apart from the others"
    assert later.choices_["anchor"].endswith("as they are like those of the earlier fit (given)")


def test_rows_that_stay_have_the_very_places_of_before(earlier, later):
    still = (later.transform(X[OLD]) == earlier.transform(X[OLD])).all(1)
    assert still.mean() > 0.8
    chosen = np.arange(50), earlier.transform(X[OLD])[:50] + [1.0, 0.0]
    given = VAE(2, anchor=chosen, max_epochs=25, random_state=1).fit(X[OLD])
    off = np.linalg.norm(given.transform(X[OLD])[:50] - chosen[1], axis=1)
    assert (off == 0).mean() > 0.8, "rows lie at the given codes"


def test_pieces_keep_the_places_of_known_rows_and_find_some_for_others(earlier):
    stream = VAE(2, anchor=earlier, random_state=1).partial_fit(X[GROUP == 3]).partial_fit(X[:50])
    np.testing.assert_array_equal(stream.transform(X[OLD]), earlier.transform(X[OLD]))
    assert "placed" in stream.choices_["neighbors"]
    new = X[GROUP == 3]
    np.testing.assert_allclose(stream.transform(new), stream.posterior(new)[0], atol=1e-6)
    assert np.abs(earlier.transform(new) - earlier.posterior(new)[0]).max() > 0.1, "control: a whole fit places them"


def test_rows_unlike_those_of_a_fit_are_found(earlier):
    unusual, odd = oddness(earlier.state_, X)
    assert (odd[GROUP == 3] >= 0.3).mean() > 0.95 and (odd[GROUP < 3] >= 0.3).mean() < 0.1
    own = decoding_costs(earlier.state_, X[OLD])
    assert np.quantile(own, 0.8) < earlier.state_.usual_cost < np.quantile(own, 0.99)
    assert [len(part) for part in oddness(earlier.state_, X[:1])] == [1, 1]


def test_the_drift_says_what_is_new(earlier, later):
    found = drift(earlier, later, X)
    assert found.share == pytest.approx(0.25, abs=0.05) and found.median_shift == pytest.approx(
        moved(earlier, later, X[found.rows[~found.unlike]]), rel=0.05
    )
    assert len(found.island_sizes) == 1 and found.island_sizes[0] == pytest.approx(100, abs=8)
    assert (found.islands[GROUP == 3] == 0).mean() > 0.9
    assert "1 new island of " in str(found) and found.to_json()["islands"] == list(found.island_sizes)
    alone = drift(earlier, earlier, X[OLD])
    assert alone.share < 0.1 and alone.median_shift == 0 and alone.island_sizes == (), "control"


def test_pieces_of_a_stream_stay_too(earlier):
    rates = {"anchored": None, "plain": None}
    for name in rates:
        piecewise = VAE(2, anchor=earlier if name == "anchored" else None, learning_rate=2e-3, random_state=1)
        if name == "plain":
            piecewise = VAE(2, random_state=1, learning_rate=2e-3)
            piecewise.state_, piecewise.n_features_in_ = earlier.state_, 6
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for piece in np.array_split(np.random.default_rng(0).permutation(X), 6):
                piecewise.partial_fit(piece)
        rates[name] = moved(earlier, piecewise)
    assert rates["anchored"] < 0.7 * rates["plain"]
    default = VAE(2, anchor=earlier, random_state=1).partial_fit(X[GROUP == 3])
    assert default.choices_["anchor"].startswith("0 of") and moved(earlier, default) < 0.02


def test_an_anchor_survives_clones_saves_and_paths(earlier, later, tmp_path):
    assert clone(later).anchor is earlier and clone(VAE(anchor="run")).anchor == "run"
    earlier.save(tmp_path / "earlier")
    later.save(tmp_path / "later")
    again = latentmap.load(tmp_path / "later")
    assert again.anchor == str(tmp_path / "later") and again.state_.usual_cost == later.state_.usual_cost
    np.testing.assert_allclose(again.transform(X), later.transform(X), rtol=1e-6)
    quick = {"max_epochs": 2, "random_state": 1}
    by_path = VAE(2, anchor=tmp_path / "earlier", **quick).fit(X)
    assert np.array_equal(by_path.transform(X), VAE(2, anchor=earlier, **quick).fit(X).transform(X))
    by_path.save(tmp_path / "by_path")
    assert latentmap.load(tmp_path / "by_path").anchor == str(tmp_path / "earlier")
    refit = again.set_params(max_epochs=2).fit(X)
    assert moved(later, refit) < 0.1


def test_an_anchored_fit_resumes_to_the_same_map(earlier, tmp_path):
    def fit(**options):
        return VAE(2, anchor=options.pop("anchor", earlier), max_epochs=4, random_state=1, **options)

    whole = fit().fit(X)
    stopped = fit(callbacks=[lambda row, progress: progress.stop()])
    stopped.fit(X, checkpoint=tmp_path / "c")
    with pytest.raises(ModelError, match="the anchor has changed"):
        fit(anchor=VAE(2, max_epochs=1, random_state=5).fit(X)).fit(X, checkpoint=tmp_path / "c", resume=True)
    interrupted = fit(callbacks=[_Interrupt()])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interrupted.fit(X)
    resumed = interrupted.set_params(callbacks=None).fit(X, resume=True)
    assert np.array_equal(resumed.transform(X), whole.transform(X))


class _Interrupt:
    """Interrupts a fit once."""

    def __init__(self):
        self.done = False

    def __call__(self, row, progress):
        if not self.done:
            self.done = True
            raise KeyboardInterrupt


def test_rows_lie_where_they_are_told():
    rows, codes = np.flatnonzero(GROUP == 0)[:60], np.random.default_rng(1).normal(2.0, 0.1, size=(60, 2))
    told = VAE(2, anchor=(rows, codes), max_epochs=25, random_state=0).fit(X)
    Z = told.transform(X)
    assert np.median(np.linalg.norm(Z[rows] - codes, axis=1)) < 0.2
    assert np.median(np.linalg.norm(Z[GROUP == 0] - 2.0, axis=1)) < 0.4 < np.linalg.norm(Z.mean(0) - 2.0)


@pytest.mark.parametrize(
    ("anchor", "error", "message"),
    [
        (3, PartError, "anchor must be None, a fitted VAE, the folder of a run"),
        ("nowhere", PartError, "anchor nowhere is no run"),
        (VAE(), PartError, "not fitted"),
        (([0, 0], [[0, 1], [1, 0]]), DataError, "two codes for row 0"),
        (([400], [[0, 1]]), DataError, "names row 400, there are 0 to 399"),
        (([-1], [[0, 1]]), DataError, "names row -1"),
        (([1], [[0, 1, 2]]), DataError, "3 components, expected 2"),
        ((np.arange(401), np.zeros((401, 2))), DataError, "401 rows, and there are 400"),
        (([1], [[0, np.nan]]), DataError, "finite numbers"),
        (([1], [0, 1]), DataError, "got shapes"),
        (([1],), DataError, "got 1 values"),
    ],
)
def test_what_is_no_anchor_is_named(anchor, error, message):
    with pytest.raises(error, match=message):
        VAE(2, anchor=anchor, max_epochs=1, random_state=0).fit(X)


def test_an_anchor_that_does_not_fit_is_refused(earlier):
    def fit(rows=X, **options):
        return VAE(**{"n_components": 2, "anchor": earlier, "max_epochs": 1} | options).fit(rows)

    with pytest.raises(PartError, match="n_components is 3, and the anchor has 2"):
        fit(n_components=3)
    with pytest.raises(PartError, match="scaling is 'range', and the anchor has 'standard'"):
        fit(scaling="range")
    with pytest.raises(PartError, match="no condition"):
        VAE(2, anchor=earlier, condition="labels").fit(X, GROUP)
    with pytest.raises(PartError, match="class Autoencoder, expected VAE"):
        fit(anchor=Autoencoder(2, max_epochs=1).fit(X[:50]))
    with pytest.raises(DataError, match="do not have the columns of the anchor.*5 features"):
        fit(X[:, :5])
    with pytest.raises(DataError, match=r"0 of 400 rows are like those of the anchor.*in column \d.*units"):
        fit(1000 * X)
    with pytest.raises(PartError, match="pieces have others"):
        VAE(2, anchor=([0], [[0, 1]])).partial_fit(X)
    assert fit(n_components="auto").n_iter_ == 1


def test_copies_of_rows_that_stay_stay_with_them():
    twice = np.concatenate([X[OLD], X[OLD][::-1], X[OLD][:50] + 0.0])
    first = VAE(2, max_epochs=15, random_state=0).fit(twice)
    again = VAE(2, anchor=first, max_epochs=15, random_state=1).fit(twice[::-1])
    codes = again.state_.model.encoder.codes.numpy()
    once = twice[::-1][np.sort(np.unique(twice[::-1], axis=0, return_index=True)[1])]
    assert (codes == again.transform(once)).all() and len(codes) == len(once) == 300, "equal rows have one place"
    off = np.linalg.norm(again.transform(twice) - first.transform(twice), axis=1)
    assert np.median(off) == 0
    given = np.arange(300), first.transform(X[OLD]) + [2.0, 0.0]
    chosen = VAE(2, anchor=given, max_epochs=2, random_state=1).fit(np.concatenate([X[OLD], X[OLD]]))
    np.testing.assert_array_equal(chosen.transform(X[OLD]), given[1])


def test_a_map_that_outgrows_placement_keeps_known_rows_in_place(earlier, monkeypatch):
    from latentmap.estimators import neighbors

    monkeypatch.setattr(neighbors, "PLACED_ROWS", 350)
    for given in ({}, {"neighbors": None}):
        larger = VAE(2, anchor=earlier, max_epochs=10, random_state=1, **given).fit(X)
        np.testing.assert_array_equal(larger.transform(X[OLD]), earlier.transform(X[OLD]))
        assert "near to those of the earlier fit" in larger.choices_["neighbors"]
        new = X[GROUP == 3]
        np.testing.assert_allclose(larger.transform(new), larger.posterior(new)[0], atol=1e-6)


def test_pieces_after_a_fit_do_not_lose_what_it_learned():
    """A fit ends with a rate of zero, and pieces that begin at its highest would undo it."""
    rows = load_breast_cancer().data
    order = np.random.default_rng(0).permutation(len(rows))
    new, rows = rows[order[:114]], rows[order[114:]]
    fitted = VAE(2, random_state=0, max_epochs=40).fit(rows[:227])
    before = fitted.score(new)
    hasty = copy.deepcopy(fitted).set_params(learning_rate=1e-2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for piece in np.array_split(rows[227:], 4):
            fitted.partial_fit(piece)
    for piece in np.array_split(rows[227:], 4):
        hasty.partial_fit(piece)
    assert fitted.score(new) > before - 0.2 and hasty.score(new) < before - 2, "control"
    assert fitted.choices_["learning_rate"].startswith("0.0005 ")
    assert fitted.loss_ == fitted.history_[-1]["loss"], "the loss is that of the last piece"


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.PosteriorCollapseWarning")
def test_pieces_without_a_fit_learn_at_the_full_rate(tmp_path):
    pieces = VAE(2, random_state=0).partial_fit(X[:100])
    assert pieces.partial_fit(X[100:200]).choices_["learning_rate"].startswith("0.01 ")
    pieces.save(tmp_path / "run")
    assert VAE.load(tmp_path / "run").partial_fit(X[:100]).choices_["learning_rate"].startswith("0.01 ")
    VAE(2, random_state=0, max_epochs=20).fit(X[:100]).save(tmp_path / "fit")
    loaded = VAE.load(tmp_path / "fit")
    for piece in (X[:100], X[100:200]):
        assert loaded.partial_fit(piece).choices_["learning_rate"].startswith("0.0005 ")
    with pytest.warns(DiagnosisWarning, match="the first piece, which decides on units and networks, has 3 rows"):
        VAE(2, random_state=0).partial_fit(X[:3])


@pytest.mark.parametrize("rows", [5, 12, 40, 300])
def test_rows_of_the_earlier_fit_stay_however_few_they_are(earlier, rows):
    """Rows of several groups, whose neighbours among themselves are of other groups."""
    some = X[OLD][np.random.default_rng(0).permutation(300)[:rows]]
    later = VAE(2, anchor=earlier, max_epochs=3, random_state=1).fit(some)
    np.testing.assert_allclose(later.transform(some), earlier.transform(some), atol=1e-6)


def test_minus_zero_gives_no_row_two_codes():
    rows = np.random.default_rng(0).normal(size=(60, 4)).round()
    rows[0, 0], rows[1] = 0.0, rows[0]
    rows[1, 0] = -0.0
    with pytest.raises(DataError, match="two codes for equal rows"):
        VAE(2, anchor=([0, 1], [[0.0, 0.0], [1.0, 1.0]]), max_epochs=1).fit(rows)


def test_places_of_rows_that_are_nearly_equal_do_not_blow_up_the_map():
    rows = np.random.default_rng(0).normal(size=(300, 4))
    rows[1] = rows[0] + [1e-12, 0, 0, 0]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosisWarning)
        Z = VAE(2, anchor=([0, 1], [[0.0, 0.0], [1.0, 1.0]]), max_epochs=3, random_state=0).fit(rows).transform(rows)
    np.testing.assert_allclose(Z[:2], [[0, 0], [1, 1]], atol=1e-6)
    assert Z.std() < 5
