"""Clusters of codes."""

import numpy as np
import pytest
from sklearn.cluster import HDBSCAN
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from latentmap.evaluation import clusters as module
from latentmap.evaluation.clusters import clusters
from latentmap.exceptions import DataError

Z, GROUP = make_blobs([300, 200, 100], centers=[[0, 0], [9, 9], [-9, 9]], random_state=0)


def test_clusters_are_those_of_hdbscan_the_largest_first():
    found = clusters(Z, 20)
    assert adjusted_rand_score(found, HDBSCAN(min_cluster_size=20, copy=True).fit_predict(Z)) == 1
    sizes = np.bincount(found[found >= 0])
    assert len(sizes) == 3 and (np.diff(sizes) < 0).all()


def test_no_unit_and_no_offset_counts():
    np.testing.assert_array_equal(clusters(Z), clusters(Z * 1000 + 1e6))


def test_rows_beyond_a_sample_join_the_nearest(monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 200)
    found = clusters(Z, 60)
    there = found >= 0
    assert there.mean() > 0.8 and adjusted_rand_score(found[there], GROUP[there]) > 0.99


@pytest.mark.parametrize("codes", [np.zeros((3, 2)), np.random.default_rng(0).uniform(size=(4, 2))])
def test_few_rows_are_in_no_cluster(codes):
    assert (clusters(codes) == -1).all()


def test_equal_codes_are_one_cluster_or_none():
    assert len(set(clusters(np.ones((50, 2))))) == 1


@pytest.mark.parametrize("size", [1, 0, 2.5, "many"])
def test_a_size_that_makes_no_sense_is_refused(size):
    with pytest.raises(DataError, match="min_size must be a whole number >= 2"):
        clusters(Z, size)
