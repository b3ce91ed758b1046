"""Rows a second of our training: python benchmarks/throughput_ours.py CASE BATCH COMPILE."""

import json
import resource
import statistics
import sys
import warnings

from cases import CASES

from latentmap import VAE, likelihoods

warnings.simplefilter("ignore")  # a short fit is diagnosed as one
case, batch, compiled = CASES[sys.argv[1]], int(sys.argv[2]), sys.argv[3] == "compiled"
vae = VAE(
    case.latent,
    encoder=case.network,
    decoder=case.network,
    likelihood=likelihoods.Bernoulli(),
    neighbors=None,
    scaling="range",
    early_stopping=False,
    max_epochs=case.epochs + 1,
    batch_size=batch,
    compile=compiled,
    random_state=0,
)
rows = case.rows().reshape(-1, *case.event)
vae.fit(rows)
ends = [entry["seconds"] for entry in vae.history_]
seconds = statistics.median([b - a for a, b in zip(ends, ends[1:])])
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "rows_per_second": len(rows) / seconds,
    "first_epoch": ends[0],
    "peak_mb": usage.ru_maxrss / 1024,
    "cpu_seconds": usage.ru_utime + usage.ru_stime,
}))  # fmt: skip
