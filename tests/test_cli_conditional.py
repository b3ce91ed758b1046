"""Conditional models from the command: labels and covariates of a column, and one for all rows with --given."""

import csv

import numpy as np
import pytest

from command import ask, must
from latentmap import load
from latentmap.cli import main
from latentmap.data.datasets import load_dataset

QUICK = ("--set", "max_epochs=3")
RECIPE = ("--recipe", "conditional", "--set", "max_epochs=6")
LABELS, COVARIATES = ("--set", "condition=labels"), ("--set", "condition=covariates")


@pytest.fixture(scope="module")
def pictures():
    """Pictures of digits as the command reads them, and their labels."""
    return load_dataset("digits")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Trees in two gardens of which some names are lost, runs conditioned on garden and on age, and one on digits."""
    folder = tmp_path_factory.mktemp("conditional")
    rng = np.random.default_rng(0)
    with (folder / "trees.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["height", "girth", "age", "garden"])
        for i in range(120):
            age, garden = rng.uniform(1, 9), "NS"[i % 2]
            writer.writerow([age + (garden == "N") + rng.normal(), age * rng.normal(), age, garden if i % 5 else ""])
    trees = [str(folder / "trees.csv"), "--labels"]
    assert main(["fit", *trees, "garden", "-o", str(folder / "garden"), *LABELS, *QUICK]) == 0
    assert main(["fit", *trees, "age", "-o", str(folder / "age"), *COVARIATES, *QUICK]) == 0
    assert main(["fit", "digits", "-o", str(folder / "digits"), *RECIPE]) == 0
    return folder


def test_codes_and_scores_are_those_of_each_rows_own_label(folder, tmp_path, capsys, pictures):
    vae, (digits, labels) = load(folder / "digits"), pictures
    must(capsys, "transform", folder / "digits", "-o", tmp_path / "z.npy")
    assert np.array_equal(np.load(tmp_path / "z.npy"), vae.transform(digits, labels))
    must(capsys, "score", folder / "digits", "-o", tmp_path / "s.npy")
    assert np.array_equal(np.load(tmp_path / "s.npy"), vae.score_samples(digits, y=labels))
    must(capsys, "score", folder / "digits", "-o", tmp_path / "s3.npy", "--given", "3")
    assert np.array_equal(np.load(tmp_path / "s3.npy"), vae.score_samples(digits, y=3))
    assert not np.array_equal(np.load(tmp_path / "s3.npy"), vae.score_samples(digits, y=labels))


def test_what_is_drawn_and_decoded_is_of_the_label_that_is_given(folder, tmp_path, capsys, pictures):
    vae, (digits, labels) = load(folder / "digits"), pictures
    must(capsys, "sample", folder / "digits", "--given", "7", "-n", "5", "-o", tmp_path / "s.npy")
    assert np.array_equal(np.load(tmp_path / "s.npy"), vae.sample(5, 0, y=7))
    must(capsys, "sample", folder / "digits", "--given", "7", "-o", tmp_path / "s.png")
    np.save(tmp_path / "z.npy", codes := vae.transform(digits[:5], labels[:5]))
    must(capsys, "inverse", folder / "digits", tmp_path / "z.npy", "--given", "7", "-o", tmp_path / "x.npy")
    assert np.array_equal(np.load(tmp_path / "x.npy"), vae.inverse_transform(codes, 7))


def test_the_report_is_of_one_label(folder, capsys, pictures):
    labels = pictures[1]
    assert "digits, given 3" in (folder / "digits" / "report.html").read_text()  # the commonest
    assert np.bincount(labels).argmax() == 3
    must(capsys, "report", folder / "digits", "--given", "5")
    assert "digits, given 5" in (page := (folder / "digits" / "report.html").read_text())
    assert f"{(labels == 5).sum()} rows" in page


def test_covariates_are_numbers_of_a_column_or_given(folder, tmp_path, capsys):
    assert not (folder / "age" / "report.html").exists()
    must(capsys, "sample", folder / "age", "--given", "2.5", "-n", "4", "-o", tmp_path / "s.npy")
    assert np.load(tmp_path / "s.npy").shape == (4, 3)
    must(capsys, "transform", folder / "age", "-o", tmp_path / "z.npy")
    assert np.load(tmp_path / "z.npy").shape == (120, 2)
    must(capsys, "report", folder / "age", "--given", "2.5")
    assert "trees.csv, given 2.5" in (folder / "age" / "report.html").read_text()


def test_empty_labels_are_inferred(folder, tmp_path, capsys):
    assert load(folder / "garden").classes_.tolist() == ["N", "S"]
    must(capsys, "transform", folder / "garden", "-o", tmp_path / "z.npy")
    must(capsys, "sample", folder / "garden", "-o", tmp_path / "s.csv")  # of either garden


def test_errors_name_the_option(folder, tmp_path, capsys):
    out = ("-o", tmp_path / "x.npy")
    main(["fit", "digits", "-o", str(tmp_path / "plain"), "--no-report", *QUICK])
    np.save(tmp_path / "rows.npy", np.ones((3, 8, 8), dtype=np.uint8))
    digits = folder / "digits"
    for arguments, words in (
        (["sample", digits, *out], "give one of its labels with --given"),
        (["sample", digits, *out, "--given", "11"], "expected one of the labels of the fit, 0, 1, 2"),
        (["sample", folder / "age", *out], "give its covariates with --given"),
        (["sample", folder / "age", *out, "--given", "old"], "expected numbers separated by commas"),
        (["sample", folder / "age", *out, "--given", "1,2"], "expected 1 number"),
        (["report", folder / "age"], "add --given"),
        (["transform", digits, tmp_path / "rows.npy", *out], "name their column with --labels, or give one"),
        (["transform", digits, *out, "--details"], "models without condition"),
        (["sample", tmp_path / "plain", *out, "--given", "3"], "this is not one"),
        (["fit", folder / "trees.csv", "-o", tmp_path / "run", *LABELS], "name their column with --labels"),
    ):
        answer = ask(capsys, *arguments)
        assert answer.code == 2 and len(answer.errors) == 1 and words in answer.errors[0], answer.err
    assert not (tmp_path / "x.npy").exists() and not (tmp_path / "run").exists()
