"""What the processes of `test_distribution.py` do: torchrun starts this file."""

import os
import signal
import sys
import tempfile
import warnings
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from torch import nn

import latentmap
from latentmap import likelihoods, networks, objectives, priors, recipes
from latentmap.cli import main
from latentmap.distribution import joined
from latentmap.distribution.join import restarts
from latentmap.distribution.shared import LARGEST, SharedMean
from latentmap.estimators.fit import Fit
from latentmap.estimators.rows import open_for_fit
from latentmap.exceptions import DataError, LostProcessError
from latentmap.model.processes import alone, joining
from latentmap.training.checkpoint import Checkpoints

MLP = networks.MLP
ROWS = 130
"""Rows of the data, of which 117 are trained on in batches of 24, and 13 are held out."""


def data(missing=False):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(ROWS, 2)) @ rng.normal(size=(2, 6)) + 0.1 * rng.normal(size=(ROWS, 6))
    if missing:
        x[rng.random(x.shape) < 0.2] = np.nan
    return x.astype(np.float32)


def table():
    import pandas as pd

    x = data(missing=True).astype(float)
    words = np.array(["red", "green", "blue"], dtype=object)[(np.arange(ROWS) * 7) % 3]
    words[5] = None
    return pd.DataFrame({"a": x[:, 0], "b": x[:, 1], "colour": words, "count": np.arange(ROWS) % 5})


def elbo(**settings):
    return {"objective": objectives.ELBO(**settings), "neighbors": None}


def anchored(count):
    """Keep rows at given codes, more or fewer than a batch holds."""
    rows = torch.from_numpy(data()[:count])
    return objectives.Anchored(rows=rows, codes=torch.linspace(-1, 1, 2 * count).view(count, 2))


CASES = {
    **{name: recipe() | {"neighbors": None} for name, recipe in recipes.every().items()},
    "MMD of a mixture": elbo(penalties=(objectives.MMD(10.0),)) | {"prior": priors.Mixture(3)},
    "MMD of a second VAE": elbo(penalties=(objectives.MMD(10.0),)) | {"prior": priors.TwoStage(8)},
    "decoder gradient": elbo(penalties=(objectives.DecoderGradient(projections=1),)),
    "free bits": elbo(free_bits=0.5),
    "neighbor VAE": {"neighbors": 5},
    "densities": {"neighbors": 5, "density_weight": 0.5},
    "anchors": {"objective": anchored(60), "neighbors": None},
    "few anchors": {"objective": anchored(7), "neighbors": None},
    "optimal scale": elbo() | {"likelihood": likelihoods.Gaussian(scale="optimal")},
    "labels": {"condition": "labels"},
    "some labels": {"condition": "labels"},
    "missing cells": elbo() | {"likelihood": likelihoods.Incomplete(likelihoods.Gaussian(scale="optimal"))},
    "table": elbo(),
    "batch normalisation": elbo() | {"encoder": nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 4))},
    "dropout": elbo() | {"encoder": nn.Sequential(nn.Linear(6, 8), nn.Dropout(), nn.Linear(8, 4))},
}
"""Parameters by name: every recipe, and all that the rows of a batch have in common."""
APART = ("batch normalisation", "dropout")
"""Cases whose modules see the rows of their process alone, so that their step is another one."""


def trainer_of(name, processes):
    """Return the trainer of a case that has taken one step, and a function of its held-out losses."""
    own = {} if name == "table" else {"encoder": MLP((8,)), "decoder": MLP((8,))}
    given = {"n_components": 2, "batch_size": 24, "max_epochs": 3, "precision": "float32", "compile": False}
    vae = latentmap.VAE(**given | own | CASES[name], random_state=0)
    X = table() if name == "table" else data(missing=name == "missing cells")
    X = np.tile(X, 24)[:, :144].reshape(ROWS, 12, 12) if name == "msssim" else X
    y = None
    if "condition" in CASES[name]:
        y = (X[:, 0] > 0).astype(float)
        y[::3] = np.nan if name == "some labels" else 1.0
    with joining(processes):
        fit = Fit(vae, open_for_fit(vae, X), y, seed=0)
        fit.state = replace(fit.state, data_fingerprint="")
        trainer = fit._trainer(fit.state.given(y, ROWS))
    return trainer


def step(trainer):
    """Take one step, and return the gradients, the state of the parts, and the losses of training and held-out rows."""
    with trainer.gradient_step.among(trainer.processes):
        trainer.model.train()
        batch = next(trainer.feed.epoch(0, 0, trainer.batch, trainer.gradient_step.generator, 0, trainer.processes))
        trainer.gradient_step(batch, 1e-3, 0.5)
        held_out = trainer.held_out.total(trainer.gradient_step, trainer.feed, 8, 0)  # and 5 that are left of a map
    losses = trainer.processes.average(trainer.gradient_step.sums[:-1], 1), trainer.processes.sum(held_out)
    learned = trainer.gradient_step.learned
    gradients = {name: p.grad for name, p in learned.named_parameters() if p.grad is not None}
    return (
        gradients,
        {name: b for name, b in learned.named_buffers()},
        torch.cat(losses),
        trainer.gradient_step.generator.get_state(),
    )


def compare(name, processes):
    """Return the largest relative difference of a gradient from that of one process, and of everything else."""
    (ours, buffers, losses, state), (single, own, total, expected) = (
        step(trainer_of(name, p)) for p in (processes, alone)
    )
    assert ours.keys() == single.keys() and torch.equal(state, expected)
    least = 1e-4 * torch.stack([g.norm() for g in single.values()]).norm()
    gradients = [(ours[k] - single[k]).norm() / (single[k].norm() + least) for k in ours]
    others = [(buffers[k], own[k]) for k in own if own[k].is_floating_point()] + [(losses, total)]
    rest = [((a - b).abs() / (1 + b.abs())).nan_to_num().max() for a, b in others if b.numel()]
    return float(max(gradients)), float(max(rest))


def gradients(*names):
    """Print how far the step of several processes is from that of one."""
    with joined() as processes:
        for name in names or [name for name in CASES if name not in APART]:
            print_first(processes, name, *compare(name, processes))
        processes.gather = lambda x, dim=0: x
        print_first(processes, "control", *compare("MMD of a mixture", processes))


def print_first(processes, *values):
    if not processes.rank:
        print(*values, sep="\t", flush=True)


def fits(name="vae"):
    """Print the number of processes and the last held-out loss of a fit, and whether all processes have its weights."""
    settings = {"max_epochs": 30, "learning_rate": 3e-3, "compile": False, "batch_size": 24, "n_components": 2}
    with joined() as processes, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that is this short is diagnosed as one
        vae = latentmap.VAE(**{"encoder": MLP((16,)), "decoder": MLP((16,))} | settings | CASES[name], random_state=0)
        vae.fit(table() if name == "table" else data())
        weights = torch.cat([p.flatten() for p in vae.state_.model.parameters()]).detach()
        same = bool((processes.stack(weights) == weights).all())
        print_first(processes, processes.world_size, vae.history_[-1]["val_loss"], len(vae.history_), same)


class Stopping(Checkpoints):
    """Checkpoints of a fit that stops after so many steps, in the middle of an epoch; 0 for none."""

    def __init__(self, folder, step):
        super().__init__(folder)
        self.step = int(step)

    def after_step(self, trainer):
        super().after_step(trainer)
        if trainer.step == self.step:
            trainer.interrupt()


def partly(folder, step, name="vae"):
    """Fit to so many steps from the last checkpoint of a folder, and print where it began and ended, and the loss."""
    settings = {"max_epochs": 24, "learning_rate": 3e-3, "compile": False, "batch_size": 24, "n_components": 2}
    settings |= {"encoder": MLP((16,)), "decoder": MLP((16,))} | CASES[name]
    with joined() as processes, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        checkpoints = Stopping(folder, step)
        begun = checkpoints.last_step()
        vae = latentmap.VAE(**settings, random_state=0).fit(data(), checkpoint=checkpoints, resume=True)
        print_first(processes, begun, checkpoints.last_step(), vae.history_[-1]["val_loss"])


def command(*arguments):
    """Run the command in each process; RANK in an argument is its rank."""
    rank = os.environ["RANK"]
    sys.exit(main([argument.replace("RANK", rank) for argument in arguments]))


def killed(times, *arguments):
    """Run the command in each process, of which the second is killed at step 30 of so many starts."""
    after_step = Checkpoints.after_step

    def last_step(self, trainer):
        after_step(self, trainer)
        if os.environ["RANK"] == "1" and trainer.step >= 30 and restarts() < int(times):
            os.kill(os.getpid(), signal.SIGKILL)

    Checkpoints.after_step = last_step
    command(*arguments)


def signalled(number, *arguments):
    """Run the command in each process, of which the second gets a signal at step 30."""
    after_step = Checkpoints.after_step

    def last_step(self, trainer):
        if os.environ["RANK"] == "1" and trainer.step == 30:
            os.kill(os.getpid(), int(number))
        after_step(self, trainer)

    Checkpoints.after_step = last_step
    command(*arguments)


def stopped():
    """Print at which steps the processes end where a callback, which the first one calls, stops the fit."""
    with joined() as processes:
        fit = latentmap.VAE(2, encoder=MLP((8,)), neighbors=None, batch_size=24, callbacks=[stop]).fit
        step = fit(data()).history_[-1]["step"]
        last, first = processes.maximum([step, -step])
        print_first(processes, int(-first), int(last))


def stop(row, progress):
    if row["epoch"] >= 10:
        progress.stop()


def interrupted():
    """Fit, and print how it ended where the second process is interrupted in a step."""
    after_step = Checkpoints.after_step

    def last_step(self, trainer):
        after_step(self, trainer)
        if os.environ["RANK"] == "1" and trainer.step == 3:
            raise KeyboardInterrupt

    Checkpoints.after_step = last_step
    try:
        with joined(), tempfile.TemporaryDirectory() as folder:
            latentmap.VAE(2, encoder=MLP((8,)), neighbors=None, max_epochs=2).fit(data(), checkpoint=folder)
    except LostProcessError as error:
        print(error, flush=True)


def means():
    """Print how far means through shared memory are from those of an exchange, and where there is such memory."""
    with joined() as processes:
        opened = partial(SharedMean.opened, processes)
        generator = torch.Generator().manual_seed(processes.rank)
        shared, apart, control, same = opened(1001, torch.float32), 0.0, 1.0, True
        for _ in range(5):
            tensors = [torch.randn(shape, generator=generator) for shape in ((7, 11), (), (923,))]
            mean = shared(tensors, processes._wait)
            expected = processes.sum(torch.cat([t.flatten() for t in tensors])) / processes.world_size
            apart, control = max(apart, dist(mean, expected)), min(control, dist(mean, expected.flip(0)))
            same &= bool((processes.stack(mean) == mean).all())
        print_first(processes, "difference", apart)
        print_first(processes, "control", control)
        print_first(processes, "same bits", same)
        print_first(processes, "few", opened(4, torch.float32) is not None)
        print_first(processes, "half", opened(64, torch.bfloat16) is not None)
        if processes.rank == 0:
            os.posix_fallocate = no_memory
        print_first(processes, "no memory", opened(64, torch.float32) is not None)
        processes.local_world_size = 1
        print_first(processes, "another machine", opened(64, torch.float32) is not None)
        processes.local_world_size = processes.world_size
        print_first(processes, "many", opened(LARGEST, torch.float32) is not None)
        for size in range(10, 30):
            processes.average_gradients([torch.full((size,), float(processes.rank))])
        print_first(processes, "kept", len(processes._flat))


def unsaid():
    """Forget in all processes but the first how many there are on this machine."""
    if os.environ["RANK"] != "0":
        del os.environ["LOCAL_WORLD_SIZE"]


def ends():
    """Return as exit code how many threads of the group are left after a fit: they abort a process that ends first."""
    with joined(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        latentmap.VAE(2, encoder=MLP((8,)), neighbors=None, max_epochs=1).fit(data())
    threads = [open(f"/proc/self/task/{task}/comm").read() for task in os.listdir("/proc/self/task")]
    sys.exit(sum("gloo" in name for name in threads))


def dist(a, b):
    return float((a - b).abs().max())


def no_memory(*arguments):
    raise OSError("no space left")


def unlike():
    """Print what the first process says of fits that differ in the second one."""
    x, codes = data(), np.zeros((5, 2))
    settings = {"max_epochs": 1, "compile": False, "encoder": MLP((8,)), "decoder": MLP((8,))}
    vae = partial(latentmap.VAE, **settings, random_state=0)
    warnings.simplefilter("ignore")  # fits that are this short are diagnosed as such
    with joined() as processes:
        rank = processes.rank
        with joining(alone):
            earlier = vae(2).fit(np.tile(x, 2)[:, rank : rank + 6])
        cases = {
            "the same": lambda: vae(2, anchor=(np.arange(5), codes)).fit(x),
            "rows of a map": lambda: vae(2).fit(x[: ROWS - 20 * rank]),
            "rows": lambda: vae(2, neighbors=None).fit(x[: ROWS - 20 * rank]),
            "columns": lambda: vae(2).fit(x[:, rank:]),
            "piece": lambda: vae(2, neighbors=None).partial_fit(x[: ROWS - 20 * rank]),
            "chosen": lambda: vae("auto").fit(x[: 50 if rank else ROWS]),
            "given places": lambda: vae(2, anchor=(np.arange(5), codes + rank)).fit(x),
            "anchor": lambda: vae(2, anchor=earlier).fit(x),
            "warm start": lambda: earlier.set_params(warm_start=True).fit(x),
            "class": lambda: (vae(2) if rank else latentmap.Autoencoder(2, **settings, random_state=0)).fit(x),
        }
        for name, fit in cases.items():
            try:
                fit()
                print_first(processes, name, "")
            except DataError as error:
                print_first(processes, name, error)


def main_of(*arguments):
    """Call the functions of these names with the arguments that follow; + begins the next one."""
    calls = [[]]
    for argument in arguments:
        calls.append([]) if argument == "+" else calls[-1].append(argument)
    for name, *others in calls:
        with warnings.catch_warnings():
            if name not in ("command", "killed", "signalled"):
                warnings.simplefilter("error")
            globals()[name](*others)


if __name__ == "__main__":
    main_of(*sys.argv[1:])
