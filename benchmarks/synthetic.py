"""Synthetic tables: models trained on drawn rows, scored on real ones, compared with ctgan's TVAE.

python -m benchmarks.synthetic [SEEDS] [TABLES]: digits too, which takes an hour for TVAE's many columns.

Each generator is fitted to 70 % of the rows, with the target as one of the columns, and draws as many. A forest learns
the target from the drawn rows and is scored on the other 30 %: accuracy, or R^2 of a number. "real" learns from the
rows themselves.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
import warnings
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import pandas as pd
from sklearn import datasets
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor
from sklearn.model_selection import train_test_split

from benchmarks.common import contest, kept, peers_python, write
from latentmap import VAE, Columns, exceptions

EMBEDDED = {
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "diabetes": datasets.load_diabetes,
    "iris": datasets.load_iris,
    "digits": datasets.load_digits,
}
TARGET = "target"


def mixed(rows: int = 3000) -> pd.DataFrame:
    """Return synthetic people: amounts, counts, categories, an order and a date, and whether they buy."""
    rng = np.random.default_rng(0)
    age = rng.gamma(9.0, 4.5, rows) + 18
    job = rng.choice(["clerk", "nurse", "farmer", "teacher", "none"], rows, p=[0.3, 0.25, 0.15, 0.2, 0.1])
    school = np.clip(rng.normal(1.5 + (job == "teacher") + 0.5 * (job == "nurse"), 0.8, rows).round(), 0, 3).astype(int)
    pay = np.exp(rng.normal(9.6 + 0.01 * age + 0.25 * school - 0.8 * (job == "none"), 0.35, rows))
    children = rng.poisson(0.4 + 0.03 * np.minimum(age, 50))
    city = rng.random(rows) < 0.3 + 0.12 * school
    since = pd.Timestamp("2015-01-01") + pd.to_timedelta(rng.integers(0, 3000, rows), unit="D")
    taste = 0.9 * np.log(pay / 2e4) + 0.7 * city + 0.4 * (job == "farmer") - 0.3 * children + 0.5 * (school == 3)
    buys = rng.random(rows) < 1 / (1 + np.exp(-2.5 * taste))
    return pd.DataFrame(
        {
            "age": age.round(1),
            "job": job,
            "school": pd.Categorical(np.array(["none", "basic", "high", "university"])[school]),
            "pay": pay.round(2),
            "children": children,
            "city": city,
            "since": since,
            TARGET: np.where(buys, "yes", "no"),
        }
    )


def table(name: str) -> pd.DataFrame:
    """Return a table with its target."""
    if name == "mixed":
        return mixed()
    data = EMBEDDED[name]()
    frame = pd.DataFrame(data.data, columns=[str(c) for c in getattr(data, "feature_names", range(data.data.shape[1]))])
    frame = frame.loc[:, frame.std() > 0]
    classes = name != "diabetes"
    frame[TARGET] = [f"class {code}" for code in data.target] if classes else data.target
    return frame


def ours(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw rows as documented: as many components as columns, at most 32, and draws with noise."""
    components = min(32, train.shape[1])
    model = VAE(components, columns=Columns({}), neighbors=None, random_state=seed)
    drawn: pd.DataFrame = model.fit(train).sample(len(train), random_state=seed, noise=True)
    return drawn


def theirs(train: pd.DataFrame, seed: int) -> pd.DataFrame:
    """Draw rows by ctgan's TVAE with its defaults, in its own environment; dates as days."""
    with tempfile.TemporaryDirectory() as folder:
        before, after = Path(folder) / "train.csv", Path(folder) / "drawn.csv"
        frame = train.assign(**{c: days(train[c]) for c in train if train[c].dtype.kind == "M"})
        text = [c for c in frame if frame[c].dtype.kind not in "if"]
        frame.to_csv(before, index=False)
        contest(peers_python(), "synthetic_ctgan", str(before), str(after), str(seed), json.dumps(text))
        return pd.read_csv(after, keep_default_na=False)


def days(column: pd.Series[Any]) -> pd.Series[Any]:
    """Return dates as numbers."""
    return (column - pd.Timestamp("2015-01-01")) / pd.Timedelta(days=1)


def score(train: pd.DataFrame, test: pd.DataFrame, seed: int) -> float:
    """Return the score on test rows of a forest trained on others."""
    both = pd.concat([train.astype(object), test.astype(object)])
    columns = {}
    for name in test:
        if name == TARGET:
            continue
        if test[name].dtype.kind == "M":
            begin = pd.Timestamp("2015-01-01")
            columns[name] = [v if isinstance(v, int | float) else (v - begin).days for v in both[name]]
        elif test[name].dtype.kind in "if":
            columns[name] = both[name].astype(float)
        else:
            columns |= dict(pd.get_dummies(both[name].astype(str), prefix=name).items())
    X = pd.DataFrame({str(name): np.asarray(values, float) for name, values in columns.items()}).to_numpy()
    kind = RandomForestRegressor if test[TARGET].dtype.kind == "f" else RandomForestClassifier
    y = both[TARGET].to_numpy().astype(float if kind is RandomForestRegressor else str)
    n = len(train)
    return float(kind(200, random_state=seed).fit(X[:n], y[:n]).score(X[n:], y[n:]))


def main(seeds: int = 3, tables: str = "wine,breast_cancer,diabetes,iris,mixed") -> None:
    """Draw tables with every generator, and write scores and seconds; earlier results are kept."""
    warnings.simplefilter("ignore", exceptions.DiagnosisWarning)
    raw = kept("synthetic")
    done = {(run["table"], run["seed"], run["method"]) for run in raw}
    for name in tables.split(","):
        whole = table(name)
        for seed in range(seeds):
            train, test = train_test_split(whole, test_size=0.3, random_state=seed)
            train, test = train.reset_index(drop=True), test.reset_index(drop=True)
            for method, draw in {"real": lambda t, s: t, "ctgan's TVAE": theirs, "latentmap": ours}.items():
                if (name, seed, method) in done:
                    continue
                start = time.perf_counter()
                drawn = draw(train, seed)
                seconds = time.perf_counter() - start
                run = {"table": name, "seed": seed, "method": method, "score": score(drawn, test, seed)}
                raw.append(run | {"seconds": seconds})
                print(json.dumps(raw[-1]), flush=True)
                write("synthetic", {"summary": medians(raw), "raw": raw})


def medians(raw: list[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return median scores by table and method."""
    scores: dict[str, dict[str, float]] = {}
    for run in raw:
        same = [r["score"] for r in raw if (r["table"], r["method"]) == (run["table"], run["method"])]
        scores.setdefault(run["table"], {})[run["method"]] = median(same)
    return scores


if __name__ == "__main__":
    main(*([int(sys.argv[1])] if sys.argv[1:] else []), *sys.argv[2:])
