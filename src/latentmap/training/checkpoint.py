"""Checkpoints: the state of a fit in a file, written between two steps, from which the fit continues exactly."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import time
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
import safetensors.torch
from torch import Tensor

from latentmap.data.files import write_bytes
from latentmap.data.locks import identity
from latentmap.data.reading import read_file
from latentmap.data.remote import local_path
from latentmap.data.temporary import sweep
from latentmap.exceptions import DataError, ModelError, ResumeWarning
from latentmap.messages import error_line
from latentmap.training.schedule import Timer

if TYPE_CHECKING:
    from latentmap.training.loop import Trainer

EVERY = 60.0
"""Seconds between two checkpoints within an epoch."""
SHARE = 0.005
"""Share of the time of a fit that goes into checkpoints, at most."""
SOONEST = 1.0
"""Seconds of training before the first checkpoint."""
KEPT = 2
"""Number of checkpoints that are kept."""
NAME = re.compile(r"(\d{9})-([0-9a-f]{16})\.safetensors")
MOST_VALUES = 2**26
"""Characters of the description in a file, at most."""


@dataclass(frozen=True, eq=False)
class Checkpoint:
    """State of a fit between two steps.

    Parameters
    ----------
    facts : dict
        Plain JSON that tells which fit it is of: parameters, data, versions.
    state : dict
        Return value of `Trainer.state_dict`, or a part of it.
    """

    facts: dict[str, Any]
    state: dict[str, Any]

    def to_bytes(self) -> bytes:
        """Return a file of safetensors: tensors by path, everything else as JSON in its metadata.

        >>> import torch
        >>> again = Checkpoint.from_bytes(Checkpoint({"seed": 0}, {"a": {"b": torch.ones(2)}, "step": 3}).to_bytes())
        >>> again.facts, again.state
        ({'seed': 0}, {'a': {'b': tensor([1., 1.])}, 'step': 3})
        """
        tensors: dict[str, Tensor] = {}
        rest = {"facts": self.facts, "state": _without_tensors(self.state, "", tensors)}
        return safetensors.torch.save(tensors, metadata={"checkpoint": json.dumps(rest)})

    @classmethod
    def from_bytes(cls, content: bytes) -> Checkpoint:
        """Read what `to_bytes` returned; a `ValueError` tells what is wrong with other bytes."""
        try:
            length = int.from_bytes(content[:8], "little")
            if not 0 < length <= min(MOST_VALUES, len(content) - 8):
                raise ValueError("no header of safetensors")
            described = json.loads(json.loads(content[8 : 8 + length])["__metadata__"]["checkpoint"])
            tensors = safetensors.torch.load(content)
            facts, state = described["facts"], _with_tensors(described["state"], "", tensors)
        except (KeyError, TypeError, RecursionError, safetensors.SafetensorError) as error:
            raise ValueError(f"no checkpoint ({error_line(error)})") from error
        if not isinstance(facts, dict) or not isinstance(state, dict):
            raise ValueError("no checkpoint (its description is no object)")
        return cls(facts, state)


class Checkpoints:
    """Folder with the last checkpoints of one fit, and the request to stop it.

    A fit writes a checkpoint after the first step that ends an epoch, if writing takes at most 0.5% of the time, and
    after the first one that comes a minute, or the seconds that are given, after the last checkpoint. A file is written
    whole or not at all, under a name that holds its hash; the one before is kept.

    Parameters
    ----------
    folder : str or path
        The folder; it is made when it is needed.
    every : float, default=None
        Seconds between two checkpoints, at most, but for those of a step; 0 writes one after each step. None is a
        minute, or so long that writing takes at most 0.5% of the time.
    timer : callable, default=time.monotonic
        Source of the time; one that does not follow the clock of the system.
    beside : mapping of str to bytes, default=None
        Files by name that a fit needs beside its checkpoints in order to be resumed, such as its request. The first
        step of a new fit replaces those of an earlier one, whose checkpoints go with them, and each checkpoint writes
        those that are missing.

    Attributes
    ----------
    facts : dict
        What tells which fit the checkpoints are of, written with each of them.
    stopping : bool
        Whether `stop` was called.
    running : bool
        Whether a fit takes steps at present, which `stop` ends.
    writes : bool
        Whether anything is written, as by the first of several processes alone.
    """

    writes = True

    def __init__(
        self,
        folder: str | os.PathLike[str],
        every: float | None = None,
        timer: Timer = time.monotonic,
        beside: Mapping[str, bytes] | None = None,
    ) -> None:
        self.folder = Path(os.path.abspath(local_path(folder)))  # whatever becomes of the current folder
        self.beside = dict(beside or {})
        self.every = every
        self.timer = timer
        self.facts: dict[str, Any] = {}
        self.stopping = self.running = False
        self._last, self._cost = timer(), SOONEST * SHARE
        self._ended = self._failing = False
        self._place: tuple[int, int] | None = None
        """What tells the folder around from one that takes its name."""
        self._own: list[Path] = []
        """The last checkpoints of this fit: the one that it was resumed from, and those it has written."""

    def __bool__(self) -> bool:
        """Return whether the folder holds a checkpoint."""
        return bool(self._paths())

    def stop(self) -> None:
        """End the fit after the current step; a signal handler or another thread may call it."""
        self.stopping = True

    def begin(self) -> None:
        """Start the time of the first interval, and replace an earlier fit of the same folder."""
        if self.writes and self.beside and not self._own:
            self._clear()
            self._write_beside(replace=True)
        self._last, self.running, self._ended = self.timer(), True, False
        self._place = identity(self.folder.parent)

    def after_step(self, trainer: Trainer) -> None:
        """Stop the fit if that is asked for, and write a checkpoint if one is due."""
        if self.stopping:
            trainer.interrupt()
        cheap = self._cost / SHARE
        due = max(EVERY, cheap) if self.every is None else self.every
        if trainer.batches == trainer.steps_per_epoch:
            due = min(due, cheap)
        if self.timer() - self._last >= due:
            self.write(trainer)

    def end(self, trainer: Trainer) -> None:
        """Write the last checkpoint of a fit, unless it ended in the middle of a step."""
        self._ended = not trainer.interrupted
        try:
            if not trainer.within_step:
                self.write(trainer)
        except KeyboardInterrupt:  # the first one: the fit has a result without this checkpoint
            if trainer.interrupted or trainer.processes.world_size > 1:
                raise
            trainer.interrupted = True
        finally:  # until then, a signal lets it be written
            self.running = self.stopping = False

    def write(self, trainer: Trainer) -> None:
        """Write a checkpoint, and remove all but the last two of this fit; where that fails, warn and go on.

        The next one is tried when it is due; only the first of several failures is told, and the first success after.
        """
        if not self.writes:
            return
        begun = self.timer()
        facts = self.facts | {"ended": self._ended, "unsaved": trainer.unsaved()}
        content = Checkpoint(facts, trainer.state_dict()).to_bytes()
        path = self.folder / f"{trainer.step:09d}-{_hash(content)}.safetensors"
        try:
            self.require_place()
            write_bytes(path, content)
            self._write_beside()
            self._place = identity(self.folder.parent)
            self._own = [*(own for own in self._own if own.name[:9] != path.name[:9]), path][-KEPT:]
            for other in set(self._paths()) - set(self._own):
                other.unlink(missing_ok=True)
            parts = {path.name[1:].rpartition(".new-")[0] for path in self.folder.glob(".[0-9]*.safetensors.new-*")}
            sweep(self.folder, [name for name in parts if NAME.fullmatch(name)])
            if self._failing:
                warnings.warn(f"checkpoints are written again to {self.folder}", ResumeWarning, stacklevel=2)
            self._failing = False
        except (DataError, OSError) as error:
            if not self._failing:
                message = f"no checkpoint was written: {error_line(error)}; the fit goes on, and tries again"
                warnings.warn(message, ResumeWarning, stacklevel=2)
            self._failing = True
        self._last = self.timer()
        self._cost = self._last - begun

    def read(self) -> Checkpoint | None:
        """Return the last checkpoint that is whole, with a warning where that is not the last one; None without any.

        Raises
        ------
        ModelError
            If there are checkpoints, and all of them are damaged.
        """
        damaged = ""
        for path in reversed(self._paths()):
            try:
                content = read_file(path)
                if path.name.split("-")[1].partition(".")[0] != _hash(content):
                    raise ValueError("it does not have the hash that its name holds")
                found = Checkpoint.from_bytes(content)
            except (OSError, ValueError) as error:
                damaged = damaged or f"{path} is damaged ({error_line(error)})"
                continue
            if damaged:
                warnings.warn(f"{damaged}; the fit continues from the checkpoint before", ResumeWarning, stacklevel=2)
            self._own = [path]
            return found
        if damaged:
            raise ModelError(f"{damaged}, and there is no other checkpoint; fit anew")
        return None

    def clear(self) -> None:
        """Remove all checkpoints, and the folder if nothing else is in it."""
        self._clear()
        with contextlib.suppress(OSError):
            self.folder.rmdir()

    def last_step(self) -> int | None:
        """Return the step of the last checkpoint in the folder; None without any."""
        paths = self._paths()
        return int(paths[-1].name.partition("-")[0]) if paths else None

    def require_place(self) -> None:
        """Raise a `DataError` where another folder, with files of others, has taken the name of the one around.

        The one around may be renamed, or a link to it may be changed, while a fit runs. A folder that comes back with
        a checkpoint of this fit, as on a network, is the same one.
        """
        around = self.folder.parent
        now = identity(around)
        if None in (now, self._place) or now == self._place or any(path.exists() for path in self._own):
            return
        try:
            others = set(os.listdir(around)) - {self.folder.name}
        except OSError as error:
            raise DataError(f"cannot write {around}: {error.strerror}") from error
        if others:
            raise DataError(f"{around} is another folder than when the fit began, and holds files of others")

    def _clear(self) -> None:
        for path in self._paths():
            path.unlink(missing_ok=True)

    def _write_beside(self, *, replace: bool = False) -> None:
        """Write the files beside the checkpoints, or those that are missing."""
        for name, content in self.beside.items():
            if replace or not (self.folder / name).exists():
                write_bytes(self.folder / name, content)

    def _paths(self) -> list[Path]:
        """Return the checkpoints, in the order in which they were written as far as steps tell."""
        try:
            found = [path for path in self.folder.iterdir() if NAME.fullmatch(path.name)]
        except OSError:
            return []
        return sorted(found, key=lambda path: (path.name[:9], path.stat().st_mtime_ns))


def _hash(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _without_tensors(value: Any, path: str, tensors: dict[str, Tensor]) -> Any:
    """Return a value of which each tensor is replaced by null, and put it among the tensors by its path."""
    if isinstance(value, Mapping):
        return {name: _without_tensors(entry, f"{path}/{name}", tensors) for name, entry in value.items()}
    if isinstance(value, Tensor):
        tensors[path] = value.detach().to("cpu", copy=True).contiguous()
        return None
    return value


def _with_tensors(value: Any, path: str, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(value, dict):
        return {name: _with_tensors(entry, f"{path}/{name}", tensors) for name, entry in value.items()}
    return tensors[path] if value is None and path in tensors else value
