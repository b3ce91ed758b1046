"""The anchor of ``latentmap fit``: an earlier run, whose columns its rows have and whose map it keeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import latentmap
from latentmap.cli.request import Request
from latentmap.cli.terminal import UsageError

if TYPE_CHECKING:
    from latentmap.cli.runs import RunRows


def check_anchor(request: Request) -> None:
    """Raise if options do not go with ``--anchor``."""
    if request.anchor is None:
        return
    if request.model != "vae":
        raise UsageError("--anchor keeps the map of a VAE: leave out --model autoencoder")
    if request.columns is not None:
        raise UsageError("the columns are those of the run in --anchor: leave out --columns")
    if request.skip_bad:
        raise UsageError("images are left out as by the run in --anchor: leave out --skip-bad")


def open_anchored(request: Request, estimator: Any) -> tuple[Any, RunRows]:
    """Return the model of the anchor and rows with its columns; give the estimator what it has from there."""
    from latentmap.cli.embeddings import read_embeddings
    from latentmap.cli.runs import open_rows

    assert request.anchor is not None
    anchor = latentmap.load(request.anchor, embeddings=read_embeddings(request.embed))
    rows = open_rows(Path(request.anchor), anchor, request.data, request.labels, request.row_id)
    # a run does not hold functions that embed text
    given = {"anchor": anchor if request.embed else request.anchor, "columns": anchor.columns}
    if request.n_components is None:
        given["n_components"] = anchor.state_.model.sizes.latent
    estimator.set_params(**given)
    return anchor, rows


def own_id(request: Request, rows: RunRows | None) -> str | None:
    """Return the name of the column that tells the rows apart: by default that of the anchor, where rows have it."""
    if request.row_id is not None or rows is None or rows.key is None or rows.key.name not in rows.source.beside:
        return request.row_id
    return rows.key.name


def note_drift(anchor: Any, estimator: Any, X: Any) -> dict[str, Any]:
    """Add the drift since the fit of the anchor to the choices of a fit, and return its figures."""
    from latentmap.evaluation.drift import drift
    from latentmap.exceptions import DataError

    try:
        found = drift(anchor, estimator, X)
    except DataError as error:
        estimator.state_.choices["drift"] = f"not known: {error}"
        return {}
    estimator.state_.choices["drift"] = str(found)
    return found.to_json()
