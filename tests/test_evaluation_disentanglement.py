"""Disentanglement scores on codes whose answers are known: matched components, rotations, noise, duplicates."""

import numpy as np
import pytest

from latentmap.evaluation import disentanglement as scores
from latentmap.exceptions import DataError

FACTORS = np.random.default_rng(0).integers(0, 6, size=(3000, 3))
MATCHED = FACTORS[:, [2, 0, 1]] * [1.0, -5.0, 0.1] + [0.0, 7.0, 1.0]
ROTATION = np.array([[2, 2, -1], [-1, 2, 2], [2, -1, 2]]) / 3
NOISE = np.random.default_rng(2).normal(size=(3000, 3))
MEASURES = {
    "mig": scores.mutual_information_gap,
    "sap": scores.attribute_predictability,
    "disentanglement": lambda z, v: scores.dci(z, v).disentanglement,
    "completeness": lambda z, v: scores.dci(z, v).completeness,
    "informativeness": lambda z, v: scores.dci(z, v).informativeness,
    "factor_vae": scores.factor_vae_score,
}


@pytest.mark.parametrize("name", MEASURES)
def test_a_component_for_each_factor_scores_one(name):
    assert MEASURES[name](MATCHED, FACTORS) == pytest.approx(1, abs=0.05)
    unused = np.c_[MATCHED, np.zeros(len(MATCHED))]
    assert MEASURES[name](unused, FACTORS) == pytest.approx(1, abs=0.05)


@pytest.mark.parametrize("name", MEASURES)
def test_noise_scores_low(name):
    assert MEASURES[name](NOISE, FACTORS) < 0.45  # chance is a third for the votes, and a sixth for the forest


@pytest.mark.parametrize("name", ["mig", "sap", "disentanglement", "completeness"])
def test_a_rotation_scores_low_though_it_tells_as_much(name):
    rotated = (FACTORS - 2.5) @ ROTATION
    assert MEASURES[name](rotated, FACTORS) < 0.6
    assert scores.dci(rotated, FACTORS).informativeness > 0.7


def test_two_components_for_one_factor_are_pure_but_not_complete():
    twice = np.c_[FACTORS[:, 0], FACTORS[:, 0], FACTORS[:, 1]] + 1e-3 * NOISE
    result = scores.dci(twice, FACTORS[:, :2])
    assert result.disentanglement > 0.9 and result.completeness < 0.8
    assert scores.mutual_information_gap(twice, FACTORS[:, :2]) == pytest.approx(0.5, abs=0.05)


def test_one_component_for_two_factors_is_not_pure():
    both = (FACTORS[:, :1] + 6 * FACTORS[:, 1:2]).astype(float)
    result = scores.dci(both, FACTORS[:, :2])
    assert result.disentanglement < 0.3 and result.informativeness > 0.9


def test_factors_of_equal_gap_average():
    half = np.c_[FACTORS[:, 0], NOISE[:, 0]]
    assert scores.mutual_information_gap(half, FACTORS[:, :2], bins=6) == pytest.approx(0.5, abs=0.05)
    assert scores.attribute_predictability(half, FACTORS[:, :2]) == pytest.approx(0.5, abs=0.05)


@pytest.mark.parametrize("name", MEASURES)
def test_bad_input(name):
    with pytest.raises(DataError, match="3000 and 10 rows"):
        MEASURES[name](NOISE, FACTORS[:10])
    with pytest.raises(DataError, match="factor 1 has one value"):
        MEASURES[name](NOISE, np.c_[FACTORS[:, 0], np.ones(3000)])


def test_collapsed_codes():
    with pytest.raises(DataError, match="collapsed to a point"):
        scores.factor_vae_score(np.ones((3000, 2)), FACTORS)
    assert scores.attribute_predictability(np.ones((3000, 2)), FACTORS) == 0
    assert scores.mutual_information_gap(np.ones((3000, 2)), FACTORS) == 0
