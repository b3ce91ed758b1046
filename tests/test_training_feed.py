"""Rows come to the step in one order with the same values, wherever they lie; buffers in use are left alone."""

import numpy as np
import pytest
import torch

from latentmap import VAE, networks
from latentmap.data.formats.arrays import ArraySource
from latentmap.estimators import training_rows
from latentmap.model.scaling import Affine
from latentmap.training.feed import Gathered, Resident
from latentmap.training.transfer import ahead, fits_device, free_bytes

pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")

CPU = torch.device("cpu")
BYTES = np.random.default_rng(0).integers(0, 256, (50, 6), dtype=np.uint8)
NUMBERS = np.delete(np.arange(50), [3, 20])
SCALING = Affine(np.arange(6.0), np.full(6, 3.0))
GRAPH = torch.randint(-1, 48, (48, 4), generator=torch.Generator().manual_seed(0))
CONDITION = torch.arange(96.0).view(48, 2)
KINDS = {
    "bytes": (BYTES, lambda rows: rows),
    "double": (BYTES / 7, lambda rows: SCALING(rows).float()),
    "single": (BYTES.astype(np.float32), lambda rows: SCALING(rows).float()),
}


def feeds(kind):
    """Rows that lie on the device, and the same in memory, staged as they are for a GPU."""
    array, prepare = KINDS[kind]
    gathered = Gathered(ArraySource(array), NUMBERS, prepare, CPU)
    gathered.staged = True
    there = prepare(torch.from_numpy(array[NUMBERS]))
    return [Resident(data, GRAPH, CONDITION) for data in (there, gathered)]


def batches(feed, seed=0, size=7):
    """What a step sees of an epoch, with random numbers drawn between batches, as a step does."""
    generator = torch.Generator().manual_seed(1)
    for batch in feed.epoch(seed, 2, size, generator):
        torch.rand(3, generator=generator)
        yield [part.clone() for part in batch if part is not None]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_in_memory_make_the_batches_of_rows_on_the_device(kind):
    resident, staged = feeds(kind)
    ours, theirs = list(batches(resident)), list(batches(staged))
    assert len(ours) == len(theirs) == 48 // 7
    torch.testing.assert_close(theirs, ours, rtol=0, atol=0)
    others = list(batches(staged, seed=1))
    assert not torch.equal(others[0][0], ours[0][0])  # the control: another seed, another order


def test_a_batch_stays_as_it_is_until_the_next_is_taken():
    blocks = torch.arange(60.0).view(10, 3, 2)
    for place, block in enumerate(ahead(iter(blocks), CPU)):
        assert torch.equal(block, blocks[place])
    taken = list(ahead(iter(blocks), CPU))
    assert not torch.equal(taken[0], blocks[0])  # the control: there are but two buffers


def test_the_next_batch_is_on_its_way_before_this_one_is_used():
    read = []

    def blocks():
        for place in range(5):
            read.append(place)
            yield torch.full((2, 1), place)

    there = ahead(blocks(), CPU)
    assert [(next(there)[0].item(), max(read)) for _ in range(5)] == [(0, 1), (1, 2), (2, 3), (3, 4), (4, 4)]
    assert list(ahead(iter([]), CPU)) == []


def test_blocks_may_differ_in_length():
    blocks = [torch.rand(rows, 2) for rows in (3, 1, 5, 4, 7)]
    for found, block in zip(ahead(blocks, CPU), blocks, strict=True):
        assert torch.equal(found, block)


def test_rows_lie_on_a_device_with_room_to_spare():
    assert fits_device(needed=40, free=80) and not fits_device(needed=41, free=80)
    assert fits_device(needed=1e15, free=free_bytes(CPU))  # rows in memory are there already


@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
@pytest.mark.parametrize("condition", [None, "labels"])
def test_a_fit_to_rows_that_stay_in_memory_is_the_same_fit(dtype, condition, rows, monkeypatch):
    tiny = networks.MLP((8,))
    X, y = rows[:150].astype(dtype), np.arange(150) % 3
    given = {"encoder": tiny, "decoder": tiny, "neighbors": None, "max_epochs": 4, "random_state": 0}
    fits = []
    for free in (free_bytes(CPU), 0.0):
        monkeypatch.setattr(training_rows, "free_bytes", lambda device, free=free: free)
        fits.append(VAE(2, condition=condition, **given).fit(X, y))
    inside, outside = fits
    assert "batch by batch" in outside.choices_["memory"] and "memory" not in inside.choices_
    torch.testing.assert_close(outside.model_.state_dict(), inside.model_.state_dict(), rtol=0, atol=0)


def test_a_map_of_rows_that_stay_in_memory_has_neighbours(rows, monkeypatch):
    monkeypatch.setattr(training_rows, "free_bytes", lambda device: 0.0)
    vae = VAE(2, max_epochs=8, random_state=0).fit(rows)
    assert np.isfinite(vae.transform(rows)).all() and vae.choices_["neighbors"].startswith("30")
