"""The history of a fit as a .csv file."""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path
from typing import Any, Self

from latentmap.data.files import write_text
from latentmap.exceptions import DataError
from latentmap.messages import error_line
from latentmap.training.callbacks.base import Logger, Progress, values_of
from latentmap.training.metrics import Row


class CSVLogger(Logger):
    """Write each row of the history to a .csv file, which is whole at any time.

    The columns are those of ``history_`` and the learning rate; a cell without value is empty. Each evaluation replaces
    the file at once, so that a reader, or a fit that is killed, never leaves half a line. The file of an earlier fit is
    replaced, or continued with ``append``; fits at the same time need files of their own.

    Parameters
    ----------
    path : str or path
        The file; missing folders are made.
    append : bool, default=False
        Whether to keep the rows of an existing file, as for the pieces of `partial_fit` and for warm starts.

    Examples
    --------
    >>> import numpy as np, tempfile
    >>> from latentmap import VAE
    >>> folder = tempfile.TemporaryDirectory()
    >>> path = Path(folder.name) / "history.csv"
    >>> _ = VAE(2, max_epochs=20, callbacks=[CSVLogger(path)]).fit(np.random.default_rng(0).normal(size=(50, 4)))
    >>> path.read_text().splitlines()[0][:30]
    'epoch,step,seconds,loss,distor'
    >>> folder.cleanup()
    """

    def __init__(self, path: str | os.PathLike[str], *, append: bool = False) -> None:
        self.path = path
        self.append = append
        self._rows: list[dict[str, Any]] = []

    def __enter__(self) -> Self:
        self._rows = self._read() if self.append else []
        self._write()
        return self

    def __call__(self, row: Row, progress: Progress) -> None:
        """Write a new row of the history.

        Parameters
        ----------
        row : dict
            The row.
        progress : Progress
            State of the fit.
        """
        self._rows.append(dict(values_of(row, progress)))
        self._write()

    def _read(self) -> list[dict[str, Any]]:
        path = Path(self.path)
        if not path.exists():
            return []
        try:
            with path.open(encoding="utf-8", newline="") as file:
                rows = [dict(row) for row in csv.DictReader(file)]
        except (OSError, UnicodeDecodeError, csv.Error) as error:
            raise DataError(f"cannot continue {path}: {error_line(error)}; choose another file") from error
        if any(None in row or "step" not in row for row in rows):
            raise DataError(f"cannot continue {path}: it is no history of a fit; choose another file, or append=False")
        return rows

    def _write(self) -> None:
        names = dict.fromkeys(name for row in self._rows for name in row)  # fits of other losses have other columns
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(names), lineterminator="\n")
        if names:
            writer.writeheader()
        writer.writerows(self._rows)
        write_text(self.path, text.getvalue())
