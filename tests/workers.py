"""Threads of fits that run side by side: a process of its own, because the tests run in one thread a worker.

python tests/workers.py prints {case: the threads of torch inside each of two fits in joblib's processes}.
"""

import json

import joblib
import numpy as np
import torch

from latentmap import VAE, networks


def threads_of_a_fit(seed):
    """Fit in steps that are large enough for several threads, and say in how many they ran."""
    wide, seen = networks.MLP((512,)), []
    rows = np.random.default_rng(seed).normal(size=(1024, 256))
    vae = VAE(4, encoder=wide, decoder=wide, batch_size=512, max_epochs=1, early_stopping=False, random_state=seed)
    vae.set_params(callbacks=[lambda row: seen.append(torch.get_num_threads())]).fit(rows)
    return seen


def together(**settings):
    """Fit twice at a time."""
    with joblib.parallel_config("loky", n_jobs=2, **settings):
        return joblib.Parallel()(joblib.delayed(threads_of_a_fit)(seed) for seed in range(2))


if __name__ == "__main__":
    cores = joblib.cpu_count()
    answers = {"together": together(), "control": together(inner_max_num_threads=cores), "cores": cores}
    print(json.dumps(answers))
