"""pythae's VAE with the same network on the same data: test -ELBO and seconds of training after each epoch, as JSON.

python benchmarks/elbo_pythae.py SEED LEARNING_RATE BATCH TARGET SECONDS: it ends where it is below the target, or after
so many seconds of training.
"""

import contextlib
import json
import logging
import sys
import tempfile
import time

import torch
from mnist import images
from pythae.data.datasets import BaseDataset
from pythae.models import VAE, VAEConfig
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from pythae.trainers.training_callbacks import TrainingCallback
from torch import nn
from torch.nn import functional as F

logging.disable(logging.CRITICAL)
seed, rate, batch = int(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3])
target, limit = float(sys.argv[4]), float(sys.argv[5])
torch.manual_seed(seed)
train, test = (torch.from_numpy(images(part)).float() / 255 for part in ("train", "t10k"))


class Encoder(BaseEncoder):
    def __init__(self):
        super().__init__()
        self.hidden, self.mean, self.log_var = nn.Linear(784, 400), nn.Linear(400, 20), nn.Linear(400, 20)

    def forward(self, x):
        h = F.relu(self.hidden(x.reshape(len(x), -1)))
        return ModelOutput(embedding=self.mean(h), log_covariance=self.log_var(h))


class Decoder(BaseDecoder):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(20, 400), nn.ReLU(), nn.Linear(400, 784), nn.Sigmoid())

    def forward(self, z):
        return ModelOutput(reconstruction=self.layers(z))


class Enough(Exception):
    """The target is reached, or the time is spent."""


class Curve(TrainingCallback):
    """Test -ELBO after each epoch; the time that measuring takes is not counted."""

    def __init__(self):
        self.start, self.rows = None, []

    def on_train_begin(self, training_config, **kwargs):
        self.start = time.perf_counter()

    def on_epoch_end(self, training_config, **kwargs):
        now = time.perf_counter()
        model = kwargs.get("model") or trainer.model
        model.eval()
        with torch.no_grad():
            cost = 0.0
            for x in test.split(2000):
                q = model.encoder(x)
                mu, log_var = q.embedding, q.log_covariance
                x_hat = model.decoder(mu + (0.5 * log_var).exp() * torch.randn_like(mu)).reconstruction
                cost += F.binary_cross_entropy(x_hat, x, reduction="sum").item()
                cost += (-0.5 * (1 + log_var - mu**2 - log_var.exp())).sum().item()
        model.train()
        self.rows.append({"seconds": now - self.start, "elbo": cost / len(test)})
        if cost / len(test) <= target or now - self.start >= limit:
            raise Enough
        self.start += time.perf_counter() - now


config = VAEConfig(input_dim=(784,), latent_dim=20, reconstruction_loss="bce")
model = VAE(model_config=config, encoder=Encoder(), decoder=Decoder())
settings = BaseTrainerConfig(
    output_dir=tempfile.mkdtemp(),
    num_epochs=1000,
    learning_rate=rate,
    per_device_train_batch_size=batch,
    seed=seed,
    no_cuda=True,
)
curve = Curve()
trainer = BaseTrainer(
    model=model,
    train_dataset=BaseDataset(train, torch.zeros(len(train))),
    training_config=settings,
    callbacks=[curve],
)
with contextlib.suppress(Enough):
    trainer.train()
print()
print(json.dumps({"seed": seed, "learning_rate": rate, "batch": batch, "curve": curve.rows}))
