"""Fits on several processes, which torchrun starts: the same steps as one process, one result, one voice."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import latentmap
from latentmap.model.processes import alone, current

RANKS = Path(__file__).with_name("ranks.py")
NEEDED = ("vae", "beta_tc", "factor", "neighbor VAE", "vamp", "table")


def torchrun(processes, *arguments, options=(), **environment):
    """Return what torchrun prints on standard output and on standard error, and its exit code."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*launcher, *options, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=120,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    return done.stdout, done.stderr, done.returncode


@pytest.mark.parametrize(("processes", "cases"), [(2, ()), (4, NEEDED)])
def test_a_step_is_that_of_one_process(processes, cases):
    printed, errors, code = torchrun(processes, RANKS, "gradients", *cases)
    assert not code, errors
    found = {name: (float(a), float(b)) for name, a, b in (line.split("\t") for line in printed.splitlines())}
    gradient, rest = found.pop("control")
    assert min(gradient, rest) > 1e-2, "control: without the codes of other processes"
    assert set(cases or (*latentmap.recipes.every(), *NEEDED)) <= found.keys()
    for name, apart in found.items():
        assert max(apart) < (1e-3 if name == "ladder" else 2e-5), name


def test_a_process_without_a_launcher_is_alone():
    from latentmap.distribution import joined

    with joined() as processes:
        assert processes is current() is alone


def test_distribution_is_not_imported_by_a_fit():
    code = "import sys, latentmap, numpy as np; latentmap.VAE(2, max_epochs=1, neighbors=None)"
    code += ".fit(np.random.default_rng(0).normal(size=(40, 3))); sys.exit('latentmap.distribution' in sys.modules)"
    assert subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=False).returncode == 0
