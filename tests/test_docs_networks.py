"""The pages on networks and callbacks run as they stand, each from its top, and print what they say."""

import re
from pathlib import Path
from typing import Any

import pytest

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


@pytest.mark.parametrize("page", ["networks", "callbacks"])
def test_examples_run_and_print_what_they_say(page, capsys):
    found: dict[str, Any] = {"__name__": f"docs_{page}"}
    for code in re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.S):
        exec(compile(code, f"docs/{page}.md", "exec"), found)
        expected = re.findall(r"^print\(.*\n# (.*)$", code, re.M)
        printed = capsys.readouterr().out.splitlines()
        assert not expected or printed == expected
    if page == "networks":
        assert found["filled"].shape == found["holed"].shape
        assert (found["again"].transform(found["X"]) == found["vae"].transform(found["X"])).all()
    else:
        assert found["losses"] and printed[0] == "fit begins" and printed[-1] == "fit ends"
