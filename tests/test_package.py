"""Importing is cheap and does nothing; what is exported is there; shapes are checked in these tests."""

import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import jaxtyping
import pytest
import torch
from jaxtyping import Float  # noqa: F401  in annotations

import latentmap
from latentmap.model.scaling import Affine
from shapes import checked

ROOT = Path(__file__).parents[1]


def loaded_by(code):
    """Heavy modules that a fresh interpreter has loaded after running some code."""
    heavy = "[m for m in ('torch', 'sklearn', 'scipy', 'numpy', 'pandas', 'matplotlib') if m in sys.modules]"
    run = [sys.executable, "-c", f"import sys; {code}; print(*{heavy})"]
    return subprocess.run(run, capture_output=True, text=True, check=True).stdout.split()


def test_importing_loads_nothing_heavy():
    assert loaded_by("import latentmap; dir(latentmap); latentmap.__version__") == []
    assert "torch" in loaded_by("import latentmap; latentmap.VAE")  # the control


def test_every_exported_name_is_there():
    for name in latentmap.__all__:
        assert getattr(latentmap, name) is not None
    assert set(dir(latentmap)) >= set(latentmap.__all__)
    with pytest.raises(AttributeError, match="module 'latentmap' has no attribute 'VEA'"):
        _ = latentmap.VEA


def test_the_version_is_that_of_the_distribution():
    stated = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    assert latentmap.__version__ == stated == importlib.metadata.version("latentmap")


def test_the_package_says_that_it_is_typed():
    assert (Path(latentmap.__file__).parent / "py.typed").exists()


def test_shapes_are_checked_in_tests():
    scaling = Affine(0.0, 1.0)
    scaling(torch.zeros(2, 3))
    with pytest.raises(jaxtyping.TypeCheckError, match="B P"):
        scaling(torch.zeros(3))


def test_every_combination_of_shapes_is_checked():
    def first(x, n):
        return x[:n, 0]

    first.__annotations__ = {"x": 'Float[torch.Tensor, "B P"]', "return": 'Float[torch.Tensor, " B"]'}
    first, rows = checked(first), torch.zeros(2, 3)
    assert len(first(rows, 2)) == 2 and len(first(rows.repeat(3, 1), 6)) == 6
    with pytest.raises(jaxtyping.TypeCheckError, match="return is not"):
        first(rows, 1)
