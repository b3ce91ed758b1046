"""Advisory locks on folders and files: of two processes one writes, and the system releases those of a killed one."""

from __future__ import annotations

import contextlib
import itertools
import os
import time
from collections.abc import Iterator
from pathlib import Path

from latentmap.data.remote import local_path
from latentmap.exceptions import DataError

HAS_LOCKS = os.name == "posix"
if HAS_LOCKS:
    import fcntl

PAUSE = 0.05
"""Seconds between two attempts to take a lock."""
MOST_ATTEMPTS = 200
"""Attempts after which a lock counts, where a file system gives an open folder and its name other numbers."""
NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOFOLLOW", 0)


@contextlib.contextmanager
def locked(folder: str | os.PathLike[str], wait: float = 0.0) -> Iterator[None]:
    """Keep other processes from writing to a folder while the block runs.

    The folder is made if it is missing, and removed again if it is empty at the end. File systems without locks are
    written to without one.

    Parameters
    ----------
    folder
        The folder; a symbolic link is followed.
    wait
        Seconds to wait for another process.

    Raises
    ------
    DataError
        If another process, or another block of this one, holds the lock after that time; or if the folder cannot be
        made.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent, locked(Path(parent) / "run"):
    ...     try:
    ...         with locked(Path(parent) / "run"):
    ...             pass
    ...     except DataError as error:
    ...         print(str(error).replace(parent, ""))
    /run is being written by another process; wait for it or choose another folder
    """
    target = Path(os.path.realpath(local_path(folder)))
    try:
        made = [place for place in (target, *target.parents) if not place.exists()]
        descriptor = _acquired(target, time.monotonic() + wait)
        if descriptor is None:
            message = "is being written by another process; wait for it or choose another folder"
            raise DataError(f"{os.fspath(folder)} {message}")
    except OSError as error:
        raise DataError(f"cannot write {os.fspath(folder)}: {error.strerror or error}") from error
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # a folder that is not empty
            for place in made:
                place.rmdir()
        release(descriptor)


@contextlib.contextmanager
def held(path: Path) -> Iterator[bool]:
    """Yield whether a file or folder is used by nobody else; it is locked while the block runs."""
    descriptor = -1
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_RDONLY | NO_WAIT) if HAS_LOCKS else -1
    try:
        yield descriptor >= 0 and take(descriptor) is True and is_at(descriptor, path)
    finally:
        release(descriptor)


def take(descriptor: int) -> bool | None:
    """Lock an open file or folder: True if that is done, False if another has it, None if it cannot be locked."""
    if not HAS_LOCKS:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # network file systems without locks on folders
        return None
    return True


def release(descriptor: int) -> None:
    """Close a descriptor and release its lock, in forked processes too; -1 is none."""
    if descriptor < 0:
        return
    with contextlib.suppress(OSError):
        if HAS_LOCKS:
            fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def is_at(descriptor: int, path: Path) -> bool:
    """Return whether a path still leads to an open file or folder, which may have been replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def identity(path: str | os.PathLike[str]) -> tuple[int, int] | None:
    """Return what tells a folder from one that takes its name."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_dev, state.st_ino


def _acquired(folder: Path, deadline: float) -> int | None:
    """Return the descriptor of a folder that is locked, -1 where there are no locks, None if others keep it."""
    for attempt in itertools.count():
        folder.mkdir(parents=True, exist_ok=True)
        if not HAS_LOCKS:
            return -1
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # another process has just removed it
            continue
        taken = take(descriptor)
        if taken is not False and (is_at(descriptor, folder) or attempt > MOST_ATTEMPTS):
            return descriptor
        release(descriptor)
        if taken is False and time.monotonic() >= deadline:
            return None
        time.sleep(PAUSE)
    return None
