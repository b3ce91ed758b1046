"""Errors of the system at calls in a folder: a disk that is full, a quota, a folder that can only be read or is lost.

The errors are raised in place of calls of `os` and of `open`, in this process, so that no such disk is needed.
"""

import builtins
import contextlib
import errno
import functools
import io
import itertools
import os
from typing import NamedTuple

from faults import opener

ALLOCATE = ("mkdir", "symlink", "link", "write", "fsync")
CHANGE = (*ALLOCATE, "rename", "replace", "unlink", "remove", "rmdir", "chmod", "create", "exchange")
LOOK = ("stat", "lstat", "listdir", "scandir", "open", "read")


class Failure(NamedTuple):
    """An error, the calls that it comes from, and whether each one fails from the first on."""

    code: int
    calls: tuple[str, ...]
    lasting: bool = True

    @property
    def reason(self):
        """The error in words."""
        return os.strerror(self.code)


FAILURES = {
    "full disk": Failure(errno.ENOSPC, ALLOCATE),
    "quota": Failure(errno.EDQUOT, ALLOCATE),
    "read-only": Failure(errno.EROFS, CHANGE),
    "lost folder": Failure(errno.ESTALE, (*CHANGE, *LOOK)),
    "bad block": Failure(errno.EIO, (*CHANGE, *LOOK), lasting=False),
}


class Failing:
    """Context in which the n-th call in a folder fails, and where the failure lasts all later ones too."""

    def __init__(self, folder, failure, at):
        self.folder, self.failure, self.at = os.path.realpath(folder), failure, at
        self.count = self.failed = 0
        self._real = {}

    def __enter__(self):
        from latentmap.data import folders

        self._readlink = os.readlink
        names = {*CHANGE, *LOOK} - {"write", "read", "create", "exchange"}
        self._real = {(os, name): getattr(os, name) for name in names}
        for (_, name), function in list(self._real.items()):
            setattr(os, name, self._counted(name, function))
        for owner, name in ((io, "open"), (builtins, "open")):
            self._real[owner, name] = getattr(owner, name)
            setattr(owner, name, self._opener(self._real[io, "open"]))
        self._real[folders, "exchange"] = folders.exchange
        folders.exchange = self._counted("exchange", folders.exchange)
        return self

    def __exit__(self, *error):
        for (owner, name), function in self._real.items():
            setattr(owner, name, function)

    def tick(self, name, *places):
        """Count a call that is to come, and fail if it is its turn."""
        if name not in self.failure.calls or not any(map(self._is_within, places)):
            return
        self.count += 1
        if self.count == self.at or (self.failure.lasting and self.count > self.at):
            self.failed += 1
            raise OSError(self.failure.code, self.failure.reason, str(places[0]))

    def _is_within(self, place):
        if isinstance(place, int):
            with contextlib.suppress(OSError):
                place = self._readlink(f"/proc/self/fd/{place}")
        if not isinstance(place, str | bytes | os.PathLike):
            return False
        path = os.path.abspath(os.fsdecode(place))
        return path == self.folder or path.startswith(self.folder + os.sep)

    def _counted(self, name, function):
        @functools.wraps(function)
        def call(*arguments, **options):
            self.tick(name, *arguments[:2])
            return function(*arguments, **options)

        return call

    def _opener(self, plain):
        def begin(file, writes):
            wraps = writes and not isinstance(file, int)
            self.tick("create" if wraps else "read", file)
            return wraps

        return opener(plain, begin, lambda raw, data: self.tick("write", raw.name))


def at_every_call(folder, failure, action):
    """Yield, for each call of an action that can fail, the number of the call and what came of the action.

    What came is None where it succeeded, or the error. Before each one the caller restores the folder.
    """
    for n in itertools.count(1):
        with Failing(folder, failure, n) as failing:
            try:
                action()
                outcome = None
            except Exception as error:
                outcome = error
        if not failing.failed:
            return
        yield n, outcome
