"""Two processes against one: seconds of a step, the share of communication, and what follows for more processes.

python -m benchmarks.distribution [--table]

The table of docs/distribution.md is rewritten at the end; --table rewrites it alone.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.common import HERE, spread, write
from benchmarks.tables import between, grid

RUNS, EPOCHS = 10, 12
ROWS, FEATURES, BATCH, HIDDEN = 9_102, 784, 1024, (512, 512, 512)
"""Rows, of which a tenth is held out; a step takes BATCH of them, by all processes together."""
PRECISIONS = ("float32", "bfloat16")
SETTINGS = {"1 process, 1 thread": (1, 1), "1 process, 2 threads": (1, 2), "2 processes, 1 thread each": (2, 1)}
BANDWIDTHS = {"10 Gbit/s": 1.25e9, "100 Gbit/s": 12.5e9}
LATENCY = 50e-6
"""Seconds that a message between two machines takes beside its bytes, which is assumed and not measured."""
LARGER = (8, 64, 512)


def worker(precision: str) -> None:
    """Fit in this process, and print what the first one measured as JSON."""
    import torch

    from latentmap import VAE, networks
    from latentmap.distribution import joined

    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    x = np.random.default_rng(0).normal(size=(ROWS, FEATURES)).astype(np.float32)
    with joined() as processes:
        spent: list[float] = []
        average = processes.average_gradients

        def timed(gradients: Sequence[torch.Tensor]) -> None:
            begun = time.perf_counter()
            average(gradients)
            spent.append(time.perf_counter() - begun)

        processes.average_gradients = timed  # type: ignore[method-assign]
        vae = VAE(
            *(16,), encoder=networks.MLP(HIDDEN), decoder=networks.MLP(HIDDEN), batch_size=BATCH, max_epochs=EPOCHS,
            precision=precision, compile=False, random_state=0, device="cpu",
        )  # fmt: skip
        history = vae.fit(x).history_
        first, last = history[0], history[-1]
        alone = []
        for _ in range(20):
            gradients = [torch.zeros_like(p) for p in vae.state_.model.parameters()]
            processes.maximum([0.0])  # all begin together
            begun = time.perf_counter()
            average(gradients)
            alone.append(time.perf_counter() - begun)
        if processes.rank == 0:
            seconds = (last["seconds"] - first["seconds"]) / (last["step"] - first["step"])
            found = {
                "step": seconds,
                "in_average": statistics.median(spent[first["step"] :]),
                "all_reduce": statistics.median(alone),
                "bytes": 4 * sum(p.numel() for p in gradients),
                "val_loss": last["val_loss"],
            }
            print(json.dumps(found))


def measured(processes: int, threads: int, precision: str) -> dict[str, Any]:
    """Return what a fit on so many processes measures."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    command = [sys.executable, "-W", "ignore", *launcher, "-m", "benchmarks.distribution", "--worker", precision]
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    output = subprocess.run(command, check=True, capture_output=True, text=True, env=environment).stdout
    found: dict[str, Any] = json.loads(output.splitlines()[-1])
    return found | {"load": os.getloadavg()[0]}


def expected(step: float, size: float) -> dict[str, dict[str, float]]:
    """Return the expected speed-up over one process for a ring, by bandwidth and number of processes.

    Each process takes as many rows of a step as one does alone, in the measured time; a ring sends 2 (W - 1) messages
    of 1/W of the gradients, after the step.
    """
    return {
        name: {
            str(w): w * step / (step + 2 * (w - 1) * (size / w / bandwidth + LATENCY)) for w in LARGER
        }
        for name, bandwidth in BANDWIDTHS.items()
    }  # fmt: skip


def main() -> None:
    """Measure the settings in turn, and write the result."""
    results = {}
    for precision in PRECISIONS:
        raw: dict[str, list[dict[str, Any]]] = {name: [] for name in SETTINGS}
        for _ in range(RUNS):
            for name, (processes, threads) in SETTINGS.items():
                raw[name].append(measured(processes, threads, precision))
        one, wide, two = (spread([run["step"] for run in runs]) for runs in raw.values())
        last = raw["2 processes, 1 thread each"]
        results[precision] = {
            "seconds_of_a_step": dict(zip(SETTINGS, (one, wide, two), strict=True)),
            "speed_up": one["median"] / two["median"],
            "against_two_threads": wide["median"] / two["median"],
            "share_of_communication": statistics.median(run["in_average"] / run["step"] for run in last),
            "all_reduce": spread([run["all_reduce"] for run in last]),
            "expected": expected(one["median"], last[0]["bytes"]),
            "raw": raw,
        }
        print(precision, json.dumps({k: v for k, v in results[precision].items() if k != "raw"}, indent=2))
    write("distribution", {"batch": BATCH, "hidden": HIDDEN, "latency": LATENCY, **results})
    rewrite(results)


def rewrite(results: Mapping[str, Any]) -> None:
    """Write the table of the page."""
    rows = []
    for precision in PRECISIONS:
        found = results[precision]
        steps = [f"{1e3 * found['seconds_of_a_step'][name]['median']:.0f}" for name in SETTINGS]
        shares = [f"{found['speed_up']:.2f}", f"{found['against_two_threads']:.2f}"]
        more = [f"{found['expected'][name][str(w)]:.0f}" for name in BANDWIDTHS for w in LARGER]
        rows.append([precision, *steps, *shares, f"{100 * found['share_of_communication']:.0f}%", *more])
    head = ["", *(f"{name}, ms" for name in SETTINGS), "speed-up", "against 2 threads", "communication"]
    head += [f"{w} at {name}" for name in BANDWIDTHS for w in LARGER]
    page = HERE.parent / "docs" / "distribution.md"
    page.write_text(between(page.read_text(), "distribution", grid(head, rows)))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--worker"]:
        worker(sys.argv[2])
    elif sys.argv[1:2] == ["--table"]:
        rewrite(json.loads((HERE / "results" / "distribution.json").read_text()))
    else:
        main()
