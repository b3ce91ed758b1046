"""Values of options: ``--set key=value`` with literals and parts, checked by annotation and never evaluated; data."""

from __future__ import annotations

import ast
import collections.abc
import dataclasses
import inspect
import re
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Union, get_args, get_origin, get_type_hints

import latentmap
from latentmap.cli.terminal import UsageError
from latentmap.messages import any_of, one_line, suggest

if TYPE_CHECKING:
    from latentmap.data.sources import Source
    from latentmap.estimators.columns import Columns

WORDS = {"true": True, "false": False, "none": None}
UNITS = {
    1.0: ("", "s", "sec", "secs", "second", "seconds"),
    60.0: ("m", "min", "mins", "minute", "minutes"),
    3600.0: ("h", "hr", "hrs", "hour", "hours"),
}
KINDS = {int: "a whole number", float: "a number", bool: "true or false", str: "a word", types.NoneType: "none"}


AUTOMATIC = "auto"
"""What --columns is given for kinds that are inferred, whatever the table holds."""


def read_settings(estimator: Callable[..., Any], pairs: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of an estimator from texts ``key=value``.

    A value is a number, true, false, none, a word, or a part: its name, or a call with such values, as in
    ``likelihood=Bernoulli``, ``encoder=MLP(hidden=(400,))`` or ``objective=ELBO(beta=4)``.

    Examples
    --------
    >>> from latentmap import VAE
    >>> settings = read_settings(VAE, ["max-epochs=5", "encoder=MLP(hidden=(400,))"])
    >>> settings["max_epochs"], settings["encoder"].hidden
    (5, (400,))
    """
    signature = inspect.signature(estimator, eval_str=True)
    hints = {name: p.annotation for name, p in signature.parameters.items() if name != "callbacks"}
    settings = {}
    for pair in pairs:
        key, equals, text = (part.strip() for part in pair.partition("="))
        if not equals:
            raise UsageError(f"--set takes key=value, got {pair!r}")
        if (name := _key(pair)) not in hints:
            raise UsageError(f"{estimator.__name__} has no parameter {key!r}: {suggest(name, hints)}")
        settings[name] = _read(_parse(text), hints[name], name)
    return settings


def read_recipe(name: str | None, estimator: type, pairs: Sequence[str]) -> dict[str, Any]:
    """Return the parameters of an estimator: those of a recipe with its own settings, and the other settings."""
    if name is None:
        return read_settings(estimator, pairs)
    recipe = latentmap.recipes.find(name)
    parameters = inspect.signature(recipe).parameters
    own = [pair for pair in pairs if _key(pair) in parameters]
    rest = [pair for pair in pairs if _key(pair) not in parameters]
    return recipe(**read_settings(recipe, own)) | read_settings(estimator, rest)


def read_seconds(text: str, option: str = "--budget") -> float:
    """Return a duration such as 60, 90 s, 5m, 2min or 1.5h in seconds.

    >>> read_seconds("60"), read_seconds("90 s"), read_seconds("2min"), read_seconds("1.5h")
    (60.0, 90.0, 120.0, 5400.0)
    """
    match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*([a-z]*)\s*", text.lower())
    unit = next((seconds for seconds, names in UNITS.items() if match and match[2] in names), None)
    if match is None or unit is None or float(match[1]) == 0:
        raise UsageError(f"{option} takes a time such as 60, 90s, 2min or 1.5h, got {text!r}")
    return float(match[1]) * unit


def check_device(name: str) -> None:
    """Raise if torch has no device of this name here."""
    from latentmap.training.device import resolve_device

    try:
        resolve_device(name)
    except ValueError as error:
        raise UsageError(f"--{error}") from error


def open_data(
    data: str | Path,
    labels: str | None,
    columns: Path | None,
    *,
    skip_bad: bool,
    row_id: str | None = None,
    embed: Sequence[str] = (),
    memory: str | None = None,
) -> tuple[Source, Columns | None]:
    """Return a source of data without the id, and the settings of its columns, if a .toml file or ``--embed`` has some.

    ``embed`` are texts ``COLUMN=MODULE:FUNCTION``.
    """
    from latentmap.cli.embeddings import read_embeddings
    from latentmap.data.selection import Selection
    from latentmap.data.sources import open_source
    from latentmap.estimators.columns import Columns

    requested, ids = None if columns is None else Columns(), () if row_id is None else (row_id,)
    if columns is not None and str(columns) != AUTOMATIC:
        requested = Columns.read(columns)
    if embed:
        requested = (requested or Columns()).with_embeddings(read_embeddings(embed))
    spec, selection = None if requested is None else requested.requested, Selection(beside=ids, left_out=ids)
    source = open_source(data, labels, spec, skip_bad=skip_bad, selection=selection, memory=memory)
    return source, requested


def _key(pair: str) -> str:
    return pair.partition("=")[0].strip().replace("-", "_")


def _parse(text: str) -> ast.expr:
    try:
        return ast.parse(text, mode="eval").body
    except (SyntaxError, ValueError):
        return ast.Constant(text)  # a word such as cuda:0


def _read(node: ast.expr, hint: Any, where: str) -> Any:
    """Return the value of an expression, which must have the annotated type."""
    parts = _parts(hint)
    word = _word(node.func if isinstance(node, ast.Call) else node)
    if parts and word is not None and word.lower() not in WORDS:
        if word not in parts:
            raise UsageError(f"{where}: no part is called {word!r}: {suggest(word, parts)}")
        return _make(parts[word], node, where)
    options = _options(hint)
    if isinstance(node, ast.Tuple | ast.List):
        item = next((get_args(option)[0] for option in options if _is_sequence(option)), Any)
        readings: list[Any] = [tuple(_read(element, item, where) for element in node.elts)]
    else:
        readings = _literals(node)
    for value in readings:
        if any(_fits(value, option) for option in options):
            return float(value) if type(value) is int and float in options and int not in options else value
    raise UsageError(f"{where} takes {_describe(hint)}, got {_text(node)!r}")


def _make(kind: type, node: ast.expr, where: str) -> Any:
    """Return the part that a call or a bare name makes."""
    hints = get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]
    call = node if isinstance(node, ast.Call) else ast.Call(node, [], [])
    if len(call.args) > len(names):
        takes = f"at most {len(names)} ({', '.join(names)})" if names else "none"
        raise UsageError(f"{where}: {kind.__name__} was given {len(call.args)} settings and takes {takes}")
    given = [*zip(names, call.args), *((str(keyword.arg), keyword.value) for keyword in call.keywords)]
    for name, _ in given:
        if name not in names:
            raise UsageError(f"{where}: {kind.__name__} has no setting {name!r}: {suggest(name, names)}")
    settings = {name: _read(value, hints[name], f"{where}: {name} of {kind.__name__}") for name, value in given}
    try:
        return kind(**settings)
    except (TypeError, ValueError) as error:  # a setting that is missing or invalid
        raise UsageError(f"{where}: {one_line(error)}") from error


def _literals(node: ast.expr) -> list[Any]:
    """Return the possible values of a literal, the likeliest first: none may mean None or the word."""
    match node:
        case ast.Constant(value=value):
            return [value]
        case ast.Name(id=word):
            return [WORDS.get(word.lower(), word), word]
        case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() | float() as value)):
            return [-value]
        case _:
            return []


def _word(node: ast.expr) -> str | None:
    match node:
        case ast.Name(id=word) | ast.Attribute(attr=word):
            return word
        case _:
            return None


def _text(node: ast.expr) -> str:
    return str(node.value) if isinstance(node, ast.Constant) else ast.unparse(node)


def _options(hint: Any) -> list[Any]:
    """Return the members of a union, or the annotation itself."""
    if get_origin(hint) in (Union, types.UnionType):
        return [option for member in get_args(hint) for option in _options(member)]
    return [hint]


def _is_sequence(option: Any) -> bool:
    return get_origin(option) in (tuple, collections.abc.Sequence)


def _fits(value: Any, option: Any) -> bool:
    if option is Any:
        return True
    if get_origin(option) is Literal:
        return any(value == choice and type(value) is type(choice) for choice in get_args(option))
    if _is_sequence(option):
        return isinstance(value, tuple)
    if option in (int, float):
        return type(value) in (int, option)
    return isinstance(option, type) and isinstance(value, option)


def _parts(hint: Any) -> dict[str, type]:
    """Return the parts that an annotation admits, by name."""
    from latentmap.model.part import Part

    kinds = [option for option in _options(hint) if isinstance(option, type) and issubclass(option, Part)]
    parts: dict[str, type] = {}
    for kind in kinds:
        kinds += kind.__subclasses__()
        if not inspect.isabstract(kind) and not kind.__name__.startswith("_"):
            parts[kind.__name__] = kind
    return dict(sorted(parts.items()))


def _describe(hint: Any) -> str:
    """Return the values that an annotation admits, in words."""
    texts = list(_parts(hint))
    for option in _options(hint):
        if get_origin(option) is Literal:
            texts += [str(choice) for choice in get_args(option)]
        elif _is_sequence(option):
            texts.append(f"values in brackets such as (a, b), each {_describe(get_args(option)[0])}")
        elif option in KINDS:
            texts.append(KINDS[option])
    return any_of(texts)
