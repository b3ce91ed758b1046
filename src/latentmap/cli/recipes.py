"""``latentmap recipes``: the published models by name."""

from __future__ import annotations

import inspect
from typing import Any

import latentmap
from latentmap.cli.options import Json
from latentmap.cli.terminal import emit, say_pairs


def recipes(*, as_json: Json = False) -> None:
    """List the published models that fit takes by name: latentmap fit DATA -o RUN --recipe NAME --set key=value."""
    recipes = {name: _describe(recipe) for name, recipe in latentmap.recipes.every().items()}
    if as_json:
        emit(recipes)
    else:
        say_pairs({name: _line(**described) for name, described in recipes.items()})


def _describe(recipe: Any) -> dict[str, Any]:
    settings = {key: _plain(p.default) for key, p in inspect.signature(recipe).parameters.items()}
    return {"about": (inspect.getdoc(recipe) or "").splitlines()[0], "settings": settings}


def _line(about: str, settings: dict[str, Any]) -> str:
    return f"{about} {' '.join(f'{key}={value}' for key, value in settings.items())}".rstrip()


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)
