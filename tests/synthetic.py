"""An exploration without a model, whose answers are known: for pages of any size."""

from base64 import b64encode
from types import SimpleNamespace

import numpy as np

SIDE = 6
NAMES = "north", "east", "south", "west"


class Synthetic:
    """Rows around four places, with as many components as asked for; pictures whose pixels tell their code."""

    def __init__(self, n=400, d=2, **changes):
        generator = np.random.default_rng(0)
        self.label = generator.integers(0, 4, n).astype(np.uint16)
        centres = np.array([[0.0, 2.0], [2.0, 0.0], [0.0, -2.0], [-2.0, 0.0]])
        self.points = generator.normal(0, 0.35, (n, d)).astype(np.float32)
        self.points[:, :2] += centres[self.label]
        self.amount = (self.points[:, 0] * 10).astype(np.float32)
        self.rows, self.name = range(n), "synthetic"
        self.n, self.d, self.changes = n, d, changes
        self.fields = {"label": SimpleNamespace(values=self.label), "amount": SimpleNamespace(values=self.amount)}

    def meta(self):
        low, high = (float(self.amount.min()), float(self.amount.max())) if self.n else (0.0, 1.0)
        label = {"key": "label", "name": "side", "group": "label", "kind": "category", "levels": NAMES}
        amount = {"key": "amount", "name": "amount", "group": "column", "kind": "number", "low": low, "high": high}
        blank = {"levels": None, "low": None, "high": None, "unit": None, "slow": False, "cycle": None}
        can = dict.fromkeys(("rows", "decode", "samples", "path", "encode", "score"), True)
        return {
            "name": "synthetic",
            "model": "VAE",
            "version": "0",
            "n": self.n,
            "total": self.n,
            "components": self.d,
            "dims": [0, 1],
            "rates": [float(3 - 0.3 * k) for k in range(self.d)],
            "active": [True] * self.d,
            "item": {"kind": "picture", "width": SIDE, "height": SIDE, "channels": 1, "paper": False},
            "fields": [blank | label, blank | amount | {"unit": "kg"}],
            "can": can | {"density": False, "impute": False, "selection": False, "save": []},
            "ids": False,
            "notes": [],
            "runs": [{"name": "synthetic"}],
            "linked": False,
            "islands": [{"label": name, "x": 0.0, "y": 0.0} for name in NAMES],
        } | self.changes

    def field(self, key):
        return self.fields[key].values

    def picture(self, z):
        value = np.clip(128 + 40 * np.resize(np.asarray(z, float), SIDE * SIDE), 0, 255).astype(np.uint8)
        return {"pixels": b64encode(value.tobytes()).decode()}

    def decode(self, z):
        away = [float(np.linalg.norm(code[:2])) for code in z]
        return {
            "items": [self.picture(code) for code in z],
            "density": [-distance for distance in away],
            "hole": [bool(distance < 0.8) for distance in away],
        }

    def row(self, i):
        item = self.picture(self.points[i])
        answer = {"original": item, "reconstruction": item, "z": self.points[i], "label": NAMES[self.label[i]]}
        nearest = [(i + k) % self.n for k in range(1, 4)]
        return answer | {
            "id": None,
            "evidence": -1.0,
            "percentile": 50.0,
            "missing": [],
            "neighbours": nearest,
            "imputed": [],
        }
