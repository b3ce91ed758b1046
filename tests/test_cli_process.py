"""The command as a process: what it loads, what a terminal shows, what signals and pipes do to it."""

import json
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from rich.status import Status

import latentmap
from command import ask
from latentmap.cli import main
from latentmap.cli.app import app
from latentmap.training.progress import ProgressBar

START = [sys.executable, "-c", "import sys; from latentmap.cli import main; sys.exit(main())"]
QUICK = ["--set", "max_epochs=2", "--no-report"]


def process(*arguments, **options):
    return subprocess.run([*START, *map(str, arguments)], capture_output=True, text=True, timeout=300, **options)


def loaded_by(*calls):
    """Heavy modules that the command has loaded after each call, in one process."""
    heavy = "torch sklearn numpy scipy pandas matplotlib narwhals jinja2 PIL docutils rich.markdown latentmap.report"
    heavy = [*heavy.split(), "asyncio", "difflib", "importlib.metadata", "subprocess", "tempfile"]
    code = f"import sys; from latentmap.cli import main\nfor call in {calls}:\n"
    code += f"    main(call); print('loaded:', *[m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300, check=True)
    return [set(line.split()[1:]) for line in done.stdout.splitlines() if line.startswith("loaded:")]


def test_help_loads_nothing_heavy():
    helps = [[name, "--help"] for name in app if not name.startswith("-")]
    light = [["--version"], ["--help"], [], *helps, ["fit"]]
    wrong = [["fti"], ["fit", "digits", "-o", "run", "--n-component", "2"]]
    *without, unknown, misspelt, control = loaded_by(*light, *wrong, ["info", "digits"])
    assert without == [set()] * len(light) and unknown | misspelt <= {"difflib"} and {"numpy", "torch"} <= control


def test_help_names_every_command_and_option(capsys):
    overall = process("--help")
    assert overall.returncode == 0 and overall.stderr == ""
    for command in ("fit", "transform", "inverse", "sample", "score", "compare", "report", "info"):
        text = ask(capsys, command, "--help").out
        assert command in overall.stdout and "--json" in text and f"latentmap {command}" in text
    assert "--overwrite" in ask(capsys, "fit", "--help").out


def test_json_alone_is_on_standard_output(tmp_path):
    done = process("fit", "digits", "-o", tmp_path / "run", *QUICK, "--json")
    assert done.returncode == 0 and json.loads(done.stdout)["run"] == str(tmp_path / "run")
    assert "\r" not in done.stderr and "\x1b" not in done.stderr  # no progress bar where nobody watches
    done = process("fit", "digits", "-o", tmp_path / "run", *QUICK, "--json")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1


def test_a_reader_that_goes_away_is_no_error(tmp_path):
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([*START, "info", "digits", "--json"], stdout=writer, stderr=subprocess.PIPE, timeout=300)
    os.close(writer)
    assert b"Traceback" not in done.stderr and b"Exception" not in done.stderr and b"error" not in done.stderr


class Terminal:
    """A process whose standard error is a terminal."""

    def __init__(self, *arguments):
        self.screen, side = pty.openpty()
        self.seen = b""
        environment = os.environ | {"TERM": "xterm", "COLUMNS": "140"}
        self.process = subprocess.Popen([*START, *map(str, arguments)], stderr=side, stdout=subprocess.PIPE,
                                        env=environment)  # fmt: skip
        os.close(side)

    def read(self, until=None, seconds=240):
        """Read what is shown until something is, or to the end."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (until is None or until not in self.seen):
            if select.select([self.screen], [], [], 0.5)[0]:
                try:
                    self.seen += os.read(self.screen, 65536)
                except OSError:  # the other side has closed
                    break
        return self.seen.decode()

    def end(self):
        """Read to the end; give the exit code."""
        self.read()
        os.close(self.screen)
        self.process.stdout.close()
        return self.process.wait(timeout=60)


@pytest.fixture
def endless(tmp_path):
    """A fit of an hour, shown on a terminal."""
    terminal = Terminal(
        "fit", "digits", "-o", tmp_path / "run", "--no-report", "--budget", "1h", "--set", "compile=false", "--json"
    )
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
        terminal.process.wait()


def test_ctrl_c_keeps_the_best_weights(tmp_path, endless):
    shown = endless.read(until=b"rows/s")
    for fact in ("loss", "rate", "distortion", "rows/s", "left", "%"):
        assert fact in shown
    assert not (tmp_path / "run" / "config.json").exists()
    endless.process.send_signal(signal.SIGINT)
    said = endless.process.stdout.read()
    assert endless.end() == 0 and "Traceback" not in endless.seen.decode()
    assert "note: the fit was interrupted after" in endless.seen.decode() and "saved the run" in endless.seen.decode()
    assert json.loads(said)["interrupted"] is True
    model = latentmap.load(tmp_path / "run")
    assert model.interrupted_ and np.isfinite(model.score(latentmap.load_dataset("digits")[0]))


def test_ctrl_c_before_there_is_anything_to_keep_leaves_nothing(tmp_path):
    np.save(tmp_path / "X.npy", np.random.default_rng(0).normal(size=(3000, 50)))
    terminal = Terminal("compare", tmp_path / "X.npy", "-o", tmp_path / "compare")
    terminal.read(until=b"3,000 rows")
    terminal.process.send_signal(signal.SIGINT)
    assert terminal.end() == 130
    assert terminal.seen.decode().splitlines()[-1].endswith("stopped") and "Traceback" not in terminal.seen.decode()
    assert not (tmp_path / "compare").exists()


def test_ctrl_c_while_the_progress_starts_leaves_no_thread_that_draws(monkeypatch, capsys):
    started = Status.start

    def interrupted(status):
        started(status)
        raise KeyboardInterrupt

    monkeypatch.setattr(Status, "start", interrupted)
    assert main(["compare", "digits", "--seeds", "1"]) == 130
    threads = [thread for thread in threading.enumerate() if type(thread).__name__ == "_RefreshThread"]
    assert all(thread.done.is_set() for thread in threads)
    capsys.readouterr()


def test_a_progress_bar_shows_held_out_losses_and_what_is_left():
    row = {"loss": 1.0, "distortion": 1.0, "rate": 0.0, "val_loss": 30.5, "val_distortion": 20.25, "val_rate": 10.25}
    progress = SimpleNamespace(fraction=0.25, seconds=60.0, rows_per_second=12345.6)
    with ProgressBar() as bar:
        assert bar.facts == "starting"
        bar(row, progress)
        assert bar.facts == "loss 30.50  distortion 20.25  rate 10.25  12,346 rows/s  3:00 left"
