"""``latentmap compare``: methods side by side, and measures of the claims about a VAE."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import latentmap
from latentmap.cli.describe import describe_source
from latentmap.cli.options import Components, Data, Folder, Id, Json, Labels, Seed, SkipBad, Whole
from latentmap.cli.outputs import check_output, or_elsewhere
from latentmap.cli.settings import open_data
from latentmap.cli.terminal import UsageError, emit, on_terminal, say, say_table
from latentmap.data.files import as_json, write_new
from latentmap.data.folders import atomic_folder
from latentmap.data.locks import locked
from latentmap.messages import counted, suggest

if TYPE_CHECKING:
    from latentmap.data.sources import Source
    from latentmap.evaluation.comparison import Comparison
    from latentmap.plot.style import Display

MOST_ROWS = 10_000
SHOWN_ROWS = 2000
"""The rows that set the scale of the pictures of decoded codes."""


def compare(
    data: Data,
    /,
    *,
    against: str | None = None,
    output: Folder | None = None,
    labels: Labels = None,
    row_id: Id = None,
    skip_bad: SkipBad = False,
    n_components: Components = 2,
    max_rows: Whole = MOST_ROWS,
    seed: Seed = 0,
    seeds: Whole = 5,
    claims: str = "auto",
    halves: bool = False,
    as_json: Json = False,
) -> None:
    """Compare an autoencoder, a VAE and a VAE that keeps neighbours with other methods, on held-out rows.

    Also measures the claims about a VAE: that its latent space is more compact and smoother than an autoencoder's, and
    that points drawn at random decode to realistic rows. Test rows are those of the data set, if it has some; else each
    fit holds out another fifth of the rows.

    Parameters
    ----------
    against
        Other methods, separated by commas: pca, tsne, opentsne, umap, pacmap; by default pca, tsne and umap, as far as
        they are installed and map to so many components.
    output
        Folder for comparison.json, comparison.md and the pictures.
    max_rows
        The most rows to fit to, and the most to score on.
    seeds
        Fits of each method: means and deviations are shown, and a claim has a verdict only where the difference exceeds
        the spread between fits.
    claims
        Numbers of components that the claims are measured with, separated by commas, or none; auto: those of the maps,
        and 16.
    halves
        Fit each method to two halves of the rows too, and show how far its map moves.
    """
    if output is not None:
        check_output(output / "comparison.json", [".json"])
    methods, judged = _methods(against, n_components), _components(claims)
    settings = {"n_components": n_components, "max_rows": max_rows, "random_state": seed, "seeds": seeds}
    source, _ = open_data(data, labels, None, skip_bad=skip_bad, row_id=row_id)
    say(describe_source(source))
    comparison = run_comparison(source, methods=methods, claims=judged, halves=halves, **settings)
    say_table(comparison.table(), f"Methods, {counted(seeds, 'fit')} each")
    if comparison.claims:
        say_table(comparison.generated_table(), "Random points, decoded")
        say_table(comparison.claims_table(), "Claims of the VAE beside the autoencoder")
        for sentence in comparison.conclusions():
            say(f"- {sentence}")
    if output is not None:
        write_comparison(comparison, drawn(comparison, source), output)
    if as_json:
        emit(comparison.to_json())


def run_comparison(source: Source, **settings: Any) -> Comparison:
    """Return the comparison on a source, with the test rows of a data set that has some; show the progress."""
    from rich.console import Console

    from latentmap.data.datasets import DATASETS, dataset_source
    from latentmap.evaluation.compare import compare

    new = dataset_source(source.name, "test") if DATASETS.get(source.name) is not None else None
    status = Console(stderr=True).status("comparing")
    try:
        status.start()  # in here, so that what Ctrl-C finds half started is stopped too
        shown = status.update if on_terminal() else say
        return compare(source, X_new=new, on_progress=shown, **settings)
    finally:
        status.stop()


def _methods(against: str | None, n_components: int) -> tuple[str, ...] | None:
    from latentmap.evaluation.compare import default_methods, ours
    from latentmap.evaluation.methods import METHODS

    if against is None:
        return default_methods(n_components)
    others = [name.strip() for name in against.split(",") if name.strip()]
    for name in others:
        if name not in METHODS:
            raise UsageError(f"--against: no method is called {name!r}: {suggest(name, METHODS)}")
    unique = {METHODS[name]: name for name in (*ours(n_components)[::-1], *others[::-1])}  # one may have two names
    return tuple(unique.values())[::-1]


def _components(claims: str) -> Sequence[int] | str:
    if claims in ("auto", "none"):
        return claims if claims == "auto" else ()
    try:
        return tuple(int(text) for text in claims.split(","))
    except ValueError:
        raise UsageError(f"--claims takes auto, none or whole numbers such as 2,16, got {claims!r}") from None


def drawn(comparison: Comparison, source: Source) -> dict[str, Display]:
    """Return the pictures of a comparison: those of the report, and rows that each model of the maps decodes."""
    from latentmap.report.compared import comparison_figures

    rows = slice(0, None, max(1, len(source) // SHOWN_ROWS))
    X, names = source.read(rows), source.schema.names
    y = None if source.labels is None else source.labels[rows]
    figures = {name: display for name, _, display in comparison_figures(comparison, X, y, feature_names=names)}
    for name, estimator in comparison.estimators.items():
        decoded = latentmap.plot.decoded_grid if len(estimator.active_components_) == 2 else latentmap.plot.traversals
        figures[f"{name}-decoded"] = decoded(estimator, X, feature_names=names)
        figures[f"{name}-samples"] = latentmap.plot.samples(estimator, X=X, feature_names=names)
    return figures


def write_comparison(comparison: Comparison, figures: Mapping[str, Display], folder: Path) -> None:
    """Write the numbers and pictures of a comparison to a folder, in the place of those of another, as a whole."""
    from latentmap.evaluation.methods import METHODS

    known = {"comparison", "latent_gaps", "decoded_grids", "lines", "random_points"}
    known |= {f"{name}-{kind}" for name in METHODS for kind in ("decoded", "samples")}
    ours = ["comparison.json", "comparison.md", *(f"{name}.png" for name in known | figures.keys())]

    def write(new: Path) -> None:
        write_new(new / "comparison.json", as_json(comparison.to_json()))
        write_new(new / "comparison.md", comparison.to_markdown().encode())
        for name, display in figures.items():
            display.save(new / f"{name}.png")

    with or_elsewhere(folder, write), locked(folder), atomic_folder(folder, ours, ours[0]) as new:
        write(new)
    say(f"wrote comparison.json, comparison.md and {len(figures)} pictures to {folder}")
