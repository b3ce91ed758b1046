"""The history of a fit in Weights & Biases."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from latentmap.training.callbacks.base import Logger, Progress, require_package, values_of
from latentmap.training.metrics import Row


class WandbLogger(Logger):
    """Log the history to a run of Weights & Biases, by the names of ``history_``, over the steps.

    A run that is open when the fit starts is used, and stays open; otherwise the fit begins one and finishes it. Needs
    ``pip install "latentmap[wandb]"``.

    Parameters
    ----------
    project : str, default=None
        Name of the project.
    **init : dict
        Further arguments of ``wandb.init``: ``mode="offline"`` writes to a local folder, ``config`` keeps parameters.

    Raises
    ------
    MissingExtraError
        If wandb is not installed.

    Examples
    --------
    >>> from latentmap import VAE
    >>> vae = VAE(2, callbacks=[WandbLogger("digits", mode="offline", config={"n_components": 2})])  # doctest: +SKIP
    """

    def __init__(self, project: str | None = None, **init: Any) -> None:
        require_package("wandb")
        self.project = project
        self.init = init
        self._run: Any = None
        self._begun = False

    def __enter__(self) -> Self:
        import wandb

        self._begun = wandb.run is None
        if self._begun:
            self._run = wandb.init(project=self.project, **self.init)
            self._run.define_metric("*", step_metric="step")
        else:
            self._run = wandb.run
        return self

    def __call__(self, row: Row, progress: Progress) -> None:
        """Log a new row of the history.

        Parameters
        ----------
        row : dict
            The row.
        progress : Progress
            State of the fit.
        """
        self._run.log({name: value for name, value in values_of(row, progress) if value is not None})

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._begun:
            self._run.finish(exit_code=int(kind is not None))
        self._run = None
