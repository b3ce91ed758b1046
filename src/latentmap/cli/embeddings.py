"""Values of ``--embed COLUMN=MODULE:FUNCTION``: functions of the user's own that embed columns of text."""

from __future__ import annotations

import contextlib
import importlib
import operator
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

from latentmap.cli.terminal import UsageError
from latentmap.messages import error_line


def read_embeddings(options: Sequence[str]) -> dict[str, Any]:
    """Return functions by column, which are imported as Python run in the current folder imports them.

    Only what the user names is imported, never what a saved run names.

    Examples
    --------
    >>> read_embeddings(["review=json:dumps"])["review"](["good"])
    '["good"]'
    """
    embeddings = {}
    for option in options:
        column, equals, place = option.rpartition("=")
        module, colon, function = place.partition(":")
        if not (equals and column and module and colon and function):
            raise UsageError(f"--embed takes COLUMN=MODULE:FUNCTION, such as review=my_module:embed, got {option!r}")
        embeddings[column] = _imported(module, function)
    return embeddings


def _imported(module: str, function: str) -> Any:
    try:
        with _current_folder():
            found = operator.attrgetter(function)(importlib.import_module(module))
    except Exception as error:  # a module of the user's own can raise anything
        cause = f"{type(error).__name__}: {error_line(error)}"
        raise UsageError(f"--embed: {module}:{function} cannot be imported ({cause})") from error
    if not callable(found):
        raise UsageError(
            f"--embed: {module}:{function} is of type {type(found).__name__}: expected a function of texts"
        )

    def embed(texts: list[str]) -> Any:
        return found(texts)

    embed.__module__, embed.__qualname__ = module, function  # the name that a run tells
    return embed


@contextlib.contextmanager
def _current_folder() -> Iterator[None]:
    """Let modules of the current folder be found."""
    before = list(sys.path)
    sys.path.insert(0, os.getcwd())
    try:
        yield
    finally:
        sys.path[:] = before
