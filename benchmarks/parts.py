"""Rates and memory of transform to part files, beside rows in memory: python -m benchmarks.parts [ROWS].

Generated rows of 64 numbers in single precision lie in one ``.parquet`` file, in row groups of 2^17 rows. Each worker
has one thread. Timed is

* memory: ``transform`` of an array, of at most a million rows;
* parts: the command, from the model and the footer of the file to the manifest, without imports;
* two workers: the same, with half of the parts each, both at a time.

Rates are rows a second of the clock, and of the processor, which other work on the machine changes less. Peaks are
those of a quarter of the rows and of all.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.common import HERE, write

COLUMNS, GROUP, MOST = 64, 2**17, 10**6


def generate(path: Path, rows: int) -> None:
    """Write correlated columns, row group by row group."""
    rng = np.random.default_rng(0)
    weights = rng.normal(size=(8, COLUMNS)).astype(np.float32)
    schema = pa.schema([(f"x{i}", pa.float32()) for i in range(COLUMNS)])
    with pq.ParquetWriter(path, schema, compression="none", use_dictionary=False) as writer:
        for start in range(0, rows, GROUP):
            n = min(GROUP, rows - start)
            X = rng.standard_normal((n, 8), np.float32) @ weights + 0.1 * rng.standard_normal((n, COLUMNS), np.float32)
            writer.write_table(pa.table(list(X.T), schema=schema), row_group_size=GROUP)


def worker(*arguments: str | Path, rank: int = 0, size: int = 1) -> subprocess.Popen[str]:
    """Start a worker of one thread."""
    threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
    environment = os.environ | threads | {"RANK": str(rank), "WORLD_SIZE": str(size)}
    command = [sys.executable, str(HERE / "parts_worker.py"), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def answer(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a worker measured."""
    output, _ = process.communicate()
    if process.returncode:
        raise RuntimeError(f"a worker failed with exit code {process.returncode}")
    found: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return found


def main(rows: int = 200_000) -> None:
    """Generate, measure, and write results."""
    with tempfile.TemporaryDirectory() as folder:
        data, part, run, out = (Path(folder) / name for name in ("x.parquet", "quarter.parquet", "run", "z"))
        generate(data, rows)
        generate(part, rows // 4)
        answer(worker("fit", part, run))
        found: dict[str, Any] = {}
        for name, source, size in (("quarter", part, 1), ("one", data, 1), ("two", data, 2)):
            shutil.rmtree(out, ignore_errors=True)
            started = [worker("parts", source, run, out, rank=rank, size=size) for rank in range(size)]
            found[name] = [answer(process) for process in started]
            assert (out / "_manifest.json").exists()
            if name != "quarter":
                found[f"memory_{name}"] = answer(worker("memory", data, run, MOST))
        memory = {key: max(found[f"memory_{name}"][key] for name in ("one", "two")) for key in ("rate", "cpu_rate")}
        one, two = found["one"][0], found["two"]
        both = {"rate": rows / max(w["seconds"] for w in two), "cpu_rate": rows / sum(w["processor"] for w in two) * 2}
        summary = {
            "rows": rows,
            "share_of_memory": one["rate"] / memory["rate"],
            "share_of_memory_processor": one["cpu_rate"] / memory["cpu_rate"],
            "two_over_one": both["rate"] / one["rate"],
            "two_over_one_processor": both["cpu_rate"] / one["cpu_rate"],
            "peak_mb_quarter": found["quarter"][0]["peak_mb"],
            "peak_mb": one["peak_mb"],
            "load_average": os.getloadavg()[0],
        }
        print(json.dumps(summary, indent=2))
        write("parts", {"summary": summary, "raw": found})


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
