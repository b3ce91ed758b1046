"""``latentmap fit --anchor``: the columns of the earlier run, its map, the drift, and what is refused."""

import json

import numpy as np
import pandas as pd

import latentmap
from command import ask, must

QUICK = ("--no-report", "--max-epochs", "20")


def test_a_run_is_the_anchor_of_the_next(tmp_path, capsys):
    X = np.random.default_rng(0).normal(size=(120, 2)) @ np.random.default_rng(1).normal(size=(2, 4))
    frame = pd.DataFrame(X, columns=list("abcd")).assign(id=[f"r{i}" for i in range(120)])
    frame[:80].to_csv(tmp_path / "old.csv", index=False)
    frame[["d", "id", "b", "a", "c"]].to_csv(tmp_path / "all.csv", index=False)
    frame.assign(**{name: 1000 * frame[name] + 9 for name in "abcd"}).to_csv(tmp_path / "units.csv", index=False)
    run = tmp_path / "run"
    must(capsys, "fit", tmp_path / "old.csv", "-o", run, "--id", "id", *QUICK)
    before = latentmap.load(run).transform(X[:80])
    same = ("fit", tmp_path / "all.csv", "--anchor", run, *QUICK)
    answer = must(capsys, *same, "-o", run, "--overwrite", "--json")
    assert json.loads(answer.out)["drift"]["rows"] == 120 and "of the map's spread" in answer.err
    after = latentmap.load(run).transform(X[:80])
    assert np.median(np.linalg.norm(after - before, axis=1)) < 0.3, "columns are those of the run, in its order"
    for options, code, message in (
        (("--columns", "auto"), 2, "leave out --columns"),
        (("--model", "autoencoder"), 2, "leave out --model autoencoder"),
        (("--n-components", "3"), 2, "n_components is 3, and the anchor has 2"),
    ):
        refused = ask(capsys, *same, *options, "-o", tmp_path / "no")
        assert refused.code == code and message in refused.err and not (tmp_path / "no").exists()
    refused = ask(capsys, "fit", tmp_path / "units.csv", "--anchor", run, "-o", tmp_path / "no", *QUICK)
    assert refused.code == 1 and "like those of the anchor" in refused.err and not (tmp_path / "no").exists()
