"""The files that commands write: checked before the work; their format follows from the suffix."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from latentmap.cli.terminal import UsageError, emit, note, say
from latentmap.data.locks import locked
from latentmap.estimators.run_folder import is_remainder, is_run, is_unfinished, require_replaceable, shell_command
from latentmap.exceptions import DataError
from latentmap.messages import any_of

if TYPE_CHECKING:
    from latentmap.data.columns import Cells, Table
    from latentmap.data.writing import Key

ARRAYS = (".npy", ".npz", ".csv", ".tsv", ".parquet", ".jsonl", ".xlsx")
PICTURES = (".png", ".svg", ".pdf")

SHORT = 40
"""Characters of a name that the name of another folder begins with."""
PROBE = 2**20
"""Bytes that must fit in a folder to which a file will be written."""


def check_output(path: Path, formats: Sequence[str]) -> None:
    """Raise if a file cannot be written: unknown format, a folder, no permission, a full disk."""
    if path.suffix.lower() not in formats:
        raise UsageError(f"cannot write {path}: expected a name that ends in {any_of(formats)}")
    if path.exists() and not path.is_file():
        raise UsageError(f"cannot write {path}: it is not a file; give another name")
    check_writable(path)


@contextlib.contextmanager
def claimed_run(folder: Path, *, overwrite: bool) -> Iterator[None]:
    """Check that a run can be written to a folder, and keep other processes from writing to it; see `check_run`."""
    if not folder.is_dir():
        check_run(folder, overwrite=overwrite)
    with locked(folder):
        check_run(folder, overwrite=overwrite)
        yield


def check_resumed(folder: Path) -> None:
    """Raise if the run of a fit that is resumed could not be written to its folder in the end."""
    require_replaceable(folder)
    check_writable(folder)


def check_run(folder: Path, *, overwrite: bool) -> None:
    """Raise if a run cannot be written to a folder: other files, or a run that must not be overwritten."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"{folder} is a file: expected a new folder for the run; give another -o")
    if is_unfinished(folder) and not overwrite:
        resume = shell_command("resume", folder)
        raise UsageError(
            f"{folder} holds a fit that has not ended: continue it with {resume}, or begin anew with --overwrite"
        )
    if is_run(folder):
        if not overwrite:
            raise UsageError(f"{folder} holds a run already: give --overwrite to replace it, or another -o")
        from latentmap.estimators.run_files import read_config

        read_config(folder)  # raises for a run of a newer version, as saving would after the fit
        require_replaceable(folder)
    elif folder.is_dir() and _visible(folder) and not (is_remainder(folder) or is_unfinished(folder)):
        raise UsageError(f"{folder} holds files and is not a run of latentmap, so it is left alone; give another -o")
    check_writable(folder)


def _visible(folder: Path) -> bool:
    """Return whether a folder holds files that are not hidden."""
    return any(not file.name.startswith(".") for file in folder.iterdir())


def write_blocks(
    path: Path,
    blocks: Iterable[Any],
    columns: Sequence[str],
    table: Table | None = None,
    given: Sequence[Cells] | None = None,
    key: Key | None = None,
    metadata: Mapping[str, str] | None = None,
) -> tuple[tuple[int, ...], Any]:
    """Write blocks of rows, the key first in each, and return the shape and the type of all rows.

    ``given`` is as `RowWriter` takes it; ``metadata`` stand beside the rows of a ``.parquet`` file.
    """
    from latentmap.data.writing import ParquetWriter, writing

    if key is not None and key.name in columns:
        raise DataError(f"{path} has a column {key.name!r} and an id of that name: rename the id in the data")
    rows = 0
    with writing(path, columns, table, given, key) as writer:
        if metadata is not None:
            assert isinstance(writer, ParquetWriter)
            writer.metadata = metadata
        others = [] if table is None else [one.name for one in given or () if one.name not in table.kinds]
        left = [*([] if key is None else [key.name]), *others]
        if left and not writer.takes_key:
            names = ", ".join(map(repr, left[:5])) + (f" and {len(left) - 5} more" if len(left) > 5 else "")
            note(f"{path} holds numbers alone, without {names}; write a .csv, .tsv, .parquet or .npz file for all")
        for block in blocks:
            writer.write(block)
            rows += len(block)
    return (rows, *block.shape[1:]), block.dtype


@contextlib.contextmanager
def or_elsewhere(output: Path, write: Callable[[Path], object]) -> Iterator[None]:
    """Write to another folder what could not be written to its own, and say in the error where it is.

    ``write`` writes to an empty folder: a new one among the temporary files, or else in the current folder or at home.
    """
    try:
        yield
    except DataError as error:
        folder = _written_elsewhere(output, write)
        if folder is None:
            raise
        raise DataError(f"{error}; it was written to {folder} instead") from error


def _written_elsewhere(output: Path, write: Callable[[Path], object]) -> Path | None:
    import tempfile

    for place in (tempfile.gettempdir, os.getcwd, Path.home):
        with contextlib.suppress(OSError, RuntimeError, DataError):
            folder = Path(tempfile.mkdtemp(prefix=f"{output.absolute().name[:SHORT]}-", dir=place()))
            try:
                write(folder)
            except BaseException:
                shutil.rmtree(folder, ignore_errors=True)
                raise
            return folder
    return None


def say_written(
    path: Path, shape: Sequence[int], dtype: Any, content: str, *, as_json: bool, key: Key | None = None
) -> None:
    """Print what was written to a file."""
    say(f"wrote {content} to {path}")
    if as_json:
        described = {"output": str(path), "shape": list(shape), "dtype": dtype.name}
        emit(described if key is None else described | {"id": key.name})


def check_writable(path: Path) -> None:
    """Raise if a probe cannot be written to the nearest folder that exists."""
    import tempfile

    target = path.absolute()
    folder = target if target.is_dir() else next(parent for parent in target.parents if parent.exists())
    if not folder.is_dir():
        raise DataError(f"cannot write {path}: {folder} is a file; give another folder")
    try:
        with tempfile.TemporaryFile(dir=folder) as probe:
            probe.write(bytes(PROBE))
            probe.flush()
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
