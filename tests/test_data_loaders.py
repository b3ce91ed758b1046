"""A ``DataLoader`` is its data set: the same rows in the same order, or an error that says why not."""

import numpy as np
import pytest
import torch
from torch.utils import data

from latentmap import VAE, networks
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

X = torch.rand(60, 8, generator=torch.Generator().manual_seed(0))
ROWS = data.TensorDataset(X)
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


class Stream(data.IterableDataset):
    def __iter__(self):
        yield from X


class Uncounted(data.Dataset):
    def __getitem__(self, i):
        return X[i]


class Batches(data.Sampler):
    def __iter__(self):
        yield [1, 2]

    def __len__(self):
        return 1


class Transformed(data.Dataset):
    """As torchvision's: a pair of image and label, with a transform."""

    classes = ["zero", "one"]

    def __len__(self):
        return 20

    def __getitem__(self, i):
        return 2 * torch.full((1, 4, 4), float(i)), i % 2


@pytest.mark.parametrize(
    "loader",
    [
        data.DataLoader(ROWS, batch_size=7, shuffle=True, drop_last=True),
        data.DataLoader(ROWS, batch_size=None),
        data.DataLoader(ROWS, batch_sampler=data.BatchSampler(data.RandomSampler(ROWS), 8, False)),
        data.DataLoader(X, batch_size=16),
        data.DataLoader(X.numpy()),
        data.DataLoader(data.ConcatDataset([data.Subset(ROWS, range(30)), data.Subset(ROWS, range(30, 60))])),
    ],
)
def test_a_loader_is_read_as_its_data_set_in_order(loader):
    source = open_source(loader)
    np.testing.assert_array_equal(source.read(slice(None)), X.numpy())
    assert "batch_size= and random_state= set batches and their order" in source.remark


def test_a_fit_to_a_loader_is_that_to_its_rows_and_says_so():
    mlp = networks.MLP((8,))
    models = [VAE(2, encoder=mlp, decoder=mlp, neighbors=None, max_epochs=2, random_state=0) for _ in range(2)]
    one, other = (model.fit(X) for model, X in zip(models, (X, data.DataLoader(ROWS, 5, shuffle=True)), strict=True))
    assert "the data set of a DataLoader" in other.choices_["data"] and "data" not in one.choices_
    loader = data.DataLoader(ROWS, shuffle=True)
    np.testing.assert_array_equal(one.transform(X), other.transform(loader))
    assert one.data_fingerprint_ == other.data_fingerprint_


def test_images_come_with_their_transform_and_labels():
    source = open_source(data.DataLoader(Transformed(), batch_size=3))
    assert source.read(slice(None)).shape == (20, 4, 4) and source.read(slice(None))[3].max() == 6
    assert source.labels[:3].tolist() == ["zero", "one", "zero"]


def chosen(sampler):
    return data.DataLoader(ROWS, sampler=sampler)


@pytest.mark.parametrize(
    ("loader", "message"),
    [
        (Stream(), "X is a stream, an IterableDataset: expected a data set with __len__ and __getitem__"),
        (data.DataLoader(Stream()), "X is a DataLoader of a stream.*partial_fit"),
        (data.DataLoader(ROWS, collate_fn=lambda rows: rows), r"collate_fn of its own.*X\.dataset to leave it out"),
        (chosen(data.SubsetRandomSampler([1, 2])), r"SubsetRandomSampler chooses rows.*Subset\(X\.dataset, indices\)"),
        (chosen(data.WeightedRandomSampler([1.0] * 60, 60)), "WeightedRandomSampler chooses rows"),
        (chosen(data.RandomSampler(ROWS, replacement=True)), "RandomSampler chooses rows"),
        (chosen(data.RandomSampler(ROWS, num_samples=7)), "RandomSampler chooses rows"),
        (chosen(data.SequentialSampler(range(9))), "SequentialSampler chooses rows"),
        (
            data.DataLoader(ROWS, batch_sampler=data.BatchSampler(data.SubsetRandomSampler([1, 2]), 2, False)),
            "SubsetRandomSampler chooses rows",
        ),
        (data.DataLoader(ROWS, batch_sampler=Batches()), "Batches chooses rows"),
        (
            data.DataLoader(Uncounted(), sampler=data.SequentialSampler(X)),
            "Uncounted, which does not return rows by num",
        ),
    ],
)
def test_a_loader_of_other_rows_is_refused(loader, message):
    with pytest.raises(DataError, match=message) as error:
        open_source(loader)
    assert "\n" not in str(error.value)
