"""The history of a fit in MLflow."""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self

from latentmap.training.callbacks.base import Logger, Progress, require_package, values_of
from latentmap.training.metrics import Row

LONGEST = 500
"""Characters of a parameter, at most, as MLflow requires."""


class MLflowLogger(Logger):
    """Log the history as metrics of an MLflow run, by the names of ``history_``, over the steps.

    A run that is active when the fit starts is used, and stays active; otherwise the fit begins one and ends it, as
    failed if the fit fails. Needs ``pip install "latentmap[mlflow]"``.

    Parameters
    ----------
    experiment : str, default=None
        Name of the experiment; None is the one that is set.
    run_name : str, default=None
        Name of the run that the fit begins; None lets MLflow choose one.
    params : mapping, default=None
        Parameters to log with the run, such as ``vae.get_params()``.

    Raises
    ------
    MissingExtraError
        If mlflow is not installed.

    Examples
    --------
    >>> from latentmap import VAE
    >>> vae = VAE(2, callbacks=[MLflowLogger("digits", params={"n_components": 2})])  # doctest: +SKIP
    """

    def __init__(
        self, experiment: str | None = None, *, run_name: str | None = None, params: Mapping[str, Any] | None = None
    ) -> None:
        require_package("mlflow")
        self.experiment = experiment
        self.run_name = run_name
        self.params = params
        self._begun = False

    def __enter__(self) -> Self:
        import mlflow

        self._begun = mlflow.active_run() is None
        if self._begun:
            mlflow.start_run(experiment_id=self._experiment_id(), run_name=self.run_name)
        mlflow.log_params({name: str(value)[:LONGEST] for name, value in (self.params or {}).items()})
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
        import mlflow

        values = {name: value for name, value in values_of(row, progress) if value is not None}
        mlflow.log_metrics(values, step=progress.step)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        import mlflow

        if self._begun:
            mlflow.end_run("FINISHED" if kind is None else "FAILED")

    def _experiment_id(self) -> str | None:
        """Return the number of the experiment, which is made if there is none of this name."""
        import mlflow

        if self.experiment is None:
            return None
        found = mlflow.get_experiment_by_name(self.experiment)
        return str(mlflow.create_experiment(self.experiment) if found is None else found.experiment_id)
