"""What a step computes is one graph: a break in it costs what compiling is to gain."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from graphs import CONTROLS, FITS
from latentmap.training.device import compiled

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def faults():
    """Why each fit's step is not one graph, or None."""
    path = os.pathsep.join([str(HERE), str(HERE.parent / "src")])
    process = subprocess.run(
        [sys.executable, HERE / "graphs.py"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout)


@pytest.mark.parametrize("fit", FITS)
def test_a_step_is_one_graph(fit, faults):
    assert faults[fit] is None


@pytest.mark.parametrize("fit", CONTROLS)
def test_a_break_is_seen(fit, faults):
    assert "graph_break()" in faults["controls"][fit]


def chain(layers, broken):
    """Give a function that shares its code with those of other layers, as the steps of two fits do."""

    def through(x):
        if broken:
            torch._dynamo.graph_break()
        for layer in layers:
            x = layer(x)
        return x

    return lambda x: through(x) + torch.randn(len(x), 1)


@pytest.mark.filterwarnings("ignore:`torch.jit.script_method`:DeprecationWarning")  # torch's own
@pytest.mark.parametrize("broken", [False, True], ids=["whole", "broken"])
def test_a_fit_does_not_meet_the_graphs_of_another(broken):
    torch.manual_seed(0)
    x, layers = torch.randn(4, 3), [nn.Linear(3, 3), nn.Tanh()]
    plain = [chain(layers[:depth], broken) for depth in (1, 2)]

    @torch.no_grad()
    def agree(functions):
        worst = 0.0
        for function, expected in zip(functions, plain, strict=True):
            torch.manual_seed(1)
            given = function(x)
            torch.manual_seed(1)  # the noise is the same too
            worst = max(worst, (given - expected(x)).abs().max().item())
        return worst < 1e-5

    assert agree([compiled(function) for function in plain])
    unguarded = {"fallback_random": True, "guard_filter_fn": torch.compiler.skip_all_guards_unsafe}
    assert not agree([torch.compile(function, options=unguarded) for function in plain])
    torch._dynamo.reset()
