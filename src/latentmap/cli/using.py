"""``transform``, ``inverse``, ``sample`` and ``score``: what a fitted model is for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from cyclopts import Parameter

from latentmap.cli.fitting import Json, Output, open_data
from latentmap.cli.output import ARRAYS, PICTURES, check_target, emit, note, write_array, write_picture


def transform(run: Path, data: str, *, output: Output, labels: str | None = None, json: Json = False) -> None:
    """Encode rows: one code a row, the mean of q(z|x).

    Parameters
    ----------
    run
        A run folder.
    data
        A file or the name of a data set.
    output
        The .npy or .csv to write.
    labels
        A column of the data to leave out.
    json
        Print what was written as JSON.
    """
    check_target(output, ARRAYS)
    model = _load(run)
    codes = model.transform(_rows(data, labels))
    write_array(output, codes, model.get_feature_names_out())
    _done(output, codes, json)


def inverse(run: Path, codes: str, *, output: Output, json: Json = False) -> None:
    """Decode codes to rows, in the units and shape of the data.

    Parameters
    ----------
    run
        A run folder.
    codes
        A file with one code a row (.npy, .npz, .csv).
    output
        The .npy or .csv to write.
    json
        Print what was written as JSON.
    """
    check_target(output, ARRAYS)
    model = _load(run)
    rows = model.inverse_transform(_rows(codes, None))
    write_array(output, rows, _columns(model))
    _done(output, rows, json)


def sample(
    run: Path,
    *,
    n: Annotated[int, Parameter(name=["--n", "-n"])] = 64,
    output: Output,
    seed: int = 0,
    noise: Annotated[bool, Parameter(negative=())] = False,
    json: Json = False,
) -> None:
    """Draw new rows from the model.

    Parameters
    ----------
    run
        A run folder.
    n
        Number of rows.
    output
        The .npy or .csv to write, or a picture (.png, .pdf, .svg).
    seed
        Seed of the draws.
    noise
        Draw from p(x|z) instead of taking its mean.
    json
        Print what was written as JSON.
    """
    check_target(output, (*ARRAYS, *PICTURES))
    model = _load(run)
    rows = model.sample(n, random_state=seed, noise=noise)
    if output.suffix.lower() in PICTURES:
        from latentmap import plot

        write_picture(output, plot.samples(model, n, random_state=seed))
    else:
        write_array(output, rows, _columns(model))
    _done(output, rows, json)


def score(
    run: Path, data: str, *, output: Output, samples: int = 1, labels: str | None = None, json: Json = False
) -> None:
    """Score rows: a lower bound on the log-density of each, nats, in the data's own units.

    Parameters
    ----------
    run
        A run folder.
    data
        A file or the name of a data set.
    output
        The .npy or .csv to write.
    samples
        Draws a row: 1 gives the ELBO, k the tighter IWAE-k bound.
    labels
        A column of the data to leave out.
    json
        Print the mean as JSON.
    """
    check_target(output, ARRAYS)
    model = _load(run)
    scores = model.score_samples(_rows(data, labels), n_samples=samples)
    write_array(output, scores[:, None], ["nats"])
    note(f"mean {scores.mean():.3f} nats a row")
    _done(output, scores, json, mean=float(scores.mean()))


def _load(run: Path) -> Any:
    import latentmap

    return latentmap.load(run)


def _rows(data: str, labels: str | None) -> Any:
    return open_data(data, labels).read(slice(None))


def _columns(model: Any) -> list[str]:
    names = getattr(model, "feature_names_in_", None)
    return [f"x{i}" for i in range(model.n_features_in_)] if names is None else list(names)


def _done(path: Path, values: Any, json: bool, **more: float) -> None:
    note(f"{path}: {' x '.join(map(str, values.shape))}")
    if json:
        emit({"output": str(path), "shape": list(values.shape), **more})


COMMANDS = (transform, inverse, sample, score)
