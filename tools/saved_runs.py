"""Write small runs and what they answer, which later versions have to load: ``python -m tools.saved_runs``.

They go into ``tests/runs/VERSION``, a folder for each run beside a file of JSON with rows and answers. Those that are
there stay as they are: run this once for a release. `tests/test_compatibility.py` loads the runs of all versions.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import latentmap
from latentmap import VAE, Autoencoder, Columns, networks, priors, recipes
from latentmap.training.checkpoint import Checkpoints

RUNS = Path(__file__).parents[1] / "tests" / "runs"
CHECKPOINT = "checkpoint"
TINY = networks.MLP((4,))
QUICK = {"encoder": TINY, "decoder": TINY, "max_epochs": 2, "batch_size": 8, "random_state": 0}
ROWS = 24


def embed(texts: list[str]) -> np.ndarray:
    """Return vectors of counts: characters, words, and three letters."""
    return np.array([[len(t), len(t.split()), *(t.count(letter) for letter in "aeo")] for t in texts], dtype=float)


EMBEDDINGS = {"review": embed}


def numbers() -> list[list[float]]:
    """Return rows of four numbers."""
    return np.random.default_rng(0).normal(size=(ROWS, 4)).round(3).tolist()


def mixed() -> dict[str, list[Any]]:
    """Return columns of all kinds with missing cells."""
    rng = np.random.default_rng(1)
    columns = {
        "size": rng.normal(size=ROWS).round(3),
        "price": rng.lognormal(3, 2, ROWS).round(2),
        "count": rng.poisson(3, ROWS),
        "colour": rng.choice(["red", "green", "blue"], ROWS),
        "sold": rng.random(ROWS) < 0.4,
        "day": [f"2024-{month:02}-{day:02}" for month, day in rng.integers(1, 28, (ROWS, 2)) % 12 + 1],
    }
    return {
        name: [None if rng.random() < 0.1 else cell for cell in np.asarray(cells).tolist()]
        for name, cells in columns.items()
    }


def reviews() -> dict[str, list[Any]]:
    """Return a column of text and one of numbers."""
    rng = np.random.default_rng(2)
    words = ["soft", "warm", "a", "very", "good", "phone", "broken", "again", "we", "have"]
    texts = [" ".join(rng.choice(words, rng.integers(6, 12))) for _ in range(ROWS)]
    return {"review": texts, "price": rng.normal(10, 2, ROWS).round(2).tolist()}


@dataclass(frozen=True)
class Case:
    """A run: the model before its fit, its rows as JSON, and what is done with them."""

    model: Callable[[], Any]
    rows: Callable[[], Any] = numbers
    labels: bool = False
    prepare: Callable[[Any, Any, Any], Any] = field(default=lambda model, X, y: model.fit(X, y))


def interrupted(model: Any, X: Any, y: Any, folder: Path | None = None) -> Any:
    """Stop a fit after two of its four epochs, with checkpoints if a folder is given."""
    checkpoints = None if folder is None else Checkpoints(folder, every=0.0)

    def stop(row: Any, progress: Any) -> None:
        if progress.epoch >= 2:
            raise KeyboardInterrupt

    model.set_params(max_epochs=4, batch_size=2, callbacks=[stop]).fit(X, y, checkpoint=checkpoints)
    return model.set_params(callbacks=None)


CASES = {
    "mixed": Case(partial(VAE, 2, **QUICK), mixed),
    "conditional": Case(partial(VAE, 2, condition="labels", **QUICK), labels=True),
    "neighbors": Case(partial(VAE, 2, neighbors=3, **QUICK)),
    "quantised": Case(partial(VAE, 4, **QUICK | recipes.vq(4))),
    "prior": Case(
        partial(VAE, 2, **QUICK),
        prepare=lambda model, X, y: model.fit(X).fit_prior(X, priors.Mixture(2), random_state=0),
    ),
    "autoencoder": Case(partial(Autoencoder, 2, **QUICK)),
    "interrupted": Case(partial(VAE, 2, **QUICK), prepare=interrupted),
    "pieces": Case(partial(VAE, 2, **QUICK), prepare=lambda model, X, y: model.partial_fit(X[:12])),
    "embedded": Case(partial(VAE, 2, columns=Columns({"review": {"embedding": embed}}), **QUICK), reviews),
}


def read_rows(rows: Any) -> Any:
    """Return rows of JSON as an array or a frame."""
    return pd.DataFrame(rows) if isinstance(rows, dict) else np.array(rows)


def answers(model: Any, X: Any, y: Any) -> dict[str, Any]:
    """Return as JSON what a fitted model says of its rows, and what it draws."""
    given = {} if y is None else {"y": y}
    Z = model.transform(X, **given)
    found = {"transform": Z, "inverse": model.inverse_transform(Z, **given)}
    if model.has_score_:
        found["score"] = model.score_samples(X, 2, **given)
        found["sample"] = model.sample(2, random_state=0, **({} if y is None else {"y": y[:2]}))
    if isinstance(X, pd.DataFrame) and X.isna().any(axis=None):
        found["impute"] = model.impute(X, n_samples=4)
    return {name: _plain(value) for name, value in found.items()}


def continued(name: str, model: Any, X: Any, y: Any) -> Any:
    """Return the model after the next piece of the data, or after the rest of an interrupted fit."""
    if name == "interrupted":
        return model.fit(X, resume=True)
    return model.partial_fit(X if name != "pieces" else X[12:], y)


def write(folder: Path, name: str, case: Case) -> None:
    """Fit a model, and write it with its rows and answers."""
    rows = case.rows()
    labels = [i % 3 for i in range(ROWS)] if case.labels else None
    X, y = read_rows(rows), None if labels is None else np.array(labels)
    model = case.prepare(case.model(), X, y)
    model.save(folder / name)
    found = {"rows": rows, "y": labels, "answers": answers(model, X, y)}
    found["continued"] = answers(continued(name, model, X, y), X, y)
    lines = ",\n".join(f'"{key}": {json.dumps(value)}' for key, value in found.items())
    (folder / f"{name}.json").write_text(f"{{{lines}}}\n", encoding="utf-8")


def main() -> int:
    """Write the runs of this version that are not there."""
    folder = RUNS / latentmap.__version__
    folder.mkdir(parents=True, exist_ok=True)
    warnings.simplefilter("ignore")
    for name, case in CASES.items():
        if not (folder / f"{name}.json").exists():
            write(folder, name, case)
            print(f"wrote {folder.name}/{name}")
    if not (folder / CHECKPOINT).exists():
        interrupted(CASES["interrupted"].model(), read_rows(numbers()), None, folder / CHECKPOINT)
        print(f"wrote {folder.name}/{CHECKPOINT}")
    return 0


def _plain(value: Any) -> Any:
    """Return an array or a frame as JSON, with seven digits."""
    if isinstance(value, pd.DataFrame):
        return {name: _plain(value[name].to_numpy()) for name in value}
    if value.dtype.kind == "f":
        return np.vectorize(lambda cell: float(f"{cell:.7g}"), otypes=[object])(value).tolist()
    return [cell if isinstance(cell, bool | int | float | None) else str(cell) for cell in value.ravel().tolist()]


if __name__ == "__main__":
    sys.exit(main())
