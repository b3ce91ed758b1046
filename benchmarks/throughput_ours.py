"""Rows a second of our training, embedding and sampling: python benchmarks/throughput_ours.py CASE BATCH COMPILE."""

import json
import sys
import warnings

from cases import CASES
from measure import Epochs, peak_mb, rows_per_second
from torch import nn
from vae import vae_of

from latentmap.training.device import resolve_precision

warnings.simplefilter("ignore")  # a short fit is diagnosed as one
case, batch, compiled = CASES[sys.argv[1]], int(sys.argv[2]), sys.argv[3] == "compiled"
epochs = Epochs()
vae = vae_of(
    case,
    max_epochs=case.epochs + 1,
    batch_size=batch,
    compile=compiled,
    callbacks=[epochs],
    random_state=0,
)
rows = case.rows().reshape(-1, *case.event)
vae.fit(rows)
peak = peak_mb()
types = []
layer = next(module for module in vae.model_.modules() if isinstance(module, nn.Linear))
handle = layer.register_forward_hook(lambda module, inputs, output: types.append(str(output.dtype)))
vae.transform(rows[:1])
handle.remove()
print(json.dumps({
    **epochs.rates(len(rows)),
    "first_epoch": vae.history_[0]["seconds"],
    "precision": str(resolve_precision(vae.precision, vae.device_)).removeprefix("torch."),
    "peak_mb": peak,
    "embedded_per_second": rows_per_second(len(rows), lambda: vae.transform(rows)),
    "embedded_in": types[0].removeprefix("torch."),
    "sampled_per_second": rows_per_second(len(rows), lambda: vae.sample(len(rows), random_state=0)),
}))  # fmt: skip
