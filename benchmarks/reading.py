"""Reading a text table of 40 mixed columns, beside what pyarrow takes to parse it: python -m benchmarks.reading [GB].

The columns are numbers, whole numbers, categories, ISO dates, truth values, thousands, dollars, percent, and numbers
with missing cells in two marks. Timed is, with all cores and without imports,

* pyarrow: ``csv.read_csv`` with its defaults, which leaves categories and all that it does not know as text;
* latentmap: ``open_source`` and ``all_rows``, after which a fit can start: dialect and encoding are inferred, every
  cell is checked (codes such as 02139, integers beyond 2^53, dates that no calendar has) and a number in double
  precision, the kind, range and scale of each column are learned, and the rows lie in memory.

Each run reads the same file with both, one after the other, in a process of its own.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.common import spread, write

ROWS, RUNS = 100_000, 5
READ = {
    "pyarrow": "from pyarrow import compute, csv; rows = csv.read_csv(path).num_rows",
    "latentmap": "from pyarrow import compute, csv; from latentmap.data.sources import open_source; "
    "rows = len(open_source(path).all_rows())",
}
TIMED = """import time, json, sys
path = sys.argv[1]
{first}
start, used = time.perf_counter(), time.process_time()
{read}
print(json.dumps({{"rows": rows, "seconds": time.perf_counter() - start, "processor": time.process_time() - used}}))
"""


def block(seed: int = 0) -> pd.DataFrame:
    """Return rows of 40 mixed columns."""
    rng, n = np.random.default_rng(seed), ROWS
    columns: dict[str, Any] = {f"x{i}": np.round(rng.normal(0, 10 ** (i % 4), n), 4) for i in range(14)}
    columns |= {f"n{i}": rng.integers(0, 10 ** (i % 5 + 1), n) for i in range(8)}
    words = np.array([f"{word} {i}" for i in range(8) for word in ("oak", "elm", "ash")])
    columns |= {f"c{i}": words[rng.integers(0, 3 * (i + 1), n)] for i in range(6)}
    days = np.datetime64("2001-01-01") + rng.integers(0, 9000, n)
    columns |= {"d0": days, "d1": days[::-1], "d2": (days.astype("datetime64[s]") + rng.integers(0, 86_400, n))}
    columns |= {f"b{i}": rng.random(n) < 0.3 for i in range(3)}
    columns |= {f"t{i}": [f"{v:,}" for v in rng.integers(0, 10**7, n)] for i in range(2)}
    columns |= {
        "money": [f"${v:,.2f}" for v in rng.lognormal(7, 1, n)],
        "rate": [f"{v:.1f}%" for v in rng.normal(9, 2, n)],
    }
    marks = np.where(rng.random(n) < 0.5, "NA", "-")
    columns |= {
        f"m{i}": np.where(rng.random(n) < 0.1, marks, np.round(rng.normal(size=n), 3).astype(str)) for i in range(2)
    }
    return pd.DataFrame(columns)


def timed(method: str, path: Path) -> dict[str, float]:
    """Return rows, seconds and seconds of all cores of a method in a process of its own, imports left out."""
    first, _, read = READ[method].rpartition("; ")
    code = TIMED.format(first=first, read=read)
    done = subprocess.run([sys.executable, "-c", code, str(path)], check=True, capture_output=True, text=True)
    measured: dict[str, float] = json.loads(done.stdout)
    return measured


def main(gigabytes: float = 1.0) -> None:
    """Write a table, read it with both, and write the seconds."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "table.csv"
        text = block().to_csv(index=False).encode()
        head, _, body = text.partition(b"\n")
        with path.open("wb") as stream:
            stream.write(head + b"\n")
            while stream.tell() < gigabytes * 1e9:
                stream.write(body)
        raw: list[dict[str, Any]] = []
        for run in range(RUNS):
            for method in READ:
                raw.append({"run": run, "method": method, **timed(method, path)})
                print(json.dumps(raw[-1]), flush=True)
                time.sleep(1)
        size = path.stat().st_size
    theirs, ours = ([one for one in raw if one["method"] == method] for method in READ)
    summary = {
        name: spread([a[key] / b[key] for a, b in zip(theirs, ours, strict=True)])
        for name, key in (("rate_beside_pyarrow", "seconds"), ("rate_beside_pyarrow_of_a_core", "processor"))
    }
    write("reading", {"bytes": size, "summary": summary, "raw": raw})


if __name__ == "__main__":
    main(*map(float, sys.argv[1:]))
