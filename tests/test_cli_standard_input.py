"""The command reads ``-``, standard input, wherever it takes data."""

import io
import warnings

import numpy as np
import pytest

from command import ask, must
from latentmap.cli.terminal import show_warnings_as_lines
from latentmap.exceptions import FewDrawsWarning

rng = np.random.default_rng(0)
TEXT = "\n".join(["x,y,k", *(f"{a:.2f},{b:.2f},{'uv'[i % 2]}" for i, (a, b) in enumerate(rng.normal(size=(60, 2))))])
NUMBERS = "\n".join(["x,y", *(f"{a:.2f},{b:.2f}" for a, b in rng.normal(size=(60, 2)))])


@pytest.fixture(params=[TEXT, NUMBERS], ids=["mixed", "numbers"])
def given(request, monkeypatch):
    """Let the next command find this text on standard input."""

    def give():
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(request.param.encode())))

    return give


def test_standard_input_is_data_of_every_command(given, capsys, tmp_path):
    run = tmp_path / "run"
    given()
    assert "rows     60" in must(capsys, "info", "-").err
    given()
    assert "[columns" in must(capsys, "info", "-", "--columns-template", "-").out
    given()
    must(capsys, "fit", "-", "-o", run, "--set", "max_epochs=1")
    for command in ("transform", "score", "impute"):
        given()
        must(capsys, command, run, "-", "-o", tmp_path / f"{command}.csv")
        assert len((tmp_path / f"{command}.csv").read_text().splitlines()) == 61


def test_an_option_that_is_none_is_still_told(given, capsys):
    given()
    assert "has no option --labls: did you mean --labels?" in ask(capsys, "info", "-", "--labls", "k").err


def test_a_warning_names_the_option_of_the_command(capsys):
    with warnings.catch_warnings():
        show_warnings_as_lines()
        warnings.warn("rest on few draws; raise n_samples, to 1000 say", FewDrawsWarning, stacklevel=1)
    assert capsys.readouterr().err == "note: rest on few draws; raise --samples, to 1000 say\n"
    with warnings.catch_warnings():
        show_warnings_as_lines("fit")  # which has no such option
        warnings.warn("rest on few draws; raise n_samples, to 1000 say", FewDrawsWarning, stacklevel=1)
    assert "latentmap score has --samples" in capsys.readouterr().err
