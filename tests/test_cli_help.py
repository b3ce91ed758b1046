"""Every option has its help, which is written once in the source of the command."""

import ast
import collections
import inspect
import re
from pathlib import Path

import pytest

import latentmap.cli
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
