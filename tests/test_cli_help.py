"""Every option has its help, which is written once in the source of the command."""

import ast
import collections
import inspect
import re
import shutil
import subprocess
from pathlib import Path

import pytest

import latentmap.cli
from command import must
from latentmap.cli.app import app

SOURCE = [ast.parse(path.read_text()) for path in sorted(Path(latentmap.cli.__file__).parent.glob("*.py"))]
COMMANDS = sorted(name for name in app if not name.startswith("-"))


def parameters(function):
    """Texts of the parameters in a docstring."""
    section = (ast.get_docstring(function) or "").partition("Parameters\n----------\n")[2]
    section = re.split(r"\n\n\w+\n-+\n", section)[0]
    return [" ".join(text.split()) for text in re.split(r"^\S+$", section, flags=re.M) if text.strip()]


def texts():
    """Everything in the source that may be help: parameters in docstrings, and strings of several words in options."""
    for tree in SOURCE:
        for node in ast.walk(tree):
            if isinstance(node, ast.FunctionDef):
                yield from parameters(node)
            elif isinstance(node, ast.Call) and getattr(node.func, "id", "") == "Parameter":
                yield from (ast.unparse(keyword.value) for keyword in node.keywords if keyword.arg == "help")
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                yield str(node.value.value)


def options(command):
    arguments = app[command].assemble_argument_collection(parse_docstring=True)
    return {argument.name: argument.parameter.help for argument in arguments}


def test_no_help_is_written_twice():
    often = collections.Counter(text for text in texts() if " " in text)
    assert len(often) > 30 and [text for text, times in often.items() if times > 1] == []


@pytest.mark.parametrize("command", COMMANDS)
def test_every_option_has_help_and_a_parameter(command):
    shown = options(command)
    assert all(text and text.endswith(".") for text in shown.values()), shown
    assert len(shown) == len(inspect.signature(app[command].default_command).parameters)


def test_shared_options_have_the_same_help():
    helps = collections.defaultdict(set)
    for command in COMMANDS:
        for name, text in options(command).items():
            helps[name].add(text)
    for name in ("RUN", "--json", "--seed", "--skip-bad", "--columns", "--n-components"):
        assert len(helps[name]) == 1, helps[name]


@pytest.mark.parametrize("command", COMMANDS)
def test_usage_brackets_what_may_be_left_out(capsys, command):
    shown = must(capsys, command, "--help").out.splitlines()[0].removeprefix(f"Usage: latentmap {command} ")
    arguments = app[command].assemble_argument_collection()
    positional = [argument for argument in arguments if argument.index is not None]
    expected = [a.name.upper() if a.required else f"[{a.name.upper()}]" for a in positional]
    expected += [f"{a.name} {a.name.strip('-').upper()}" for a in arguments if a.required and a.index is None]
    assert shown == " ".join([*expected, "[OPTIONS]"])


def test_defaults_are_shown_where_there_are_some(capsys):
    shown = " ".join(must(capsys, "fit", "--help").out.replace("│", " ").split())
    assert "[default: None]" not in shown and "[default: ()]" not in shown
    assert "[default: 0]" in shown.partition("--seed INT")[2].partition(" --")[0]
    assert "or parts such as likelihood=Bernoulli" in shown.partition("--set STR")[2]


SCRIPTS = {
    "bash": ".local/share/bash-completion/completions/latentmap",
    "zsh": ".zsh/completions/_cyclopts_latentmap",
    "fish": ".config/fish/completions/latentmap.fish",
}


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("ZSH", "ZSH_CUSTOM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.mark.parametrize("shell", SCRIPTS)
def test_completion_is_installed(capsys, home, shell):
    answer = must(capsys, "--install-completion", "--shell", shell)
    script = home / SCRIPTS[shell]
    assert str(script) in answer.err and "max-epochs" in script.read_text()
    if shutil.which(shell):
        subprocess.run([shell, "-n", script], check=True)


def test_bash_completes_commands_options_and_files(capsys, home):
    if not shutil.which("bash"):
        pytest.skip("bash is not installed")
    must(capsys, "--install-completion", "--shell", "bash")
    (home / "table.csv").touch()

    def completed(*words):
        code = f'. {SCRIPTS["bash"]}; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _latentmap; echo "${{COMPREPLY[@]}}"'
        run = ["bash", "-c", code, "bash", "latentmap", *words]
        return subprocess.run(run, cwd=home, capture_output=True, text=True, check=True).stdout.split()

    assert completed("tr") == ["transform"]
    assert completed("fit", "digits", "--max") == ["--max-epochs"]
    assert completed("fit", "digits", "--model", "") == ["vae", "autoencoder"]
    assert completed("fit", "ta") == completed("info", "ta") == completed("score", "run", "ta") == ["table.csv"]
