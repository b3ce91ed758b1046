"""A comparison is fair, repeatable and says what a method cannot."""

import copy
import functools
import importlib.util
import json
import sys
import warnings

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import load_digits, load_iris, load_wine

from latentmap import VAE, Autoencoder
from latentmap.data.sources import open_source
from latentmap.evaluation import methods
from latentmap.evaluation.compare import compare, default_methods
from latentmap.evaluation.samplers import SAMPLERS
from latentmap.evaluation.splits import Splits
from latentmap.exceptions import DataError, MissingExtraError, PartError

BASELINES = {"opentsne": "openTSNE", "umap": "umap", "pacmap": "pacmap"}
NEW = {"X_new": np.zeros((50, 8, 8)), "y_new": np.zeros(50)}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")  # few epochs
PARTS = ("compact", "smooth", "realistic", "repaired")
QUICK = ["pca", *(name for name in ("opentsne", "pacmap") if importlib.util.find_spec(BASELINES[name]))]


@pytest.fixture(scope="module")
def digits():
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))[:500]
    return X[order].reshape(-1, 8, 8).astype(np.uint8), y[order]


@pytest.fixture(scope="module")
def fitted(digits):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # few epochs: the diagnosis says so
        models = {
            "autoencoder": Autoencoder(2, max_epochs=8, random_state=0),
            "vae": VAE(2, neighbors=None, max_epochs=8, random_state=0),
        }
        return {name: model.fit(digits[0][:300]) for name, model in models.items()}


@pytest.fixture(scope="module")
def steps():
    return []


@pytest.fixture(scope="module")
def comparison(digits, fitted, steps):
    X, y = digits
    given = {"fitted": fitted, "on_progress": steps.append, "seeds": 1, "claims": [2]}
    return compare(X[:300], y[:300], X_new=X[300:], y_new=y[300:], methods=["pca", "tsne", *fitted], **given)


def test_methods_are_scored_on_new_rows_where_they_can(comparison):
    by = {scores.method: scores for scores in comparison.scores}
    assert list(by) == ["PCA", "t-SNE", "autoencoder", "VAE"] == list(comparison.maps)
    assert by["t-SNE"].rows == "training" and "t-SNE" not in comparison.new_maps
    assert by["t-SNE"].neighbor_accuracy is by["t-SNE"].reconstruction_error is by["t-SNE"].embed_seconds is None
    assert set(by["t-SNE"].training_accuracy) == {1, 5, 10} and by["PCA"].training_accuracy is None
    for name in ("PCA", "autoencoder", "VAE"):
        assert by[name].rows == "new" and set(by[name].neighbor_accuracy) == {1, 5, 10}
        assert by[name].reconstruction_error > 0 and by[name].embed_seconds > 0
        assert comparison.new_maps[name].shape == (200, 2)
    assert all(Z.shape == (300, 2) for Z in comparison.maps.values())
    assert len(comparison.labels) == 300 and len(comparison.new_labels) == 200


def test_table_says_cannot_where_a_method_cannot(comparison):
    head, *rows = comparison.table()
    assert head[:2] == ["method", "10-NN accuracy"] and all(len(row) == len(head) for row in rows)
    by = {row[0]: dict(zip(head, row)) for row in rows}
    assert {name for name, value in by["t-SNE"].items() if value == "cannot"} == {
        "reconstruction error",
        "seconds to embed",
    }
    assert by["t-SNE"]["10-NN accuracy"].startswith("cannot; 0.9")
    assert by["t-SNE"]["10-NN accuracy"].endswith(" (training rows)")
    assert by["t-SNE"]["trustworthiness"].endswith(" (training rows)")
    assert "cannot" not in by["VAE"].values()


def test_scores_are_those_of_the_measures(comparison, digits):
    """PCA by hand: scaled to [0, 1], fitted on the training rows, measured on the new ones."""
    from sklearn.decomposition import PCA
    from sklearn.manifold import trustworthiness
    from sklearn.neighbors import KNeighborsClassifier

    X, y = digits
    rows = X.reshape(500, -1) / 16
    pca = PCA(2, random_state=0).fit(rows[:300])
    Z, new = pca.transform(rows[:300]), pca.transform(rows[300:])
    scores = comparison.scores[0]
    assert scores.reconstruction_error == pytest.approx(np.square(pca.inverse_transform(new) - rows[300:]).mean())
    assert scores.trustworthiness == pytest.approx(
        trustworthiness(rows[300:], new), abs=1e-3
    )  # ours: ties share a rank
    assert scores.neighbor_accuracy[10] == KNeighborsClassifier(10).fit(Z, y[:300]).score(new, y[300:])


def test_estimators_given_fitted_are_used_as_they_are(comparison, fitted, digits):
    assert comparison.estimators == fitted
    assert comparison.scores[3].fit_seconds == fitted["vae"].fit_seconds_
    np.testing.assert_array_equal(comparison.maps["VAE"], fitted["vae"].transform(digits[0][:300]))
    assert comparison.settings["fitted_before"] == ["autoencoder", "vae"]


def test_result_is_plain_json_and_tells_what_it_depends_on(comparison, steps):
    plain = json.loads(json.dumps(comparison.to_json(), allow_nan=False))
    assert plain == comparison.to_json()
    assert plain["settings"]["training_rows"] == 300 and plain["settings"]["new_rows"] == 200
    assert plain["settings"]["feature_space"].startswith("MLP-classifier-128 penultimate, trained on ")
    assert {claim["claim"] for claim in plain["claims"]} == {*PARTS} == set(plain["verdicts"])
    head, *rows = comparison.claims_table()
    assert len(rows) == len(comparison.claims) and all(len(row) == len(head) for row in rows)
    assert steps[0] == "PCA (1 of 4)" and len(steps) == 5
    assert {claim["verdict"] for claim in plain["claims"]} == {"cannot"}  # of one fit each


def test_rows_are_held_out_once_for_all_and_repeatably(digits):
    X, y = digits
    one, again, other = (compare(X, y, methods=["pca"], seeds=1, random_state=seed) for seed in (0, 0, 1))
    assert (one.settings["training_rows"], one.settings["new_rows"]) == (400, 100)
    np.testing.assert_array_equal(one.maps["PCA"], again.maps["PCA"])
    assert one.scores[0].neighbor_accuracy == again.scores[0].neighbor_accuracy
    assert one.scores[0].trustworthiness != other.scores[0].trustworthiness
    assert one.claims == () and one.claims_table() == []


def test_rows_are_capped_on_both_sides_and_said(digits):
    X, y = digits
    comparison = compare(X, y, methods=["pca"], max_rows=60, test_size=0.5)
    assert (comparison.settings["training_rows"], comparison.settings["new_rows"]) == (60, 60)
    assert len(comparison.labels) == 60


def test_held_out_rows_are_not_fitted(digits):
    """Other labels for the new rows change no map, only the accuracy."""
    X, y = digits
    true, false = (
        compare(X[:300], y[:300], X_new=X[300:], y_new=labels, methods=["pca"]) for labels in (y[300:], y[300:][::-1])
    )
    np.testing.assert_array_equal(true.maps["PCA"], false.maps["PCA"])
    assert true.scores[0].neighbor_accuracy[10] > 0.5 > 0.3 > false.scores[0].neighbor_accuracy[10]


def test_columns_in_different_units_count_alike():
    X, y = load_iris(return_X_y=True)
    errors = [
        compare(X * scale, y, methods=["pca"], test_size=0.3).scores[0] for scale in (1.0, [1.0, 1e4, 1e-3, 50.0])
    ]
    assert errors[0].reconstruction_error == pytest.approx(errors[1].reconstruction_error)
    assert errors[0].trustworthiness == pytest.approx(errors[1].trustworthiness)


@pytest.mark.parametrize("labels", [None, np.random.default_rng(0).normal(size=500), np.zeros(500)])
def test_without_classes_there_is_no_accuracy(digits, labels):
    comparison = compare(digits[0], labels, methods=["pca"])
    assert comparison.scores[0].neighbor_accuracy is None and comparison.scores[0].silhouette is None
    assert "10-NN accuracy" not in comparison.table()[0]


def test_claims_are_measured_without_labels_too(digits, fitted):
    X, _ = digits
    comparison = compare(X[:300], X_new=X[300:], methods=["autoencoder", "vae"], fitted=fitted, seeds=1, claims=[2])
    assert comparison.settings["feature_space"].startswith("PCA-50, fitted on ")
    without = {claim.measure.name.partition("_")[0] for claim in comparison.claims if not claim.vae}
    assert without == {"balance"}
    assert comparison.estimators == fitted == comparison.sampled[2]


@pytest.fixture(scope="module")
def quick_models():
    """Fits of a few epochs in the place of those by default."""
    with pytest.MonkeyPatch.context() as patch:
        for model in (Autoencoder, VAE):
            patch.setattr(model, "__init__", functools.partialmethod(model.__init__, max_epochs=8))
        yield


@pytest.fixture(scope="module")
def several(quick_models, digits):
    return compare(*digits, methods=["pca", "tsne", "autoencoder", "vae"], seeds=3)


def test_each_fit_has_its_own_seed_and_its_own_split(several, digits):
    X, y = digits
    assert several.settings["claims"] == [2, 16] and several.settings["seeds"] == 3
    single = [compare(X, y, methods=["pca"], random_state=seed, seeds=1).scores[0] for seed in range(3)]
    trust = [scores.trustworthiness for scores in single]
    assert len({*trust}) == 3
    assert several.scores[0].trustworthiness == pytest.approx(np.mean(trust))
    assert several.spread[0].trustworthiness == pytest.approx(np.std(trust, ddof=1))
    assert all(stability.seeds is not None for stability in several.stability)


def test_claims_are_measured_over_all_fits_with_both_numbers_of_components(several):
    assert {claim.n_components for claim in several.claims} == {2, 16}
    assert all(len(claim.autoencoder) == len(claim.vae) == 3 for claim in several.claims)
    assert {claim.verdict for claim in several.claims} <= {"holds", "even", "fails"}
    assert [*several.sampled] == [2, 16] and several.sampled[2] == several.estimators
    head, real, *rows = several.generated_table()
    assert real[0] == "real rows" and {row[2] for row in rows} == {s.title for s in SAMPLERS.values()}
    assert len(rows) == 2 * 2 * 4 and all(len(row) == len(head) for row in rows)
    assert all("±" in cell for row in rows for cell in row[3:])
    assert len(several.conclusions()) == 8 and len(several.conclusions("smooth")) == 2
    page = several.to_markdown()
    assert [line for line in page.splitlines() if line.startswith("#")] == [
        "## Conclusions",
        "## Methods",
        "## Random points",
        "## Claims",
    ]
    assert all(sentence in page for sentence in several.conclusions())


def test_methods_by_default_are_those_that_map_to_so_many_components(quick_models, digits):
    comparison = compare(*digits, n_components=16, seeds=1)
    assert {"t-SNE", "neighbour VAE"}.isdisjoint(comparison.maps) and comparison.settings["claims"] == [16]
    assert default_methods(2)[:2] == ("pca", "tsne") and "neighbor_vae" in default_methods(3)


def test_few_columns_are_judged_with_half_as_many_components(quick_models):
    X, y = load_wine(return_X_y=True)
    comparison = compare(X, y, seeds=2, methods=["autoencoder", "vae"])
    assert comparison.settings["claims"] == [2, 6]
    assert "cannot" not in {claim.verdict for claim in comparison.claims}


@pytest.mark.parametrize("labels", [None, np.zeros(178), np.arange(178.0) + 0.5])
def test_without_classes_what_needs_them_says_why(quick_models, labels):
    comparison = compare(load_wine().data, labels, seeds=2, claims=[2], methods=["autoencoder", "vae"])
    silent = {claim.measure.name: claim.reason for claim in comparison.claims if claim.verdict == "cannot"}
    assert [*silent] == ["balance_normal"] and "rows without labels of two classes" in silent["balance_normal"]
    assert comparison.claims_table()[-1][-1].startswith("cannot: ")


@pytest.mark.parametrize("make", [lambda y: y + 0.5, lambda y: np.where(y > 1, np.nan, y), lambda y: y.astype(str)])
def test_labels_of_any_type_are_classes(quick_models, digits, make):
    """Numbers with a fraction are classes too, and rows without a label count for none."""
    X, y = digits
    comparison = compare(X, make(y.astype(float)), methods=["pca", "tsne", "autoencoder", "vae"], seeds=1, claims=[2])
    assert "classifier" in comparison.settings["feature_space"]
    assert 0 < comparison.scores[0].neighbor_accuracy[10] <= 1 and comparison.scores[1].training_accuracy[10] <= 1


def test_categories_say_how_they_count():
    import pandas as pd

    rng = np.random.default_rng(0)
    frame = pd.DataFrame({"a": rng.normal(size=200), "b": rng.choice(["x", "y", "z"], 200)})
    assert "categories of 'b' count as the numbers of their order" in compare(frame, methods=["pca"]).settings["units"]


def test_rows_that_decode_to_infinity_leave_plain_json(digits, fitted):
    X, _ = digits
    vae = copy.deepcopy(fitted["vae"])
    vae.inverse_transform = lambda Z: np.full((len(Z), 8, 8), np.inf)
    given = {"fitted": {**fitted, "vae": vae}, "X_new": X[300:], "seeds": 1, "claims": [2]}
    comparison = compare(X[:300], methods=["autoencoder", "vae"], **given)
    assert comparison.scores[1].reconstruction_error is None
    json.dumps(comparison.to_json(), allow_nan=False)
    assert all("VAE" in claim.reason for claim in comparison.claims if claim.measure.name == "frechet_normal")


def test_estimators_are_fitted_here_when_not_given(digits):
    X, _ = digits
    for name, title in (("autoencoder", "autoencoder"), ("vae", "VAE"), ("neighbor_vae", "neighbour VAE")):
        method = methods.find_method(name)(2, 3, methods.Units(X))
        assert (method.estimator.n_components, method.estimator.random_state) == (2, 3)
        assert method.title == title
        method.estimator.set_params(max_epochs=1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            Z = method.fit_map(X)
        np.testing.assert_array_equal(Z, method.embed(X))
        assert method.decode(Z).shape == X.shape


@pytest.mark.filterwarnings("ignore:Cannot cache compiled function")  # of numba, when pacmap is imported
def test_quick_baselines_map_and_embed(digits):
    X, _ = digits
    for name in QUICK:
        method = methods.find_method(name)(2, 0, methods.Units(X))
        assert method.fit_map(X[:150]).shape == (150, 2) and method.embed(X[150:200]).shape == (50, 2)


@pytest.mark.parametrize(("name", "package"), [("opentsne", "openTSNE"), ("umap", "umap-learn"), ("pacmap", "pacmap")])
def test_a_missing_baseline_names_its_extra_before_anything_is_fitted(digits, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, BASELINES[name], None)
    steps = []
    with pytest.raises(MissingExtraError, match=rf"{package} is needed.*latentmap\[baselines\]"):
        compare(digits[0], methods=["pca", name], on_progress=steps.append)
    assert steps == []


def test_what_a_method_has_but_is_not_measured_is_not_said_to_be_impossible(comparison):
    import dataclasses

    scores = dataclasses.replace(comparison.scores[1], unmeasured=methods.UMAP.unmeasured)
    assert "not measured" in dataclasses.replace(comparison, scores=(scores,)).table()[1]


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"methods": ["tnse"]}, "no method is called 'tnse': did you mean 'tsne'"),
        ({"test_size": 1.5}, "test_size must lie between 0 and 1, got 1.5"),
        ({"max_rows": 30}, "at least 50 training rows and 20 new ones, got 30 and 30"),
        ({"methods": ["tsne"], "n_components": 4}, "t-SNE maps to at most 3 components, not 4"),
        ({"methods": ["pca"], "n_components": 65}, "n_components must be at most 64 for PCA of these rows, got 65"),
        ({"methods": []}, "methods is empty: name one or more of pca"),
        ({"claims": "non"}, "claims must be 'auto', 'none' or numbers of components, got 'non'"),
        ({"y_new": np.zeros(50)}, "y_new are the labels of X_new, which is not given"),
        ({"methods": ["vae"], "fitted": {"vae": VAE()}}, "fitted estimators may know any row of X: pass X_new"),
        ({"methods": ["pca"], "fitted": {"vae": VAE()}, **NEW}, "nothing compared here can be given fitted as 'vae'"),
        ({"methods": ["vae"], "fitted": {"vae": VAE(3)}, **NEW}, "fitted with 3 components, but 2 are compared"),
        ({"X_new": np.zeros((50, 7))}, r"shape of the others, \(8, 8\), got \(7,\)"),
        ({"X_new": np.zeros((50, 8, 8))}, "have labels, or neither"),
        ({"methods": ["pca"], "neighbors": [500]}, "n_neighbors must be 1 to 400"),
    ],
)
def test_bad_input_is_one_clear_line(settings, message, digits):
    with pytest.raises(DataError, match=message):
        compare(*digits, **settings)


@pytest.mark.parametrize("mixed", [True, False])
def test_new_rows_have_the_columns_of_the_others_by_name(mixed):
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(90, 3)), columns=list("abc"))
    if mixed:
        frame["kind"] = np.where(np.arange(90) < 60, np.array(["ash", "elm", "oak"])[np.arange(90) % 3], "oak")
    train, new = frame[:60], frame[60:].iloc[:, ::-1]
    _, rows = Splits(train, None, new, None, 0.2, 1000).rows(0)
    source = open_source(frame)
    np.testing.assert_array_equal(rows.X, source.read(slice(60, None)))
    with pytest.raises(DataError, match="lacks column 'b'"):
        Splits(train, None, new.rename(columns={"b": "d"}), None, 0.2, 1000)


@pytest.mark.parametrize("name", ["seeds", "claims"])
def test_counts_are_checked(name, digits):
    with pytest.raises(PartError, match=f"{name} must be a whole number >= 1, got 0"):
        compare(*digits, methods=["autoencoder", "vae"], **{name: 0 if name == "seeds" else [0]})


def test_nan_is_refused_with_its_place(digits):
    X = digits[0].astype(float)
    X[7, 0, 0] = np.nan
    with pytest.raises(DataError, match=r"NaN value, the first at index \[7, 0, 0\]"):
        compare(X, methods=["pca"])


def test_the_neighbour_vae_keeps_neighbours_with_any_number_of_components():
    kept = {n: methods.find_method("neighbor_vae")(n, 0, None).estimator.neighbors for n in (1, 2, 3, 8)}
    assert kept == {1: 15, 2: "auto", 3: "auto", 8: 15}
    assert methods.find_method("vae")(1, 0, None).estimator.neighbors is None
