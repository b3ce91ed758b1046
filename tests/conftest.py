"""What every test stands on: one thread a worker, no windows, and checked shapes."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MPLBACKEND", "Agg")

import torch
from jaxtyping import install_import_hook

install_import_hook(["latentmap.model", "latentmap.objectives", "latentmap.training"], "shapes.checked")
torch.set_num_threads(1)
