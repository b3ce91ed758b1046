"""Benchmarks one after another, each written as soon as it ends; then the tables. Not those of maps and recipes: hours.

LATENTMAP_DATA=folder python -m benchmarks.run
"""

from __future__ import annotations

from benchmarks import elbo, imputation, overhead, tables, throughput

if __name__ == "__main__":
    for benchmark in (elbo, throughput, overhead, imputation):
        benchmark.main()
    tables.main()
