"""Precision and compilation are chosen for the rows of a batch, not for the largest batch that is allowed."""

import numpy as np
import pytest

from latentmap import VAE, networks


@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_a_batch_size_beyond_the_rows_changes_nothing():
    rows = np.random.default_rng(0).normal(size=(60, 4))
    tiny = networks.MLP((8,))
    settings = {"encoder": tiny, "decoder": tiny, "max_epochs": 2, "random_state": 0, "learning_rate": 1e-3}
    large, whole = (VAE(2, **settings, batch_size=size).fit(rows) for size in (10**6, 54))
    for name in ("precision", "compile"):
        assert large.choices_[name].split(" (")[0] == whole.choices_[name].split(" (")[0]
    np.testing.assert_array_equal(large.transform(rows), whole.transform(rows))
