"""The request of a fit: the options of the command, kept beside its checkpoints so that it can be resumed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Literal, Self

from latentmap.cli.options import Purpose
from latentmap.cli.terminal import note
from latentmap.data.files import as_json, write_bytes
from latentmap.data.reading import read_json
from latentmap.data.typed import made
from latentmap.estimators.run_folder import CHECKPOINTS, UNFINISHED, is_run, is_unfinished, shell_command
from latentmap.exceptions import ModelError


@dataclass(frozen=True)
class Request:
    """The options of ``latentmap fit`` that a fit depends on; paths are absolute.

    ``replaces`` is whether the folder held a finished run before, which stays as it is until the fit has ended.
    """

    data: str
    model: Literal["vae", "autoencoder"]
    purpose: Purpose | None
    n_components: int | None
    recipe: str | None
    settings: tuple[str, ...]
    max_epochs: int | None
    seconds: float | None
    device: str | None
    memory: str | None
    labels: str | None
    row_id: str | None
    columns: str | None
    embed: tuple[str, ...]
    skip_bad: bool
    seed: int
    no_report: bool
    every: float | None
    replaces: bool = False
    anchor: str | None = None

    @classmethod
    def read(cls, run: Path) -> Self:
        """Return the request of the fit in a run folder that has not ended.

        Raises
        ------
        ModelError
            If there is none: the folder is no run, its fit has ended, or it was made in Python.
        """
        path = run / UNFINISHED
        if not path.exists():
            raise ModelError(_nothing_to_resume(run))
        try:
            request = made(cls, read_json(path), "it")
            if not request.data:
                raise ValueError("it names no data")
        except (OSError, ValueError) as error:
            raise ModelError(f"{path} cannot be read ({error}); fit anew with --overwrite") from error
        return request

    @classmethod
    def from_bytes(cls, content: bytes) -> Self:
        """Return the request that `to_bytes` wrote."""
        return made(cls, json.loads(content), "it")

    def to_bytes(self) -> bytes:
        """Return the request as the file that `read` reads."""
        return as_json(asdict(self))

    def of(self, run: Path) -> Request:
        """Return the request with what it has to keep: whether the folder holds a finished run."""
        return replace(self, replaces=is_run(run) and (not is_unfinished(run) or _replaces(run)))


def _replaces(run: Path) -> bool:
    """Return whether a fit that has not ended was to replace a finished run, as one that says nothing may have been."""
    try:
        return Request.read(run).replaces
    except ModelError:
        return True


@contextlib.contextmanager
def kept_request(request: Request, run: Path, *, resume: bool) -> Iterator[None]:
    """Keep a request in a run folder until the run is saved; a fit that fails without a checkpoint leaves nothing.

    Where the folder holds a fit that has not ended, it stays until the new one takes its first step.
    """
    from latentmap.training.checkpoint import Checkpoints

    folder = run / CHECKPOINTS
    try:
        if not (resume or is_unfinished(run)):
            shutil.rmtree(folder, ignore_errors=True)
            write_bytes(run / UNFINISHED, request.to_bytes())
        yield
    except Exception:
        step = Checkpoints(folder).last_step()
        if step is not None:
            note(f"the fit is kept up to step {step:,}: {shell_command('resume', run)} continues it")
        else:
            shutil.rmtree(folder, ignore_errors=True)
        raise


def absolute(data: str | Path) -> str:
    """Return the absolute path of data; what is no file or folder, such as the name of a data set, as it is."""
    from latentmap.data.datasets import DATASETS
    from latentmap.data.fetching import is_remote

    path = os.path.abspath(os.path.expanduser(data))
    named = data in DATASETS or is_remote(data) or not os.path.exists(path.partition("::")[0])
    return str(data) if named else path


def _nothing_to_resume(run: Path) -> str:
    if not run.exists():
        return f"{run} does not exist: expected the folder of a fit that was interrupted"
    if not is_run(run):
        return f"{run} is not a run of latentmap: expected the folder of a fit that was interrupted"
    from latentmap.estimators.run_files import TRAINER, read_config

    read_config(run)
    if (run / TRAINER).exists():
        return f"{run} was saved in Python: latentmap.load it there, and continue its fit with fit(X, resume=True)"
    return f"the fit of {run} has ended, so there is nothing to resume; latentmap fit --overwrite fits anew"
