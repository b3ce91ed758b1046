"""Ray Data maps batches with `Embedder`: actors that load the run themselves."""

import warnings

import numpy as np
import pandas as pd
import pytest

ray = pytest.importorskip("ray")
from latentmap import Embedder  # noqa: E402

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def cluster():
    """A cluster of this machine alone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ray.init(num_cpus=2, include_dashboard=False, configure_logging=False, object_store_memory=2**27)
    yield
    ray.shutdown()


def test_map_batches(cluster, vae, rows, tmp_path):
    vae.save(tmp_path / "run")
    codes = vae.transform(rows)
    frame = pd.DataFrame(rows, columns=[f"x{i}" for i in range(64)]).assign(id=range(400))
    data = ray.data.from_pandas([frame[:250], frame[250:]])
    made = data.map_batches(
        Embedder, fn_constructor_args=[tmp_path / "run"], fn_constructor_kwargs={"keep": ["id"]}, concurrency=1
    )
    found = sorted(made.take_all(), key=lambda row: row["id"])
    assert [list(row) for row in found[:1]] == [["id", "vae0", "vae1"]]
    np.testing.assert_allclose([[row["vae0"], row["vae1"]] for row in found], codes, atol=1e-5)
