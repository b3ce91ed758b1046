"""The loop that a user would write, with a DataLoader: python benchmarks/throughput_loop.py CASE BATCH."""

import json
import sys

import torch
from cases import CASES
from measure import Epochs, peak_mb, rows_per_second
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

case, batch = CASES[sys.argv[1]], int(sys.argv[2])
torch.manual_seed(0)
encoder, decoder = case.modules()
rows = torch.from_numpy(case.rows()).float() / 255
loader = DataLoader(TensorDataset(rows), batch_size=batch, shuffle=True, drop_last=True)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
epochs = Epochs()
epochs()
for _ in range(case.epochs):
    total = 0.0
    for (x,) in loader:
        mu, log_var = encoder(x).chunk(2, -1)
        logits = decoder(mu + (0.5 * log_var).exp() * torch.randn_like(mu))[..., 0]
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        rate = -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum() / len(x)
        optimizer.zero_grad()
        (distortion + rate).backward()
        optimizer.step()
        total += (distortion + rate).item()
    epochs()
peak = peak_mb()


@torch.no_grad()
def embed():
    return torch.cat([encoder(x).chunk(2, -1)[0] for (x,) in DataLoader(TensorDataset(rows), batch_size=1024)])


@torch.no_grad()
def sample():
    return torch.cat([decoder(z)[..., 0].sigmoid() for z in torch.randn(len(rows), case.latent).split(1024)])


print(json.dumps({
    **epochs.rates(len(rows)),
    "precision": "float32",
    "peak_mb": peak,
    "embedded_per_second": rows_per_second(len(rows), embed),
    "sampled_per_second": rows_per_second(len(rows), sample),
}))  # fmt: skip
