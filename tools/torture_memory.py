"""Resident memory over many fits in one process: python -m tools.torture_memory [FITS]."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import numpy as np

from latentmap import VAE, Autoencoder, networks
from latentmap.exceptions import DiagnosisWarning

WARM_UP = 5
"""Fits until caches and the pools of the allocators are filled."""


def growth(fits: int = 100) -> tuple[float, float]:
    """Return by how much resident memory grew over fits, after the first few, and what the last fit holds, in bytes.

    Each fit is of another model and other rows, so that nothing of an earlier one is of use.
    """
    network = networks.MLP((128,))
    kinds = [
        lambda seed: VAE(2, encoder=network, decoder=network, max_epochs=1, random_state=seed),
        lambda seed: VAE(4, encoder=network, decoder=network, neighbors=None, max_epochs=1, random_state=seed),
        lambda seed: Autoencoder(2, encoder=network, decoder=network, max_epochs=1, random_state=seed),
    ]
    begun, held = 0.0, 0.0
    for i in range(WARM_UP + fits):
        if i == WARM_UP:
            begun = resident()
        rows = np.random.default_rng(i).normal(size=(100, 1000)).astype(np.float32)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DiagnosisWarning)
            model = kinds[i % len(kinds)](i).fit(rows)
        model.transform(rows)
        held = rows.nbytes + sum(v.nbytes for v in model.model_.parameters())
    return resident() - begun, held


def resident() -> float:
    """Return the resident memory of this process in bytes."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text("ascii").splitlines())
    return 1024.0 * int(fields["VmRSS"].split()[0])


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    grown, one = growth(number)
    print(f"{number} fits: resident memory grew by {grown / 1e6:.1f} MB; a fit and its rows take {one / 1e6:.1f} MB")
