"""A fit to a file takes the frame that a library reads of it, and the other way round."""

import numpy as np
import pandas as pd
import polars as pl
import pytest

from latentmap import VAE

rng = np.random.default_rng(0)
HEADS = {"mixed": "#a, b, k", "numbers": "#a, b, c"}


@pytest.fixture
def ways(request, tmp_path):
    """A file and what pandas and polars read of it."""
    last = ["uv"[i % 2] if request.param == "mixed" else f"{i % 7}.5" for i in range(40)]
    numbers = rng.normal(size=(40, 2)).round(2)
    rows = [f"{a},{'' if i == 9 else b},{last[i]}" for i, (a, b) in enumerate(numbers)]
    path = tmp_path / "x.csv"
    path.write_text("\n".join([HEADS[request.param], *rows]))
    return path, pd.read_csv(path), pl.read_csv(path)


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
@pytest.mark.parametrize("ways", list(HEADS), indirect=True)
@pytest.mark.parametrize("fitted", range(3))
def test_a_fit_takes_the_same_table_as_file_and_frame(fitted, ways):
    vae = VAE(2, max_epochs=1, random_state=0).fit(ways[fitted])
    codes = [vae.transform(X) for X in ways]
    for code in codes[1:]:
        np.testing.assert_allclose(code, codes[0], rtol=1e-5, atol=1e-6)
    for X in ways[1:]:
        filled = vae.impute(X, random_state=0)
        assert list(filled.columns) == list(X.columns) and len(filled) == 40
