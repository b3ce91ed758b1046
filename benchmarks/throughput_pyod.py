"""Rows a second that pyod's VAE trains, of the same sizes: python benchmarks/throughput_pyod.py CASE BATCH.

A fit ends with a score of every row; two fits of different lengths tell what an epoch takes.
"""

import json
import sys
import time

from cases import CASES
from pyod.models.vae import VAE

case, batch = CASES[sys.argv[1]], int(sys.argv[2])
rows = case.rows().astype("float32") / 255


def seconds(epochs, rows):
    hidden = list(case.network.hidden)
    vae = VAE(
        preprocessing=False,
        epoch_num=epochs,
        batch_size=batch,
        encoder_neuron_list=hidden,
        decoder_neuron_list=hidden[::-1],
        latent_dim=case.latent,
        dropout_rate=0.0,
        verbose=0,
    )
    start = time.perf_counter()
    vae.fit(rows)
    return time.perf_counter() - start


seconds(1, rows[: 2 * batch])  # the first of a process takes longer
one, more = seconds(1, rows), seconds(1 + case.epochs, rows)
print(json.dumps({"rows_per_second": len(rows) * case.epochs / (more - one)}))
