"""Node and the sources of the page, for tests that compute with them."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

WEB = Path(__file__).parents[1] / "web"


def node() -> str:
    """Return Node, from the environment or the machine; skip a test without it."""
    for place in (Path(shutil.which("python") or "").parent, None):
        if found := shutil.which("node", path=None if place is None else str(place)):
            return found
    pytest.skip("Node is not installed: run make page")


def bundle(entry: str, folder: Path) -> Path:
    """Bundle a script of ``web/dev`` with all that it imports; skip a test where the packages of npm are missing."""
    rolldown = WEB / "node_modules" / "rolldown" / "bin" / "cli.mjs"
    if not rolldown.exists():
        pytest.skip("the packages of the page are not installed: run make page")
    script = folder / "bundle.mjs"
    command = [node(), str(rolldown), str(WEB / "dev" / entry), "--file", str(script), "--platform", "node"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return script


def run(script: Path, given: object) -> object:
    """Return what a script answers, as JSON."""
    done = subprocess.run([node(), str(script)], input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
