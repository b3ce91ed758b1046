"""The examples of the documentation run as they stand, each page from its top."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
BLOCKS = {path.stem: re.findall(r"```python\n(.*?)```", path.read_text(encoding="utf-8"), re.S) for path in PAGES}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def counts(found):
    rows = found["counts"]
    assert found["vae"].transform(rows).shape == (rows.shape[0], 2) and np.isfinite(found["vae"].score(rows))


def trees(found):
    rows, vae = found["trees"], found["vae"]
    drawn = vae.sample(3, random_state=0)
    assert vae.transform(rows).shape == (len(rows), 2) and list(drawn.columns) == list(rows.columns)
    assert set(drawn.species) <= {"oak", "elm", "ash"}
    assert vae.impute(rows.assign(species=None)).species.notna().all()


def evaluated(found):
    row = found["vae"].evaluation_
    assert row.loss == pytest.approx(sum(row.parts.values()), rel=1e-4)
    assert row.elbo == pytest.approx(found["vae"].score(found["X_train"]), rel=0.1)
    assert found["bound"].mean > row.elbo


def labelled(found):
    assert found["threes"].shape == found["fives"].sample(16).shape == (16, 8, 8)


CHECKS = {"data": counts, "tables": trees, "evaluation": evaluated, "models": labelled}


def test_the_pages_have_examples():
    """The control."""
    assert {"README", "evaluation", "models", "parts", "maps", "autoencoders"} < {p for p in BLOCKS if BLOCKS[p]}


@pytest.mark.parametrize("page", [page for page, blocks in BLOCKS.items() if blocks])
def test_examples_run(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found: dict[str, Any] = {}
    for code in BLOCKS[page]:
        exec(compile(code, f"{page}.md", "exec", dont_inherit=True), found)
    CHECKS.get(page, bool)(found)


def test_every_page_that_is_linked_is_there():
    for page in PAGES:
        for link in re.findall(r"\]\(([^)#:]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), f"{page.name} links to {link}"
