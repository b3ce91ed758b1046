"""Rows a second that pyod's VAE trains, of the same sizes: python benchmarks/throughput_pyod.py CASE BATCH.

A fit ends with a score of every row; the time of an epoch is the difference of two fits.
"""

import json
import sys

from cases import CASES
from measure import Epochs, peak_mb
from pyod.models.vae import VAE

case, batch = CASES[sys.argv[1]], int(sys.argv[2])
rows = case.rows().astype("float32") / 255


def fit(epochs, rows):
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
    vae.fit(rows)


fit(1, rows[: 2 * batch])  # the first of a process takes longer
fits = Epochs()
fits()
fit(1, rows)
fits()
fit(1 + case.epochs, rows)
fits()
(start, cpu_start), (middle, cpu_middle), (end, cpu_end) = fits.marks
trained = len(rows) * case.epochs
print(json.dumps({
    "rows_per_second": trained / ((end - middle) - (middle - start)),
    "cpu_seconds": 1e6 * ((cpu_end - cpu_middle) - (cpu_middle - cpu_start)) / trained,
    "precision": "float32",
    "peak_mb": peak_mb(),
}))  # fmt: skip
