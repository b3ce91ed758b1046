"""MNIST as arrays, without any library of ours, for all contestants."""

from __future__ import annotations

import gzip
import os
from pathlib import Path

import numpy as np


def images(part: str) -> np.ndarray:
    """Return bytes (n, 784) of "train" or "t10k", from the folder in LATENTMAP_DATA."""
    path = Path(os.environ["LATENTMAP_DATA"]) / "mnist" / f"{part}-images-idx3-ubyte.gz"
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=16).reshape(-1, 784).copy()


def labels(part: str) -> np.ndarray:
    """Return digits (n,) of "train" or "t10k"."""
    path = Path(os.environ["LATENTMAP_DATA"]) / "mnist" / f"{part}-labels-idx1-ubyte.gz"
    return np.frombuffer(gzip.decompress(path.read_bytes()), np.uint8, offset=8).copy()


def binary(part: str) -> np.ndarray:
    """Return images (n, 784) of zeros and ones: each pixel is a fixed draw with its grey value as probability."""
    chance = np.random.default_rng([0, len(part)]).random((len(images(part)), 784), dtype=np.float32)
    return (chance * 255 < images(part)).astype(np.float32)
