"""Rows a second of pythae's trainer, embedding and sampler: python benchmarks/throughput_pythae.py CASE BATCH."""

import json
import logging
import sys
import tempfile

import torch
from cases import CASES
from measure import Epochs, peak_mb, rows_per_second
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.samplers import NormalSampler
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback

logging.disable(logging.CRITICAL)
case, batch = CASES[sys.argv[1]], int(sys.argv[2])
torch.manual_seed(0)
encoder, decoder = case.modules()
rows = torch.from_numpy(case.rows()).float() / 255


class Encoder(BaseEncoder):
    def __init__(self):
        super().__init__()
        self.body = encoder

    def forward(self, x):
        mu, log_var = self.body(x).chunk(2, -1)
        return ModelOutput(embedding=mu, log_covariance=log_var)


class Decoder(BaseDecoder):
    def __init__(self):
        super().__init__()
        self.body = decoder

    def forward(self, z):
        return ModelOutput(reconstruction=self.body(z)[..., 0].sigmoid())


class Marks(TrainingCallback):
    """Begin and end of each epoch."""

    def on_epoch_begin(self, training_config, **kwargs):
        epochs()

    def on_epoch_end(self, training_config, **kwargs):
        epochs()


config = VAEConfig(input_dim=(rows.shape[1],), latent_dim=case.latent, reconstruction_loss="bce")
model = VAE(model_config=config, encoder=Encoder(), decoder=Decoder())
settings = BaseTrainerConfig(
    output_dir=tempfile.mkdtemp(),
    num_epochs=case.epochs,
    learning_rate=1e-3,
    per_device_train_batch_size=batch,
    no_cuda=True,
)
epochs = Epochs()
BaseTrainer(
    model=model,
    train_dataset=BaseDataset(rows, torch.zeros(len(rows))),
    training_config=settings,
    callbacks=[Marks()],
).train()
peak = peak_mb()
model.eval()
sampler = NormalSampler(model)


@torch.no_grad()
def embed():
    return torch.cat([model.embed(x) for x in rows.split(1024)])


@torch.no_grad()
def sample():
    return sampler.sample(len(rows))


print()
print(json.dumps({
    **epochs.rates(len(rows), step=2),
    "precision": "float32",
    "peak_mb": peak,
    "embedded_per_second": rows_per_second(len(rows), embed),
    "sampled_per_second": rows_per_second(len(rows), sample),
}))  # fmt: skip
