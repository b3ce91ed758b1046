"""Whatever goes wrong is one line that says what to do, an exit code that tells whose fault it is, and no litter."""

import contextlib
import json
import os
import resource
import shutil
import stat
import tempfile
from pathlib import Path

import numpy as np
import pytest

from command import ask, must

QUICK = ("--set", "max_epochs=2", "--no-report")
NOBODY = 65534


@pytest.fixture(scope="module")
def X():
    return np.random.default_rng(0).normal(size=(60, 4))


@pytest.fixture(scope="module")
def run(tmp_path_factory, X):
    """A run on a table of four columns, and its data; tests must not change it."""
    from latentmap.cli import main

    folder = tmp_path_factory.mktemp("errors")
    np.save(folder / "X.npy", X)
    assert main(["fit", str(folder / "X.npy"), "-o", str(folder / "run"), *QUICK]) == 0
    return folder / "run"


def refused(capsys, code, message, *arguments):
    """Call the command, which must fail with this exit code and one line that says this."""
    answer = ask(capsys, *arguments)
    assert answer.code == code, answer.err
    assert len(answer.errors) == 1 and answer.err.endswith(answer.errors[0] + "\n"), answer.err
    assert message in answer.errors[0], answer.err
    assert "Traceback" not in answer.err and answer.out == ""
    return answer


def write(path, rows):
    path.write_text("\n".join(rows) + "\n")
    return path


def array(value):
    return lambda path, X: np.save(path.with_suffix(".npy"), value(X))


def changed(X, value):
    X = X.copy()
    X[3, 2] = value
    return X


BAD_DATA = {
    "no values": (array(lambda X: X * np.nan), "holds no value in column 0, 1, 2, 3: drop what is missing"),
    "infinite": (array(lambda X: changed(X, np.inf)), "contains 1 infinite value, the first at index [3, 2]"),
    "empty": (array(lambda X: X[:0]), "has no rows (shape (0, 4)): at least one is needed"),
    "one row": (array(lambda X: X[:1]), "has 1 row: expected two or more to fit"),
    "no columns": (array(lambda X: X[:, :0]), "0 feature(s)"),
    "one axis": (array(lambda X: X[:, 0]), "expected rows and features"),
    "text": (array(lambda X: X.astype(str)), "expected numbers"),
    "complex": (array(lambda X: X + 1j), "Complex data not supported"),
    "truncated": (lambda path, X: path.with_suffix(".npy").write_bytes(_npy(X)[:500]), "truncated"),
    "not numpy": (lambda path, X: path.with_suffix(".npy").write_text("hello"), "holds text, not a .npy file"),
    "zero bytes": (lambda path, X: path.with_suffix(".npy").write_bytes(b""), "is empty (0 bytes)"),
    "missing": (lambda path, X: None, "no such file"),
    "damaged archive": (lambda path, X: path.with_suffix(".npz").write_bytes(b"PK\x03\x04 not"), "damaged"),
    "ragged": (lambda path, X: write(path.with_suffix(".csv"), ["a,b", "1,2", "2,3,4"]), "row 2 (line 3) has 3 cells"),
}


def _npy(X):
    import io

    buffer = io.BytesIO()
    np.save(buffer, X)
    return buffer.getvalue()


@pytest.mark.parametrize("name", BAD_DATA)
def test_bad_data_is_refused_before_a_fit(capsys, tmp_path, X, name):
    make, message = BAD_DATA[name]
    make(tmp_path / "data", X)
    data = next((path for path in tmp_path.glob("data.*")), tmp_path / "data.npy")
    refused(capsys, 1, message, "fit", data, "-o", tmp_path / "run", *QUICK)
    assert str(data) in refused(capsys, 1, message, "fit", data, "-o", tmp_path / "run").err
    assert not (tmp_path / "run").exists()


def test_constant_columns_are_fitted_and_said(capsys, tmp_path):
    np.save(tmp_path / "X.npy", np.ones((40, 3)))
    answer = must(capsys, "fit", tmp_path / "X.npy", "-o", tmp_path / "run", *QUICK)
    assert "all rows are equal: there is nothing to learn" in answer.err


WRONG_USAGE = [
    ("no command is called 'fti': did you mean 'fit'?", ["fti"]),
    ("no command is called 'help': did you mean '--help'?", ["help"]),
    ("no command is called 'version': did you mean '--version'?", ["version"]),
    ("latentmap has no option --verbose; latentmap --help lists them", ["--verbose"]),
    ("did you mean --n-components?", ["fit", "digits", "-o", "{new}", "--n-component", "2"]),
    ("Did you mean \"vae\"?", ["fit", "digits", "-o", "{new}", "--model", "va"]),
    ("DATA is missing; usage: latentmap fit DATA --output OUTPUT [OPTIONS]", ["fit"]),
    ("--output is missing; usage: latentmap fit DATA --output OUTPUT [OPTIONS]", ["fit", "digits"]),
    ("--output is missing; usage: latentmap transform RUN [DATA] --output OUTPUT [OPTIONS]", ["transform", "{run}"]),
    ("--output is missing", ["fit", "--", "digits", "-o", "{new}"]),
    ("unexpected 'mnist'; usage: latentmap fit DATA", ["fit", "digits", "mnist", "-o", "{new}"]),
    ("unexpected 'bash'; see latentmap --install-completion --help", ["--install-completion", "bash"]),
    ("-o takes a value, and none is given", ["fit", "digits", "-o"]),
    ("-o: results go to a file or folder, not to standard output: give", ["transform", "{run}", "{X}", "-o", "-"]),
    ("--output: results go to a file or folder", ["sample", "{run}", "--output", "-"]),
    ("-o: cannot write s3://b/z/: results go to files and folders of this machine, or mounted on it",
     ["transform", "{run}", "{X}", "-o", "s3://b/z/"]),
    ("-o: cannot write s3://b/z.csv: results go to", ["sample", "{run}", "-o", "s3://b/z.csv"]),
    ("-o: cannot write memory://b/run: results go to", ["fit", "{X}", "-o", "memory://b/run"]),
    ("-o: cannot write gs://b: results go to", ["compare", "digits", "-o", "gs://b"]),
    ("--html: cannot write s3://b/x.html: results go to", ["export", "{run}", "--html", "s3://b/x.html"]),
    ("--columns-template: cannot write s3://b/x.toml", ["info", "{X}", "--columns-template", "s3://b/x.toml"]),
    ("--seed takes a value, and none is given", ["fit", "digits", "-o", "{new}", "--seed"]),
    ("fit has no option --max-epoch: did you mean --max-epochs?", ["fit", "digits", "-o", "{new}", "--max-epoch", "2"]),
    ("model with --set batch_size=VALUE", ["fit", "digits", "-o", "{new}", "--batch-size", "32"]),
    ("latentmap fit has no option -n; latentmap fit --help lists", ["fit", "digits", "-o", "{new}", "-n", "ten"]),
    ("transform has no option --device; ", ["transform", "{run}", "-o", "{new}.npy", "--device", "cpu"]),
    ("--device must be 'auto' or one torch can use here, got 'gpu'", ["fit", "{X}", "-o", "{new}", "--device", "gpu"]),
    ("max_epochs must be a whole number >= 1", ["fit", "{X}", "-o", "{new}", "--epochs", "0"]),
    ("--seed: expected a whole number, got 'many'", ["fit", "digits", "-o", "{new}", "--seed", "many"]),
    ("--seed: expected a whole number, got '1.5'", ["fit", "digits", "-o", "{new}", "--seed", "1.5"]),
    ("-n: expected a whole number, got 'ten'", ["sample", "{run}", "-o", "{new}.npy", "-n", "ten"]),
    ("--draws: expected a whole number, got '2.5'", ["impute", "{run}", "-o", "{new}.npy", "--draws", "2.5"]),
    ("did you mean 'max_epochs'", ["fit", "digits", "-o", "{new}", "--set", "max_epoch=2"]),
    ("did you mean 'Bernoulli'", ["fit", "digits", "-o", "{new}", "--set", "likelihood=Bernouli"]),
    ("such as 60, 90s, 2min or 1.5h", ["fit", "digits", "-o", "{new}", "--budget", "soon"]),
    ("leave out --recipe and --model", ["fit", "digits", "-o", "{new}", "--for", "impute", "--model", "autoencoder"]),
    ("max_epochs must be a whole number >= 1", ["fit", "digits", "-o", "{new}", "--set", "max_epochs=0"]),
    ("n_components must be a whole number >= 1", ["fit", "digits", "-o", "{new}", "--n-components", "0"]),
    ("likelihood Bernoulli takes", ["fit", "{X}", "-o", "{new}", "--set", "likelihood=Bernoulli"]),
    ("ends in .npy, .npz, .csv, .tsv, .parquet, .jsonl or .xlsx", ["transform", "{run}", "{X}", "-o", "{new}.xls"]),
    ("ends in .npy, .npz, .csv, .tsv, .parquet, .jsonl, .xlsx, .png, .svg or .pdf", ["sample", "{run}", "-o", "{new}"]),
    ("it is not a file", ["transform", "{run}", "{X}", "-o", "{folder}.npy"]),
    ("--n-samples must be at least 1", ["sample", "{run}", "-n", "0", "-o", "{new}.npy"]),
    ("--samples must be at least 1", ["score", "{run}", "{X}", "--samples", "0"]),
    ("--draws must be at least 1", ["impute", "{run}", "{X}", "-o", "{new}.npy", "--draws", "0"]),
    ("ends in .npy or .npz", ["impute", "{run}", "{X}", "-o", "{new}.csv", "--draws", "2"]),
    ("--noise is not for pictures", ["sample", "{run}", "-o", "{new}.png", "--noise"]),
    ("no method is called 'umpa': did you mean 'umap'", ["compare", "digits", "--against", "pca,umpa"]),
]  # fmt: skip


@pytest.mark.parametrize(("message", "arguments"), WRONG_USAGE, ids=[message for message, _ in WRONG_USAGE])
def test_wrong_usage_is_2_and_nothing_is_written(capsys, tmp_path, run, message, arguments):
    (tmp_path / "folder.npy").mkdir()
    names = {"new": tmp_path / "new", "folder": tmp_path / "folder", "run": run, "X": run.parent / "X.npy"}
    refused(capsys, 2, message, *(argument.format(**names) for argument in arguments))
    assert [path.name for path in tmp_path.iterdir()] == ["folder.npy"]


def test_unknown_data_sets_are_named_with_what_was_meant(capsys, tmp_path):
    refused(capsys, 1, "did you mean 'mnist'", "fit", "minst", "-o", tmp_path / "run")
    refused(capsys, 1, "did you mean 'digits'", "info", "digts")
    refused(capsys, 1, "format not known: expected", "info", write(tmp_path / "data.xyz", ["1"]))


def test_rows_of_another_width_are_refused(capsys, tmp_path, run, X):
    np.save(tmp_path / "wide.npy", np.hstack([X, X]))
    message = "has rows of 8 columns, expected 4 columns"
    for command in (["transform", "-o", tmp_path / "z.npy"], ["score"], ["report"]):
        refused(capsys, 1, message, command[0], run, tmp_path / "wide.npy", *command[1:])
    refused(capsys, 1, "has rows of 8 x 8", "transform", run, "digits", "-o", tmp_path / "z.npy")
    refused(capsys, 1, "expected codes with 2 components, got 8", "inverse", run, tmp_path / "wide.npy", "-o",
            tmp_path / "x.npy")  # fmt: skip
    assert [path.name for path in tmp_path.iterdir()] == ["wide.npy"]


def test_an_autoencoder_has_no_scores(capsys, tmp_path, run):
    data = run.parent / "X.npy"
    must(capsys, "fit", data, "-o", tmp_path / "run", "--model", "autoencoder", *QUICK)
    refused(capsys, 1, "no density to score rows with", "score", tmp_path / "run")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": 99, "version": "9.9"}, "was written by latentmap 9.9 in format 99, newer"),
        ({"class": "Diffusion"}, "holds a run of class Diffusion, expected"),
        ({"weights_sha256": "0"}, "does not belong to its config.json"),
        ({"fitted": {}}, "cannot be read as a VAE"),
    ],
)
def test_runs_of_others_and_damaged_ones_are_refused(capsys, tmp_path, run, change, message):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | change))
    refused(capsys, 1, message, "transform", copy, run.parent / "X.npy", "-o", tmp_path / "z.npy")
    refused(capsys, 1, message, "report", copy)
    assert not (tmp_path / "z.npy").exists()


def test_a_run_of_a_newer_version_is_not_replaced(capsys, tmp_path, run):
    copy = tmp_path / "run"
    shutil.copytree(run, copy)
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"format": 99}))
    refused(capsys, 1, "newer", "fit", run.parent / "X.npy", "-o", copy, *QUICK, "--overwrite")
    refused(capsys, 1, "newer", "info", copy)


@pytest.mark.parametrize("what", ["nothing", "a file", "an empty folder", "a folder of other files", "half a run"])
def test_what_is_no_run_is_said_to_be_none(capsys, tmp_path, run, what):
    place = tmp_path / "place"
    if what == "a file":
        write(place, ["a,b", "1,2"])
    elif what != "nothing":
        place.mkdir()
    if what == "a folder of other files":
        write(place / "notes.txt", ["mine"])
    if what == "half a run":
        shutil.copy(run / "model.safetensors", place)
    message = "expected the folder of a saved run"
    for command in (["sample", place, "-o", tmp_path / "x.npy"], ["report", place]):
        assert "cannot read" in refused(capsys, 1, message, *command).err and not (tmp_path / "x.npy").exists()


def test_a_file_is_no_folder_for_results(capsys, run):
    data = run.parent / "X.npy"
    refused(capsys, 1, f"{data} is a file; give another folder", "compare", data, "-o", data)
    refused(capsys, 1, f"{data} is a file; give another folder", "transform", run, "-o", data / "z.npy")


@pytest.mark.parametrize("flags", [[], ["--overwrite"]])
def test_what_is_no_run_is_never_overwritten(capsys, tmp_path, run, flags):
    data = run.parent / "X.npy"
    folder = tmp_path / "thesis"
    folder.mkdir()
    write(folder / "config.json", ["{}"])
    write(folder / "chapter.txt", ["mine"])
    refused(capsys, 2, "is not a run of latentmap, so it is left alone", "fit", data, "-o", folder, *QUICK, *flags)
    refused(capsys, 2, "is a file", "fit", data, "-o", folder / "chapter.txt", *QUICK, *flags)
    assert {path.name: path.read_text() for path in folder.iterdir()} == {
        "config.json": "{}\n",
        "chapter.txt": "mine\n",
    }


@pytest.fixture
def forbidden():
    """A folder where nothing may be written, not even by the superuser, who becomes nobody for the test."""
    superuser = os.geteuid() == 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o555)
        if superuser:
            os.seteuid(NOBODY)
        yield folder
        if superuser:
            os.seteuid(0)
        folder.chmod(0o755)


def test_no_permission_to_write_is_found_before_the_work(capsys, run, forbidden):
    data = run.parent / "X.npy"
    for name, arguments in {
        "run": ["fit", data, *QUICK],
        "z.npy": ["transform", run, data],
        "x.npy": ["inverse", run, data],
        "s.png": ["sample", run],
        "s.csv": ["score", run, data],
        "compare": ["compare", data],
    }.items():
        target = f"{forbidden / name}{'/comparison.json' * (name == 'compare')}"
        answer = refused(capsys, 1, f"cannot write {target}: Permission denied", *arguments, "-o", forbidden / name)
        assert "60 rows" not in answer.err  # which is said when the work begins


@contextlib.contextmanager
def files_of_at_most(size):
    """Let no file grow beyond a size, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_is_found_before_the_work(capsys, tmp_path, run):
    data = run.parent / "X.npy"
    for name, arguments in {"run": ["fit", data, *QUICK], "z.npy": ["transform", run, data]}.items():
        with files_of_at_most(1000):
            answer = refused(capsys, 1, "cannot write", *arguments, "-o", tmp_path / name)
        assert "60 rows" not in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_disk_that_fills_up_leaves_nothing_half_written(capsys, tmp_path, run):
    data = run.parent / "X.npy"
    large = [*QUICK, "--set", "encoder=MLP((512, 1024))"]  # weights of 2 MB: more than what is tried beforehand
    with files_of_at_most(1_500_000):
        refused(capsys, 1, "model.safetensors", "fit", data, "-o", tmp_path / "new", *large)
        assert list(tmp_path.iterdir()) == []
    shutil.copytree(run, tmp_path / "old")
    before = {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()}
    with files_of_at_most(1_500_000):
        refused(capsys, 1, "model.safetensors", "fit", data, "-o", tmp_path / "old", "--overwrite", *large)
    assert {path.name: path.read_bytes() for path in (tmp_path / "old").iterdir()} == before
    must(capsys, "fit", data, "-o", tmp_path / "new", *large)  # the control


def test_devices_are_not_written_over(capsys, tmp_path, run):
    (tmp_path / "z.npy").symlink_to("/dev/full")
    refused(capsys, 2, "it is not a file", "transform", run, run.parent / "X.npy", "-o", tmp_path / "z.npy")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
