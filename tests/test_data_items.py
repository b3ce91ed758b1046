"""Data sets that return one item at a time: the same numbers as the array that their items make."""

import numpy as np
import pytest
import torch
from PIL import Image
from sklearn.datasets import load_digits

from latentmap import VAE, networks
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

TINY = networks.MLP((16,))
SMALL = {"encoder": TINY, "decoder": TINY, "max_epochs": 3, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


class Items(torch.utils.data.Dataset):
    def __init__(self, items, **more):
        self.items = items
        self.__dict__ |= more

    def __len__(self):
        return len(self.items)

    def __getitem__(self, i):
        return self.items[i]


def test_items_are_the_array_that_they_make():
    X, y = load_digits(return_X_y=True)
    X = X[:60].reshape(-1, 8, 8)
    pairs = Items([(torch.from_numpy(x)[None].float(), int(t)) for x, t in zip(X, y, strict=False)])
    source = open_source(pairs)
    np.testing.assert_array_equal(source.read(slice(None)), X.astype(np.float32))  # one channel is none
    assert source.labels.tolist() == y[:60].tolist()
    images = Items([{"image": Image.fromarray(x.astype(np.uint8)), "label": t} for x, t in zip(X, y, strict=False)])
    assert open_source(images).first.dtype == np.uint8 and open_source(images).label_name == "label"
    named = Items([(x, int(t)) for x, t in zip(X, y, strict=False)], classes=[f"digit {i}" for i in range(10)])
    assert open_source(named).labels[3] == "digit 3"
    colour = Items([torch.rand(3, 8, 9) for _ in range(5)])
    assert open_source(colour).first.shape == (1, 8, 9, 3) and open_source(colour).labels is None
    fitted = VAE(2, **SMALL).fit(pairs)
    np.testing.assert_array_equal(fitted.transform(pairs), fitted.transform(X.astype(np.float32)))
    loader = torch.utils.data.TensorDataset(torch.from_numpy(X), torch.from_numpy(y[:60]))
    np.testing.assert_array_equal(open_source(loader).read(slice(None)), X)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "X has no rows"),
        ([np.zeros(3), np.zeros(4)], r"item 1 of X has shape \(4,\), the first \(3,\)"),
        ([np.zeros(3), "text"], "item 1 of X is str: expected an array"),
        ([{"text": "a"}], "items of X have the entries text: call the row 'image' or 'X'"),
    ],
)
def test_items_that_make_no_array_are_named(items, message):
    with pytest.raises(DataError, match=message):
        open_source(Items(items))


def test_hugging_face_data_sets():
    datasets = pytest.importorskip("datasets")
    features = datasets.Features({"a": datasets.Value("float32"), "kind": datasets.ClassLabel(names=["x", "y"])})
    table = datasets.Dataset.from_dict({"a": [0.5, 1.5, 2.5, 3.5], "kind": [0, 1, 1, 0]}, features=features)
    source = open_source(table, labels="kind")
    assert source.read(slice(None)).tolist() == [[0.5], [1.5], [2.5], [3.5]] and source.labels[1] == "y"
    pictures = datasets.Dataset.from_dict(
        {"image": [Image.new("L", (8, 8), i) for i in range(6)], "label": [0, 1] * 3},
        features=datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["cat", "dog"])}),
    )
    source = open_source(pictures)
    assert source.read(slice(None))[:, 0, 0].tolist() == list(range(6)) and source.labels[:2].tolist() == ["cat", "dog"]
