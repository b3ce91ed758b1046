"""Held-out rows: what they are measured with, and what a fit says of them."""

import warnings

import numpy as np
import pytest

from latentmap import VAE
from latentmap.data import streaming
from latentmap.estimators import training_rows
from latentmap.estimators.diagnosis import Facts, diagnose
from latentmap.model.networks import MLP


@pytest.fixture(scope="module")
def surface():
    rng = np.random.default_rng(0)
    return rng.uniform(size=(4000, 2)) @ rng.normal(size=(2, 5)) + 0.01 * rng.normal(size=(4000, 5))


def test_held_out_rows_of_a_sorted_file_are_contrasted_with_all_kinds_of_others(surface):
    """Those of a batch would be neighbours in the file, harder to tell apart than those of a training batch."""
    gaps = []
    for rows in (surface, surface[surface[:, 0].argsort()]):
        row = VAE(2, encoder=MLP((64,) * 3), max_epochs=3, random_state=0).fit(rows).history_[-1]
        gaps.append(row["val_neighbors"] - row["neighbors"])
    assert gaps[1] == pytest.approx(gaps[0], abs=0.2)


def facts(history):
    return Facts(history, np.ones(2, bool), 3.0, None, None, 0, 0, rows=10)


def kinds(history):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("latentmap.estimators.diagnosis._likelihood", lambda facts: None)
        patch.setattr("latentmap.estimators.diagnosis._constant", lambda facts: None)
        patch.setattr("latentmap.estimators.diagnosis.Facts.all_equal", False)
        return {finding.kind for finding in diagnose(facts(history))}


def row(loss, val_loss, *, contrast=0.0, val_contrast=0.0, **marks):
    own = {"loss": loss + contrast, "distortion": loss - 3.0, "rate": 3.0, "neighbors": contrast}
    held = {"val_loss": val_loss + val_contrast, "val_distortion": val_loss - 3.0, "val_rate": 3.0}
    return own | held | {"val_neighbors": val_contrast} | marks


def test_terms_that_contrast_rows_are_no_cost_of_them():
    history = [row(20.0 - i, 20.1 - i, contrast=2.0, val_contrast=9.0) for i in range(10)]
    assert "overfit" not in kinds(history)
    history[-1] = row(11.0, 18.0)
    assert "overfit" in kinds(history), "control"
    weighed = [row(20.0 - i, 20.1 - i) | {"rate": 3.0 * i, "val_rate": 3.0 * i} for i in range(10)]
    assert "overfit" not in kinds(weighed), "a rate that the objective weighs less is spent, and does not count"
    weighed = [row(20.0 - i, 20.1 - 0.1 * i) | {"rate": 3.0 * i, "val_rate": 3.0 * i} for i in range(10)]
    assert "overfit" in kinds(weighed)


def test_the_fall_of_a_decoder_that_was_fitted_further_is_no_lack_of_epochs():
    flat = [row(20.0 - 5 * min(i, 5), 20.0 - 5 * min(i, 5)) for i in range(20)]
    falls = row(-25.0, -25.0)
    assert "underfit" not in kinds([*flat, falls | {"refitted": 1.0}])
    assert "underfit" in kinds([*flat, falls]), "control"


@pytest.mark.parametrize("memory", [None, "1MB"])
def test_rows_of_a_period_are_summarised_by_all_of_it(memory, monkeypatch):
    """Of hours in a row, every twenty-fourth is the same one."""
    monkeypatch.setattr(training_rows, "STATISTICS_ROWS", 100)
    monkeypatch.setattr(streaming, "SOME_VALUES", 300)
    rng = np.random.default_rng(0)
    rows = np.column_stack([np.arange(2400) % 24, rng.normal(size=(2400, 2))])

    def kinds_of_fit():
        vae = VAE(2, max_epochs=1, neighbors=None, random_state=0, memory=memory)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return {finding.kind for finding in vae.fit(rows).findings_}

    assert "constant" not in kinds_of_fit()
    for module in (training_rows, streaming):
        monkeypatch.setattr(module, "scattered", lambda n, step: np.arange(0, n, step))
    assert "constant" in kinds_of_fit(), "control"
