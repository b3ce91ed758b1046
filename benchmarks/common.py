"""What the benchmarks share: the machine, the peers' environment, running a contestant, and writing results."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import venv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RESULTS = HERE / "results"
ENVIRONMENTS = {
    "peers": ("torch==2.13.0", "pythae==0.1.2", "jaxtyping==0.3.11", "ctgan==0.12.1", "pyod==3.6.7"),
    "scvi": ("torch==2.13.0", "scvi-tools==1.4.2", "jaxtyping==0.3.11"),
}
"""What peers need, by environment: those that get along share one."""
OF_SPEED = ("throughput", "elbo", "overhead", "anatomy", "together")
"""Benchmarks whose results hang on the processor; those of each precision of its matrix products are kept apart."""
PRECISIONS = ("bfloat16", "float32")
"""What processors multiply matrices in: bfloat16, where they have it natively."""


def machine() -> dict[str, Any]:
    """Describe the machine and the versions that a result belongs to."""
    import torch

    import latentmap
    from latentmap.training.device import resolve_precision

    capabilities = torch.cpu.get_capabilities() if hasattr(torch.cpu, "get_capabilities") else {}
    return {
        "processor": capabilities.get("cpu_name", platform.processor()),
        "cores": os.cpu_count(),
        "bfloat16": resolve_precision("auto", torch.device("cpu")) == torch.bfloat16,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "latentmap": latentmap.__version__,
    }


def precision_of(machine: dict[str, Any]) -> str:
    """What this machine multiplies matrices in: one of PRECISIONS."""
    return "bfloat16" if machine["bfloat16"] else "float32"


def peers_python(name: str = "peers") -> Path:
    """Make this environment of peers, apart from ours, where it is not there yet; give its Python."""
    folder = HERE.parent / f".venv-{name}"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *ENVIRONMENTS[name]], check=True)
    return python


def contest(python: Path | str, module: str, *arguments: str) -> dict[str, Any]:
    """Run one contestant in a process of its own; its last line of output is its result."""
    command = [str(python), str(HERE / f"{module}.py"), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def ours(module: str, *arguments: str) -> dict[str, Any]:
    """Run one of our contestants."""
    return contest(sys.executable, module, *arguments)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median and range of several runs."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "runs": len(values)}


def kept(name: str) -> list[dict[str, Any]]:
    """Runs that were measured before; those of another machine say which."""
    path = place(name)
    if not path.exists():
        return []
    found = json.loads(path.read_text())
    other = {} if found["machine"] == machine() else {"machine": found["machine"]}
    return [other | run for run in found["raw"]]


def place(name: str, precision: str | None = None) -> Path:
    """Where a result lies: those of speed by the precision of this machine's products, or the one that is given."""
    if name not in OF_SPEED:
        return RESULTS / f"{name}.json"
    return RESULTS / (precision or precision_of(machine())) / f"{name}.json"


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a raw result with the machine it belongs to."""
    path = place(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"machine": machine(), **result}, indent=2) + "\n")
    return path
