"""Run tests with the oldest and the newest supported dependencies: ``python -m tools.compatibility``.

Each set is installed into a virtual environment of its own in ``build/compatibility``: the lower bounds of
``pyproject.toml``, all at once, or the newest versions there are. torch is that of ``constraints.txt`` in both, as its
other versions take gigabytes. The table goes into docs/compatibility.md.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable
from pathlib import Path
from xml.etree import ElementTree

from benchmarks.markdown import grid

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "build" / "compatibility"
DOCUMENT = ROOT / "docs" / "compatibility.md"
MARKERS = "<!-- compatibility -->", "<!-- end of compatibility -->"
EXTRAS = ("tables", "neighbors", "flows", "excel", "duckdb", "bio", "zarr", "datasets")
FRAMES = ("pandas", "polars")
"""Packages whose objects are read where they are installed."""
TOOLS = ("pytest", "pytest-timeout", "beartype", "hypothesis")
PINNED = ("torch",)
TESTS = (
    "compatibility",
    "estimators_state",
    "persistence",
    "estimators_tables",
    "estimators_missing",
    "estimators_resuming",
    "data_formats",
)
SETS = ("oldest", "newest")


def main() -> int:
    """Install, test, and write the table; 1 if a test failed."""
    parser = argparse.ArgumentParser(description="Test with the oldest and the newest supported dependencies.")
    parser.add_argument("--only", choices=SETS, help="one of the two sets, without writing the table")
    only = parser.parse_args().only
    found = {name: outcome(name) for name in SETS if only in (None, name)}
    table = grid(("package", *found), rows(found))
    print(table)
    if only is None:
        write_between(DOCUMENT, table)
    return int(any(one["failed"] for one in found.values()))


def requirements() -> list[str]:
    """Return what the project requires, with its extras and frames, as in ``pyproject.toml``."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    frames = [one for one in extras["test"] if re.match("|".join(FRAMES), one)]
    return sorted({*project["dependencies"], *(one for name in EXTRAS for one in extras[name]), *frames})


def lowest(required: Iterable[str]) -> list[str]:
    """Return the lower bounds as exact versions.

    >>> lowest(["numpy>=2.0", "fsspec[http]>=2024.2,<2030"])
    ['numpy==2.0', 'fsspec==2024.2']
    """
    found = (re.match(r"([\w-]+)[^>=]*>=([\w.]+)", one) for one in required)
    return [f"{one[1]}=={one[2]}" for one in found if one]


def outcome(name: str) -> dict:
    """Return the versions of a set, and the numbers of tests that passed and failed with it."""
    python = FOLDER / name / "bin" / "python"
    subprocess.run([sys.executable, "-m", "venv", "--clear", python.parents[1]], check=True)
    required = requirements()
    pins = re.findall(rf"(?m)^(?:{'|'.join(PINNED)})==.*$", (ROOT / "constraints.txt").read_text(encoding="utf-8"))
    bounds = [one for one in lowest(required) if not one.startswith(PINNED)] if name == "oldest" else []
    install = [python, "-m", "pip", "install", "-q", "--upgrade"]
    subprocess.run([*install, *pins, *bounds, *required, *TOOLS, "-e", ROOT], check=True)
    listed = subprocess.run([python, "-m", "pip", "list", "--format=json"], check=True, capture_output=True).stdout
    versions = {one["name"].lower(): one["version"].partition("+")[0] for one in json.loads(listed)}
    names = sorted({re.match(r"[\w-]+", one)[0].lower() for one in required})
    return {"versions": {name: versions[name] for name in names}} | run_tests(python)


def run_tests(python: Path) -> dict[str, int]:
    """Run the tests with an interpreter; warnings of other versions are no errors."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.xml"
        options = ["-o", "addopts=--import-mode=importlib", "-o", "filterwarnings=default", "-p", "no:cacheprovider"]
        command = [python, "-m", "pytest", "-q", "--tb=short", "--disable-warnings", f"--junitxml={report}", *options]
        files = [f"tests/test_{name}.py" for name in TESTS]
        subprocess.run([*command, *files], cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT / "src")}, check=False)
        suite = ElementTree.parse(report).getroot()[0]
    failed = int(suite.get("failures")) + int(suite.get("errors"))
    return {"passed": int(suite.get("tests")) - failed - int(suite.get("skipped")), "failed": failed}


def rows(found: dict[str, dict]) -> list[list]:
    """Return the rows of the table: versions, then tests."""
    names = next(iter(found.values()))["versions"]
    versions = [[name, *(one["versions"][name] for one in found.values())] for name in names]
    return versions + [[f"tests {word}", *(one[word] for one in found.values())] for word in ("passed", "failed")]


def write_between(document: Path, table: str) -> None:
    """Put the table between the markers of a page."""
    begin, end = MARKERS
    text = document.read_text(encoding="utf-8")
    before, after = text.partition(begin)[0], text.partition(end)[2]
    document.write_text(f"{before}{begin}\n{table}\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    sys.exit(main())
