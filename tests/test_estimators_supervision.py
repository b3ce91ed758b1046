"""Maps supervised by numbers: which y are numbers, whose values count as near, and what they do to a map."""

import numpy as np
import pytest
import torch
from sklearn.neighbors import KNeighborsRegressor

from latentmap import VAE
from latentmap.cli import main
from latentmap.estimators.supervision import read_targets, with_values
from latentmap.model.networks import MLP

SMALL = {"encoder": MLP((32, 32)), "decoder": MLP((32,)), "device": "cpu", "random_state": 0, "precision": "float32"}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
RNG = np.random.default_rng(0)


@pytest.mark.parametrize(
    ("y", "numbers"),
    [
        (RNG.normal(size=100), True),
        ([None, *RNG.normal(size=99).tolist()], True),
        (np.where(np.arange(100) < 5, np.nan, RNG.integers(0, 1000, 100)), True),  # few rows of each level
        (np.arange(100), True),
        (np.arange(100) % 25, True),  # 25 levels of four rows
        (np.arange(100) % 20, False),
        (np.arange(400) % 25, False),  # sixteen rows of each level
        (np.arange(100.0) % 3, False),
        (np.where(np.arange(100) < 50, -1, np.arange(100) % 2), False),
        (np.array(["1.5", "2.5"])[np.arange(100) % 2], False),  # text names classes
        (np.arange(100) % 2 == 0, False),
    ],
)
def test_numbers_are_not_all_whole_or_of_many_levels(y, numbers):
    found = read_targets(VAE(supervised=0.5), y, len(y))
    assert (found.dtype.kind == "f") == numbers
    if numbers:
        np.testing.assert_array_equal(found, np.array([np.nan if one is None else one for one in y], dtype=float))


def test_drawn_rows_are_those_of_the_nearest_values():
    graph = torch.full((300, 4), -7)
    values = RNG.exponential(size=300).round(1)
    values[:10] = np.nan
    found = with_values(graph, values, values, 0.5, seed=0)
    assert (found[:, :2] == -7).all() and (found[:10] == -7).all()
    gaps = np.abs(values[:, None] - values)
    for row in range(10, 300):
        drawn = gaps[row, found[row, 2:].numpy()]
        near = np.sort(gaps[row][~np.isnan(gaps[row])])[round(0.05 * 290) - 1]  # a twentieth of those with a value
        assert (drawn <= near).all()
    assert torch.equal(found, with_values(graph, values, values, 0.5, seed=0))
    assert not torch.equal(found, with_values(graph, values, values, 0.5, seed=1))


def test_rows_of_one_value_are_all_drawn_from():
    values = np.repeat([0.5, 1.5], 100)
    found = with_values(torch.zeros(200, 40, dtype=torch.long), values, values, 1.0, seed=0)
    assert len(found[:100].unique()) == len(found[100:].unique()) == 100 and found[:100].max() < 100


def test_numbers_order_a_map_and_may_be_missing():
    X = RNG.normal(size=(300, 8))
    y = X[:, 0] + 0.1  # one of eight directions, so that no graph of neighbours shows it
    some = np.where(np.arange(300) % 3, y, np.nan)
    plain = VAE(2, max_epochs=12, **SMALL).fit(X)
    pulled = VAE(2, max_epochs=12, supervised=0.8, **SMALL).fit(X, some)
    score = [KNeighborsRegressor(10).fit(m.transform(X)[::2], y[::2]).score(m.transform(X)[1::2], y[1::2])
             for m in (plain, pulled)]  # fmt: skip
    assert score[1] > score[0] + 0.1
    assert pulled.choices_["supervised"] == "0.8 of the neighbours are rows of near values of y"


def test_the_command_takes_a_column_of_numbers_with_gaps(tmp_path):
    lines = [
        f"{a:.3f},{b:.3f},{'' if i % 9 == 0 else f'{a * 100:.2f}'}" for i, (a, b) in enumerate(RNG.normal(size=(90, 2)))
    ]
    (tmp_path / "flats.csv").write_text("\n".join(["a,b,PRICE", *lines]))
    fit = ["fit", str(tmp_path / "flats.csv"), "-o", str(tmp_path / "run"), "--no-report", "--labels", "PRICE"]
    assert main([*fit, "--set", "max_epochs=1", "--set", "supervised=0.5"]) == 0
    assert "0.5 of the neighbours are rows of near values of y" in (tmp_path / "run" / "config.json").read_text()
