"""The history of a fit in TensorBoard."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Any, Self

from latentmap.training.callbacks.base import Logger, Progress, require_package, values_of
from latentmap.training.metrics import Row


class TensorBoardLogger(Logger):
    """Write the history as scalars for TensorBoard, by the names of ``history_``, over the steps.

    Needs ``pip install "latentmap[tensorboard]"``; ``tensorboard --logdir runs`` shows it.

    Parameters
    ----------
    log_dir : str or path, default=None
        Folder of the run; None makes a new one for each fit in ``runs``, named by date and machine.

    Raises
    ------
    MissingExtraError
        If tensorboard is not installed.

    Examples
    --------
    >>> from latentmap import VAE
    >>> vae = VAE(2, callbacks=[TensorBoardLogger("runs/digits")])  # doctest: +SKIP
    """

    def __init__(self, log_dir: str | os.PathLike[str] | None = None) -> None:
        require_package("tensorboard")
        self.log_dir = log_dir
        self._writer: Any = None

    def __enter__(self) -> Self:
        from torch.utils.tensorboard import SummaryWriter

        self._writer = SummaryWriter(None if self.log_dir is None else os.fspath(self.log_dir))
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
        for name, value in values_of(row, progress):
            if value is not None:
                self._writer.add_scalar(name, value, progress.step)
        self._writer.flush()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._writer.close()
        self._writer = None
