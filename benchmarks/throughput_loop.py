"""The loop that a user would write, with a DataLoader: python benchmarks/throughput_loop.py CASE BATCH."""

import json
import resource
import statistics
import sys
import time

import torch
from cases import CASES
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

case, batch = CASES[sys.argv[1]], int(sys.argv[2])
torch.manual_seed(0)
encoder, decoder = case.modules()
rows = torch.from_numpy(case.rows()).float() / 255
loader = DataLoader(TensorDataset(rows), batch_size=batch, shuffle=True, drop_last=True)
optimizer = torch.optim.Adam([*encoder.parameters(), *decoder.parameters()], lr=1e-3)
seconds = []
for _ in range(case.epochs):
    start, total = time.perf_counter(), 0.0
    for (x,) in loader:
        mu, log_var = encoder(x).chunk(2, -1)
        logits = decoder(mu + (0.5 * log_var).exp() * torch.randn_like(mu))[..., 0]
        distortion = F.binary_cross_entropy_with_logits(logits, x, reduction="sum") / len(x)
        rate = -0.5 * (1 + log_var - mu**2 - log_var.exp()).sum() / len(x)
        optimizer.zero_grad()
        (distortion + rate).backward()
        optimizer.step()
        total += (distortion + rate).item()
    seconds.append(time.perf_counter() - start)
usage = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "rows_per_second": len(rows) / statistics.median(seconds),
    "peak_mb": usage.ru_maxrss / 1024,
    "cpu_seconds": usage.ru_utime + usage.ru_stime,
}))  # fmt: skip
