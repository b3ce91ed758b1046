"""The laws that hold for every recipe, on real data."""

import pickle
import warnings

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.datasets import load_digits

from command import ask, must
from latentmap import VAE, load, networks, recipes
from latentmap.exceptions import NoDensityError, PartError
from latentmap.training.metrics import parts_of

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

DIGITS = load_digits().images[:200].astype("float32")
SMALL = networks.MLP((32,))
SETTINGS = {"max_epochs": 12, "batch_size": 32, "learning_rate": 3e-3, "random_state": 0, "compile": False}


@pytest.fixture(scope="module", params=[name for name in recipes.every() if name != "conditional"])
def fitted(request):
    """One fit of each recipe, with its name."""
    made = recipes.every()[request.param]()
    parts = {"encoder": SMALL, "decoder": SMALL} | made
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that is this short is diagnosed as one
        return request.param, VAE(4, **parts, **SETTINGS).fit(DIGITS)


@pytest.mark.parametrize("name", [name for name in recipes.every() if name != "conditional"])
def test_it_learns_where_networks_run_in_half_precision(name):
    parts = {"encoder": SMALL, "decoder": SMALL} | recipes.every()[name]()
    vae = VAE(4, **parts, **SETTINGS | {"max_epochs": 2, "precision": "bfloat16"}).fit(DIGITS)
    assert "bfloat16" in vae.choices_["precision"]
    assert all(np.isfinite(row["loss"]) for row in vae.history_)


def test_it_learns(fitted):
    _, vae = fitted
    assert np.isfinite([row["val_loss"] for row in vae.history_]).all()
    assert vae.history_[-1]["val_distortion"] < vae.history_[0]["val_distortion"]


def test_the_parts_of_the_loss_add_up(fitted):
    name, vae = fitted
    for row in vae.history_:
        for prefix in ("", "val_"):
            parts = parts_of(row, prefix)
            assert "penalty" not in parts, name
            assert sum(parts.values()) == pytest.approx(row[f"{prefix}loss"], abs=1e-5 * sum(map(abs, parts.values())))
    found = vae.evaluation_
    assert abs(sum(found.parts.values()) - found.parts["distortion"] - found.loss) > 1e-3 * abs(found.loss), "control"


def test_transform_is_deterministic_and_independent_of_batching(fitted):
    _, vae = fitted
    codes = vae.transform(DIGITS)
    assert np.array_equal(codes, vae.transform(DIGITS))
    np.testing.assert_allclose(codes[7:8], vae.transform(DIGITS[7:8]), rtol=1e-4, atol=1e-5)
    order = np.random.default_rng(0).permutation(len(DIGITS))
    np.testing.assert_allclose(codes[order], vae.transform(DIGITS[order]), rtol=1e-4, atol=1e-5)
    assert not np.allclose(codes, codes[:1]), "control: other rows have other codes"


def test_reconstruct_is_decoding_the_code(fitted):
    _, vae = fitted
    kept, decoded = vae.reconstruct(DIGITS), vae.inverse_transform(vae.transform(DIGITS))
    if vae.ladder:  # the levels below the top keep what a code of the top has no room for
        assert np.square(kept - DIGITS).mean() < np.square(decoded - DIGITS).mean()
    else:
        np.testing.assert_allclose(kept, decoded, rtol=1e-3, atol=1e-3)


def test_scores_are_bounds_or_refused(fitted):
    _, vae = fitted
    if vae.has_score_:
        elbo, tighter = vae.score_samples(DIGITS), vae.score_samples(DIGITS, n_samples=64)
        assert np.isfinite(elbo).all()
        assert tighter.mean() > elbo.mean() - 0.05
        assert np.array_equal(elbo, vae.score_samples(DIGITS))
    else:
        with pytest.raises(NoDensityError, match="use "):
            vae.score_samples(DIGITS)


def test_samples_are_rows(fitted):
    _, vae = fitted
    drawn = vae.sample(7, random_state=1)
    assert drawn.shape == (7, 8, 8) and np.isfinite(drawn).all()
    assert np.array_equal(drawn, vae.sample(7, random_state=1))
    assert not np.array_equal(drawn, vae.sample(7, random_state=2)), "control: another seed"


def test_save_load_clone_and_pickle(fitted, tmp_path):
    _, vae = fitted
    vae.save(tmp_path / "run")
    again = load(tmp_path / "run")
    for copy in (again, pickle.loads(pickle.dumps(vae))):
        assert np.array_equal(copy.transform(DIGITS), vae.transform(DIGITS))
        assert np.array_equal(copy.sample(3, random_state=0), vae.sample(3, random_state=0))
    assert clone(vae).get_params() == vae.get_params()


def test_a_remainder_of_one_row_is_no_matter(fitted):
    name, vae = fitted
    again = clone(vae).set_params(max_epochs=1, validation_fraction=1 / 65).fit(DIGITS[:66])
    assert np.isfinite(again.history_[-1]["loss"]), name


def test_the_conditional_recipe_takes_labels():
    y = load_digits().target[:200]
    vae = VAE(4, **recipes.conditional(), encoder=SMALL, decoder=SMALL, **SETTINGS).fit(DIGITS, y)
    assert vae.sample(3, y=[1, 2, 3]).shape == (3, 8, 8)  # its laws are in test_model_conditional


def test_every_recipe_says_what_it_is():
    for name, made in recipes.every().items():
        line = (made.__doc__ or "").splitlines()[0]
        assert line.endswith(").") and any(character.isdigit() for character in line), f"{name} names no paper"


def test_the_command_lists_and_fits_them(capsys, tmp_path):
    listed = must(capsys, "recipes", "--json").json
    assert list(listed) == list(recipes.every())
    assert listed["beta_tc"]["settings"] == {"beta": 6.0}
    assert "(Chen et al. 2018). beta=6.0" in must(capsys, "recipes").err
    folder = tmp_path / "run"
    given = ["--set", "beta=3", "--set", "max_epochs=1", "--set", "compile=false", "--no-report", "--json"]
    must(capsys, "fit", "digits", "-o", folder, "--recipe", "beta-tc", *given)
    assert load(folder).objective.penalties[0].weight == 2.0


def test_an_unknown_recipe_is_refused(capsys, tmp_path):
    with pytest.raises(PartError, match="did you mean 'beta_tc'"):
        recipes.find("bta_tc")
    for wrong, words in (
        (["--recipe", "bta_tc"], "did you mean 'beta_tc'"),
        (["--recipe", "beta_tc", "--set", "beta=low"], "beta takes a number, got 'low'"),
        (["--recipe", "beta_tc", "--model", "autoencoder"], "leave out --model"),
    ):
        answer = ask(capsys, "fit", "digits", "-o", tmp_path / "run", *wrong)
        assert answer.code == 2 and words in answer.errors[0]
    assert not (tmp_path / "run").exists()
