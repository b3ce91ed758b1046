"""The examples of the documentation run as they stand, each page from its top."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

DOCS = Path(__file__).parents[1] / "docs"
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


@pytest.mark.parametrize("page", ["data", "tables"])
def test_examples_run(page):
    found: dict[str, Any] = {}
    for code in re.findall(r"```python\n(.*?)```", (DOCS / f"{page}.md").read_text(encoding="utf-8"), re.S):
        exec(compile(code, f"docs/{page}.md", "exec"), found)
    rows = found["counts"] if page == "data" else found["trees"]
    assert found["vae"].transform(rows).shape == (rows.shape[0], 2)
    if page == "tables":
        drawn = found["vae"].sample(3, random_state=0)
        assert list(drawn.columns) == list(rows.columns) and set(drawn.species) <= {"oak", "elm", "ash"}
        assert found["vae"].impute(rows.assign(species=None)).species.notna().all()
    else:
        assert np.isfinite(found["vae"].score(rows))


def test_every_page_that_is_linked_is_there():
    pages = [DOCS.parent / "README.md", *DOCS.glob("*.md")]
    for page in pages:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
