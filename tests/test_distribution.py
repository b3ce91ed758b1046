"""Fits on several processes, which torchrun starts: the same steps as one process, one result, one voice."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
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


def only_errors(printed):
    """Return the lines of the command that tell of errors."""
    return [line for line in printed.splitlines() if line.startswith("error:")]


@pytest.fixture
def rows(tmp_path):
    """Files of rows, of which the second has another value."""
    x = np.random.default_rng(0).normal(size=(300, 4)).astype(np.float32)
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "x0.npy", x)
    np.save(tmp_path / "x1.npy", np.where(x == x[7, 2], 9.0, x))
    return tmp_path


SMALL = ("--no-report", "--epochs", "20", "--set", "encoder=MLP(hidden=(8,))", "--set", "decoder=MLP(hidden=(8,))")
SMALL += ("--set", "neighbors=none", "--set", "batch_size=32")


def test_a_fit_goes_on_with_another_number_of_processes(tmp_path):
    def part(processes, step, folder="changing"):
        command = (RANKS, "partly", tmp_path / folder, step)
        if processes == 1:
            done = subprocess.run([sys.executable, *map(str, command)], capture_output=True, text=True, check=True)
            return done.stdout.split()
        printed, errors, code = torchrun(processes, *command)
        assert not code, errors
        return printed.split()

    assert part(2, 30)[:2] == ["None", "30"]  # of 4 steps an epoch
    assert part(1, 53)[:2] == ["30", "53"]
    begun, ended, loss = part(4, 0)
    _, all_steps, expected = part(1, 0, "one")
    assert (begun, ended) == ("53", all_steps)
    assert float(loss) == pytest.approx(float(expected), abs=1e-3)


def test_the_command_starts_processes_that_speak_with_one_voice(rows):
    run = rows / "run"
    command = [sys.executable, "-m", "latentmap", "fit", rows / "x.npy", "-o", run, *SMALL, "--workers", "2"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("VAE with") == done.stderr.count("saved the run") == 1 and "Traceback" not in done.stderr
    assert "16 on each of 2 processes" in done.stderr
    assert np.isfinite(latentmap.load(run).transform(np.load(rows / "x.npy"))).all()
    assert not (run / "checkpoint").exists()


@pytest.mark.parametrize("restarts", [1, 0])
def test_a_process_that_is_killed_starts_again_or_ends_the_fit(rows, restarts):
    run = rows / "run"
    fit = ("fit", rows / "x.npy", "-o", run, *SMALL, "--checkpoint-every", "0.001")
    _, errors, code = torchrun(2, RANKS, "killed", 1, *fit, options=[f"--max-restarts={restarts}"])
    (line,) = only_errors(errors)
    assert "another process of the fit was lost" in line and "latentmap resume" in errors
    assert code == 1 - restarts and (run / "config.json").exists() == bool(restarts)
    if restarts:
        epochs = [row["epoch"] for row in latentmap.load(run).history_]
        assert epochs[-1] == 20 and epochs == sorted(set(epochs))


@pytest.mark.parametrize(
    ("processes", "file", "message"),
    [
        (2, "xRANK.npy", "process 1 of 2 has other rows than process 0: give all processes the same data"),
        (2, "missing", "process 1 of 2: "),
        (4, "few.npy", "a batch of 3 rows cannot be divided among 4 processes"),
    ],
)
def test_what_is_wrong_in_one_process_is_said_once(rows, processes, file, message):
    np.save(rows / "few.npy", np.eye(3, dtype=np.float32))
    if file == "missing":
        file = "xRANK.npy"
        (rows / "x1.npy").unlink()
    fit = ("fit", rows / file, "-o", rows / "run", *SMALL)
    printed, errors, code = torchrun(processes, RANKS, "command", *fit, options=["--max-restarts=1"])
    (line,) = only_errors(errors)  # nor does a second start say it again
    assert code == 1 and message in line and not printed
    assert not (rows / "run").exists()


def test_a_port_in_use_is_said(rows):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        place = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(other.getsockname()[1])}
        command = [sys.executable, "-m", "latentmap", "fit", rows / "x.npy", "-o", rows / "run", *SMALL]
        environment = os.environ | place | {"RANK": "0", "WORLD_SIZE": "2"}
        done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True, check=False)
    (line,) = only_errors(done.stderr)
    assert done.returncode == 1 and "no other program uses the port" in line and place["MASTER_PORT"] in line
