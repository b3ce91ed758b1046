"""Make the data of `benchmarks.larger`: rows of 784 numbers on an eight-dimensional surface, as .npy and .parquet."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

FEATURES, LATENT, BLOCK = 784, 8, 20_000


def block(start: int) -> np.ndarray:
    """Return rows of one block: tanh(z A) B plus a little noise."""
    weights = np.random.default_rng(0)
    A, B = weights.normal(size=(LATENT, 64)), weights.normal(size=(64, FEATURES)) / 8
    rng = np.random.default_rng([1, start])
    z = rng.normal(size=(BLOCK, LATENT))
    return (np.tanh(z @ A) @ B + 0.1 * rng.normal(size=(BLOCK, FEATURES))).astype(np.float32)


def make(folder: Path, rows: int) -> None:
    names = [f"x{i}" for i in range(FEATURES)]
    array = np.lib.format.open_memmap(folder / "rows.npy", "w+", np.float32, (rows, FEATURES))
    schema = pa.schema([(name, pa.float32()) for name in names])
    with pq.ParquetWriter(folder / "rows.parquet", schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, BLOCK):
            values = block(start)
            array[start : start + BLOCK] = values
            writer.write_table(pa.table(list(values.T), schema=schema))
    array.flush()


if __name__ == "__main__":
    make(Path(sys.argv[1]), int(sys.argv[2]))
