"""Kills at system calls: a forked process runs an action, and SIGKILL ends it at its n-th call that changes files.

Calls that count are those of `os` that change names, permissions or what is on the disk, openings of files to write,
each write (half of which is done), and the exchange of two folders. Processes are forked from one without further
threads, which has loaded everything, so that a kill takes milliseconds.
"""

import builtins
import io
import itertools
import os
import signal
from pathlib import Path

CALLS = ("mkdir", "rename", "replace", "link", "symlink", "unlink", "remove", "rmdir", "chmod", "fsync")


def opener(plain, begin, write):
    """Return a function like `open`: `begin(file, writes)` says whether its file calls `write(raw, data)` first."""

    class Raw(io.FileIO):
        def write(self, data):
            write(self, data)
            return super().write(data)

    def opened(file, mode="r", buffering=-1, encoding=None, errors=None, newline=None, closefd=True, opener=None):
        if not begin(file, bool(set(mode) & set("wxa+"))):
            return plain(file, mode, buffering, encoding, errors, newline, closefd, opener)
        raw = Raw(file, mode.replace("b", "").replace("t", ""), closefd, opener)
        buffered = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
        return buffered if "b" in mode else io.TextIOWrapper(buffered, encoding, errors, newline)

    return opened


class Fault:
    """Counts calls, and kills the process at one of them."""

    def __init__(self, at):
        self.at, self.count = at, 0

    def tick(self, before=None):
        """Count a call that is to come, and die if it is the one, after doing a part of it."""
        self.count += 1
        if self.count == self.at:
            if before is not None:
                before()
            os.kill(os.getpid(), signal.SIGKILL)

    def counted(self, function):
        """Return a function that counts its calls."""

        def call(*arguments, **options):
            self.tick()
            return function(*arguments, **options)

        return call

    def opener(self):
        """Return a function like `open` whose files count their writes."""

        def begin(file, writes):
            if writes:
                self.tick()
            return writes

        def write(raw, data):
            view = memoryview(data).cast("B")
            self.tick(lambda: io.FileIO.write(raw, view[: len(view) // 2]))

        return opener(io.open, begin, write)

    def install(self):
        """Make every call of this process count."""
        from latentmap.data import folders

        for name in CALLS:
            setattr(os, name, self.counted(getattr(os, name)))
        io.open = builtins.open = self.opener()
        folders.exchange = self.counted(folders.exchange)


def dies_at(n, action):
    """Run an action in a process of its own that dies at its n-th call; return whether it did; it must not fail."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            silence = os.open(os.devnull, os.O_WRONLY)
            os.dup2(silence, 1)
            Fault(n).install()
            action()
            code = 0
        finally:
            os._exit(code)
    status = os.waitpid(child, 0)[1]
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0, "the action failed"
    return False


def at_every_call(action, prepare, check, first=1):
    """Kill an action at each of its calls, after `prepare`, and `check` what is left; return the number of calls."""
    for n in itertools.count(first):
        prepare()
        killed = dies_at(n, action)
        check(n)
        if not killed:
            return n - 1


def contents(folder):
    """Return the bytes of all files below a folder by path, the hidden ones too; empty if it is not there."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def hidden(folder):
    """Return the hidden names below a folder."""
    return sorted(str(path) for path in Path(folder).rglob(".*"))
