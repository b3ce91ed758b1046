"""``latentmap compare``: methods side by side, and what is claimed of a VAE."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from latentmap.cli.outputs import check_output
from latentmap.cli.terminal import UsageError, emit, on_terminal, say, say_table
from latentmap.cli.words import describe_source

if TYPE_CHECKING:
    from latentmap.data.sources import Source
    from latentmap.evaluation.compare import Comparison

OURS = ("autoencoder", "vae", "neighbor_vae")
MOST_ROWS = 10_000
SHOWN_ROWS = 2000
"""Rows that the pictures of decoded codes are scaled by."""


def compare(
    data: str,
    /,
    *,
    against: str = "pca,tsne",
    output: Annotated[Path | None, Parameter(alias="-o")] = None,
    labels: str | None = None,
    n_components: int = 2,
    max_rows: int = MOST_ROWS,
    seed: int = 0,
    seeds: int = 1,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> None:
    """Compare an autoencoder, a VAE and a VAE that keeps neighbours with other methods, on rows that none has seen.

    Measures what is claimed of a VAE too: that its latent space is more compact and smoother than an autoencoder's, and
    that points drawn at random decode to realistic rows.

    Parameters
    ----------
    data
        Name of a data set (digits, mnist, fashion-mnist), or a .npy, .npz, .csv, .tsv, .parquet or
        .feather file. Test rows are those of the data set, where it has some; else a fifth of the rows is held out.
    against
        Other methods, with commas between: pca, tsne, opentsne, umap.
    output
        Folder for comparison.json and the pictures.
    labels
        Column (of a .csv) or member (of a .npz) with one label a row.
    n_components
        Dimensions of the maps.
    max_rows
        Rows to fit to, and rows to score on, at the most.
    seed
        Seed of all that is random.
    seeds
        Fits of each method; more than one give means, spreads and how far maps of refits agree.
    as_json
        Print one JSON object on standard output.
    """
    if output is not None:
        check_output(output / "comparison.json", [".json"])
    from latentmap.data.sources import open_source

    methods = _methods(against)
    source = open_source(data, labels)
    say(describe_source(source))
    found = compared(source, methods, n_components=n_components, max_rows=max_rows, seed=seed, seeds=seeds)
    say_table(found.table(), "Methods")
    if found.claims:
        say_table(found.claims_table(), "Claims of the VAE beside the autoencoder")
    if output is not None:
        _write(found, source, output)
    if as_json:
        emit(found.to_json())


def compared(
    source: Source,
    methods: tuple[str, ...] = ("pca", "tsne", *OURS),
    *,
    n_components: int = 2,
    max_rows: int = MOST_ROWS,
    seed: int = 0,
    seeds: int = 1,
) -> Comparison:
    """Compare on a source, with the test rows of a data set that has some; on a terminal, say what is being done."""
    from rich.console import Console

    from latentmap.data.datasets import DATASETS, dataset_source
    from latentmap.evaluation.compare import compare

    new = dataset_source(source.name, "test") if DATASETS.get(source.name) is not None else None
    with Console(stderr=True).status("comparing") as status:
        return compare(
            source,
            methods=methods,
            n_components=n_components,
            X_new=new,
            max_rows=max_rows,
            random_state=seed,
            seeds=seeds,
            on_progress=status.update if on_terminal() else say,
        )


def _methods(against: str) -> tuple[str, ...]:
    from latentmap.messages import suggest
    from latentmap.evaluation.methods import METHODS

    others = [name.strip() for name in against.split(",") if name.strip()]
    for name in others:
        if name not in METHODS:
            raise UsageError(f"--against: no method is called {name!r}: {suggest(name, METHODS)}")
    unique = {METHODS[name]: name for name in (*OURS[::-1], *others[::-1])}  # a method may have two names
    return tuple(unique.values())[::-1]


def _write(found: Comparison, source: Source, folder: Path) -> None:
    """Write numbers and pictures: the maps, and what an autoencoder and a VAE decode."""
    from latentmap import plot
    from latentmap.data.files import write_json

    write_json(folder / "comparison.json", found.to_json())
    plot.comparison(found).save(folder / "maps.png")
    X = source.read(slice(0, None, max(1, len(source) // SHOWN_ROWS)))
    names = source.schema.names
    for name, estimator in found.estimators.items():
        decoded = plot.decoded_grid if len(estimator.active_components_) == 2 else plot.traversals
        decoded(estimator, X, feature_names=names).save(folder / f"{name}-decoded.png")
        plot.samples(estimator, X=X, feature_names=names).save(folder / f"{name}-samples.png")
    say(f"wrote comparison.json and {1 + 2 * len(found.estimators)} pictures to {folder}")
