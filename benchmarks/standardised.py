"""What the standardisation of codes at the end of a fit changes: python -m benchmarks.standardised.

Codes before it are those after it, shifted and scaled back, so that one fit gives both columns.
"""

from __future__ import annotations

import numpy as np
from sklearn.model_selection import train_test_split

from benchmarks.common import spread, write
from latentmap import VAE, load_dataset
from latentmap.evaluation.generation import classifier_features, frechet_distance
from latentmap.exceptions import DataError

CASES = (("digits", 2, 3), ("digits", 16, 3), ("mnist", 2, 2), ("mnist", 16, 2))
"""Data, components and seeds."""
MOST_ROWS = 10_000


def main() -> None:
    """Fit each case, and write the numbers before and after."""
    cases = []
    for data, d, seeds in CASES:
        try:
            X, y = load_dataset(data)
        except DataError as error:
            print(f"{data} is left out: {error}")
            continue
        runs = [run(X, y, d, seed) for seed in range(seeds)]
        cases.append({"data": data, "components": d, **{name: spread([r[name] for r in runs]) for name in runs[0]}})
        print(cases[-1], flush=True)
    print(write("standardised", {"cases": cases}))


def run(X: np.ndarray, y: np.ndarray, d: int, seed: int) -> dict[str, float]:
    """Return second moments, ELBO and Frechet distance of one fit, before and after its codes were standardised."""
    train, test, labels, _ = train_test_split(X[: 2 * MOST_ROWS], y[: 2 * MOST_ROWS], test_size=0.2, random_state=seed)
    train, labels = train[:MOST_ROWS], labels[:MOST_ROWS]
    vae = VAE(d, neighbors=None, random_state=seed).fit(train)
    own = vae.model_.posterior_state
    shift, scale = (np.asarray(a, dtype=float) for a in (own.shift, own.log_scale.exp()))
    mean, deviation = (np.asarray(a, dtype=float) for a in vae.posterior(test))
    elbo, top = vae.score(test), float(X.max())
    space = classifier_features(train / top, labels)
    real = space.features(test / top)
    z = np.random.default_rng(seed).normal(size=(len(test), d))
    frechet = {
        name: frechet_distance(real, space.features(np.asarray(vae.inverse_transform(codes.astype(np.float32))) / top))
        for name, codes in (("frechet_before", (z - shift) / scale), ("frechet_after", z))
    }
    moments = shift**2 + scale**2
    gain = _rate(shift + scale * mean, scale * deviation) - _rate(mean, deviation)
    return {
        "lowest_moment": float(moments.min()),
        "highest_moment": float(moments.max()),
        "elbo_before": elbo - gain,
        "elbo_after": elbo,
        **frechet,
        "frechet_of_training_rows": frechet_distance(real, space.features(train[: len(test)] / top)),
    }


def _rate(mean: np.ndarray, deviation: np.ndarray) -> float:
    """Return KL(q(z|x) || N(0, I)), the mean over rows, nats."""
    return float((np.square(mean) + np.square(deviation) - 1 - 2 * np.log(deviation)).sum(1).mean() / 2)


if __name__ == "__main__":
    main()
