"""Data sets by name: what they hold, where they are found, and that nothing damaged gets through."""

import functools
import gzip
import hashlib
import http.server
import os
import struct
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_digits

from latentmap.data.datasets import DATASETS, IdxFiles, dataset_source, fetch, load_dataset
from latentmap.data.formats.idx import TYPES, read_idx
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError, MissingExtraError

IMAGES = np.random.default_rng(0).integers(0, 256, (7, 28, 28)).astype(np.uint8)
LABELS = np.arange(7, dtype=np.uint8)
RAW_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}

DIGITS_SHA256 = "8f26b2bd9d135c256808f68f14fdabddde6d9c7f869ae419704b051f0f14b3b3"


def idx(array, code=0x08):
    return bytes([0, 0, code, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder of data with a small set in place of MNIST: 7 training and 4 test images."""
    home = tmp_path / "mnist"
    home.mkdir()
    for prefix, n in (("train", 7), ("t10k", 4)):
        (home / f"{prefix}-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(IMAGES[:n])))
        (home / f"{prefix}-labels-idx1-ubyte.gz").write_bytes(gzip.compress(idx(LABELS[:n])))
    monkeypatch.setenv("LATENTMAP_DATA", str(tmp_path))
    return home


def test_digits_are_those_of_scikit_learn():
    X, y = load_dataset("digits")
    bunch = load_digits()
    assert (X.dtype, y.dtype) == (np.uint8, np.uint8)
    np.testing.assert_array_equal(X, bunch.images)
    np.testing.assert_array_equal(y, bunch.target)
    source = open_source("digits")
    assert (source.name, source.label_name, source.schema.event_shape) == ("digits", "digit", (8, 8))
    np.testing.assert_array_equal(source.labels, y)
    assert open_source("digits", labels=y % 2).labels.max() == 1


def test_the_splits_of_a_set_in_a_folder(folder):
    for split, images, labels in [
        ("train", IMAGES, LABELS),
        ("test", IMAGES[:4], LABELS[:4]),
        ("all", np.concatenate([IMAGES, IMAGES[:4]]), np.concatenate([LABELS, LABELS[:4]])),
    ]:
        X, y = load_dataset("mnist", split)
        np.testing.assert_array_equal(X, images)
        np.testing.assert_array_equal(y, labels)
        np.testing.assert_array_equal(dataset_source("mnist", split).read(slice(None)), images)
    assert X.flags.writeable
    assert open_source("mnist").label_name == "digit"


def test_files_in_a_folder_may_be_unpacked(folder):
    for packed in list(folder.iterdir()):
        packed.with_suffix("").write_bytes(gzip.decompress(packed.read_bytes()))
        packed.unlink()
    np.testing.assert_array_equal(load_dataset("mnist")[0], IMAGES)
    np.testing.assert_array_equal(open_source(folder / "t10k-images-idx3-ubyte").read(slice(None)), IMAGES[:4])


DAMAGE = {
    "short": ("images-idx3", idx(IMAGES)[:-5], "truncated: expected 5504 bytes for shape (7, 28, 28), got 5499"),
    "long": ("images-idx3", idx(IMAGES) + b"!", "too long: expected 5504 bytes for shape (7, 28, 28), got 5505"),
    "no sizes": ("images-idx3", idx(IMAGES)[:9], "truncated"),
    "another format": ("images-idx3", b"<html>", "not an IDX file: expected it to begin with 00 00 08, got 3c 68 74"),
    "nothing": ("images-idx3", b"", "not an IDX file: expected it to begin with 00 00 08, got nothing"),
    "no images": ("images-idx3", idx(LABELS), "expected bytes in 3 axes, got uint8 of shape (7,)"),
    "wide labels": (
        "labels-idx1",
        idx(LABELS.astype(">i4"), 0x0C),
        "expected bytes in 1 axes, got int32 of shape (7,)",
    ),
    "few labels": ("labels-idx1", idx(LABELS[:5]), "has 5 labels, but"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_damaged_files_are_named(damage, folder):
    file, content, message = DAMAGE[damage]
    path = folder / f"train-{file}-ubyte.gz"
    path.write_bytes(gzip.compress(content))
    with pytest.raises(DataError) as caught:
        load_dataset("mnist")
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert len(load_dataset("mnist", "test")[0]) == 4  # the other split is whole


def test_a_truncated_archive_is_named(folder):
    path = folder / "train-images-idx3-ubyte.gz"
    for content in (path.read_bytes()[:-50], b"<html>not here</html>"):
        path.write_bytes(content)
        with pytest.raises(DataError, match="train-images-idx3-ubyte.gz: truncated or damaged"):
            load_dataset("mnist")


@pytest.mark.parametrize("code", TYPES)
def test_every_idx_type_is_read_in_the_byte_order_of_the_machine(code, tmp_path):
    array = np.arange(24).reshape(2, 3, 4).astype(TYPES[code])
    path = tmp_path / "x-ubyte"
    path.write_bytes(idx(array, code))
    assert read_idx(path).dtype.isnative
    np.testing.assert_array_equal(read_idx(path), array)
    np.testing.assert_array_equal(open_source(path).read(slice(1, 2)), array[1:])


@pytest.mark.parametrize(
    ("name", "split", "message"),
    [
        (
            "fashion",
            "train",
            "no data set is called 'fashion': did you mean 'fashion-mnist'? There are: digits, mnist, fash",
        ),
        ("mnist", "tset", "no split is called 'tset': did you mean 'test'? There are: train, test, all"),
        ("digits", "test", "digits has no test rows: use split='train'"),
    ],
)
def test_unknown_names_are_answered_with_the_known_ones(name, split, message):
    with pytest.raises(DataError) as caught:
        load_dataset(name, split)
    assert message in str(caught.value)


class Files(http.server.SimpleHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        super().do_GET()

    def log_message(self, *args):
        """Say nothing."""


@pytest.fixture
def mirror(folder, monkeypatch):
    """A web server on this machine that gives the small set; what it was asked for is in ``asked``."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Files, directory=str(folder)))
    server.asked = []
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_a_set_that_is_not_here_is_downloaded_once(folder, mirror, tmp_path, monkeypatch):
    files = IdxFiles(
        "digit", (mirror.url + "gone/", mirror.url), {path.name: sha256(path) for path in folder.iterdir()}
    )
    monkeypatch.setitem(DATASETS, "mnist", files)
    monkeypatch.setenv("LATENTMAP_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    np.testing.assert_array_equal(load_dataset("mnist", "test")[0], IMAGES[:4])
    assert [path.rsplit("/", 1)[0] for path in mirror.asked] == [
        "/gone",
        "",
        "/gone",
        "",
    ]  # the second mirror stands in
    np.testing.assert_array_equal(load_dataset("mnist", "test")[0], IMAGES[:4])
    assert len(mirror.asked) == 4
    cached = next((tmp_path / "cache").rglob("t10k-images-idx3-ubyte.gz"))
    cached.write_bytes(cached.read_bytes()[:-50])
    np.testing.assert_array_equal(load_dataset("mnist", "test")[0], IMAGES[:4])  # damaged, so downloaded anew
    assert len(mirror.asked) == 6


def test_what_is_not_what_was_published_is_refused_and_not_kept(folder, mirror, tmp_path):
    name = "train-labels-idx1-ubyte.gz"
    with pytest.raises(DataError) as caught:
        fetch(
            name, sha256(folder / "t10k-labels-idx1-ubyte.gz"), [mirror.url + "gone/", mirror.url], tmp_path / "cache"
        )
    message = str(caught.value)
    assert message.startswith(f"cannot download {name}: {mirror.url}gone/: 404 Client Error")
    assert f"{mirror.url}: SHA256 hash of downloaded file" in message
    assert "\n" not in message
    assert list((tmp_path / "cache").iterdir()) == []


def test_without_pooch_the_error_gives_the_command(folder, monkeypatch):
    (folder / "train-labels-idx1-ubyte.gz").unlink()
    monkeypatch.setitem(sys.modules, "pooch", None)
    with pytest.raises(MissingExtraError, match=r'pip install "latentmap\[datasets\]"'):
        load_dataset("mnist")
    assert len(load_dataset("mnist", "test")[0]) == 4  # what is here needs nothing


def test_real_data_is_what_it_has_always_been():
    """The digits always, and MNIST where it is at hand: the sha256 of its unpacked files is widely published."""
    hashes = {"digits": (hashlib.sha256(load_dataset("digits")[0].tobytes()).hexdigest(), DIGITS_SHA256)}
    for path in Path(os.environ.get("LATENTMAP_DATA", "none"), "mnist").glob("*-ubyte.gz"):
        hashes[path.name] = (hashlib.sha256(gzip.decompress(path.read_bytes())).hexdigest(), RAW_SHA256[path.stem])
    assert {name: found for name, (found, _) in hashes.items()} == {name: known for name, (_, known) in hashes.items()}
