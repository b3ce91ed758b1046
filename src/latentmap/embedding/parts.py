"""Results in part files, which any number of workers write and a later call completes."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from latentmap.data.files import write_json
from latentmap.data.formats.base import Source
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.locks import locked
from latentmap.data.reading import read_json
from latentmap.data.remote import readable
from latentmap.data.temporary import sweep
from latentmap.embedding.workers import Worker
from latentmap.exceptions import DataError

MANIFEST = "_manifest.json"
"""The file without which the parts are not complete; readers of folders skip names that begin so."""
FORMAT = 1
KEY = "latentmap"
"""What the metadata of a part file call the description of the part."""
NAME = re.compile(r"part-(\d{5,})\.parquet")
MOST_VALUES = 2**24
"""Values of the rows of a part, where rows can be read in pieces so small."""
PIECES = 16
"""Parts of a small data set, for so many workers."""
WAIT = 60.0
"""Seconds that a worker waits for another that completes the parts."""


def planned(source: Source, rows: int | None = None) -> list[range]:
    """Return the rows of each part: those that can be read on their own, whoever reads them.

    Parameters
    ----------
    source
        The data.
    rows
        The rows of a part, about; by default 2^24 values, and at least 16 parts where rows can be read so.
    """
    if rows is None:
        rows = max(1, min(MOST_VALUES // max(1, source.first.size), -(-len(source) // PIECES)))
    return source.parts(rows)


@dataclass(frozen=True)
class Parts:
    """The part files of a result: ``part-00000.parquet`` and so on, in the order of the rows.

    Parameters
    ----------
    folder
        The folder of the files.
    what
        What tells this result from others: model, data and settings, as plain JSON.
    ranges
        The rows of each part.
    """

    folder: Path
    what: Mapping[str, Any]
    ranges: Sequence[range]

    @property
    def fingerprint(self) -> str:
        """A hash of the result and its parts (sha256, hexadecimal)."""
        rows = [[part.start, part.stop] for part in self.ranges]
        return hashlib.sha256(json.dumps([FORMAT, self.what, rows], sort_keys=True).encode()).hexdigest()

    def path(self, i: int) -> Path:
        """Return the file of part i."""
        return self.folder / f"part-{i:05d}.parquet"

    def metadata(self, i: int) -> dict[str, str]:
        """Return what the file of part i tells about it."""
        rows = self.ranges[i]
        described = {"fingerprint": self.fingerprint, "part": i, "rows": [rows.start, rows.stop]}
        return {KEY: json.dumps(described, sort_keys=True)}

    def is_written(self, i: int) -> bool:
        """Return whether part i is there, whole, of this model, data and settings."""
        return described(self.path(i)) == self.metadata(i)[KEY]

    def is_complete(self) -> bool:
        """Return whether all parts and their manifest are there."""
        return self._manifest() and all(map(self.is_written, range(len(self.ranges))))

    def column(self, name: str) -> NDArray[Any]:
        """Return a column of all parts."""
        return np.concatenate([_column(self.path(i), name) for i in range(len(self.ranges))])

    def write(self, worker: Worker, write: Callable[[int], None]) -> tuple[int, bool]:
        """Write the parts of a worker that are not there, and the manifest if it was the last one.

        Return how many parts it wrote, and whether it completed the parts.
        """
        if self.is_complete():
            return 0, False
        written = 0
        if not self._manifest():
            (self.folder / MANIFEST).unlink(missing_ok=True)
        for i in worker.share(len(self.ranges)):
            if not self.is_written(i):
                (self.folder / MANIFEST).unlink(missing_ok=True)
                write(i)
                written += 1
        return written, self._completed()

    def _completed(self) -> bool:
        """Write the manifest if all parts are there, and return whether this call did so."""
        if not all(map(self.is_written, range(len(self.ranges)))):
            return False
        with locked(self.folder, WAIT):
            if self._manifest():
                return False
            for path in part_files(self.folder):
                if path not in {self.path(i) for i in range(len(self.ranges))}:
                    path.unlink(missing_ok=True)
            sweep(self.folder)
            parts = [{"file": self.path(i).name, "rows": len(rows)} for i, rows in enumerate(self.ranges)]
            described = {"format": FORMAT, "fingerprint": self.fingerprint, **self.what}
            write_json(self.folder / MANIFEST, described | {"rows": self.ranges[-1].stop, "parts": parts})
        return True

    def _manifest(self) -> bool:
        """Return whether the manifest is there, of this model, data and settings."""
        with contextlib.suppress(OSError, ValueError):
            manifest = read_json(self.folder / MANIFEST)
            return isinstance(manifest, dict) and manifest.get("fingerprint") == self.fingerprint
        return False


def described(path: Path) -> str | None:
    """Return what a part file tells about itself; "" of a file of others, None of one that is absent or damaged."""
    try:
        with readable(path) as opened:
            metadata = pyarrow_module("parquet").read_metadata(opened).metadata or {}
    except (OSError, ValueError, pyarrow_module("lib").ArrowException):
        return None
    return str(metadata.get(KEY.encode(), b"").decode(errors="replace"))


def _column(path: Path, name: str) -> NDArray[Any]:
    """Return a column of a part."""
    with readable(path) as opened, pyarrow_module("parquet").ParquetFile(opened) as file:
        values: NDArray[Any] = file.read([name]).column(name).to_numpy()
        return values


def part_files(folder: Path) -> list[Path]:
    """List the files of a folder that have the names of parts."""
    return sorted(path for path in folder.iterdir() if NAME.fullmatch(path.name)) if folder.is_dir() else []


def require_own(folder: Path) -> None:
    """Raise if a folder holds anything but part files and their manifest."""
    if not folder.is_dir():
        return
    ours = {path.name for path in part_files(folder) if described(path) != ""} | {MANIFEST}
    others = sorted(name for name in os.listdir(folder) if name not in ours and not name.startswith("."))
    if others:
        raise DataError(f"{folder} holds {others[0]}, which is no part of a result: give a new folder")
