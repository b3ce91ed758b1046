"""Data sets by name: one comes with scikit-learn, the others are downloaded once or read from a folder."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.checks import require_known
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.formats.base import LabelSpec, name_of
from latentmap.data.formats.idx import read_idx
from latentmap.exceptions import DataError, MissingExtraError
from latentmap.messages import one_line

SPLITS = {"train": ["train"], "test": ["t10k"], "all": ["train", "t10k"]}
"""The splits, and the prefixes of their files."""


@dataclass(frozen=True)
class IdxFiles:
    """A data set of four gzipped IDX files: its mirrors, and the published sha256 of each file."""

    label_name: str
    mirrors: tuple[str, ...]
    sha256: dict[str, str]


DATASETS: dict[str, IdxFiles | None] = {
    "digits": None,
    "mnist": IdxFiles(
        label_name="digit",
        mirrors=(
            "https://ossci-datasets.s3.amazonaws.com/mnist/",
            "https://storage.googleapis.com/cvdf-datasets/mnist/",
        ),
        sha256={
            "train-images-idx3-ubyte.gz": "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
            "train-labels-idx1-ubyte.gz": "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
            "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
            "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
        },
    ),
    "fashion-mnist": IdxFiles(
        label_name="garment",
        mirrors=(
            "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
            "https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/",
        ),
        sha256={
            "train-images-idx3-ubyte.gz": "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
            "train-labels-idx1-ubyte.gz": "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
            "t10k-images-idx3-ubyte.gz": "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
            "t10k-labels-idx1-ubyte.gz": "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
        },
    ),
}
"""The known data sets; None for that of scikit-learn."""


def load_dataset(name: str, split: str = "train") -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Load a data set of images by name.

    ``digits``: 1,797 images of 8x8, values 0 to 16, from scikit-learn; it has no test rows. ``mnist`` and
    ``fashion-mnist``: 60,000 training and 10,000 test images of 28x28, values 0 to 255. Their four gzipped IDX files
    are read from the folder ``$LATENTMAP_DATA/<name>`` if they exist, else downloaded once and checked against the
    published checksums (needs the extra ``datasets``).

    Parameters
    ----------
    name : {"digits", "mnist", "fashion-mnist"}
        The data set.
    split : {"train", "test", "all"}, default="train"
        The rows: ``all`` are the training rows, then the test rows.

    Returns
    -------
    X : ndarray of shape (n_samples, height, width)
        The images.
    y : ndarray of shape (n_samples,)
        Their classes.

    Raises
    ------
    DataError
        If there is no such data set or split, a file is damaged, or no mirror has it.
    MissingExtraError
        If a file must be downloaded and pooch is not installed.

    Examples
    --------
    >>> X, y = load_dataset("digits")
    >>> X.shape, X.dtype.name, int(X.max()), y[:3].tolist()
    ((1797, 8, 8), 'uint8', 16, [0, 1, 2])
    """
    require_known(name, DATASETS, "no data set is called")
    require_known(split, SPLITS, "no split is called")
    files = DATASETS[name]
    if files is None:
        return _digits(split)
    images, labels = zip(*(_read_split(name, files, prefix) for prefix in SPLITS[split]), strict=True)
    return np.concatenate(images), np.concatenate(labels)


def dataset_source(name: str, split: str = "train", labels: LabelSpec = None) -> ArraySource:
    """Return a source of a data set by name, with its own labels, which ``labels`` may name, or with other labels.

    >>> dataset_source("digits").label_name
    'digit'
    """
    images, classes = load_dataset(name, split)
    files = DATASETS[name]
    label_name = "digit" if files is None else files.label_name
    if labels is None or name_of(labels, [label_name], f"{name} has no labels called"):
        return ArraySource(images, name=name, labels=classes, label_name=label_name)
    return ArraySource(images, name=name, labels=labels)


def fetch(filename: str, sha256: str, mirrors: Sequence[str], folder: str | os.PathLike[str]) -> Path:
    """Download a file into a folder, unless it is there, from the first mirror that has it with this checksum."""
    retrieve, faults = _pooch().retrieve, []
    for mirror in mirrors:
        try:
            return Path(retrieve(mirror + filename, known_hash=f"sha256:{sha256}", fname=filename, path=folder))
        except (OSError, ValueError) as error:  # no network, no such file; another checksum
            faults.append(f"{mirror}: {one_line(error)[:120]}")
    advice = f"try again, or put the file into $LATENTMAP_DATA/{Path(folder).name}"
    raise DataError(f"cannot download {filename}: {'; '.join(faults)}; {advice}")


def _pooch() -> Any:
    try:
        import pooch  # an extra, needed only for downloads
    except ImportError as error:
        raise MissingExtraError("pooch", "datasets") from error
    return pooch


def _digits(split: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    from sklearn.datasets import load_digits  # heavy

    if split == "test":
        raise DataError("digits has no test rows: use split='train', which has all 1,797, and hold some out")
    bunch: Any = load_digits()
    return bunch.images.astype(np.uint8), bunch.target.astype(np.uint8)


def _read_split(name: str, files: IdxFiles, prefix: str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    paths = [_find(name, files, f"{prefix}-{kind}-ubyte.gz") for kind in ("images-idx3", "labels-idx1")]
    images, labels = (read_idx(path) for path in paths)
    for path, array, axes in zip(paths, (images, labels), (3, 1), strict=True):
        if array.ndim != axes or array.dtype != np.uint8:
            raise DataError(f"{path}: expected bytes in {axes} axes, got {array.dtype.name} of shape {array.shape}")
    if len(images) != len(labels):
        raise DataError(f"{paths[1]} has {len(labels)} labels, but {paths[0]} has {len(images)} images")
    return images, labels


def _find(name: str, files: IdxFiles, filename: str) -> Path:
    """Return the path of a file in ``$LATENTMAP_DATA/<name>``, gzipped or not, else download it to the cache."""
    root = os.environ.get("LATENTMAP_DATA")
    if root:
        folder = Path(root).expanduser() / name
        for path in (folder / filename, folder / filename.removesuffix(".gz")):
            if path.exists():
                return path
    return fetch(filename, files.sha256[filename], files.mirrors, Path(_pooch().os_cache("latentmap")) / name)
