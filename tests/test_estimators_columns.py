"""New rows with other columns than those of the fit: by name, in any order, others ignored with a warning."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from conftest import fit
from latentmap import VAE, plot
from latentmap.exceptions import DataError, IgnoredColumnsWarning
from latentmap.report import write_report

NAMES = ["height", "girth", "age", "crown"]


@pytest.fixture(scope="module")
def trees():
    """Columns of numbers, of which two belong together."""
    rng = np.random.default_rng(0)
    return pd.DataFrame(rng.normal(size=(60, 2)) @ rng.normal(size=(2, 4)), columns=NAMES)


@pytest.fixture(scope="module")
def vae(trees):
    """A model of numbers."""
    return fit(VAE(2, max_epochs=2, random_state=0), trees)


@pytest.fixture(scope="module")
def mixed(trees):
    """A model of several kinds of columns."""
    return fit(VAE(2, max_epochs=2, random_state=0), trees.assign(soil=["clay", "sand"] * 30))


def test_extra_columns_are_ignored_with_one_warning(vae, trees):
    wider = trees.assign(owner="me")
    wider.insert(0, "tree", range(60))
    with pytest.warns(IgnoredColumnsWarning, match="2 columns .* ignored: 'tree', 'owner'") as caught:
        codes = vae.transform(wider)
    assert len(caught) == 1
    np.testing.assert_array_equal(codes, vae.transform(trees))


def test_pandas_keeps_the_order_that_scikit_learn_requires_and_others_need_not(vae, trees, tmp_path):
    swapped = trees[NAMES[::-1]]
    with pytest.raises(ValueError, match="same order as they were in fit"):
        vae.transform(swapped)
    with pytest.raises(ValueError, match="same order as they were in fit"):
        vae.transform(swapped.assign(owner="me"))
    swapped.to_csv(tmp_path / "a.csv", index=False)
    swapped.to_parquet(tmp_path / "a.parquet")
    for given in (pl.from_pandas(swapped), tmp_path / "a.csv", tmp_path / "a.parquet"):
        np.testing.assert_allclose(vae.transform(given), vae.transform(trees), rtol=1e-6)


def test_missing_columns_are_named_with_others_or_without(vae, mixed, trees):
    for given in (trees.drop(columns="age"), trees.rename(columns={"age": "years"})):
        with pytest.raises(ValueError, match="yet now missing:\n- age"):
            vae.transform(given)
        with pytest.raises(DataError, match="lacks columns 'age', 'soil'"):
            mixed.transform(given)


def test_tables_ignore_columns_that_could_not_be_read(mixed, trees):
    table = trees.assign(soil=["clay", "sand"] * 30)
    with pytest.warns(IgnoredColumnsWarning, match="'marks'"):
        codes = mixed.transform(table.assign(marks=[[1, 2]] * 60)[["marks", "soil", *NAMES[::-1]]])
    np.testing.assert_array_equal(codes, mixed.transform(table))


def test_columns_with_numbers_for_names_are_found_by_them(trees):
    numbered = pd.DataFrame(trees.to_numpy())
    vae = fit(VAE(2, max_epochs=2, random_state=0), numbered)
    expected = vae.transform(numbered)
    np.testing.assert_array_equal(vae.transform(numbered[[3, 1, 0, 2]]), expected)
    np.testing.assert_array_equal(vae.transform(numbered.set_axis([7, 8, 9, 10], axis=1)), expected)  # by place
    with pytest.warns(IgnoredColumnsWarning, match="'9'"):
        np.testing.assert_array_equal(vae.transform(numbered.assign(**{"x": 1}).rename(columns={"x": 9})), expected)


@pytest.mark.parametrize("library", [pd, pl])
def test_imputed_frames_keep_their_columns_and_index(trees, library):
    holes = trees.mask(np.random.default_rng(0).random(trees.shape) < 0.2)
    vae = fit(VAE(2, max_epochs=2, random_state=0), holes)
    wider = holes.assign(owner="me").set_axis([f"t{i}" for i in range(60)])
    wider = wider if library is pd else pl.from_pandas(wider)
    with pytest.warns(IgnoredColumnsWarning):
        filled = vae.impute(wider)
    assert list(filled.columns) == [*NAMES, "owner"] and filled["owner"].to_list() == ["me"] * 60
    np.testing.assert_array_equal(filled[NAMES].to_numpy(), vae.impute(holes).to_numpy())
    assert library is pl or filled.index.equals(wider.index)


def test_codes_are_decoded_by_name(vae, trees):
    codes = vae.transform(trees)
    named = pd.DataFrame(codes[:, ::-1], columns=["vae1", "vae0"]).assign(tree="t")
    np.testing.assert_array_equal(vae.inverse_transform(named), vae.inverse_transform(codes))
    with pytest.raises(DataError, match="lacks column 'vae1'"):
        vae.inverse_transform(named[["vae0", "tree"]])


def test_maps_are_coloured_by_columns_that_were_not_fitted(vae, trees, tmp_path):
    wider = trees.assign(owner=["me", "you"] * 30)
    wider.to_csv(tmp_path / "wider.csv", index=False)
    with pytest.warns(IgnoredColumnsWarning):
        assert plot.map(vae, wider, color="owner").labels.names == ("me", "you")
    with pytest.warns(IgnoredColumnsWarning):
        assert plot.map(vae, tmp_path / "wider.csv", color="owner").labels.names == ("me", "you")
    by = plot.map(vae, trees, color=pd.Series(np.linspace(0, 1, 60), name="price")).labels
    assert by.title == "price" and by.values[-1] == 1
    with pytest.raises(DataError, match="one label for each of the 60 rows"):
        plot.map(vae, trees, color=[1, 2])
    page = write_report(vae, wider, None, tmp_path, colors={"the owner": wider["owner"]})
    assert "The map, by the owner" in page.read_text() and (tmp_path / "figures" / "map_1_the_owner.png").exists()
