"""Reading settings: ``--set key=value`` for every parameter of an estimator, and durations."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterable
from typing import Any

from latentmap.cli.output import UsageError

_WORDS = {"none": None, "true": True, "false": False}
_SECONDS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def read_seconds(text: str) -> float:
    """Read a duration in seconds, or with a unit.

    >>> read_seconds("90"), read_seconds("1.5m"), read_seconds("2h")
    (90.0, 90.0, 7200.0)
    """
    number, unit = (text[:-1], _SECONDS[text[-1]]) if text[-1:] in _SECONDS else (text, 1.0)
    try:
        return float(number) * unit
    except ValueError as error:
        raise UsageError(f"expected a duration such as 90, 90s, 5m or 1h, got {text!r}") from error


def read_settings(settings: Iterable[str], estimator: type) -> dict[str, Any]:
    """Read ``key=value`` pairs as parameters of an estimator; parts are written as in Python.

    >>> from latentmap import VAE
    >>> read_settings(["max_epochs=5", "likelihood=Gaussian(scale=0.1)", "neighbors=None"], VAE)
    {'max_epochs': 5, 'likelihood': Gaussian(scale=0.1), 'neighbors': None}
    """
    from latentmap.data.formats.base import suggest

    known = [name for name in inspect.signature(estimator).parameters if name != "callbacks"]
    result = {}
    for setting in settings:
        key, equals, value = setting.partition("=")
        if not equals:
            raise UsageError(f"expected --set key=value, got {setting!r}")
        if key not in known:
            raise UsageError(f"{estimator.__name__} has no parameter {key!r}: {suggest(key, known)}")
        result[key] = _read_value(key, value)
    return result


def _read_value(key: str, text: str) -> Any:
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        return text
    if isinstance(tree, ast.Call):
        return _read_part(key, tree)
    try:
        return ast.literal_eval(tree)
    except ValueError:
        name = text.rpartition(".")[2]
        return _parts(key)[name]() if name in _parts(key) else text


def _read_part(key: str, call: ast.Call) -> Any:
    """Make a part from its name and literal arguments: nothing is evaluated."""
    from latentmap.data.formats.base import suggest

    name = call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")
    parts = _parts(key)
    if name not in parts:
        raise UsageError(f"no {key} is called {name!r}: {suggest(name, list(parts))}")
    try:
        values = [_literal(key, a) for a in call.args]
        named = {a.arg: _literal(key, a.value) for a in call.keywords if a.arg}
        return parts[name](*values, **named)
    except TypeError as error:
        raise UsageError(f"{key}={ast.unparse(call)}: {error}") from error


def _literal(key: str, node: ast.expr) -> Any:
    if isinstance(node, ast.Call):
        return _read_part(key, node)
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_literal(key, element) for element in node.elts)
    try:
        return ast.literal_eval(node)
    except ValueError as error:
        raise UsageError(f"{key}: expected numbers, texts or parts, got {ast.unparse(node)!r}") from error


def _parts(key: str) -> dict[str, type]:
    """Parts that a parameter takes, by name; parts within parts may come from the same room."""
    import latentmap
    from latentmap.model.part import Part

    rooms = {
        "encoder": latentmap.networks,
        "decoder": latentmap.networks,
        "likelihood": latentmap.likelihoods,
        "prior": latentmap.priors,
        "variational_family": latentmap.posteriors,
        "objective": latentmap.objectives,
    }
    if key not in rooms:
        return {}
    members = vars(rooms[key]).items()
    return {name: value for name, value in members if inspect.isclass(value) and issubclass(value, Part)}
