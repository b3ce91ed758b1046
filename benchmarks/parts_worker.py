"""Fit, or transform rows in memory or to part files; print seconds, rate and peak memory as JSON."""

import json
import sys
import time

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from measure import peak_mb


def array(path, most):
    """Return the first rows as an array."""
    file, tables, rows = pq.ParquetFile(path), [], 0
    for batch in file.iter_batches(2**16):
        tables.append(batch)
        rows += len(batch)
        if rows >= most:
            break
    return np.stack([column.to_numpy() for column in pa.Table.from_batches(tables)[:most].columns], 1)


def main(what, data, run, *rest):
    import torch

    import latentmap
    from latentmap.cli import main as command

    torch.set_num_threads(1)
    if what == "fit":
        latentmap.VAE(8, neighbors=None, max_epochs=1, random_state=0).fit(array(data, 20_000)).save(run)
        print("{}")
        return
    rows = pq.ParquetFile(data).metadata.num_rows
    if what == "memory":
        X, model = array(data, int(rest[0])), latentmap.load(run)
        rows = len(X)
        start, used = time.perf_counter(), time.process_time()
        model.transform(X)
    else:
        import latentmap.cli.runs
        import latentmap.estimators.vae

        start, used = time.perf_counter(), time.process_time()
        assert command(["transform", run, data, "-o", f"{rest[0]}/"]) == 0
    seconds, processor = time.perf_counter() - start, time.process_time() - used
    rates = {"rate": rows / seconds, "cpu_rate": rows / processor}
    print(json.dumps({"rows": rows, "seconds": seconds, "processor": processor, "peak_mb": peak_mb()} | rates))


if __name__ == "__main__":
    main(*sys.argv[1:])
