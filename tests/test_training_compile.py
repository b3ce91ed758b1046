"""What a step computes is one graph: a break in it costs what compiling is to gain."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from graphs import EVERY
from parts import QUANTIZERS, name

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def faults():
    """Why each objective's step is not one graph, or None."""
    path = os.pathsep.join([str(HERE), str(HERE.parent / "src")])
    process = subprocess.run(
        [sys.executable, HERE / "graphs.py"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("part", [*EVERY, *QUANTIZERS], ids=name)
def test_a_step_is_one_graph(part, faults):
    assert faults[name(part)] is None


def test_a_break_is_seen(faults):
    assert "graph break" in faults["control"].lower()
