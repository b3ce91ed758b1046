"""The options that several commands share, with their help; docstrings of commands describe the others."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter, Token

from latentmap.cli.outputs import ARRAYS
from latentmap.messages import any_of

GIVEN = "Condition of all rows, for a conditional model: a label, or numbers separated by commas"
ARRAY = f"A {any_of(ARRAYS)} file"


def read_whole(_: object, tokens: Sequence[Token]) -> int:
    """Return a whole number; one with decimals is an error, and not rounded."""
    try:
        return int(tokens[0].value)
    except ValueError:
        raise ValueError(f"expected a whole number, got {tokens[0].value!r}") from None


def read_place(type_: object, tokens: Sequence[Token]) -> str | Path:
    """Return the file or folder that results are written to; an address is an error."""
    from latentmap.data.remote import local_path

    path = local_path(tokens[0].value)
    return path if type_ in (Path, Path | None) else tokens[0].value  # in which a slash at the end tells a folder


def read_output(type_: object, tokens: Sequence[Token]) -> str | Path:
    """Return what `read_place` does; standard output is an error."""
    if tokens[0].value == "-":
        raise ValueError("results go to a file or folder, not to standard output: give the name of one")
    return read_place(type_, tokens)


Whole = Annotated[int, Parameter(converter=read_whole)]

Data = Annotated[
    str | Path,  # a str: that it may be a path is for the completion of the shell
    Parameter(
        help="Name of a data set (digits, mnist, fashion-mnist), or a .npy, .npz, .csv, .tsv, .parquet, .feather, "
        ".xlsx, .xls, .ods, .json, .jsonl, .sqlite, .duckdb, .h5ad or .zarr file, an image, or a folder of images or "
        ".parquet files. FILE::NAME takes a sheet of a workbook, a table of a database, an array of a .zarr or .npz "
        "file, or a layer, raw or X_pca of a .h5ad file. Or an address of these, such as s3://bucket/rows/."
    ),
]
Labels = Annotated[
    str | None, Parameter(help="Column (of a .csv) or member (of a .npz) with the labels, which are left out of rows.")
]
Id = Annotated[
    str | None,
    Parameter(
        name="--id",
        help="Column that tells the rows apart: it is not fitted, and stands first in every table that is written. "
        '"index" is a first column without a name, or the names of cells of a .h5ad file.',
    ),
]
ColumnsFile = Annotated[
    Path | None,
    Parameter(
        help="A .toml file that describes columns of a table: [columns.NAME] with kind, scaling, categories or "
        'likelihood; kind = "drop" leaves one out. The others are inferred from their values; "auto" infers all, in a '
        "table of numbers alone too, which is fitted as an array otherwise."
    ),
]
Embed = Annotated[
    tuple[str, ...],
    Parameter(
        name="--embed",
        help="COLUMN=MODULE:FUNCTION, a function of yours that returns vectors for the texts of a column, which then "
        "counts as their principal components; may be repeated. A run names its functions, but holds none.",
    ),
]
SkipBad = Annotated[bool, Parameter(help="Leave out the images of a folder that cannot be read, and list them.")]
Purpose = Literal["map", "impute", "sample", "score"]
Components = Annotated[Whole, Parameter(help="Components of the latent space; 2 draw a map.")]

Run = Annotated[Path, Parameter(help="Folder of a run.")]
RunData = Annotated[
    str | Path | None,
    Parameter(help="Rows like those of the fit: a name or file as for fit; by default those of the fit."),
]
RunLabels = Annotated[
    str | None,
    Parameter(help="Column or member with the labels, which are left out of rows; by default that of the fit."),
]
RunId = Annotated[
    str | None,
    Parameter(
        name="--id",
        help="Column that tells the rows apart, which stands first in the table that is written; by default that of "
        "the fit.",
    ),
]
Given = Annotated[str | None, Parameter(help=f"{GIVEN}.")]
GivenOrMost = Annotated[str | None, Parameter(help=f"{GIVEN}; by default the most frequent label.")]
GivenOrLabels = Annotated[str | None, Parameter(help=f"{GIVEN}; by default each row's own label.")]

Folder = Annotated[Path, Parameter(alias="-o", converter=read_output)]
ArrayFile = Annotated[Path, Parameter(alias="-o", converter=read_output, help=f"{ARRAY}; tables are flat.")]
ArrayOutput = Annotated[
    str | Path,
    Parameter(
        alias="-o",
        converter=read_output,
        help=f"{ARRAY}; tables are flat. Or a folder, such as out/, for part files (.parquet) that several workers of "
        "torchrun write together, and that a repeated call completes.",
    ),
]
PartRows = Annotated[
    Whole | None, Parameter(help="Rows of a part file, about, where --output is a folder; by default 2^24 values.")
]
Seed = Annotated[Whole, Parameter(help="Seed of the random numbers; another gives another result.")]
Json = Annotated[bool, Parameter(name="--json", help="Print one JSON object on standard output.")]
