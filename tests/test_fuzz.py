"""Damaged models and files: each opens, or is refused in one line; nothing of them is run, and none hangs."""

import argparse
import re
from pathlib import Path

import pytest
from tools.fuzz import run_cases, summary

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("kind", ["models", "files"])
def test_damaged_models_and_files(kind):
    settings = argparse.Namespace(seed=1, seconds=60.0, megabytes=500, runs=ROOT / "tests/runs/format1")
    found = summary(run_cases(kind, 300, settings))
    assert found["mutations"] == 300 == found["loaded"] + found["refused"], found["first_unexpected"]
    assert not found["unexpected"] and not found["hangs"] and not found["beyond_memory"], found["first_unexpected"]
    assert found["loaded"] > 20 and found["refused"] > 100


@pytest.mark.parametrize("page", ["SECURITY.md", "docs/security.md"])
def test_every_promise_names_a_test_that_is_there(page):
    text = (ROOT / page).read_text(encoding="utf-8")
    named = re.findall(r"`(tests/\w+\.py)::(\w+)`", text)
    assert named or page == "SECURITY.md"
    for file, test in named:
        assert re.search(rf"^def {test}\(", (ROOT / file).read_text(encoding="utf-8"), re.MULTILINE), test
    rows = [line for line in text.splitlines() if line.startswith("| ") and "---" not in line]
    assert all("::" in row for row in rows if not row.startswith(("| Promise", "| Damaged", "| models", "| files")))
