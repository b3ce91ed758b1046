"""One of pythae's models, with the same network on the same rows as ours: arrays, and seconds and bounds as JSON.

python benchmarks/recipes_pythae.py NAME SEED EPOCHS FOLDER
"""

import json
import logging
import math
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from mnist import binary
from pythae import models, samplers
from pythae.data.datasets import BaseDataset
from pythae.models.base.base_utils import ModelOutput
from pythae.models.nn import BaseDecoder, BaseEncoder
from pythae.trainers import BaseTrainer, BaseTrainerConfig
from torch import nn
from torch.nn import functional as F

logging.disable(logging.CRITICAL)
name, seed, epochs, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
torch.manual_seed(seed)
train, test = (torch.from_numpy(binary(part)) for part in ("train", "t10k"))
SIZES = {"input_dim": (784,), "latent_dim": 20}
VARIATIONAL = SIZES | {"reconstruction_loss": "bce"}


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


MODELS = {  # parameters with effect as in our recipes; the others are pythae's defaults
    "ae": (models.AE, models.AEConfig(**SIZES)),
    "vae": (models.VAE, models.VAEConfig(**VARIATIONAL)),
    "beta_tc": (models.BetaTCVAE, models.BetaTCVAEConfig(**VARIATIONAL, beta=6.0)),
    "iwae": (models.IWAE, models.IWAEConfig(**VARIATIONAL, number_samples=50)),
    "wae": (models.WAE_MMD, models.WAE_MMD_Config(**SIZES)),
    "vamp": (models.VAMP, models.VAMPConfig(**VARIATIONAL, number_components=100)),
    "vq": (models.VQVAE, models.VQVAEConfig(**SIZES)),
    "rae_l2": (models.RAE_L2, models.RAE_L2_Config(**SIZES)),
}
make, config = MODELS[name]
model = make(config, encoder=Encoder(), decoder=Decoder())
settings = BaseTrainerConfig(
    output_dir=tempfile.mkdtemp(),
    num_epochs=epochs,
    learning_rate=1e-3,
    per_device_train_batch_size=128,
    seed=seed,
    no_cuda=True,
)
trainer = BaseTrainer(
    model=model,
    train_dataset=BaseDataset(train, torch.zeros(len(train))),
    training_config=settings,
)
start = time.perf_counter()
trainer.train()
result = {"seconds": time.perf_counter() - start}
model.eval()


def log_weights(x, k):
    """Return log importance weights (k, B), of the model's own posterior, prior and Bernoulli likelihood."""
    q = model.encoder(x)
    mu, log_var = q.embedding, q.log_covariance
    z = mu + (0.5 * log_var).exp() * torch.randn(k, *mu.shape)
    log_q = (-0.5 * (log_var + (z - mu) ** 2 / log_var.exp() + math.log(2 * math.pi))).sum(-1)
    if name == "vamp":
        log_p = model._log_p_z(z.flatten(0, 1)).reshape(k, -1) - 10 * math.log(2 * math.pi)
    else:
        log_p = (-0.5 * (z**2 + math.log(2 * math.pi))).sum(-1)
    p = model.decoder(z.flatten(0, 1)).reconstruction.reshape(k, len(x), -1)
    return -F.binary_cross_entropy(p, x.expand_as(p), reduction="none").sum(-1) + log_p - log_q


def codes_of(x):
    """Return means of the posterior; for vq the quantised codes."""
    return model({"data": x}).z if name == "vq" else model.encoder(x).embedding


def draw(sampler):
    return sampler.sample(num_samples=10000, batch_size=1000, return_gen=True).reshape(10000, -1).cpu().numpy()


with torch.no_grad():
    if "reconstruction_loss" in vars(config) and name != "wae":
        bounds = torch.cat([log_weights(x, 1000).logsumexp(0) - math.log(1000) for x in test[:1000].split(10)])
        error = bounds.std() / math.sqrt(len(bounds))
        result |= {"elbo": torch.cat([log_weights(x, 1)[0] for x in test.split(1000)]).mean().item()}
        result |= {"evidence": {"mean": bounds.mean().item(), "error": error.item()}}
    arrays = {"codes_train": codes_of(train), "codes_test": codes_of(test)}
    arrays["reconstructions"] = model.decoder(arrays["codes_test"]).reconstruction
arrays = {key: value.numpy() for key, value in arrays.items()}
if name == "vamp":
    arrays["samples"] = draw(samplers.VAMPSampler(model=model))
elif name != "vq":
    arrays["samples"] = draw(samplers.NormalSampler(model=model))
    mixture = samplers.GaussianMixtureSampler(model=model, sampler_config=samplers.GaussianMixtureSamplerConfig())
    mixture.fit(train_data=train)
    arrays["later_samples"] = draw(mixture)
np.savez(folder / "arrays.npz", **arrays)
print()
print(json.dumps(result))
