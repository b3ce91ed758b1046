"""``latentmap recipes``: the published models by name."""

from __future__ import annotations

import inspect
from typing import Annotated, Any

from cyclopts import Parameter

from latentmap.cli.settings import read_settings
from latentmap.cli.terminal import emit, say_pairs


def recipes(*, as_json: Annotated[bool, Parameter(name="--json")] = False) -> None:
    """List the published models that fit makes by name: latentmap fit DATA -o RUN --recipe NAME --set key=value.

    Parameters
    ----------
    as_json
        Print one JSON object on standard output.
    """
    from latentmap import recipes

    known: dict[str, dict[str, Any]] = {
        name: {
            "about": (inspect.getdoc(made) or "").splitlines()[0],
            "settings": {key: _plain(p.default) for key, p in inspect.signature(made).parameters.items()},
        }
        for name, made in recipes.every().items()
    }
    if as_json:
        emit(known)
        return
    say_pairs(
        {
            name: f"{found['about']} {' '.join(f'{key}={value}' for key, value in found['settings'].items())}".rstrip()
            for name, found in known.items()
        }
    )


def read_recipe(name: str | None, estimator: type, pairs: tuple[str, ...]) -> dict[str, Any]:
    """Give the parameters of an estimator: those of a recipe, made with the settings that it has, and the others."""
    if name is None:
        return read_settings(estimator, pairs)
    from latentmap import recipes

    made = recipes.find(name)
    own = {
        pair for pair in pairs if pair.partition("=")[0].strip().replace("-", "_") in inspect.signature(made).parameters
    }
    rest = [pair for pair in pairs if pair not in own]
    return made(**read_settings(made, [pair for pair in pairs if pair in own])) | read_settings(estimator, rest)


def _plain(value: Any) -> Any:
    return value if isinstance(value, int | float | str) else str(value)
