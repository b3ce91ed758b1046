"""``latentmap compare``: methods side by side, and measures of the claims about a VAE."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import latentmap
from latentmap.cli.describe import describe_source
from latentmap.cli.options import Components, Data, Folder, Json, Labels, Seed
from latentmap.cli.outputs import check_output
from latentmap.cli.terminal import UsageError, emit, on_terminal, say, say_table
from latentmap.data.files import write_json
from latentmap.messages import suggest

if TYPE_CHECKING:
    from latentmap.data.sources import Source
    from latentmap.evaluation.compare import Comparison

OURS = ("autoencoder", "vae", "neighbor_vae")
MOST_ROWS = 10_000
SHOWN_ROWS = 2000
"""The rows that set the scale of the pictures of decoded codes."""


def compare(
    data: Data,
    /,
    *,
    against: str = "pca,tsne",
    output: Folder | None = None,
    labels: Labels = None,
    n_components: Components = 2,
    max_rows: int = MOST_ROWS,
    seed: Seed = 0,
    seeds: int = 1,
    as_json: Json = False,
) -> None:
    """Compare an autoencoder, a VAE and a VAE that keeps neighbours with other methods, on held-out rows.

    Also measures the claims about a VAE: that its latent space is more compact and smoother than an autoencoder's, and
    that points drawn at random decode to realistic rows. Test rows are those of the data set, if it has some; else a
    fifth of the rows is held out.

    Parameters
    ----------
    against
        Other methods, separated by commas: pca, tsne, opentsne, umap.
    output
        Folder for comparison.json and the pictures.
    max_rows
        The most rows to fit to, and the most to score on.
    seeds
        Fits of each method; of several, means, deviations and the agreement of their maps are shown.
    """
    if output is not None:
        check_output(output / "comparison.json", [".json"])
    from latentmap.data.sources import open_source

    methods = _methods(against)
    source = open_source(data, labels)
    say(describe_source(source))
    settings = {"n_components": n_components, "max_rows": max_rows, "random_state": seed, "seeds": seeds}
    comparison = run_comparison(source, methods, **settings)
    say_table(comparison.table(), "Methods")
    if comparison.claims:
        say_table(comparison.claims_table(), "Claims of the VAE beside the autoencoder")
    if output is not None:
        _write(comparison, source, output)
    if as_json:
        emit(comparison.to_json())


def run_comparison(source: Source, methods: Sequence[str] = ("pca", "tsne", *OURS), **settings: Any) -> Comparison:
    """Return the comparison on a source, with the test rows of a data set that has some; show the progress."""
    from rich.console import Console

    from latentmap.data.datasets import DATASETS, dataset_source
    from latentmap.evaluation.compare import compare

    new = dataset_source(source.name, "test") if DATASETS.get(source.name) is not None else None
    with Console(stderr=True).status("comparing") as status:
        shown = status.update if on_terminal() else say
        return compare(source, methods=methods, X_new=new, on_progress=shown, **settings)


def _methods(against: str) -> tuple[str, ...]:
    from latentmap.evaluation.methods import METHODS

    others = [name.strip() for name in against.split(",") if name.strip()]
    for name in others:
        if name not in METHODS:
            raise UsageError(f"--against: no method is called {name!r}: {suggest(name, METHODS)}")
    unique = {METHODS[name]: name for name in (*OURS[::-1], *others[::-1])}  # a method may have two names
    return tuple(unique.values())[::-1]


def _write(comparison: Comparison, source: Source, folder: Path) -> None:
    """Write numbers and pictures: the maps, and rows that the autoencoder and the VAEs decode."""
    write_json(folder / "comparison.json", comparison.to_json())
    latentmap.plot.comparison(comparison).save(folder / "maps.png")
    X = source.read(slice(0, None, max(1, len(source) // SHOWN_ROWS)))
    names = source.schema.names
    for name, estimator in comparison.estimators.items():
        decoded = latentmap.plot.decoded_grid if len(estimator.active_components_) == 2 else latentmap.plot.traversals
        decoded(estimator, X, feature_names=names).save(folder / f"{name}-decoded.png")
        latentmap.plot.samples(estimator, X=X, feature_names=names).save(folder / f"{name}-samples.png")
    say(f"wrote comparison.json and {1 + 2 * len(comparison.estimators)} pictures to {folder}")
