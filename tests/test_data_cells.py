"""Sparse matrices, cells and genes, Zarr stores: the same numbers as the array that they hold."""

import copy
import sys

import numpy as np
import pytest
import torch
from scipy import sparse, stats

from command import ask, must
from latentmap import VAE, likelihoods, load, networks, plot
from latentmap.cli import main
from latentmap.data.formats.chunked import ChunkedSource
from latentmap.data.formats.sparse import SparseSource
from latentmap.data.selection import Selection
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError, IgnoredColumnsWarning, MissingExtraError, PartError

TINY = networks.MLP((16,))
SMALL = {"encoder": TINY, "decoder": TINY, "max_epochs": 3, "random_state": 0}
pytestmark = pytest.mark.filterwarnings("ignore::latentmap.exceptions.DiagnosisWarning")


def counts(n=300, genes=200, seed=0):
    """Two types of cells, each sequenced to a depth of its own."""
    rng = np.random.default_rng(seed)
    kind = np.arange(n) % 2
    rates = rng.dirichlet(np.ones(genes), 2)[kind]
    return rng.poisson(rates * np.exp(rng.normal(4.0, 0.8, (n, 1)))).astype(np.float32), kind


def cells(n=300):
    anndata = pytest.importorskip("anndata")
    X, kind = counts(n)
    data = anndata.AnnData(sparse.csr_matrix(np.log1p(X)))
    data.var_names = [f"gene{i}" for i in range(X.shape[1])]
    data.obs["kind"] = np.where(kind == 1, "T", "B")
    data.obs["kind"] = data.obs["kind"].astype("category")
    data.layers["counts"] = sparse.csr_matrix(X)
    data.layers["dense"] = X
    return data, X


# ---- sparse matrices


@pytest.mark.parametrize("kind", ["csr", "csc", "coo", "lil"])
@pytest.mark.parametrize("make", [sparse.csr_array, sparse.csr_matrix])
def test_a_sparse_matrix_is_the_array_that_it_holds(kind, make):
    X, _ = counts(50)
    source = open_source(make(X).asformat(kind))
    np.testing.assert_array_equal(source.read(slice(None)), X)
    np.testing.assert_array_equal(source.read(np.array([7, 3])), X[[7, 3]])
    np.testing.assert_array_equal(np.concatenate([b for _, b in source.blocks(100)]), X)
    assert source.schema == open_source(X).schema and source.fingerprint == open_source(X).fingerprint
    assert source.bytes < X.nbytes and source.read(slice(0, 1)).dtype == np.float32


def test_whole_numbers_stay_exact():
    assert open_source(sparse.csr_array(np.array([[2**24, 0]]))).read(slice(None)).dtype == np.float32
    large = open_source(sparse.csr_array(np.array([[2**24 + 1, 0]])))
    assert large.read(slice(None)).tolist() == [[2**24 + 1, 0]]
    with pytest.raises(DataError, match="beyond 2\\^53"):
        open_source(sparse.csr_array(np.array([[2**60, 0]])))
    with pytest.raises(DataError, match=r"a sparse matrix of shape \(0, 3\)"):
        open_source(sparse.csr_array((0, 3)))


def test_a_fit_to_a_sparse_matrix_is_the_fit_to_its_array():
    X, _ = counts()
    inside = VAE(2, likelihood=likelihoods.NegativeBinomial(library=True), **SMALL).fit(X)
    kept = VAE(2, **SMALL).fit(sparse.csr_array(X))
    assert kept.choices_["memory"].startswith("a sparse matrix") and "NegativeBinomial" in kept.choices_["likelihood"]
    assert kept.choices_["neighbors"] == inside.choices_["neighbors"]
    np.testing.assert_allclose(kept.transform(sparse.csc_array(X)), inside.transform(X), atol=1e-4)
    np.testing.assert_allclose(kept.score_samples(X), inside.score_samples(X), rtol=1e-4)
    other = VAE(2, **SMALL | {"random_state": 1}).fit(sparse.csr_array(X))
    assert np.abs(other.transform(X) - inside.transform(X)).max() > 1e-2  # the comparison would see a difference


def test_a_sparse_matrix_is_never_dense_as_a_whole(monkeypatch):
    X = sparse.random_array(
        (4000, 500), density=0.01, rng=np.random.default_rng(0), data_sampler=lambda size: np.ones(size)
    )
    read, most = SparseSource.read, []

    def watched(self, rows):
        found = read(self, rows)
        most.append(len(found))
        return found

    monkeypatch.setattr(SparseSource, "read", watched)
    vae = VAE(2, **SMALL | {"max_epochs": 1}, neighbors=None, memory="10MB").fit(X)
    vae.transform(X), vae.score(X)
    assert max(most) < 4000


def test_batches_are_given_to_a_conditional_model_of_a_sparse_matrix():
    X, kind = counts()
    batch = np.where(np.arange(300) < 150, "a", "b")
    vae = VAE(2, condition="labels", **SMALL).fit(sparse.csr_array(X), batch)
    assert vae.transform(sparse.csr_array(X), batch).shape == (300, 2) and list(vae.classes_) == ["a", "b"]
    with pytest.raises(DataError, match="300"):
        vae.transform(sparse.csr_array(X), batch[:5])


def test_a_graph_that_was_given_serves_a_sparse_matrix():
    X, _ = counts()
    graph = np.random.default_rng(0).integers(0, 300, (300, 5))
    vae = VAE(2, neighbors=graph, **SMALL).fit(sparse.csr_array(X))
    assert "a graph" in vae.choices_["neighbors"]


# ---- totals of rows


@pytest.mark.parametrize(
    "part",
    [
        likelihoods.Poisson(library=True),
        likelihoods.NegativeBinomial(library=True),
        likelihoods.ZeroInflated(likelihoods.NegativeBinomial(library=True)),
    ],
    ids=str,
)
def test_with_its_total_given_the_code_of_a_row_holds_proportions(part):
    X, _ = counts(120)
    vae = VAE(2, likelihood=part, neighbors=None, **SMALL).fit(X)
    np.testing.assert_allclose(vae.transform(X), vae.transform(3 * X), atol=1e-5)
    if not isinstance(part, likelihoods.ZeroInflated):
        np.testing.assert_allclose(vae.reconstruct(X).sum(1), X.sum(1), rtol=1e-4)
        np.testing.assert_allclose(vae.inverse_transform(np.zeros((1, 2))).sum(), X.sum(1).mean(), rtol=1e-4)
    plain = VAE(2, likelihood=likelihoods.Poisson(), neighbors=None, **SMALL).fit(X)
    assert np.abs(plain.transform(X) - plain.transform(3 * X)).max() > 1e-2  # without, they hold the depth too


def test_masses_with_totals_given_are_those_of_scipy():
    X, _ = counts(60)
    for part in (likelihoods.Poisson(library=True), likelihoods.NegativeBinomial(0.5, library=True)):
        model = VAE(2, likelihood=part, neighbors=None, **SMALL).fit(X).model_.double()
        x = torch.from_numpy(X).double()
        with torch.no_grad():
            trace = model.trace(x)
            mean = model.decode(trace.levels[0].z).mean[0].numpy()
        mean *= X.sum(1, keepdims=True) / mean.sum(1, keepdims=True)
        masses = stats.poisson(mean) if part.__class__.__name__ == "Poisson" else stats.nbinom(2, 1 / (1 + 0.5 * mean))
        np.testing.assert_allclose(trace.log_px[0].numpy(), masses.logpmf(X).sum(1), rtol=1e-6)


def test_depth_is_not_mistaken_for_a_kind_of_cell():
    X, kind = counts(600)
    depth = np.log(X.sum(1))
    settings = {"neighbors": None, "max_epochs": 40, "random_state": 0, "encoder": TINY, "decoder": TINY}

    def explained(part):
        Z = np.c_[VAE(2, likelihood=part, **settings).fit(X).transform(X), np.ones(600)]
        return [1 - np.var(t - Z @ np.linalg.lstsq(Z, t, rcond=None)[0]) / np.var(t) for t in (depth, kind)]

    given, not_given = (explained(likelihoods.NegativeBinomial(library=library)) for library in (True, False))
    assert given[1] > 0.8 and given[0] < 0.2 < 0.8 < not_given[0]


def test_missing_counts_have_no_total():
    with pytest.raises(PartError, match="rows with missing counts have no total"):
        likelihoods.Incomplete(likelihoods.Poisson(library=True))


# ---- cells and genes


def test_layers_and_columns_of_cells(tmp_path):
    data, X = cells()
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    for place in (path, data):
        source = open_source(place, labels="kind")
        np.testing.assert_array_equal(source.read(slice(None)), np.log1p(X))
        assert source.names[:2] == ("gene0", "gene1") and source.labels[:3].tolist() == ["B", "T", "B"]
    assert open_source(path).remark == f"X is taken; the layer of raw counts is {path}::counts"
    for layer in ("counts", "dense"):
        source = open_source(f"{path}::{layer}")
        assert isinstance(source, SparseSource)  # counts that are mostly 0, however they are stored
        np.testing.assert_array_equal(source.read(slice(None)), X)
    for place, message in {
        f"{path}::count": "has no matrix 'count': did you mean 'counts'",
        str(tmp_path / "none.h5ad::counts"): "no such file",
    }.items():
        with pytest.raises(DataError, match=message):
            open_source(place)
    with pytest.raises(DataError, match="has no column 'kin' in obs: did you mean 'kind'"):
        open_source(path, labels="kin")


def test_cells_that_do_not_fit_stay_in_their_file(tmp_path, monkeypatch):
    data, X = cells(5000)
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    monkeypatch.setattr("latentmap.data.formats.annotated.LARGEST", 1000)
    monkeypatch.setattr("latentmap.data.formats.annotated.LAZY", 1000)
    monkeypatch.setattr("latentmap.data.formats.chunked.LAZY", 1000)
    for layer in ("counts", "dense"):
        source = open_source(f"{path}::{layer}")
        assert isinstance(source, ChunkedSource)
        np.testing.assert_array_equal(source.read(slice(2000, 2010)), X[2000:2010])
        np.testing.assert_array_equal(source.read(slice(0, 100, 7)), X[:100:7])
        np.testing.assert_array_equal(source.read(np.array([4999, 0, 2047])), X[[4999, 0, 2047]])
        np.testing.assert_array_equal(np.concatenate([b for _, b in source.blocks(10_000)]), X)
    vae = VAE(2, **SMALL, neighbors=None, memory="1MB").fit(f"{path}::counts")
    assert "blocks of" in vae.choices_["memory"] and "library=True" in vae.choices_["likelihood"]


def test_damaged_cells_are_named(tmp_path):
    data, _ = cells()
    path = tmp_path / "cells.h5ad"
    data.write_h5ad(path)
    whole = path.read_bytes()
    for name, content in {"short": whole[: len(whole) // 2], "bytes": b"\0not cells"}.items():
        (tmp_path / f"{name}.h5ad").write_bytes(content)
        with pytest.raises(DataError, match=f"{name}.h5ad: not a readable .h5ad file"):
            open_source(tmp_path / f"{name}.h5ad")


def test_the_command_maps_cells(tmp_path, capsys):
    data, X = cells()
    path, run = tmp_path / "cells.h5ad", tmp_path / "run"
    data.write_h5ad(path)
    assert main(["info", f"{path}::counts", "--labels", "kind"]) == 0
    said = capsys.readouterr().err
    assert "NegativeBinomial(dispersion='feature', library=True)" in said and "kind (2 classes)" in said
    fit = [
        "fit",
        f"{path}::counts",
        "--labels",
        "kind",
        "-o",
        str(run),
        "--set",
        "max_epochs=2",
        "--set",
        "encoder=MLP",
    ]
    assert main(fit) == 0 and "feature names" not in capsys.readouterr().err
    assert (run / "report.html").exists()
    assert main(["transform", str(run), "-o", str(tmp_path / "codes.npy")]) == 0
    codes = np.load(tmp_path / "codes.npy")
    np.testing.assert_allclose(codes, load(run).transform(sparse.csr_array(X)), atol=1e-5)
    assert main(["impute", str(run), "-o", str(tmp_path / "filled.npy")]) == 0
    np.testing.assert_array_equal(np.load(tmp_path / "filled.npy"), X)


def test_genes_are_found_by_name_in_any_order(tmp_path, monkeypatch):
    anndata = pytest.importorskip("anndata")
    data, _ = cells()
    turned = data[:, ::-1].copy()
    other = data.copy()
    other.var_names = [f"other{i}" for i in range(data.n_vars)]
    wide = np.pad(data.X.toarray(), ((0, 0), (0, 2)))
    more = anndata.AnnData(wide, obs=data.obs, var={"gene": [*data.var_names, "extra1", "extra2"]})
    more.var_names = more.var["gene"]
    for name, one in {"cells": data, "turned": turned, "other": other}.items():
        one.write_h5ad(tmp_path / f"{name}.h5ad")
    kept = {"memory": data, "file": str(tmp_path / "cells.h5ad"), "array": data.X}
    estimators = {name: VAE(2, **SMALL, neighbors=None).fit(one) for name, one in kept.items()}
    estimators["frame"] = VAE(2, **SMALL, neighbors=None).fit(data.to_df())
    estimators["frame"].save(tmp_path / "run")
    estimators["loaded"] = load(tmp_path / "run")
    for name, vae in estimators.items():
        by_place = name == "array"  # the fit knows no names
        expected = vae.transform(data)
        for X in (turned, tmp_path / "turned.h5ad"):
            equal = np.allclose(vae.transform(X), expected, atol=1e-5)
            assert equal != by_place, name
    vae = estimators["memory"]
    expected = vae.transform(data)
    with pytest.warns(IgnoredColumnsWarning, match="2 columns .* ignored: 'extra[12]', 'extra[12]'"):
        np.testing.assert_array_equal(vae.transform(more[:, ::-1]), expected)
    np.testing.assert_allclose(vae.transform(data.to_df().iloc[:, ::-1]), expected, atol=1e-5)
    for X in (data[:, :-2], other, tmp_path / "other.h5ad"):
        with pytest.raises(DataError, match="lacks columns 'gene(198|0)', 'gene(199|1)'.* which the data of"):
            vae.transform(X)
    for at in ("annotated.LARGEST", "annotated.LAZY", "chunked.LAZY"):
        monkeypatch.setattr(f"latentmap.data.formats.{at}", 1000)
    for layer in ("counts", "dense"):  # whose values stay in the file
        source = open_source(f"{tmp_path}/turned.h5ad::{layer}", selection=Selection(wanted=tuple(data.var_names)))
        assert isinstance(source, ChunkedSource) and source.names == tuple(data.var_names)
        whole = data.layers["dense"]
        np.testing.assert_array_equal(source.read(slice(5, 9)), whole[5:9])


def test_a_fit_that_goes_on_finds_genes_by_name():
    data, _ = cells()
    vae = VAE(2, **SMALL, neighbors=None, warm_start=True).fit(data)
    twice = [copy.deepcopy(vae).fit(X).transform(data) for X in (data, data[:, ::-1].copy())]
    np.testing.assert_array_equal(*twice)


def test_rows_have_the_names_of_cells(tmp_path, capsys):
    data, _ = cells(40)
    data.obs_names = [f"cell{i}" for i in range(40)]
    path, run, codes = tmp_path / "cells.h5ad", tmp_path / "run", tmp_path / "codes.csv"
    data.write_h5ad(path)
    for place in (path, data):
        assert open_source(place, "index").labels[:2].tolist() == ["cell0", "cell1"]
    must(capsys, "fit", path, "-o", run, "--set", "max_epochs=1", "--no-report")
    for name in ("index", "_index"):
        must(capsys, "transform", run, "--id", name, "-o", codes)
        lines = codes.read_text().splitlines()
        assert lines[0].split(",")[0] == name and [line.split(",")[0] for line in lines[1:3]] == ["cell0", "cell1"]
    assert "no column 'barcode' in obs" in ask(capsys, "transform", run, "--id", "barcode", "-o", codes).err
    data.obs.index.name = "barcode"
    data.obs["index"] = np.arange(40)  # a column of that name comes first
    data.write_h5ad(path)
    assert open_source(path, "barcode").labels[1] == "cell1" and open_source(path, "index").labels[1] == 1


def test_figures_take_cells():
    data, _ = cells()
    vae = VAE(2, **SMALL, neighbors=None).fit(data)
    drawn = plot.map(vae, data, color="kind")
    assert drawn.labels.names == ("B", "T") and np.bincount(drawn.labels.codes).tolist() == [150, 150]
    np.testing.assert_array_equal(drawn.data_, vae.transform(data))
    assert plot.map(vae, data, color="gene1").labels.title == "gene1"
    with pytest.raises(DataError, match="no column 'kin' in obs"):
        plot.map(vae, data, color="kin")
    turned = plot.reconstructions(vae, data[:, ::-1].copy()).data_
    np.testing.assert_allclose(turned, plot.reconstructions(vae, data).data_, atol=1e-5)
    assert plot.samples(vae, 4, X=data).data_.shape == (4, 200)


# ---- Zarr


def test_zarr_arrays_and_groups(tmp_path, monkeypatch):
    zarr = pytest.importorskip("zarr")
    X = np.random.default_rng(0).normal(size=(500, 6)).astype(np.float32)
    zarr.create_array(str(tmp_path / "one.zarr"), data=X, chunks=(64, 6))
    group = zarr.open_group(str(tmp_path / "two.zarr"), mode="w")
    for name, array in {"X": X, "other": X[:, :2], "y": np.arange(500)}.items():
        group.create_array(name, data=array)
    for limit in (10**9, 100):
        monkeypatch.setattr("latentmap.data.formats.chunked.LAZY", limit)
        source = open_source(tmp_path / "one.zarr")
        assert isinstance(source, ChunkedSource) == (limit == 100)
        np.testing.assert_array_equal(source.read(slice(None)), X)
        np.testing.assert_array_equal(source.read(np.array([499, 1])), X[[499, 1]])
    assert [part.start for part in source.parts(100)][:3] == [0, 64, 128]
    source = open_source(tmp_path / "two.zarr")
    assert source.label_name == "y" and source.labels[-1] == 499
    assert open_source(f"{tmp_path / 'two.zarr'}::other").first.shape == (1, 2)
    with pytest.raises(DataError, match="has no array 'z': there are:"):
        open_source(f"{tmp_path / 'two.zarr'}::z")
    assert main(["info", str(tmp_path / "one.zarr")]) == 0


def test_zarr_as_anndata_writes_it(tmp_path):
    data, X = cells()
    with pytest.warns(UserWarning):  # of the version that it writes
        data.write_zarr(tmp_path / "cells.zarr")
    source = open_source(f"{tmp_path / 'cells.zarr'}::counts", labels="kind")
    np.testing.assert_array_equal(source.read(slice(None)), X)
    assert source.labels[1] == "T"


def test_zarr_that_is_damaged_or_would_be_unpickled_is_refused(tmp_path):
    pytest.importorskip("zarr")
    folder = tmp_path / "bad.zarr"
    folder.mkdir()
    with pytest.raises(DataError, match="not a readable .zarr file"):
        open_source(folder)
    (folder / ".zarray").write_text('{"zarr_format": 2, "filters": [{"id": "pickle"}], "dtype": "|O", "shape": [2]}')
    with pytest.raises(DataError, match="holds pickled Python objects, which are never loaded"):
        open_source(folder)


@pytest.mark.parametrize(("module", "name"), [("anndata", "x.h5ad"), ("zarr", "x.zarr")])
def test_a_missing_extra_is_one_line(tmp_path, monkeypatch, module, name):
    (tmp_path / name).write_bytes(b"\0something")
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match="pip install"):
        open_source(tmp_path / name)
