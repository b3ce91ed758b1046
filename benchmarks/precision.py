"""Whether speed costs quality: test -ELBO in single precision, compiled, and in bfloat16, over seeds.

LATENTMAP_DATA=folder python -m benchmarks.precision [SEEDS]
"""

from __future__ import annotations

import json
import sys
import warnings
from statistics import mean, stdev
from typing import Any

from benchmarks.cases import CASES
from benchmarks.common import write
from benchmarks.vae import vae_of
from latentmap.data.datasets import load_dataset

ROWS, EPOCHS = 20_000, 5
WAYS: dict[str, dict[str, Any]] = {
    "float32": {"precision": "float32", "compile": False},
    "float32, compiled": {"precision": "float32", "compile": True},
    "bfloat16": {"precision": "bfloat16", "compile": False},
    "bfloat16, compiled": {"precision": "bfloat16", "compile": True},
}


def main(seeds: int = 5) -> None:
    """Fit MNIST's first rows each way with each seed, and write the test -ELBO of each."""
    warnings.simplefilter("ignore")  # of short fits
    train, test = (load_dataset("mnist", split)[0].reshape(-1, 784) for split in ("train", "test"))
    raw = []
    for seed in range(seeds):
        for way, given in WAYS.items():
            vae = vae_of(CASES["MLP 784-400-20"], max_epochs=EPOCHS, random_state=seed, **given).fit(train[:ROWS])
            vae.set_params(precision="float32")
            raw.append({"way": way, "seed": seed, "elbo": -vae.score(test), "seconds": vae.fit_seconds_})
            print(json.dumps(raw[-1]), flush=True)
    by_way = {way: [run["elbo"] for run in raw if run["way"] == way] for way in WAYS}
    summary = {way: {"mean": mean(costs), "deviation": stdev(costs)} for way, costs in by_way.items()}
    write("precision", {"rows": ROWS, "epochs": EPOCHS, "summary": summary, "raw": raw})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
