"""``latentmap sample``: new rows."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

import latentmap
from latentmap.cli.options import ARRAY, Folder, Given, Json, Run, Seed, Whole
from latentmap.cli.outputs import ARRAYS, PICTURES, check_output, say_written, write_blocks
from latentmap.cli.terminal import UsageError, note
from latentmap.messages import any_of, counted


def sample(
    run: Run,
    /,
    *,
    output: Annotated[Folder, Parameter(help=f"{ARRAY}; or a {any_of(PICTURES)} picture.")],
    n_samples: Annotated[Whole, Parameter(alias="-n")] = 64,
    seed: Seed = 0,
    noise: bool = False,
    given: Given = None,
    as_json: Json = False,
) -> None:
    """Draw new rows from a model, as numbers or as a picture.

    Parameters
    ----------
    n_samples
        Number of rows.
    noise
        Draw from p(x|z) instead of its mean, so that rows vary as data do; not for pictures.
    """
    check_output(output, (*ARRAYS, *PICTURES))
    from latentmap.cli.runs import column_names, load_decoder

    estimator = load_decoder(run, given)
    if n_samples < 1:
        raise UsageError(f"--n-samples must be at least 1, got {n_samples}")
    names, pictured = column_names(run, estimator), output.suffix.lower() in PICTURES
    _require_disk(output, n_samples, estimator.n_features_in_)
    if not pictured:
        blocks = _blocks(estimator, n_samples, seed, noise)
        shape, dtype = write_blocks(output, blocks, names, estimator.table_)
    elif noise:
        raise UsageError("--noise is not for pictures, which show means; write numbers, to .npy for example")
    else:
        features = None if len(estimator.event_shape_) > 1 else names
        display = latentmap.plot.samples(estimator, n_samples, random_state=seed, feature_names=features)
        display.save(output)
        shape, dtype = display.data_.shape, display.data_.dtype
    say_written(output, shape, dtype, counted(n_samples, "sample"), as_json=as_json)
    if not noise and not pictured and len(estimator.event_shape_) == 1:
        note(
            "each row is the mean for its latent code, so that rows vary less than the data; --noise draws from p(x|z)"
        )


def _require_disk(output: Path, n_samples: int, features: int) -> None:
    """Raise if rows take more than what is free on the disk, at a byte a number."""
    folder = next(parent for parent in output.absolute().parents if parent.exists())
    if n_samples * features > (free := shutil.disk_usage(folder).free):
        rows = f"{n_samples:,} rows of {counted(features, 'number')}"
        raise UsageError(f"{rows} do not fit on the disk: {free / 1e9:,.0f} GB are free at {folder}; draw fewer")


def _blocks(estimator: Any, n_samples: int, seed: int, noise: bool) -> Iterator[Any]:
    from latentmap.cli.runs import BLOCK_VALUES

    size = max(1, BLOCK_VALUES // estimator.n_features_in_)
    for i, start in enumerate(range(0, n_samples, size)):
        yield estimator.sample(min(size, n_samples - start), random_state=seed + i, noise=noise)
