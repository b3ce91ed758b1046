"""Kinds of columns on the command line, of tables of numbers alone."""

import numpy as np
import pandas as pd

from command import must


def test_tables_of_numbers_alone_say_how_to_infer_kinds(capsys, tmp_path):
    rng = np.random.default_rng(0)
    numbers = {"week": rng.integers(1, 53, 60) + 0.5, "person_id": rng.integers(1, 9, 60), "prior": 1, "arrest": 0.0}
    frame = pd.DataFrame(numbers).assign(arrest=rng.integers(0, 2, 60))
    frame.to_csv(tmp_path / "x.csv", index=False)
    said = must(capsys, "info", tmp_path / "x.csv").err
    assert "numbers alone, fitted as an array: --columns auto infers a kind for each column" in " ".join(said.split())
    assert "'prior' never varies, 'person_id' is called as ids are" in " ".join(said.split())
    said = must(capsys, "info", tmp_path / "x.csv", "--columns", "auto").err
    assert "numbers alone" not in said and "binary, 0 to 1" in said
    must(capsys, "fit", tmp_path / "x.csv", "-o", tmp_path / "run", "--columns", "auto", "--epochs", "1", "--no-report")
    must(capsys, "sample", tmp_path / "run", "-n", "20", "-o", tmp_path / "s.csv")
    sample = pd.read_csv(tmp_path / "s.csv")
    assert set(sample["arrest"]) <= {0, 1} and (sample["prior"] == 1).all()
