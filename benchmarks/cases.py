"""The models that are timed: one network a case, the same module for every contestant."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent / "src"))  # the peers' environment has no latentmap of its own

from latentmap.model import networks
from latentmap.model.part import Sizes


@dataclass(frozen=True)
class Case:
    """A network, the sizes it is for, and rows to train on."""

    network: networks.Network
    event: tuple[int, ...]
    latent: int
    batches: tuple[int, ...]
    epochs: int

    @property
    def sizes(self) -> Sizes:
        return Sizes(self.event, self.latent)

    def rows(self) -> np.ndarray:
        """Return bytes (n, P): 24,000 images of MNIST, or 2,000 colour images of noise, which take as long as any."""
        if self.event == (784,):
            from mnist import images

            return images("train")[:24_000]
        return np.random.default_rng(0).integers(0, 256, (2000, int(np.prod(self.event))), dtype=np.uint8)

    def modules(self):
        """Return encoder (B, P) -> (B, 2 D) and decoder (B, D) -> (B, P, 1)."""
        return self.network.encoder(self.sizes, 2 * self.latent), self.network.decoder(self.sizes, 1)

    @property
    def layers(self) -> list[list[int]]:
        """Weights of each layer of encoder and decoder; empty where there are convolutions."""
        if not isinstance(self.network, networks.MLP):
            return []
        return [[p.numel() for p in module.parameters() if p.ndim == 2] for module in self.modules()]

    @property
    def operations(self) -> float:
        """Matrix products of one training step, in operations a row, for networks without convolutions.

        Two for each weight forward, and four backward, but for the first layer, whose input needs no gradient.
        """
        return 6.0 * sum(map(sum, self.layers)) - 2.0 * self.layers[0][0]

    @property
    def embedding(self) -> float:
        """Matrix products of embedding a row."""
        return 2.0 * sum(self.layers[0])


CASES = {
    "MLP 784-400-20": Case(networks.MLP((400,)), (784,), 20, (128, 512, 1024), 3),
    "MLP 784-512-512-512-20": Case(networks.MLP((512, 512, 512)), (784,), 20, (512,), 3),
    "conv 32x32x3": Case(networks.Conv(), (32, 32, 3), 20, (128,), 2),
}
