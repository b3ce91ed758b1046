"""Node and the sources of the page, for tests that compute with them."""

import json
import subprocess
from pathlib import Path

import pytest
from tools import page

WEB = Path(__file__).parents[1] / "web"


def node() -> str:
    """Return Node, from the environment or the machine; skip a test without it."""
    try:
        return str(page.node()[0])
    except page.PageError as error:
        pytest.skip(str(error))


def bundle(entry: str, folder: Path, platform: str = "node") -> Path:
    """Bundle a module of ``web/dev`` with all that it imports; skip a test where the packages of npm are missing."""
    rolldown = WEB / "node_modules" / "rolldown" / "bin" / "cli.mjs"
    if not rolldown.exists():
        pytest.skip("the packages of the page are not installed: run make page")
    script = folder / "bundle.mjs"
    command = [node(), str(rolldown), str(WEB / "dev" / entry), "--file", str(script), "--platform", platform]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return script


def run(script: Path, given: object) -> object:
    """Return what a script answers, as JSON."""
    done = subprocess.run([node(), str(script)], input=json.dumps(given), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)
