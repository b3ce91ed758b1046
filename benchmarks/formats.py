"""The same rows in every format: whether they hold the same numbers, and what fraction of a fit is reading.

LATENTMAP_DATA=folder python -m benchmarks.formats
"""

from __future__ import annotations

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import write
from latentmap import VAE
from latentmap.data.datasets import load_dataset
from latentmap.data.sources import open_source

ROWS, RUNS = 20_000, 3


def writers() -> dict[str, Callable[[np.ndarray[Any, Any], Path], None]]:
    """Return functions that write rows in each format."""
    import anndata
    import zarr

    def frame(X: np.ndarray[Any, Any]) -> pd.DataFrame:
        return pd.DataFrame(X, columns=[f"c{i}" for i in range(X.shape[1])])

    return {
        ".npy": lambda X, path: np.save(path, X),
        ".npz": lambda X, path: np.savez(path, X=X),
        ".csv": lambda X, path: frame(X).to_csv(path, index=False),
        ".csv.gz": lambda X, path: frame(X).to_csv(path, index=False),
        ".parquet": lambda X, path: frame(X).to_parquet(path),
        ".feather": lambda X, path: frame(X).to_feather(path),
        ".h5ad": lambda X, path: anndata.AnnData(X).write_h5ad(path),
        ".zarr": lambda X, path: zarr.save(str(path), X),
    }


def main() -> None:
    """Write MNIST's first rows, read each file, fit to one, and write the fractions."""
    X = load_dataset("mnist")[0][:ROWS].reshape(ROWS, -1).astype(np.float32)
    start = time.perf_counter()
    VAE(2, random_state=0).fit(X)
    fit = time.perf_counter() - start
    raw = []
    with tempfile.TemporaryDirectory() as folder:
        for end, save in writers().items():
            path = Path(folder) / f"rows{end}"
            save(X, path)
            for run in range(RUNS):
                start = time.perf_counter()
                read = open_source(path).read(slice(None))
                seconds = time.perf_counter() - start
                same = bool((np.asarray(read) == X).all())
                raw.append({"format": end, "run": run, "seconds": seconds, "share_of_fit": seconds / fit, "same": same})
                print(json.dumps(raw[-1]), flush=True)
    write("formats", {"rows": ROWS, "columns": X.shape[1], "fit_seconds": fit, "raw": raw})


if __name__ == "__main__":
    main()
