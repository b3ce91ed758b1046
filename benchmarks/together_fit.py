"""Seconds of fits of the 784-400-20 VAE to 10,000 MNIST rows: python benchmarks/together_fit.py [joblib WORKERS]."""

import json
import sys
import warnings

from cases import CASES
from joblib import Parallel, delayed
from mnist import images
from vae import vae_of


def seconds():
    """Return the seconds of a fit in batches of 128, 5 epochs."""
    warnings.simplefilter("ignore")  # of short fits
    vae = vae_of(CASES["MLP 784-400-20"], batch_size=128, max_epochs=5, compile=False, random_state=0)
    return vae.fit(images("train")[:10_000]).fit_seconds_


if len(sys.argv) > 1:
    workers = int(sys.argv[2])
    with Parallel(workers) as parallel:
        parallel(delayed(abs)(1) for _ in range(workers))  # workers that have started
        print(json.dumps(parallel(delayed(seconds)() for _ in range(workers))))
else:
    print(json.dumps([seconds()]))
