"""Single values of cells, which data have: of categories, amounts and rows between others."""

import numpy as np
import pandas as pd
import pytest
from scipy import sparse

from latentmap import VAE, Columns
from latentmap.data.derived import Derived
from latentmap.exceptions import DataError
from latentmap.explorer.items import _imputed
from latentmap.report.reconstruction import reconstruction

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


@pytest.fixture(scope="module")
def towns():
    """A table with a town of many rare ones, an amount over four decades and one of both signs."""
    rng = np.random.default_rng(0)
    n = 1500
    state = rng.integers(6, size=n)
    rare = rng.random(n) < 0.4
    town = np.where(rare, [f"village {i}" for i in rng.integers(400, size=n)], [f"town {s}" for s in state])
    sales = np.exp(rng.normal(3, 1.5, size=n) + 0.5 * state)
    frame = {"state": [f"s{s}" for s in state], "town": town, "sales": sales, "profit": sales * rng.normal(0, 0.4, n)}
    return pd.DataFrame(frame)


def test_the_category_of_many_rare_ones_is_no_value_but_where_it_is_likelier_than_not(towns):
    towns = towns[["state", "town"]]
    vae = VAE(2, random_state=0, max_epochs=50).fit(towns)
    column = next(c for c in vae.table_.columns if c.name == "town")
    assert column.other == "other" and "pooled=True" in repr(vae.model_.parts.likelihood)
    blank = towns.assign(town=None)[:400]
    filled = vae.impute(blank).town
    known = towns.town[:400].str.startswith("town")
    assert (filled[known] == towns.town[:400][known]).mean() > 0.7 and (filled == "other").mean() < 0.05
    assert _imputed(0, column, np.repeat([column.levels - 1, 2.0], [5, 5])).text == column.categories[2]
    assert _imputed(0, column, np.repeat([column.levels - 1, 2.0], [6, 4])).text == "other"
    rows = vae.encode_table(towns)
    said = reconstruction(rows, vae.encode_table(decoded := vae.reconstruct(towns)), rows, vae, (2,), None)
    single = towns.apply(lambda c: c.where(c.str.startswith(("town", "s"))).value_counts().iloc[0] / len(c)).mean()
    assert f"({single:.0%} by always naming" in said.value + said.note and decoded is not None
    drawn = vae.sample(2000, random_state=0, noise=True).town
    assert 0.1 < (drawn == "other").mean() < 0.5, "draws are of all levels"


def test_amounts_decode_to_no_more_than_the_largest(towns):
    vae = VAE(2, random_state=0, max_epochs=5).fit(towns)
    assert next(c for c in vae.table_.columns if c.name == "sales").scaling == "log"
    far = vae.inverse_transform(np.linspace(-30, 30, 61)[:, None] * [[1, 1]])
    drawn = vae.sample(3000, random_state=0, noise=True)
    for made in (far, drawn):
        assert made.sales.max() <= towns.sales.max() and made.sales.min() >= 0
    free = VAE(2, random_state=0, max_epochs=5, columns=Columns({"sales": {"highest": 1e6}})).fit(towns)
    assert free.inverse_transform(30 * np.ones((1, 2))).sales.max() <= 1e6


def test_one_missing_cell_of_a_determining_column_costs_no_search_for_each_row(monkeypatch):
    rng = np.random.default_rng(0)
    code = rng.integers(60, size=800)
    frame = pd.DataFrame({"code": [f"c{i}" for i in code], "name": [f"n{i}" for i in code], "x": rng.normal(size=800)})
    vae = VAE(2, random_state=0, max_epochs=1).fit(frame)
    assert vae.table_.derived
    asked = []
    inverse = Derived.inverse.fget
    monkeypatch.setattr(Derived, "inverse", property(lambda own: asked.append(0) or inverse(own)))
    holes = frame.copy()
    holes.loc[5, vae.table_.derived[0].source] = None
    np.testing.assert_array_equal(vae.encode_table(holes), vae.encode_table(frame))
    assert len(asked) == 1


def test_interpolation_takes_one_row_of_any_kind(towns):
    vae = VAE(2, random_state=0, max_epochs=1).fit(towns)
    expected = vae.inverse_transform(np.linspace(*vae.transform(towns[:2]), 5))
    for a, b in ((towns.iloc[[0]], towns.iloc[[1]]), (towns.iloc[0], towns.iloc[1])):
        pd.testing.assert_frame_equal(vae.interpolate(a, b, 5), expected, rtol=1e-5)
    with pytest.raises(DataError, match=r"one row for each end, as X\[\[0\]\] or df.iloc\[\[0\]\], got shape \(2, 4\)"):
        vae.interpolate(towns[:2], towns[:2])
    with pytest.raises(DataError, match="one row for each end"):
        VAE(2, random_state=0, max_epochs=1).fit(np.eye(9)).interpolate(np.eye(9)[:2].tolist(), np.eye(9)[:2].tolist())
    numbers = towns[["sales", "profit"]].assign(z=1.0 * np.arange(len(towns)))
    of_numbers = VAE(2, random_state=0, max_epochs=1).fit(numbers)
    with pytest.raises(ValueError, match="same order"):
        of_numbers.interpolate(numbers.iloc[0][::-1], numbers.iloc[1])
    counts = sparse.random_array((200, 30), density=0.2, random_state=0, format="csr")
    plain = VAE(2, random_state=0, max_epochs=1).fit(counts)
    rows = counts.toarray()
    np.testing.assert_allclose(
        plain.interpolate(counts[[0]], counts[[1]]), plain.interpolate(rows[0], rows[1]), atol=1e-6
    )
    with pytest.raises(DataError, match="one row for each end"):
        plain.interpolate(counts[:2], counts[:2])
