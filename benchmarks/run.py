"""Every comparison, one after another, each in a process of its own and written as it ends; then the tables.

LATENTMAP_DATA=folder python -m benchmarks.run [NAME ...]

Without names all of BENCHMARKS, which takes some three hours. Failures are reported at the end.
Left out, each to be run by its own name: recipes, which takes hours; sweep, the evidence for the defaults, which has no
peers and takes an hour; larger, which makes 13 GB of data; comparison, which makes tables of results of
`latentmap compare`.
"""

from __future__ import annotations

import subprocess
import sys

BENCHMARKS = (
    *("throughput", "elbo", "overhead", "together", "precision", "anatomy"),
    *("imputation", "synthetic", "formats", "maps"),
)
"""The floor is measured with throughput; synthetic and maps keep earlier results."""


def main(*names: str) -> None:
    """Run, and rewrite the tables."""
    done = {name: _ends_well(name) for name in names or BENCHMARKS}
    if not _ends_well("tables") or not all(done.values()):
        sys.exit(f"failed: {', '.join(name for name, well in done.items() if not well) or 'tables'}")


def _ends_well(name: str) -> bool:
    print(name, flush=True)
    return subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode == 0


if __name__ == "__main__":
    main(*sys.argv[1:])
