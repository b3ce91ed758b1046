"""Fits on several processes, which torchrun starts: the same steps as one process, one result, one voice."""

import os
import signal
import socket
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

import latentmap
import ranks
from latentmap.cli import main
from latentmap.data.formats.arrays import ArraySource
from latentmap.data.streaming import Stream
from latentmap.distribution.join import ENDED, _failing_together
from latentmap.estimators.run_folder import shell_command
from latentmap.exceptions import DataError, ModelError, PartError
from latentmap.model.processes import Processes, alone, current, joining
from latentmap.training.checkpoint import Checkpoints
from latentmap.training.feed import Streamed, shared_batch
from latentmap.training.schedule import Clock

RANKS = Path(__file__).with_name("ranks.py")
NEEDED = (
    "vae",
    "beta_tc",
    "factor",
    "neighbor VAE",
    "densities",
    "MMD of a second VAE",
    "vamp",
    "table",
    "anchors",
    "few anchors",
)


def torchrun(processes, *arguments, options=(), **environment):
    """Return what torchrun prints on standard output and on standard error, and its exit code."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    done = subprocess.run(
        [*launcher, *options, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=400,
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
    )
    return done.stdout, done.stderr, done.returncode


def require_same_steps(lines, cases):
    """Check what `ranks.gradients` has printed of these cases."""
    found = {name: (float(a), float(b)) for name, a, b in (line.split("\t") for line in lines)}
    assert min(found.pop("control")) > 1e-2, "control: without the codes of other processes"
    assert set(cases) <= found.keys()
    for name, apart in found.items():
        assert max(apart) < (1e-3 if name == "ladder" else 2e-5), name


def test_a_step_is_that_of_one_process():
    printed, errors, code = torchrun(2, RANKS, "gradients")
    assert not code, errors
    require_same_steps(printed.splitlines(), [*latentmap.recipes.every(), *NEEDED])


def test_means_through_shared_memory_are_those_of_an_exchange():
    printed, errors, code = torchrun(3, RANKS, "means", "+", "stopped")
    assert not code, errors
    *lines, ends = printed.splitlines()
    found = dict(line.split("\t", 1) for line in lines)
    assert float(found.pop("difference")) < 1e-6 < float(found.pop("control"))
    assert found.pop("same bits") == "True"
    assert found.pop("kept") == "8"
    assert found == {"few": "True", "half": "True", "no memory": "False", "another machine": "False", "many": "False"}
    assert ends.split() == [str(10 * (117 // 24))] * 2, "a callback, which the first process calls, stops all"


def test_a_group_leaves_no_thread_and_launchers_may_differ_in_what_they_say_of_the_machine():
    printed, errors, code = torchrun(2, RANKS, "unsaid", "+", "fits", "+", "ends")
    assert not code and printed.split()[0] == "2", errors


def test_agreement_comes_with_the_next_step_and_at_once_where_it_is_needed():
    class Two(Processes):
        world_size = 2

        def maximum_soon(self, values):
            return lambda: [max(value, other) for value, other in zip(values, others, strict=True)]

    clock, others = Clock(total_steps=9, timer=lambda: 1.0), [5.0, 0.0, 1.0]
    assert clock.agree(alone, True, False) == (True, False)
    assert clock.agree(Two(), True, False) == (False, False)
    assert clock.agree(Two(), False, False) == (True, True) and clock.agreed == 5.0
    others = [6.0, 0.0, 0.0]
    assert clock.agree(Two(), True, False, now=True) == (True, False) and clock.agreed == 6.0
    assert clock.agree(Two(), False, False) == (False, False)
    assert Clock(9, time_budget=60.0).agree(Two(), True, False) == (True, False)


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


def test_a_fit_goes_on_with_another_number_of_processes(tmp_path, capsys):
    def alone(folder, step):
        ranks.partly(tmp_path / folder, step)
        return capsys.readouterr().out.split()

    printed, errors, code = torchrun(2, RANKS, "partly", tmp_path / "changing", 30)  # of 4 steps an epoch
    assert not code, errors
    assert printed.split()[:2] == ["None", "31"]  # several processes learn of a stop with the step that follows it
    assert alone("changing", 53)[:2] == ["31", "53"]
    printed, errors, code = torchrun(4, RANKS, "partly", tmp_path / "changing", 0, "+", "gradients", *NEEDED)
    assert not code, errors
    first, *steps = printed.splitlines()
    begun, ended, loss = first.split()
    _, all_steps, expected = alone("one", 0)
    assert (begun, ended) == ("53", all_steps)
    assert float(loss) == pytest.approx(float(expected), abs=1e-3)
    require_same_steps(steps, NEEDED)


def resumed(folder, processes, step=0):
    """Fit to so many steps as one of these processes, from the last checkpoint of a folder; return rows of a batch."""
    settings = {"encoder": latentmap.networks.MLP((8,)), "neighbors": None, "batch_size": 24, "max_epochs": 4}
    checkpoints = ranks.Stopping(folder, step)
    with joining(processes), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a fit that is this short is diagnosed as one
        latentmap.VAE(2, **settings, random_state=0).fit(ranks.data(), checkpoint=checkpoints, resume=True)
    return checkpoints.read().state["setup"]["batch_size"]


def test_a_resumed_fit_keeps_its_batches(tmp_path):
    assert resumed(tmp_path / "five", One(0, 5), step=7) == 20  # of 24, which five cannot share
    assert resumed(tmp_path / "five", One(0, 2), step=13) == 20
    assert resumed(tmp_path / "five", alone) == 20 and Checkpoints(tmp_path / "five").last_step() == 4 * (117 // 20)
    assert resumed(tmp_path / "one", alone, step=7) == 24
    advice = (
        "24 rows, which 5 processes cannot share equally: resume it with 4 of them, or another number that divides 24"
    )
    with pytest.raises(ModelError, match=advice):
        resumed(tmp_path / "one", One(0, 5))


def test_the_command_starts_processes_that_speak_with_one_voice(rows):
    run = rows / "run"
    command = [sys.executable, "-m", "latentmap", "fit", rows / "x.npy", "-o", run, *SMALL, "--workers", "2"]
    done = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("VAE with") == done.stderr.count("saved the run") == 1 and "Traceback" not in done.stderr
    assert "16 on each of 2 processes" in done.stderr
    assert np.isfinite(latentmap.load(run).transform(np.load(rows / "x.npy"))).all()
    assert not (run / "checkpoint").exists()


@pytest.mark.parametrize("error, code", [(PartError("no"), "2"), (DataError("no"), "1"), (SystemExit(143), "143")])
def test_processes_that_are_started_again_end_with_the_code_of_the_first_error(error, code, monkeypatch):
    monkeypatch.setattr("torch.distributed.destroy_process_group", lambda: None)
    told = {}
    with pytest.raises(type(error)), _failing_together(alone, Store(told), Store({})):
        raise error
    assert told[ENDED] == code


class Store:
    def __init__(self, told):
        self.set = told.__setitem__


def test_a_fit_goes_on_where_a_process_is_killed(rows):
    run = rows / "run"
    fit = ("fit", rows / "x.npy", "-o", run, *SMALL, "--checkpoint-every", "0.001")
    _, errors, code = torchrun(2, RANKS, "killed", 1, *fit, options=["--max-restarts=1"])
    (line,) = only_errors(errors)
    assert "another process of the fit was lost" in line and "latentmap resume" in errors
    assert code == 0, errors
    epochs = [row["epoch"] for row in latentmap.load(run).history_]
    assert epochs[-1] == 20 and epochs == sorted(set(epochs))


def test_a_signal_to_any_process_ends_the_fit_in_all(rows, capsys):
    run = rows / "run"
    fit = ("fit", rows / "x.npy", "-o", run, *SMALL)
    _, errors, code = torchrun(2, RANKS, "signalled", int(signal.SIGTERM), *fit, options=["--max-restarts=1"])
    (line,) = [line for line in errors.splitlines() if line.startswith("stopped by")]  # nor does a restart go on
    go_on = shell_command("resume", run)
    assert line == f"stopped by SIGTERM; the best weights so far are saved; continue with: {go_on}"
    assert code == 1 and "(exitcode: 143)" in errors  # of torchrun, and of the first process
    assert Checkpoints(run / "checkpoint").last_step() == 31 and latentmap.load(run).history_[-1]["epoch"] < 5
    assert main(["resume", str(run)]) == 0, capsys.readouterr().err
    assert latentmap.load(run).history_[-1]["epoch"] == 20 and not (run / "checkpoint").exists()


def test_an_interrupt_in_one_process_is_told_by_the_others():
    printed, errors, code = torchrun(2, RANKS, "interrupted")
    assert code == 1 and printed == "process 1 of 2: KeyboardInterrupt\n", errors
    assert "EnforceNotMet" not in errors


@pytest.mark.parametrize(
    ("missing", "restarts", "message"),
    [
        (False, 1, "process 1 of 2 has other rows than process 0: give all processes the same data"),
        (True, 0, "process 1 of 2: "),
    ],
)
def test_what_is_wrong_in_one_process_is_said_once(rows, missing, restarts, message):
    if missing:
        (rows / "x1.npy").unlink()
    fit = ("fit", rows / "xRANK.npy", "-o", rows / "run", *SMALL)
    printed, errors, code = torchrun(2, RANKS, "command", *fit, options=[f"--max-restarts={restarts}"])
    (line,) = only_errors(errors)  # nor does a second start say it again
    assert code == 1 and message in line and not printed
    assert not (rows / "run").exists()


def test_fits_that_differ_between_processes_are_refused_before_anything_is_exchanged():
    printed, errors, code = torchrun(2, RANKS, "unlike")
    assert not code, errors
    found = dict(line.split("\t") for line in printed.splitlines())
    assert not found.pop("the same")
    for name in ("rows of a map", "rows", "columns", "piece", "chosen"):
        assert "process 1 of 2 has other rows than process 0: give all processes the same data" in found.pop(name)
    for name, words in {"given places": "anchor", "anchor": "anchor", "warm start": "earlier fit"}.items():
        assert f"process 1 of 2 has another {words} than process 0: give" in found.pop(name)
    assert "process 1 of 2 has another " in found.pop("class")
    assert not found


def test_more_processes_than_rows_are_refused():
    assert shared_batch(10, One(0, 4)) == 8
    with pytest.raises(DataError, match="a batch of 3 rows cannot be divided among 4 processes: start fewer"):
        shared_batch(3, One(0, 4))


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


class One(Processes):
    """One of several processes, without the others."""

    def __init__(self, rank, world_size):
        self.rank, self.world_size = rank, world_size

    def share(self, x, dim=0):
        return x[self.rank :: self.world_size]


def batches_of(rank, world_size, start=0, readers=None, memory=10**6):
    """The rows of a process in an epoch, by their first value, which is their number."""
    rows = np.arange(40_000.0).repeat(2).reshape(40_000, 2)
    stream = Stream(ArraySource(rows), held_out=0.1, seed=0, memory=memory)
    feed = Streamed(stream, lambda block: block, torch.device("cpu"))
    given = (0, 1, 600, torch.Generator(), start, One(rank, world_size), readers or world_size)
    return torch.stack([batch.rows[:, 0].clone() for batch in feed.epoch(*given)]), stream


def test_processes_read_their_own_blocks_of_a_file():
    of_each, (_, stream) = [batches_of(rank, 3)[0] for rank in range(3)], batches_of(0, 3)
    assert all(one.shape == (36_000 // 600, 200) for one in of_each)  # as many steps, of equal shares
    numbers = [set(one.flatten().tolist()) for one in of_each]
    assert not numbers[0] & numbers[1] and not numbers[0] & numbers[2] and not numbers[1] & numbers[2]
    assert len(set.union(*numbers)) > 0.9 * 36_000 and not set.union(*numbers) & set(stream.held_out.tolist())
    assert not torch.equal(of_each[0][0].sort().values, of_each[0][0]), "rows are shuffled"


def test_another_number_of_processes_ends_an_epoch_as_it_began():
    began = torch.stack([batches_of(rank, 3)[0] for rank in range(3)], 2).flatten(1)  # the rows of whole batches
    for world_size in (1, 2):
        rest = torch.stack([batches_of(rank, world_size, 20, 3)[0] for rank in range(world_size)], 2).flatten(1)
        assert torch.equal(rest, began[20:])


def test_more_processes_than_blocks_are_refused():
    with pytest.raises(DataError, match="blocks of rows cannot be divided among 300 processes; start fewer"):
        batches_of(0, 300)
