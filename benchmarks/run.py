"""Every benchmark, one after another, each written as soon as it ends; then the tables of docs/benchmarks.md.

LATENTMAP_DATA=folder python -m benchmarks.run
"""

from __future__ import annotations

from benchmarks import elbo, overhead, tables, throughput

if __name__ == "__main__":
    for benchmark in (elbo, throughput, overhead):
        benchmark.main()
    tables.main()
