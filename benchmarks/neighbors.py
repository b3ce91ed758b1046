"""Neighbour search of a map in principal components: recall and seconds by their number.

LATENTMAP_DATA=folder python -m benchmarks.neighbors [--rows 20000]

Recall is the fraction of the 15 nearest rows in all columns, of 500 rows, that are among the 15 of the search; seconds
are CPU seconds, on one thread, to project and search all rows. The table of docs/maps.md is rewritten at the end.

* MNIST: images in units from 0 to 1. digits: scikit-learn's, 8 x 8.
* embeddings: rows of 30 components, of variances that fall as 1 / i, turned in so many columns, and noise of a tenth of
  their variance in every direction; a model of the outputs of neural networks.
* words: the functions that scikit-learn, scipy and numpy document, by latent semantic analysis of their docstrings
  (tf-idf and its leading singular vectors), rows of unit length.
"""

from __future__ import annotations

import argparse
import inspect
import pkgutil
import time
import warnings
from collections.abc import Iterator

import numpy as np
import torch
from sklearn.decomposition import TruncatedSVD
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from benchmarks.common import HERE, write
from benchmarks.tables import between, grid
from latentmap.data.datasets import load_dataset
from latentmap.estimators.graph import neighbor_graph
from latentmap.model.components import Components, projection

NEIGHBORS, QUERIES, SOME = 15, 500, 20_000
COMPONENTS: tuple[Components, ...] = (None, 50, 200, "auto")
LEFT_OUT = ("tests", "conftest", "distutils", "f2py", "__main__", "_pyinst", "_precompute")
"""Modules that are no documentation, or do something when they are imported."""
PAGE = HERE.parent / "docs" / "maps.md"


def main() -> None:
    """Measure each data set with each number of components; write results and table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="rows of MNIST")
    torch.set_num_threads(1)
    raw = []
    for name, X in data(parser.parse_args().rows):
        rows = torch.from_numpy(X)
        for components in COMPONENTS:
            start = time.process_time()
            points = projection(rows[:: max(1, len(rows) // SOME)], components)(rows)
            neighbors = neighbor_graph(points, NEIGHBORS)[:QUERIES]
            seconds = time.process_time() - start
            exact = neighbors if components is None else exact
            recall = np.mean([np.isin(a, b).mean() for a, b in zip(exact, neighbors, strict=True)])
            raw.append(
                {"data": name, "rows": len(X), "columns": X.shape[1], "components": components}
                | {"searched": points.shape[1], "recall": float(recall), "seconds": seconds}
            )
            print(raw[-1], flush=True)
    write("neighbors", {"threads": 1, "raw": raw})
    PAGE.write_text(between(PAGE.read_text(), "components", table(raw)))


def data(rows: int) -> Iterator[tuple[str, np.ndarray]]:
    """Yield names and rows."""
    yield "digits", load_dataset("digits")[0].reshape(-1, 64) / 16
    rng = np.random.default_rng(0)
    for columns in (128, 256, 384):
        axes = np.linalg.qr(rng.normal(size=(columns, 30)))[0]
        rank = rng.normal(size=(10_000, 30)) / np.sqrt(np.arange(1, 31)) @ axes.T
        noise = rng.normal(size=rank.shape) * np.sqrt(0.1 * np.square(rank).sum(1).mean() / columns)
        yield "embeddings", (rank + noise).astype(np.float32)
    counts = TfidfVectorizer(min_df=3, sublinear_tf=True).fit_transform(docstrings())
    for columns in (200, 384):
        yield "words", normalize(TruncatedSVD(columns, random_state=0).fit_transform(counts)).astype(np.float32)
    yield "MNIST", load_dataset("mnist", "train")[0][:rows].reshape(rows, -1) / np.float32(255)


def docstrings() -> dict[str, str]:
    """Return the docstrings of three packages, each once, with the module where it was found."""
    import numpy
    import scipy
    import sklearn

    texts: dict[str, str] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for package in (sklearn, scipy, numpy):
            for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".", onerror=lambda _: None):
                if any(
                    word in module.name
                    for word in ("tests", "conftest", "distutils", "f2py", "__main__", "_pyinst", "_precompute")
                ):
                    continue
                try:
                    members = vars(__import__(module.name, fromlist=["_"])).values()
                except (ImportError, RuntimeError, AttributeError, TypeError):
                    continue
                for member in list(members):
                    inner = list(vars(member).values()) if inspect.isclass(member) else []
                    for one in (member, *inner):
                        text = inspect.getdoc(one) if callable(one) else None
                        if text and len(text) > 200:
                            texts.setdefault(text, module.name)
    return texts


def table(raw: list[dict[str, object]]) -> str:
    """Return recall and seconds by number of components, a row for each data set."""
    rows = []
    for start in range(0, len(raw), len(COMPONENTS)):
        mine = raw[start : start + len(COMPONENTS)]
        cells = [f"{run['recall']:.3f}, {run['seconds']:.1f} s" for run in mine[1:-1]]
        chosen = f"{mine[-1]['searched']}: {mine[-1]['recall']:.3f}, {mine[-1]['seconds']:.1f} s"
        size = [str(mine[0]["data"]), f"{mine[0]['rows']:,}", str(mine[0]["columns"])]
        rows.append([*size, *cells, f"{mine[0]['seconds']:.1f} s", chosen])
    return grid(("data", "rows", "columns", "50", "200", "all", "auto: components, recall, seconds"), rows)


if __name__ == "__main__":
    main()
