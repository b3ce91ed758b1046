"""Small files of every format that is read, and runs of several kinds, to be damaged."""

from __future__ import annotations

import contextlib
import gzip
import sqlite3
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy import sparse

X = np.random.default_rng(0).normal(size=(12, 3))
FRAME = pd.DataFrame(
    {
        "number": X[:, 0],
        "count": np.arange(12),
        "text": ["u", "v", None] * 4,
        "day": pd.date_range("2020-01-01", periods=12),
        "kind": pd.Categorical(["p", "q"] * 6),
    },
    index=pd.Index(range(5, 17), name="id"),
)
MANIFEST = """<?xml version="1.0" encoding="UTF-8"?>
<manifest:manifest xmlns:manifest="urn:oasis:names:tc:opendocument:xmlns:manifest:1.0"/>"""
SPREADSHEET = """<?xml version="1.0" encoding="UTF-8"?><office:document-content
xmlns:office="urn:oasis:names:tc:opendocument:xmlns:office:1.0"
xmlns:table="urn:oasis:names:tc:opendocument:xmlns:table:1.0"
xmlns:text="urn:oasis:names:tc:opendocument:xmlns:text:1.0"><office:body><office:spreadsheet>
<table:table table:name="Sheet">{}</table:table></office:spreadsheet></office:body></office:document-content>"""


def write_h5ad(path: Path, values: Any = X) -> None:
    """Write values as X and a layer, with labels."""
    import anndata

    obs = pd.DataFrame({"k": pd.Categorical(list("ab") * 6)}, index=[f"row {i}" for i in range(12)])
    anndata.AnnData(values, obs=obs, layers={"counts": values.copy()}).write_h5ad(path)


def write_old_h5ad(path: Path) -> None:
    """Write a file as anndata did before version 0.7."""
    import h5py

    counts = sparse.csr_matrix(np.abs(np.rint(X)))
    obs = np.zeros(12, [("index", "S4"), ("k", "i1")])
    obs["k"] = [0, 1, -1] * 4
    var = np.array([(b"g0",), (b"g1",), (b"g2",)], [("index", "S4")])
    with h5py.File(path, "w") as file:
        file.update({"obs": obs, "var": var, "raw.X": X, "raw.var": var, "uns/k_categories": np.array([b"p", b"q"])})
        file["obsm"] = np.zeros(12, [("X_pca", "f4", (2,)), ("time", "f4")])
        file.create_group("X").attrs.update({"h5sparse_format": b"csr", "h5sparse_shape": counts.shape})
        file["X"].update({name: getattr(counts, name) for name in ("data", "indices", "indptr")})


def write_ods(path: Path, **attributes: int) -> None:
    """Write a sheet of OpenDocument; ``columns`` and ``rows`` repeat its last cell and row."""
    repeats = {kind: f' table:number-{kind}-repeated="{number}"' for kind, number in attributes.items()}
    value = '<table:table-cell office:value-type="float" office:value="{}"{}/>'
    lines = [
        '<table:table-row><table:table-cell office:value-type="string"><text:p>name</text:p></table:table-cell>'
        '<table:table-cell office:value-type="string"><text:p>size</text:p></table:table-cell></table:table-row>'
    ]
    for i in range(12):
        kind = f'<table:table-cell office:value-type="string"><text:p>{"pq"[i % 2]}</text:p></table:table-cell>'
        lines.append(f"<table:table-row>{kind}{value.format(i, '')}</table:table-row>")
    if attributes:
        last = value.format(7, repeats.get("columns", "")).replace("/>", "><text:p>7</text:p></table:table-cell>")
        lines.append(f"<table:table-row{repeats.get('rows', '')}>{last}</table:table-row>")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", MANIFEST)
        archive.writestr("content.xml", SPREADSHEET.format("".join(lines)))


def write_xlsx(path: Path) -> None:
    """Write the table, or two images."""
    FRAME.to_excel(path)


def write_sqlite(path: Path) -> None:
    """Write the table, or two images."""
    with contextlib.closing(sqlite3.connect(path)) as database:
        FRAME.assign(kind="p").to_sql("trees", database)
        database.execute("CREATE INDEX sorted ON trees (number)")


def write_duckdb(path: Path) -> None:
    """Write the table, or two images."""
    import duckdb

    with duckdb.connect(str(path)) as database:
        database.execute("CREATE TABLE trees AS SELECT i AS number, 'u' || i % 2 AS text FROM range(12) t(i)")


def write_zarr(path: Path, version: Any) -> None:
    """Write a store of this version."""
    import zarr

    zarr.open_group(str(path), mode="w", zarr_format=version).create_array("X", data=X, chunks=(5, 2))


def write_images(path: Path) -> None:
    """Write the table, or two images."""
    path.mkdir()
    for i in range(2):
        pixels = np.random.default_rng(i).integers(0, 255, (9, 8, 3), np.uint8)
        Image.fromarray(pixels).save(path / f"{i}{path.suffix}")


FORMATS: dict[str, Callable[[Path], Any]] = {
    "x.npy": lambda path: np.save(path, X),
    "x.npz": lambda path: np.savez(path, X=X, y=np.arange(12)),
    "small.npz": lambda path: np.savez_compressed(path, X=X),
    "x.parquet": FRAME.to_parquet,
    "x.feather": lambda path: FRAME.to_feather(path, compression="uncompressed"),
    "x.arrow": lambda path: FRAME.to_feather(path, compression="zstd"),
    "x.h5ad": write_h5ad,
    "sparse.h5ad": lambda path: write_h5ad(path, sparse.csr_matrix(np.abs(np.rint(X)))),
    "old.h5ad": write_old_h5ad,
    "x.xlsx": write_xlsx,
    "x.ods": write_ods,
    "x.json": lambda path: FRAME.to_json(path, orient="records"),
    "x.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "x.jsonl.gz": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "x.sqlite": write_sqlite,
    "x.duckdb": write_duckdb,
    "x.csv": FRAME.to_csv,
    "x.csv.gz": FRAME.to_csv,
    "x-ubyte": lambda path: path.write_bytes(b"\0\0\x08\x02" + np.array([6, 6], ">u4").tobytes() + bytes(range(36))),
    "x-ubyte.gz": lambda path: path.write_bytes(
        gzip.compress(b"\0\0\x08\x02" + np.array([6, 6], ">u4").tobytes() + bytes(range(36)))
    ),
    "two.zarr": lambda path: write_zarr(path, 2),
    "three.zarr": lambda path: write_zarr(path, 3),
    "folder.png": write_images,
    "folder.gif": write_images,
    "folder.bmp": write_images,
    "folder.jpg": write_images,
    "folder.tif": write_images,
    "folder.webp": write_images,
}
"""By the name of a file or folder, what writes it."""


def write_data(folder: Path) -> dict[str, Path]:
    """Write a file, or a folder, of every format; return them by name."""
    for name, write in FORMATS.items():
        write(folder / name)
    return {name: folder / name for name in FORMATS}


def write_runs(folder: Path) -> dict[str, Path]:
    """Fit and save small models of several kinds; return their folders by name."""
    from latentmap import VAE, Autoencoder, Columns, likelihoods, networks, objectives, posteriors, priors

    draw = np.random.default_rng(0)
    rows, names = draw.normal(size=(60, 4)), np.array(["a", "b", "c"] * 20)
    table = pd.DataFrame({"size": rows[:, 0], "kind": names, "day": pd.date_range("2020-01-01", periods=60)})
    small: dict[str, Any] = {"encoder": networks.MLP((8,)), "decoder": networks.MLP((8,)), "max_epochs": 1}
    small |= {"random_state": 0}
    plain = small | {"neighbors": None}
    images = draw.integers(0, 255, (60, 8, 8), np.uint8)
    conv = {"encoder": networks.Conv((4,), width=8), "decoder": networks.SpectralNorm(networks.Conv((4,), width=8))}
    quantized = {"variational_family": posteriors.Quantized(8, pieces=2), "objective": objectives.ELBO(beta=0.0)}
    flow, mixture = posteriors.Flow("iaf", transforms=1, width=8), priors.Mixture(3)
    columns = Columns({"kind": {"kind": "ordinal", "categories": ("a", "b", "c")}})
    models: dict[str, tuple[Any, Any, Any]] = {
        "map": (VAE(2, **small), rows, None),
        "autoencoder": (Autoencoder(2, **small), rows, None),
        "table": (VAE(2, columns=columns, **plain), table, None),
        "labels": (VAE(2, condition="labels", **plain), rows, names),
        "covariates": (VAE(2, condition="covariates", **plain), rows, rows[:, :2]),
        "images": (VAE(2, **plain | conv), images, None),
        "flow": (VAE(2, variational_family=flow, prior=mixture, **plain), rows, None),
        "codes": (
            VAE(4, **plain | quantized),
            rows,
            None,
        ),
        "ladder": (VAE(2, ladder=(3,), **plain), rows, None),
        "counts": (VAE(2, likelihood=likelihoods.NegativeBinomial(), **plain), draw.poisson(3, (60, 4)), None),
        "importance": (VAE(2, objective=objectives.IWAE(3), **plain), rows, None),
    }
    for name, (model, x, y) in models.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            model.fit(x, y).save(folder / name)
    return {name: folder / name for name in models}
