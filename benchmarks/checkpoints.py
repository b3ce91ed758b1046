"""What checkpoints cost a fit: seconds with and without, and the share that writing takes.

LATENTMAP_DATA=folder python -m benchmarks.checkpoints
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import HERE, write
from benchmarks.markdown import grid
from latentmap import VAE
from latentmap.data.datasets import load_dataset
from latentmap.training.checkpoint import Checkpoints
from latentmap.training.loop import Trainer

RUNS = 5
DOCUMENT, BEGIN, END = HERE.parent / "docs" / "resume.md", "<!-- cost -->\n", "<!-- end of cost -->"
FITS: dict[str, tuple[str, dict[str, Any]]] = {
    "digits, 2 components": ("digits", {}),
    "MNIST, 20 components, 8 epochs": ("mnist", {"n_components": 20, "max_epochs": 8}),
}


class Timed(Checkpoints):
    """Checkpoints that count themselves and the seconds that they take."""

    count, seconds = 0, 0.0

    def write(self, trainer: Trainer) -> None:
        """Write one."""
        begun = time.perf_counter()
        super().write(trainer)
        self.count, self.seconds = self.count + 1, self.seconds + time.perf_counter() - begun


def measured(name: str) -> dict[str, Any]:
    """Return the seconds of fits with and without checkpoints, one after the other, in turn."""
    data, settings = FITS[name]
    X, raw = load_dataset(data)[0], []
    for run in range(RUNS):
        with tempfile.TemporaryDirectory() as folder:
            pair: dict[str, Any] = {}
            for kind in ("without", "with") if run % 2 else ("with", "without"):
                checkpoints = Timed(Path(folder) / "state") if kind == "with" else None
                begun = time.perf_counter()
                VAE(**{"n_components": 2, "random_state": run} | settings).fit(X, checkpoint=checkpoints)
                pair[kind] = time.perf_counter() - begun
                if checkpoints is not None:
                    pair |= {"checkpoints": checkpoints.count, "writing": checkpoints.seconds}
            raw.append(pair)
    share = [100 * pair["writing"] / pair["with"] for pair in raw]
    ratio = [100 * (pair["with"] / pair["without"] - 1) for pair in raw]
    return {
        "fit": name,
        "seconds": float(np.median([pair["with"] for pair in raw])),
        "checkpoints": int(np.median([pair["checkpoints"] for pair in raw])),
        "share": float(np.median(share)),
        "longer": float(np.median(ratio)),
        "runs": raw,
    }


def main() -> None:
    """Measure, and write the table of docs/resume.md."""
    results = [measured(name) for name in FITS]
    write("checkpoints", {"fits": results})
    head = ["fit", "seconds", "checkpoints", "share of writing", "longer than without"]
    rows = [
        (r["fit"], f"{r['seconds']:.1f}", r["checkpoints"], f"{r['share']:.1f}%", f"{r['longer']:+.1f}%")
        for r in results
    ]
    text = DOCUMENT.read_text()
    before, after = text[: text.index(BEGIN) + len(BEGIN)], text[text.index(END) :]
    DOCUMENT.write_text(f"{before}{grid(head, rows)}\n{after}")


if __name__ == "__main__":
    main()
