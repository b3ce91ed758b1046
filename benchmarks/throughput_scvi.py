"""Rows a second of scvi-tools' VAE, of the same sizes: python benchmarks/throughput_scvi.py CASE BATCH.

It is for counts: pixels are counts here. Besides the common layers, it has batch normalisation, a decoder
whose last layer is there twice (means by a softmax, and the chance of a drop-out, which a Poisson leaves unused), and a
library size for each row.
"""

import json
import logging
import sys
import warnings

import scvi
from anndata import AnnData
from cases import CASES
from lightning.pytorch.callbacks import Callback
from measure import Epochs, peak_mb, rows_per_second

warnings.simplefilter("ignore")
logging.disable(logging.CRITICAL)
case, batch = CASES[sys.argv[1]], int(sys.argv[2])
scvi.settings.seed = 0
rows = AnnData(case.rows().astype("float32"))


class Marks(Callback):
    """Begin and end of each epoch."""

    def on_train_epoch_start(self, trainer, module):
        epochs()

    def on_train_epoch_end(self, trainer, module):
        epochs()


hidden = case.network.hidden
scvi.model.SCVI.setup_anndata(rows)
model = scvi.model.SCVI(
    rows,
    n_hidden=hidden[0],
    n_latent=case.latent,
    n_layers=len(hidden),
    dropout_rate=0.0,
    gene_likelihood="poisson",
)
epochs = Epochs()
model.train(
    max_epochs=case.epochs,
    batch_size=batch,
    train_size=1.0,
    accelerator="cpu",
    callbacks=[Marks()],
    enable_progress_bar=False,
    enable_model_summary=False,
    logger=False,
)
peak = peak_mb()
print()
print(json.dumps({
    **epochs.rates(rows.n_obs, step=2),
    "precision": "float32",
    "peak_mb": peak,
    "embedded_per_second": rows_per_second(
        rows.n_obs, lambda: model.get_latent_representation(rows, batch_size=1024)
    ),
}))  # fmt: skip
