"""A process that is killed at any call of a save, a fit, a report or an output leaves the old or the new, whole."""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

KILLS = Path(__file__).with_name("kills.py")


def test_a_kill_at_any_call_leaves_the_old_or_the_new_and_nothing_else(tmp_path):
    memory = Path("/dev/shm")  # where syncing takes no time
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        done = subprocess.run([sys.executable, KILLS, folder], capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr
    kills = json.loads(done.stdout)
    assert kills.pop("files one by one are noticed") == 1
    assert min(kills.values()) > 5 and kills["fit over a run"] > 40, kills
    assert {"pieces, saved in turn", "checkpoints", "compare over another"} <= kills.keys()
