"""Results in a folder of part files, which the workers of one job write together."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import latentmap
from latentmap.cli.outputs import ARRAYS, check_output, check_writable, write_blocks
from latentmap.cli.terminal import UsageError, emit, say
from latentmap.embedding.workers import Worker, use_own_device
from latentmap.estimators.run_folder import CONFIG
from latentmap.exceptions import DataError, LatentmapError
from latentmap.messages import counted

if TYPE_CHECKING:
    from latentmap.cli.runs import RunRows
    from latentmap.data.columns import Table
    from latentmap.embedding.parts import Parts

PAUSE = 10.0
"""Seconds after which another worker than the first tells an error, which torchrun ends if the first one had it too."""


@dataclass(frozen=True)
class Output:
    """A file, or a folder of part files that several workers write.

    Parameters
    ----------
    path
        The file or folder.
    worker
        This process, which writes its share of the parts; None for a file.
    part_rows
        The rows of a part, about.
    """

    path: Path
    worker: Worker | None = None
    part_rows: int | None = None

    @classmethod
    def read(cls, output: str | Path | None, formats: Sequence[str] = ARRAYS, part_rows: int | None = None) -> Output:
        """Return the output that an option names, and raise if it cannot be written."""
        worker = Worker.current()
        if output is None or not _names_folder(output):
            if worker.size > 1:
                raise UsageError(f"{worker.size} workers cannot write one file: give a folder, such as -o out/")
            if part_rows is not None:
                raise UsageError("--part-rows is for a folder of part files: give one, such as -o out/")
            if output is not None:
                check_output(Path(output), formats)
            return cls(Path(output or "."))
        if part_rows is not None and part_rows < 1:
            raise UsageError(f"--part-rows must be at least 1, got {part_rows}")
        path = Path(output)
        if path.exists() and not path.is_dir():
            raise UsageError(f"cannot write {path}/: it is a file; give another name")
        from latentmap.embedding.parts import require_own

        check_writable(path)
        require_own(path)
        use_own_device()
        return cls(path, worker, part_rows)


def _names_folder(output: str | Path) -> bool:
    """Return whether an output is a folder: a name that ends in a slash, or a folder not called as a file."""
    path = Path(output)
    return str(output).endswith(("/", os.sep)) or (path.is_dir() and path.suffix.lower() not in ARRAYS)


@contextlib.contextmanager
def telling_worker() -> Iterator[None]:
    """Name the worker in the errors of all but the first."""
    try:
        yield
    except (LatentmapError, UsageError) as error:
        worker = Worker.current()
        if worker.is_first:
            raise
        time.sleep(PAUSE)
        kind = UsageError if isinstance(error, UsageError) else DataError
        raise kind(f"{worker}: {error}") from error


def write_parts(
    output: Output,
    run: Path,
    rows: RunRows,
    columns: Sequence[str],
    make: Callable[[Any, Any], Any],
    settings: Mapping[str, Any],
    table: Table | None = None,
) -> tuple[Parts, bool]:
    """Write the parts of a worker that are not there; return all parts, and whether this worker tells the result.

    Parameters
    ----------
    output
        The folder and the worker.
    run
        The run.
    rows
        The rows.
    columns
        The names of what is written.
    make
        Function of a block of rows and its labels that returns what is written.
    settings
        What the result depends on beside model and data.
    table
        The columns of a table, where such are written.
    """
    from latentmap.embedding.parts import MANIFEST, Parts, planned

    worker, folder, source = output.worker, output.path, rows.source
    assert worker is not None
    _require_apart(folder, source.name)
    names = {"columns": list(columns), "id": rows.key and rows.key.name, "labels": source.label_name}
    what = {"version": latentmap.__version__, "model": _identity(run), "data": source.identity, **settings, **names}
    parts = Parts(folder, what, planned(source, output.part_rows))
    if worker.size > (n := len(parts.ranges)):
        if not worker.is_first and "TORCHELASTIC_RUN_ID" in os.environ:  # the first one tells it for all of torchrun
            raise SystemExit(1)
        advice = "give fewer workers, or fewer --part-rows"
        raise DataError(f"{source.name} is read in {counted(n, 'part')}, for {worker.size} workers: {advice}")

    key = rows.key and rows.key.typed()

    def write(i: int) -> None:
        here = parts.ranges[i]
        blocks = (make(*pair) for pair in rows.with_labels(part=here))
        write_blocks(parts.path(i), blocks, columns, table, (), key and key.of(here), metadata=parts.metadata(i))

    written, completed = parts.write(worker, write)
    found = written == 0 and parts.is_complete()
    if completed or (found and worker.is_first):
        return parts, True
    if worker.is_first:
        say(f"wrote {counted(written, 'part')} of {n:,} to {folder}; the worker that ends last writes {MANIFEST}")
    return parts, False


def say_parts(parts: Parts, content: str, extra: Mapping[str, Any] | None = None) -> None:
    """Print what the parts hold, and as JSON with ``extra`` where that is given."""
    say(f"wrote {content} to {parts.folder}, in {counted(len(parts.ranges), 'part')}")
    if extra is not None:
        emit({"output": str(parts.folder), "parts": len(parts.ranges)} | dict(extra))


def _identity(run: Path) -> str:
    """Return a hash of a model: of its configuration, which holds the hash of its weights."""
    import hashlib

    return hashlib.sha256((run / CONFIG).read_bytes()).hexdigest()


def _require_apart(folder: Path, data: str) -> None:
    """Raise if the result would be written among the data, where these are files of this machine."""
    if not os.path.exists(data):
        return
    place, target = Path(os.path.realpath(data)), Path(os.path.realpath(folder))
    if target in (place, *place.parents) or place in target.parents:
        raise DataError(f"{folder} holds the data, or lies in them: give another folder")
