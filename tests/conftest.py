"""What every test stands on: one thread a worker, no windows, checked shapes, and small models fitted once."""

import os
import re
import warnings
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("NUMBA_NUM_THREADS", "1")  # numba sets its number for torch too
os.environ.setdefault("NUMBA_OPT", "0")  # few rows take less time than optimising
os.environ.setdefault("MPLBACKEND", "Agg")

import jaxtyping
import numpy as np
import pytest
import torch._dynamo  # which compiles anew where a module of the hook is the first to import it

from shapes import checked

jaxtyping.jaxtyped = lambda typechecker: checked  # the decorator that the hook adds
jaxtyping.install_import_hook(["latentmap.model", "latentmap.objectives", "latentmap.training"], None)
torch.set_num_threads(1)


@pytest.fixture(scope="session")
def digits():
    """Real pictures of digits as vectors (1797, 64), from 0 to 16."""
    from sklearn.datasets import load_digits

    return load_digits().data


@pytest.fixture(scope="session")
def rows(digits):
    """The first of them (400, 64): enough for most laws."""
    return digits[:400]


@pytest.fixture(scope="session")
def images(rows):
    """The same as pictures (400, 8, 8)."""
    return rows.reshape(-1, 8, 8)


@pytest.fixture(params=[True, False], ids=["pyarrow", "csv"])
def reader(request, monkeypatch):
    """Each of the two readers of delimited text."""
    monkeypatch.setattr("latentmap.data.formats.delimited._has_pyarrow", lambda: request.param)


@pytest.fixture
def unrendered(monkeypatch):
    """Figures are made, but not rendered, which takes longer than all else."""
    from latentmap.plot.style import Display

    header = b"\x89PNG" + bytes(12) + (1000).to_bytes(4)
    monkeypatch.setattr(Display, "png", lambda self, *args, **kwargs: header)


def fit(estimator, X, y=None):
    """Fit without what a short fit says about itself."""
    from latentmap.exceptions import DiagnosisWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DiagnosisWarning)
        return estimator.fit(X, y)


@pytest.fixture(scope="session")
def vae(rows):
    """A small VAE of vectors, fitted in a second; tests must not change it."""
    from latentmap import VAE

    return fit(VAE(2, max_epochs=12, random_state=0), rows)


@pytest.fixture(scope="session")
def autoencoder(rows):
    """A small autoencoder of vectors; tests must not change it."""
    from latentmap import Autoencoder

    return fit(Autoencoder(3, max_epochs=12, random_state=0), rows)


# ---- models that are explored; tests must not change them


@pytest.fixture(scope="session")
def shown(images):
    """A map of pictures of digits, explored."""
    from sklearn.datasets import load_digits

    import explorers

    return explorers.pictures(images, load_digits().target[: len(images)])


@pytest.fixture(scope="session")
def trees(tmp_path_factory):
    """A table of trees, some cells of which are missing, explored."""
    import explorers

    vae, path = explorers.table(tmp_path_factory.mktemp("trees"))
    return explorers.Exploration(vae, explorers.ExploredRows.of(vae, path), name="trees")


@pytest.fixture(scope="session")
def plain():
    """Rows of numbers without names, explored."""
    import explorers

    return explorers.numbers()


@pytest.fixture(scope="session")
def run_of_trees(tmp_path_factory):
    """A run of the command on the table of trees."""
    import explorers

    return explorers.run_of_trees(tmp_path_factory.mktemp("explored"))


# ---- the page of the explorer in a browser


@pytest.fixture(scope="session")
def browser():
    """Chromium without a window; without it the tests of the page are skipped, which is said."""
    import browser

    path = browser.chromium()
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as started:
        opened = started.chromium.launch(executable_path=path, args=browser.ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def pages(browser):
    """Open pages; that one complained, or asked another host, fails the test."""
    from browser import Pages

    opened = Pages(browser)
    yield opened
    opened.close()


# ---- docs/correctness.md: what is compared with an independent computation, and the largest difference

TABLE = re.compile(r"(<!-- differences -->\n).*?(<!-- end of differences -->)", re.S)
DIFFERENCES = pytest.StashKey[list]()


def pytest_addoption(parser):
    parser.addoption("--correctness", metavar="PAGE", help="run the tests that use agree alone, and write their table")


def pytest_configure(config):
    config.stash[DIFFERENCES] = []


def pytest_collection_modifyitems(config, items):
    if config.getoption("--correctness"):
        others = [item for item in items if "agree" not in getattr(item, "fixturenames", ())]
        items[:] = [item for item in items if item not in set(others)]
        config.hook.pytest_deselected(items=others)


def pytest_sessionfinish(session, exitstatus):
    page = session.config.getoption("--correctness")
    if page and exitstatus == 0:
        largest = {}  # of all cases of a test
        for quantity, by, difference, test in session.config.stash[DIFFERENCES]:
            row = quantity, by, test
            largest[row] = max(difference, largest.get(row, 0.0))
        rows = [f"| {quantity} | {by} | {found:.1g} | `{test}` |" for (quantity, by, test), found in largest.items()]
        table = "\n".join(
            ["| quantity | computed independently by | largest difference | test |", "| --- | --- | --- | --- |", *rows]
        )
        text = Path(page).read_text(encoding="utf-8")
        Path(page).write_text(TABLE.sub(lambda found: f"{found[1]}{table}\n{found[2]}", text), encoding="utf-8")


@pytest.fixture
def agree(request):
    """Assert that a quantity agrees with an independent computation, and note by how much for docs/correctness.md."""

    def compare(quantity, by, found, expected, tolerance):
        found, expected = (np.asarray(v, dtype=np.float64) for v in (found, expected))
        assert found.shape == expected.shape and np.isfinite(expected).any()
        with np.errstate(invalid="ignore"):
            apart = np.where(found == expected, 0.0, np.abs(found - expected))
        test = f"{request.node.path.name}::{request.node.originalname}"
        request.config.stash[DIFFERENCES].append((quantity, by, apart.max(), test))
        assert apart.max() <= tolerance, f"{quantity}: {apart.max():g} from {by}, more than {tolerance:g}"

    return compare
