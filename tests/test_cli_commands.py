"""Each command does what it says, end to end, on the digits and on tables; JSON parses; what it writes reads back."""

import csv
import json

import numpy as np
import pytest

import latentmap
from command import ask, must
from latentmap.cli import main

QUICK = ("--set", "max_epochs=3")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a table with names and labels, as .csv and .npz, and a run on each of two data sets."""
    folder = tmp_path_factory.mktemp("cli")
    rng = np.random.default_rng(0)
    X = rng.normal(size=(100, 3)) @ rng.normal(size=(3, 4))
    kinds = np.where(X[:, 0] > 0, "elm", "oak")
    _table(folder / "trees.csv", ["height", "girth", "age", "crown", "kind"], X, kinds)
    np.savez(folder / "trees.npz", X=X, y=kinds)
    np.save(folder / "trees.npy", X)
    assert main(["fit", "digits", "-o", str(folder / "digits"), "--no-report", *QUICK]) == 0
    assert main(["fit", str(folder / "trees.csv"), "--labels", "kind", "-o", str(folder / "trees"), *QUICK]) == 0
    return folder


def _table(path, names, X, labels=None):
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(names)
        writer.writerows([*row, *([] if labels is None else [labels[i]])] for i, row in enumerate(X.tolist()))


@pytest.mark.parametrize("option", ["--max-epochs", "--epochs"])
def test_fit_takes_epochs_and_a_device(capsys, folder, tmp_path, option):
    options = ["--no-report", option, "2", "--device", "cpu", "--budget", "90 s"]
    assert must(capsys, "fit", folder / "trees.npy", "-o", tmp_path / "run", *options, "--json").json["epochs"] == 2
    model = latentmap.load(tmp_path / "run")
    assert (model.max_epochs, model.device, model.time_budget) == (2, "cpu", 90.0)


def test_fit_says_choices_facts_and_findings_and_leaves_a_run(capsys, tmp_path):
    run = tmp_path / "new" / "run"
    answer = must(capsys, "fit", "digits", "-o", run, *QUICK, "--set", "batch_size=512", "--seed", "7", "--json")
    assert "digits: 1,797 rows of 8 x 8" in answer.err and "labelled by digit (10 classes)" in answer.err
    assert "range (chosen for image values)" in answer.err and "512 (given)" in answer.err
    assert "ELBO" in answer.err and "Reconstruction" in answer.err and "components are active" in answer.err
    said = answer.json
    assert said["epochs"] == 3 and said["interrupted"] is False and said["model"] == "VAE"
    assert said["data"]["n_rows"] == 1797 and said["data"]["labels"] == "digit"
    assert {"components", "distortion"} <= {finding["kind"] for finding in said["findings"]}
    assert {path.name for path in run.iterdir()} >= {
        "config.json", "model.safetensors", "history.jsonl", "README.md", "data.json", "report.html", "figures",
    }  # fmt: skip
    assert "digits" in (run / "report.html").read_text() and list((run / "figures").glob("*.png"))
    model = latentmap.load(run)
    assert (model.batch_size, model.random_state, model.n_components) == (512, 7, 2)


def test_fit_takes_parts_and_an_autoencoder(capsys, tmp_path):
    parts = ("--set", "likelihood=Gaussian(scale=0.1)", "--set", "encoder=MLP(hidden=(32,))")
    must(capsys, "fit", "digits", "-o", tmp_path / "vae", *QUICK, *parts, "--no-report", "--n-components", "5")
    must(capsys, "fit", "digits", "-o", tmp_path / "ae", *QUICK, "--model", "autoencoder", "--no-report")
    vae, autoencoder = latentmap.load(tmp_path / "vae"), latentmap.load(tmp_path / "ae")
    assert vae.likelihood == latentmap.likelihoods.Gaussian(scale=0.1)
    assert vae.encoder == latentmap.networks.MLP((32,)) and vae.n_components == 5
    assert isinstance(autoencoder, latentmap.Autoencoder) and not (tmp_path / "ae" / "report.html").exists()


def test_a_budget_ends_the_fit(capsys, tmp_path, folder):
    said = must(capsys, "fit", folder / "trees.npy", "-o", tmp_path / "run", "--budget", "1s", "--json").json
    assert 0.1 < said["seconds"] < 3


def test_findings_that_ask_for_action_are_said_once(capsys, tmp_path):
    X = np.column_stack([np.random.default_rng(0).normal(size=(60, 2)), np.ones(60)])
    np.save(tmp_path / "X.npy", X)
    answer = must(capsys, "fit", tmp_path / "X.npy", "-o", tmp_path / "run", "--no-report", *QUICK)
    assert answer.err.count("never vary") == 1 and "  ! 1 of 3 features never vary" in answer.err


def test_the_same_seed_gives_the_same_codes(capsys, tmp_path, folder):
    codes = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        options = (*QUICK, "--no-report", "--seed", seed, "--set", "neighbors=None")
        must(capsys, "fit", folder / "trees.npz", "-o", tmp_path / name, *options)
        must(capsys, "transform", tmp_path / name, folder / "trees.npz", "-o", tmp_path / f"{name}.npy")
        codes.append(np.load(tmp_path / f"{name}.npy"))
    np.testing.assert_array_equal(codes[0], codes[1])
    assert not np.allclose(codes[0], codes[2])


def test_codes_and_rows_read_back_in_every_format(capsys, tmp_path, folder):
    model, X = latentmap.load(folder / "digits"), latentmap.load_dataset("digits")[0]
    for ending in ("npy", "npz", "csv", "tsv"):
        said = must(capsys, "transform", folder / "digits", "digits", "-o", tmp_path / f"z.{ending}", "--json").json
        assert said == {"output": str(tmp_path / f"z.{ending}"), "shape": [1797, 2], "dtype": "float32"}
        must(capsys, "inverse", folder / "digits", tmp_path / f"z.{ending}", "-o", tmp_path / f"{ending}.npy")
        decoded = np.load(tmp_path / f"{ending}.npy")
        assert decoded.shape == (1797, 8, 8)
        np.testing.assert_allclose(decoded, model.inverse_transform(model.transform(X)), atol=1e-3)
    header, first, *_ = (tmp_path / "z.csv").read_text().splitlines()
    assert header == "vae0,vae1"
    np.testing.assert_array_equal(np.float32(first.split(",")), np.load(tmp_path / "z.npy")[0])


def test_decoded_tables_have_the_names_of_their_columns(capsys, tmp_path, folder):
    must(capsys, "transform", folder / "trees", "-o", tmp_path / "z.npy")  # of the data of the run
    must(capsys, "inverse", folder / "trees", tmp_path / "z.npy", "-o", tmp_path / "x.csv")
    assert (tmp_path / "x.csv").read_text().startswith("height,girth,age,crown\n")


def test_columns_are_found_by_name_with_or_without_labels(capsys, tmp_path, folder):
    X = np.load(folder / "trees.npy")
    _table(tmp_path / "swapped.csv", ["crown", "age", "girth", "height"], X[:, ::-1])
    for data, name in ((folder / "trees.csv", "a"), (tmp_path / "swapped.csv", "b")):
        must(capsys, "transform", folder / "trees", data, "-o", tmp_path / f"{name}.npy")
    np.testing.assert_array_equal(np.load(tmp_path / "a.npy"), np.load(tmp_path / "b.npy"))
    _table(tmp_path / "wrong.csv", ["height", "girth", "age", "crwn"], X)
    answer = ask(capsys, "transform", folder / "trees", tmp_path / "wrong.csv", "-o", tmp_path / "c.npy")
    assert answer.code == 1 and "lacks column 'crown'" in answer.err and not (tmp_path / "c.npy").exists()


def test_sample_writes_numbers_and_pictures(capsys, tmp_path, folder):
    for seed in (0, 0, 1):
        must(capsys, "sample", folder / "digits", "-n", 9, "-o", tmp_path / f"{seed}.npy", "--seed", seed)
    means = np.load(tmp_path / "0.npy")
    assert means.shape == (9, 8, 8) and not np.allclose(means, np.load(tmp_path / "1.npy"))
    np.testing.assert_array_equal(means, latentmap.load(folder / "digits").sample(9, random_state=0))
    must(capsys, "sample", folder / "digits", "-n", 9, "-o", tmp_path / "noisy.npy", "--noise")
    assert not np.allclose(means, np.load(tmp_path / "noisy.npy"))
    for run, name, magic in (
        ("digits", "a.png", b"\x89PNG"),
        ("trees", "b.pdf", b"%PDF"),
        ("trees", "c.svg", b"<?"),
    ):
        must(capsys, "sample", folder / run, "-o", tmp_path / name)
        assert (tmp_path / name).read_bytes().startswith(magic)


def test_score_gives_bounds_that_rise_with_the_samples(capsys, tmp_path, folder):
    one = must(capsys, "score", folder / "trees", "-o", tmp_path / "s.csv", "--json").json
    many = must(capsys, "score", folder / "trees", folder / "trees.npy", "--samples", 64, "--json").json
    header, *values = (tmp_path / "s.csv").read_text().split()
    model = latentmap.load(folder / "trees")
    assert header == one["bound"] == "elbo" and many["bound"] == "iwae_64"
    np.testing.assert_allclose(np.array(values, float), model.score_samples(np.load(folder / "trees.npy")), rtol=1e-6)
    assert one["mean"] == pytest.approx(model.score(np.load(folder / "trees.npy")))
    assert many["mean"] > one["mean"] and float(values[one["lowest_row"] - 1]) == pytest.approx(one["lowest"])


def test_report_is_written_again_from_the_data_of_the_run(capsys, folder):
    page = folder / "trees" / "report.html"
    page.unlink()
    said = must(capsys, "report", folder / "trees", "--json").json
    assert said["report"] == str(page) and "height" in page.read_text() and len(said["figures"]) >= 6


def test_report_says_when_the_data_have_changed(capsys, tmp_path):
    X = np.random.default_rng(0).normal(size=(60, 3))
    np.save(tmp_path / "X.npy", X)
    must(capsys, "fit", tmp_path / "X.npy", "-o", tmp_path / "run", "--no-report", *QUICK)
    assert "changed" not in must(capsys, "report", tmp_path / "run").err
    np.save(tmp_path / "X.npy", X + 1)
    assert "note: " in (answer := must(capsys, "report", tmp_path / "run")).err and "changed since" in answer.err


def test_info_says_what_data_hold_and_what_fit_would_choose(capsys, tmp_path, folder):
    said = must(capsys, "info", "digits", "--json").json
    assert (said["n_rows"], said["event_shape"], said["kind"], said["labels"]) == (1797, [8, 8], "image", "digit")
    assert said["choices"]["scaling"] == "range" and said["choices"]["likelihood"].startswith("Gaussian")
    must(capsys, "fit", "digits", "-o", tmp_path / "run", "--no-report", *QUICK)
    chosen = latentmap.load(tmp_path / "run").choices_
    assert chosen["encoder"].startswith(said["choices"]["encoder"]) and chosen["scaling"].startswith("range")
    text = must(capsys, "info", folder / "trees.csv", "--labels", "kind").err
    assert "4 columns (height, girth, age, crown)" in text and "kind (2 classes)" in text and "standard" in text


@pytest.mark.parametrize("rows", [3, 5, 30, 600, 1797])
@pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")
def test_info_says_the_batch_epochs_and_neighbours_of_a_fit(capsys, tmp_path, digits, rows):
    def stop(_, progress):
        progress.stop()

    np.save(tmp_path / "X.npy", digits[:rows])
    said = must(capsys, "info", tmp_path / "X.npy", "--json").json["choices"]
    vae = latentmap.VAE(2, callbacks=[stop], random_state=0)
    vae.fit(np.load(tmp_path / "X.npy"))
    for name in ("batch_size", "max_epochs", "learning_rate", "encoder", "decoder"):
        assert vae.choices_[name].startswith(f"{said[name]} ("), name
    assert vae.choices_["neighbors"].replace(",", " ").split()[0] == str(said["neighbors"] or None)


def test_info_says_what_fit_would_refuse(capsys, tmp_path):
    X = np.zeros((5, 2))
    X[3, 1] = np.inf
    np.save(tmp_path / "X.npy", X)
    answer = must(capsys, "info", tmp_path / "X.npy", "--json")
    assert answer.json["infinite"] == 1 and "index [3, 1]" in answer.json["refused"] == answer.json["refused"]
    assert "fit would refuse" in answer.err


def test_info_describes_a_run(capsys, folder):
    answer = must(capsys, "info", folder / "trees", "--json")
    said = answer.json
    assert said["class"] == "VAE" and said["epochs"] == 3 and said["place"] == str(folder / "trees.csv")
    assert said["parameters"]["max_epochs"] == 3 and said["last"]["loss"] == pytest.approx(
        json.loads((folder / "trees" / "history.jsonl").read_text().splitlines()[-1])["loss"]
    )
    assert "VAE with 2 components" in answer.err and "100 rows of 4 columns" in answer.err


def test_compare_shows_tables_and_writes_numbers_and_pictures(capsys, tmp_path, folder):
    answer = must(capsys, "compare", folder / "trees.csv", "--labels", "kind", "--against", "pca", "-o",
                  tmp_path / "compare", "--seeds", "2", "--claims", "2", "--json")  # fmt: skip
    said = answer.json
    assert [method["method"] for method in said["methods"]] == ["PCA", "autoencoder", "VAE", "neighbour VAE"]
    assert said == json.loads((tmp_path / "compare" / "comparison.json").read_text())
    assert {claim["claim"] for claim in said["claims"]} == {"compact", "smooth", "realistic", "repaired"}
    page = (tmp_path / "compare" / "comparison.md").read_text()
    assert all(sentence in page and sentence in answer.err for sentence in said["conclusions"])
    assert "trustworthiness" in answer.err and "Claims of the VAE" in answer.err and "verdict" in answer.err
    pictures = {path.stem for path in (tmp_path / "compare").glob("*.png")}
    assert pictures >= {"comparison", "latent_gaps", "decoded_grids", "lines", "random_points"}
    assert pictures >= {"vae-samples", "vae-decoded", "autoencoder-samples", "autoencoder-decoded"}


def test_details_of_codes_are_columns_and_unusual_rows_are_counted(capsys, tmp_path, folder):
    codes = np.loadtxt(_details(capsys, folder, tmp_path, folder / "trees.csv"), delimiter=",", skiprows=1)
    np.save(tmp_path / "odd.npy", np.vstack([np.load(folder / "trees.npy")[:50], np.full((3, 4), 1e3)]))
    odd, said = _details(capsys, folder, tmp_path, tmp_path / "odd.npy", said=True)
    with odd.open() as file:
        head = next(csv.reader(file))
    names = ["trust", "uncertainty", "density", "magnification", "evidence", "unusual"]
    assert head == ["vae0", "vae1", *names] and codes.shape == (100, 8)
    unusual = np.loadtxt(odd, delimiter=",", skiprows=1)[:, -1]
    assert unusual[-3:].all() and set(unusual) == {0, 1}
    assert f"{unusual.sum():.0f} rows of" in said and "odd.npy are unlike those of the fit" in said


def test_clusters_are_a_column_of_the_codes_and_a_map_of_the_report(capsys, tmp_path, folder):
    codes = tmp_path / "z.csv"
    said = must(capsys, "transform", folder / "trees", "-o", codes, "--cluster").err
    with codes.open() as file:
        head, *rows = csv.reader(file)
    found = [float(row[-1]) for row in rows]
    count = int(max(found))
    assert head == ["vae0", "vae1", "cluster"] and set(found) | {0} == set(range(count + 1))
    assert f"{count} cluster" in said and f"{found.count(0)} row" in said and "codes of 2 components" in said
    must(capsys, "report", folder / "trees", "--cluster")
    assert "clusters by HDBSCAN" in (folder / "trees" / "report.html").read_text()
    answer = ask(capsys, "transform", folder / "trees", "-o", tmp_path / "y.csv", "--cluster", "--details")
    assert answer.code == 2 and "give one of them" in answer.err


def _details(capsys, folder, tmp_path, data, said=False):
    output = tmp_path / "z.csv"
    answer = must(capsys, "transform", folder / "trees", data, "-o", output, "--details")
    return (output, answer.err) if said else output


def test_a_run_is_replaced_only_when_asked_to_be(capsys, tmp_path, folder):
    run = tmp_path / "run"
    must(capsys, "fit", folder / "trees.npy", "-o", run, *QUICK)
    before = (run / "model.safetensors").read_bytes()
    answer = ask(capsys, "fit", folder / "trees.npy", "-o", run, *QUICK, "--seed", "1", "--no-report")
    assert answer.code == 2 and "--overwrite" in answer.err and (run / "model.safetensors").read_bytes() == before
    must(capsys, "fit", folder / "trees.npy", "-o", run, *QUICK, "--seed", "1", "--no-report", "--overwrite")
    assert (run / "model.safetensors").read_bytes() != before
    assert not (run / "report.html").exists() and not (run / "figures").exists()  # those of the run that went


def test_fit_chooses_a_model_for_its_purpose(capsys, tmp_path):
    table = np.random.default_rng(0).normal(size=(60, 2)) @ [[1.0, 2.0, 0.5], [0.3, -1.0, 1.0]]
    np.save(tmp_path / "X.npy", table)
    small = ("--epochs", "4", "--set", "encoder=MLP(hidden=(8,))", "--set", "decoder=MLP(hidden=(8,))", "--no-report")
    for name, options in {"map": (), "impute": (), "score": ("--n-components", "3"), "sample": ()}.items():
        run = tmp_path / name
        said = must(capsys, "fit", tmp_path / "X.npy", "-o", run, "--for", name, *options, *small, "--json").json
        model = latentmap.load(run)
        assert (model.n_components, model.neighbors) == {
            "map": (2, "auto"), "impute": ("auto", None), "score": (3, None), "sample": ("auto", None)
        }[name]  # fmt: skip
        assert ("n_components" in said["choices"]) == (model.n_components == "auto")
        assert (model.objective == latentmap.objectives.IWAE(5)) == (name in ("impute", "score"))
