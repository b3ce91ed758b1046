"""Ids, targets, extra and reordered columns: what the commands carry, ignore and refuse."""

import json

import numpy as np
import pandas as pd
import polars as pl
import pytest
from PIL import Image

import latentmap
from command import ask, must
from latentmap.cli import main
from latentmap.exceptions import DataError, IgnoredColumnsWarning
from latentmap.explorer.export_page import is_built

QUICK = ("--no-report", "--set", "max_epochs=2")
FEATURES = ["height", "girth", "age", "crown"]


def trees(mixed):
    """A table with an id whose zeros count, a target, and columns of numbers, or of several kinds."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(40, 2)) @ rng.normal(size=(2, 4))
    frame = pd.DataFrame(X, columns=FEATURES)
    frame.insert(0, "tree", [f"{i:03d}" for i in range(40)])
    soil = {"soil": np.where(X[:, 1] > 0, "clay", "sand")} if mixed else {}
    return frame.assign(**soil, kind=np.where(X[:, 0] > 0, "elm", "oak"))


def write(frame, path):
    """Write a frame in the format of the name."""
    frame.to_csv(path, index=False) if path.suffix == ".csv" else frame.to_parquet(path)
    return path


def read(path):
    """Read what a command wrote, ids as text."""
    return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path, dtype={"tree": str})


@pytest.fixture(scope="module", params=["numbers.csv", "numbers.parquet", "mixed.csv", "mixed.parquet"])
def fitted(request, tmp_path_factory):
    """A run that was told the id and the target, its table, and the ending of the file."""
    folder = tmp_path_factory.mktemp("ids")
    data = write(frame := trees("mixed" in request.param), folder / request.param)
    assert main(["fit", str(data), "-o", str(folder / "run"), "--id", "tree", "--labels", "kind", *QUICK]) == 0
    return folder / "run", frame, data.suffix


def test_an_id_is_remembered_and_not_fitted(fitted):
    run, frame, _ = fitted
    names = [name for name in frame.columns if name not in ("tree", "kind")]
    assert json.loads((run / "data.json").read_text())["id"] == "tree"
    assert list(latentmap.load(run).data_schema_.names) == names


@pytest.mark.parametrize("ending", [".csv", ".parquet"])
@pytest.mark.parametrize("command", [("transform",), ("transform", "--details"), ("score",), ("impute",)])
def test_the_id_stands_first_in_every_output(capsys, tmp_path, fitted, command, ending):
    run, frame, _ = fitted
    name, *options = command
    must(capsys, name, run, "-o", tmp_path / f"out{ending}", *options)
    written = read(tmp_path / f"out{ending}")
    assert written.columns[0] == "tree" and written["tree"].tolist() == frame["tree"].tolist()


def test_new_rows_may_have_other_columns_in_any_order(capsys, tmp_path, fitted):
    run, frame, ending = fitted
    new = write(frame[frame.columns[::-1]].assign(owner="me", price=2.5), tmp_path / f"new{ending}")
    must(capsys, "transform", run, write(frame, tmp_path / f"same{ending}"), "-o", tmp_path / "a.csv")
    answer = must(capsys, "transform", run, new, "-o", tmp_path / "b.csv", "--json")
    assert "2 columns that the data of the fit did not have, which are ignored: 'owner', 'price'" in answer.err
    assert answer.err.count("note:") == 1 and answer.json["id"] == "tree"
    pd.testing.assert_frame_equal(read(tmp_path / "a.csv"), read(tmp_path / "b.csv"))


@pytest.mark.parametrize("library", [pd, pl])
def test_a_run_takes_frames_of_the_same_file_by_name(fitted, library):
    run, frame, ending = fitted
    model = latentmap.load(run)
    swapped = frame[frame.columns[::-1]]
    with pytest.warns(IgnoredColumnsWarning, match="'tree'"):
        codes = model.transform(swapped if library is pd else pl.from_pandas(swapped))
    own = frame.drop(columns=["tree", "kind"])
    np.testing.assert_array_equal(codes, model.transform(own))
    with pytest.raises(DataError, match="lacks column 'age'"):
        model.transform(own.drop(columns="age"))


def test_missing_columns_and_text_among_numbers_are_errors(capsys, tmp_path, fitted):
    run, frame, ending = fitted
    lacking = write(frame.drop(columns=["age", "crown"]), tmp_path / f"lacking{ending}")
    answer = ask(capsys, "transform", run, lacking, "-o", tmp_path / "z.csv")
    assert answer.code == 1 and "lacks columns 'age', 'crown', which the data of the fit had" in answer.err
    text = write(frame.assign(age="old"), tmp_path / f"text{ending}")
    answer = ask(capsys, "transform", run, text, "-o", tmp_path / "z.csv")
    assert answer.code == 1 and "'age'" in answer.err and not (tmp_path / "z.csv").exists()


def test_without_the_id_of_the_fit_rows_keep_their_order_and_that_is_said(capsys, tmp_path, fitted):
    run, frame, ending = fitted
    new = write(frame.drop(columns=["tree", "kind"]).assign(mark=range(40)), tmp_path / f"new{ending}")
    answer = must(capsys, "transform", run, new, "-o", tmp_path / "z.csv")
    assert "no column 'tree', the id of the fit" in answer.err
    assert read(tmp_path / "z.csv").columns.tolist() == ["vae0", "vae1"]
    must(capsys, "transform", run, new, "-o", tmp_path / "z.csv", "--id", "mark")
    assert read(tmp_path / "z.csv")["mark"].tolist() == list(range(40))
    answer = ask(capsys, "score", run, new, "-o", tmp_path / "s.csv", "--id", "marks")
    assert answer.code == 1 and "no column 'marks': did you mean 'mark'" in answer.err


def test_arrays_say_that_the_id_is_not_in_them(capsys, tmp_path, fitted):
    run, frame, _ = fitted
    assert "z.npy holds numbers alone, without 'tree'" in must(capsys, "transform", run, "-o", tmp_path / "z.npy").err
    must(capsys, "transform", run, "-o", tmp_path / "z.npz")
    assert np.load(tmp_path / "z.npz")["tree"].tolist() == frame["tree"].tolist()


def test_inverse_takes_components_by_name(capsys, tmp_path, fitted):
    run, frame, _ = fitted
    must(capsys, "transform", run, "-o", tmp_path / "z.parquet", "--details")
    codes = read(tmp_path / "z.parquet")
    write(codes[codes.columns[::-1]].assign(remark="-"), tmp_path / "swapped.csv")
    must(capsys, "inverse", run, tmp_path / "swapped.csv", "-o", tmp_path / "x.csv")
    decoded = read(tmp_path / "x.csv")
    assert decoded["tree"].tolist() == frame["tree"].tolist()
    model = latentmap.load(run)
    expected = np.asarray(model.inverse_transform(codes[["vae0", "vae1"]]))[:, :4].astype(float)
    np.testing.assert_allclose(decoded[FEATURES], expected, rtol=1e-5)
    write(codes[["tree", "vae0"]], tmp_path / "one.csv")
    answer = ask(capsys, "inverse", run, tmp_path / "one.csv", "-o", tmp_path / "x.csv")
    assert answer.code == 1 and "lacks column 'vae1'" in answer.err
    write(codes[["vae0", "vae1"]].set_axis(["a", "b"], axis=1), tmp_path / "own.csv")  # by place
    must(capsys, "inverse", run, tmp_path / "own.csv", "-o", tmp_path / "y.csv")
    np.testing.assert_allclose(read(tmp_path / "y.csv")[FEATURES], decoded[FEATURES], rtol=1e-5)


def test_an_index_of_row_names_can_be_the_id(capsys, tmp_path):
    frame = trees(False).set_index("tree").drop(columns="kind")
    frame.to_parquet(tmp_path / "named.parquet")
    frame.rename_axis(None).to_csv(tmp_path / "unnamed.csv")
    for file, name in (("named.parquet", "tree"), ("unnamed.csv", "index")):
        must(capsys, "fit", tmp_path / file, "-o", tmp_path / file.split(".")[0], "--id", name, *QUICK)
        must(capsys, "score", tmp_path / file.split(".")[0], "-o", tmp_path / "s.csv")
        written = pd.read_csv(tmp_path / "s.csv", dtype={name: str})
        assert written[name].tolist() == frame.index.tolist() and written.columns.tolist() == [name, "elbo"]


def test_ids_are_written_as_they_came(capsys, tmp_path):
    frame = trees(False).drop(columns="kind")
    for ids in (
        [f'a,"{i}"\nb' for i in range(40)],
        pd.date_range("2024-01-01", periods=40).tolist(),
        [2**60 + i for i in range(40)],
        [None, *range(39)],
    ):
        table = pl.DataFrame({"tree": ids, **{name: frame[name].to_numpy() for name in FEATURES}})
        table.write_parquet(tmp_path / "t.parquet")
        must(capsys, "fit", tmp_path / "t.parquet", "-o", tmp_path / "run", "--id", "tree", "--overwrite", *QUICK)
        must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.parquet")
        assert pl.read_parquet(tmp_path / "z.parquet")["tree"].to_list() == table["tree"].to_list()
        must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.csv")
        assert len(pd.read_csv(tmp_path / "z.csv")) == 40


def test_tables_that_stay_on_the_disk_are_read_alike(capsys, tmp_path, fitted, monkeypatch):
    run, frame, _ = fitted
    new = write(frame[frame.columns[::-1]].assign(owner="me"), tmp_path / "new.parquet")
    must(capsys, "transform", run, new, "-o", tmp_path / "a.parquet")
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    monkeypatch.setattr("latentmap.cli.runs.fits", lambda *_: False)
    monkeypatch.setattr("latentmap.cli.runs.BLOCK_VALUES", 28)  # several blocks
    assert "ignored: 'owner'" in must(capsys, "transform", run, new, "-o", tmp_path / "b.parquet").err
    pd.testing.assert_frame_equal(read(tmp_path / "a.parquet"), read(tmp_path / "b.parquet"), rtol=1e-4)


def test_an_id_that_repeats_is_said(capsys, tmp_path):
    write(trees(False).assign(tree=["a", "b"] * 20), tmp_path / "t.csv")
    options = ["-o", tmp_path / "run", "--id", "tree", "--labels", "kind", *QUICK]
    assert "'tree' repeats in 38 rows" in must(capsys, "fit", tmp_path / "t.csv", *options).err


def test_an_id_that_is_named_as_an_output_is_an_error(capsys, tmp_path):
    write(trees(False).rename(columns={"tree": "vae0"}), tmp_path / "t.csv")
    must(capsys, "fit", tmp_path / "t.csv", "-o", tmp_path / "run", "--id", "vae0", "--labels", "kind", *QUICK)
    answer = ask(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.csv")
    assert answer.code == 1 and "an id of that name: rename the id in the data" in answer.err


def test_rows_that_were_skipped_leave_the_numbers_of_the_others(capsys, tmp_path):
    folder = tmp_path / "pictures"
    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(30):
        Image.fromarray(rng.integers(0, 255, (6, 6), np.uint8)).save(folder / f"{i:02d}.png")
    (folder / "04.png").write_bytes(b"no image")
    must(capsys, "fit", folder, "-o", tmp_path / "run", "--skip-bad", *QUICK)
    for command in ("transform", "score"):
        must(capsys, command, tmp_path / "run", "-o", tmp_path / "z.csv")
        written = pd.read_csv(tmp_path / "z.csv")
        assert written.columns[0] == "row" and written["row"].tolist() == [1, 2, 3, 4, *range(6, 31)]
    must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.csv", "--id", "file")
    assert pd.read_csv(tmp_path / "z.csv")["file"].tolist()[3:5] == ["03.png", "05.png"]
    must(capsys, "transform", tmp_path / "run", "-o", f"{tmp_path}/z/")
    (folder / "04.png").rename(folder / "30.png")  # the same rows of other numbers
    must(capsys, "transform", tmp_path / "run", "-o", f"{tmp_path}/z/")
    parts = pd.read_parquet(tmp_path / "z")
    assert parts["row"].tolist() == [1, 2, 3, 4, *range(5, 30)]
    must(capsys, "transform", tmp_path / "run", "-o", tmp_path / "z.csv", "--id", "file")
    assert pd.read_csv(tmp_path / "z.csv")["file"].tolist()[3:5] == ["03.png", "05.png"]


COMMANDS = {
    "transform": ["-o", "{}/z.csv"],
    "score": ["-o", "{}/z.csv"],
    "impute": ["-o", "{}/z.csv"],
    "report": [],
    "export": ["--html", "{}/z.html"],
}


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_leaves_out_pictures_that_cannot_be_read(capsys, tmp_path, command):
    if command == "export" and not is_built():
        pytest.skip("the page is not built: run make page")
    rng = np.random.default_rng(0)
    for folder in ("good", "bad"):
        (tmp_path / folder).mkdir()
        for i in range(20):
            Image.fromarray(rng.integers(0, 255, (6, 6), np.uint8)).save(tmp_path / folder / f"{i:02d}.png")
    (tmp_path / "bad/04.png").write_bytes(b"no image")
    must(capsys, "fit", tmp_path / "good", "-o", tmp_path / "run", *QUICK)
    call = [command, tmp_path / "run", tmp_path / "bad", *(word.format(tmp_path) for word in COMMANDS[command])]
    refused = ask(capsys, *call)
    assert refused.code == 1 and "04.png cannot be read as an image" in refused.err
    assert "1 of 20 images cannot be read: 04.png" in must(capsys, *call, "--skip-bad").err
    if (tmp_path / "z.csv").exists():
        assert pd.read_csv(tmp_path / "z.csv")["row"].tolist() == [1, 2, 3, 4, *range(6, 21)]


def test_a_report_colours_maps_by_any_column(capsys, tmp_path, fitted):
    run, frame, ending = fitted
    planted = pd.date_range("2001-01-01", periods=40)
    new = write(frame.assign(owner=["me", "you"] * 20, planted=planted), tmp_path / f"new{ending}")
    said = must(capsys, "report", run, new, "--color", "owner,girth", "--color", "planted", "--json").json
    names = {path.rpartition("/")[2] for path in said["figures"]}
    assert {"map.png", "map_1_owner.png", "map_2_girth.png", "map_3_planted.png"} <= names
    page = (run / "report.html").read_text()
    assert "The map, by owner" in page and "coloured by girth from" in page and "coloured by planted from 2001" in page
    answer = ask(capsys, "report", run, new, "--color", "ownr")
    assert answer.code == 1 and "did you mean 'owner'" in answer.err


def test_a_file_without_a_header_is_taken_by_place(capsys, tmp_path, fitted):
    run, frame, ending = fitted
    if latentmap.load(run).table_ is not None:
        pytest.skip("tables of several kinds need names")
    frame[FEATURES].to_csv(tmp_path / "bare.csv", index=False, header=False)
    must(capsys, "transform", run, tmp_path / "bare.csv", "-o", tmp_path / "z.csv")
    np.testing.assert_allclose(read(tmp_path / "z.csv"), latentmap.load(run).transform(frame[FEATURES]), rtol=1e-5)
