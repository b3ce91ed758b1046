"""Measures of maps beside those of zadu, a toolkit of such measures (Jeon et al. 2023), where it is installed."""

import numpy as np
import pytest

from latentmap.evaluation import neighborhood as nb

pytest.importorskip("zadu")
RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 6))
Z, LABELS = X[:, :2] + 0.3 * RNG.normal(size=(300, 2)), np.arange(300) % 3


@pytest.mark.parametrize("k", [1, 5, 15, 50])
def test_trustworthiness_and_continuity_are_those_of_zadu(k):
    from zadu.measures import trustworthiness_continuity

    expected = trustworthiness_continuity.measure(X, Z, k=k)
    assert nb.trustworthiness(X, Z, k) == pytest.approx(expected["trustworthiness"], rel=1e-12)
    assert nb.continuity(X, Z, k) == pytest.approx(expected["continuity"], rel=1e-12)
    assert nb.continuity(X, Z, k) != pytest.approx(expected["trustworthiness"], rel=1e-3), "control"


@pytest.mark.parametrize("k", [1, 5, 15, 50])
def test_recall_less_chance_is_the_local_continuity_of_zadu(k):
    from zadu.measures import local_continuity_meta_criteria

    expected = local_continuity_meta_criteria.measure(X, Z, k=k)["lcmc"]
    assert nb.neighbor_recall(X, Z, k) - k / 299 == pytest.approx(expected, rel=1e-9)


def test_correlation_of_distances_and_silhouette_are_those_of_zadu():
    from zadu.measures import internal_validation_measure, spearman_rho

    assert nb.distance_rank_correlation(X, Z) == pytest.approx(spearman_rho.measure(X, Z)["spearman_rho"], rel=1e-9)
    expected = internal_validation_measure.measure(Z, LABELS, measure="silhouette")["silhouette"]
    assert nb.silhouette(Z, LABELS) == pytest.approx(expected, rel=1e-6)
