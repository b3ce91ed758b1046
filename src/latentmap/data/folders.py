"""Folders that are replaced as a whole: written beside the old one, synced, then exchanged with it in one step."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import sys
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from latentmap.data.locks import held
from latentmap.data.remote import local_path
from latentmap.data.temporary import hidden, remove, sweep, temporaries, temporary_folder
from latentmap.exceptions import DataError

UNSUPPORTED = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP)
"""Errors of file systems that cannot exchange two names, or sync a folder."""


@contextlib.contextmanager
def atomic_folder(
    target: str | os.PathLike[str], own: Sequence[str], last: str, keep: Collection[str] = ()
) -> Iterator[Path]:
    """Yield a new folder, which takes the place of ``target`` when the block ends without an error.

    Files are synced to the disk before, and one step exchanges the folders, so that a process that is killed leaves the
    old folder or the new one. Where a file system cannot exchange, the old folder is renamed, then the new one, and
    `latentmap.data.temporary.clean` undoes the first without the second. A folder that is `fixed`, or that holds files
    of others and not yet ``last``, gets the new files one by one, ``last`` at the end.

    Parameters
    ----------
    target
        The folder; a symbolic link is followed. Missing parents are made.
    own
        Names in it that belong to the old content, and go with it; all others stay. New files come one by one in this
        order.
    last
        The file without which a folder is not complete.
    keep
        Names among those that stay all the same.

    Raises
    ------
    DataError
        If it cannot be written.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as parent:
    ...     for text in ("old", "new"):
    ...         with atomic_folder(Path(parent) / "run", ["weights"], "weights") as folder:
    ...             _ = (folder / "weights").write_text(text)
    ...     (Path(parent) / "run" / "weights").read_text()
    'new'
    """
    final = Path(os.path.realpath(local_path(target)))
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        if final.exists() and not final.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        sweep(final, own)
        merged = final.is_dir() and (fixed(final) is not None or _is_shared(final, own, last))
        mode = stat.S_IMODE(final.stat().st_mode) if final.is_dir() else 0o777
        with temporary_folder(final, inside=merged, mode=mode) as new:
            with _errors_of(new, target):
                yield new
            for path in _files(new):
                sync(path)
                keep_mode(path, final / path.relative_to(new))
            old = [name for name in own if name not in keep]
            if merged:
                _merge(new, final, old, last)
            else:
                _carry(final, new, old)
                _sync_folders(new)
                keep_mode(new, final)
                _switch(new, final)
            sync(final if merged else final.parent)
    except OSError as error:
        raise DataError(f"cannot write {os.fspath(target)}: {error.strerror or error}") from error


def fixed(folder: str | os.PathLike[str]) -> str | None:
    """Return why a folder cannot be exchanged with another; None if it can."""
    final = Path(os.path.realpath(folder))
    if not final.is_dir():
        return None
    if _is_current(final):
        return "it is the current folder, or holds it"
    if _is_mount(final):
        return "it is a mount point"
    return None if os.access(final.parent, os.W_OK) else "the folder that holds it cannot be written to"


def sync(path: Path) -> None:
    """Flush a file, or a folder's list of names, to the disk."""
    folder = path.is_dir()
    if folder and os.name == "nt":  # Windows has no descriptor of a folder
        return
    descriptor = os.open(path, os.O_RDWR if os.name == "nt" else os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not folder or error.errno not in UNSUPPORTED:  # as some network file systems do not sync folders
            raise
    finally:
        os.close(descriptor)


def keep_mode(new: Path, old: Path) -> None:
    """Give a file or folder the permissions, and if possible the owner, of the one that it replaces."""
    if not old.exists():
        return
    state = old.stat()
    with contextlib.suppress(OSError, AttributeError):  # not the superuser, or Windows
        os.chown(new, state.st_uid, state.st_gid)
    with contextlib.suppress(OSError):  # file systems without permissions
        os.chmod(new, stat.S_IMODE(state.st_mode))


@contextlib.contextmanager
def _errors_of(new: Path, target: str | os.PathLike[str]) -> Iterator[None]:
    """Let errors name the files of a folder as they are to be called."""
    try:
        yield
    except DataError as error:
        if str(new) not in str(error):
            raise
        raise DataError(str(error).replace(str(new), os.fspath(target))) from error


def _is_shared(folder: Path, own: Sequence[str], last: str) -> bool:
    """Return whether a folder holds files of others, and is not complete."""
    return not (folder / last).exists() and any(name not in own for name in os.listdir(folder))


def _is_current(folder: Path) -> bool:
    """Return whether the current folder lies in a folder; one that was removed lies nowhere."""
    try:
        return Path(os.path.realpath(os.getcwd())).is_relative_to(folder)
    except OSError:
        return False


def _is_mount(folder: Path) -> bool:
    """Return whether a folder is a mount point, also of a folder of the same file system."""
    try:
        return _mount(folder) != _mount(folder.parent)
    except OSError:  # not on Linux
        return os.path.ismount(folder)


def _mount(folder: Path) -> str:
    """Return the id of the mount that a folder lies in."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        lines = Path(f"/proc/self/fdinfo/{descriptor}").read_text().splitlines()
        return next((line for line in lines if line.startswith("mnt_id")), "")
    finally:
        os.close(descriptor)


def _files(folder: Path) -> Iterator[Path]:
    for parent, _, names in os.walk(folder):
        yield from (Path(parent, name) for name in names)


def _sync_folders(folder: Path) -> None:
    for parent, _, _ in os.walk(folder):
        sync(Path(parent))


def _carry(old: Path, new: Path, own: Sequence[str]) -> None:
    """Link the files of others into the new folder; copy them where there are no links."""
    if not old.is_dir():
        return
    unwanted = {*own, *(path.name for path in temporaries(old, own))}
    for path in old.iterdir():
        if path.name not in unwanted:
            _link(path, new / path.name)


def _link(source: Path, target: Path) -> None:
    if source.is_dir() and not source.is_symlink():
        target.mkdir(exist_ok=True)
        for path in source.iterdir():
            _link(path, target / path.name)
        shutil.copystat(source, target)
        return
    if os.path.lexists(target):  # the new content has precedence
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError:
        shutil.copy2(source, target, follow_symlinks=False)
        if not target.is_symlink():
            sync(target)


def _merge(new: Path, final: Path, own: Sequence[str], last: str) -> None:
    """Move files into a folder that stays, the last one when all others are on the disk."""
    for name in own:
        if not (new / name).exists():
            remove(final / name)
    names = sorted(os.listdir(new), key=lambda name: (name == last, own.index(name) if name in own else len(own)))
    for name in names:
        if name == last:
            sync(final)
        _move(new / name, final / name)


def _move(source: Path, target: Path) -> None:
    if not source.is_dir():
        os.replace(source, target)
        return
    target.mkdir(exist_ok=True)
    for path in source.iterdir():
        _move(path, target / path.name)
    sync(target)


def _switch(new: Path, final: Path) -> None:
    """Give a new folder its name; what had it before gets the temporary one, and is removed with it."""
    try:
        if not (final.exists() and exchange(new, final)):
            _rename(new, final)
    except OSError as error:
        kept = hidden(final.parent, final.name, "new")
        kept = kept.with_name(kept.name.removeprefix("."))
        os.rename(new, kept)
        raise DataError(f"cannot replace {final} ({error.strerror}): the new one is in {kept}") from error


def _rename(new: Path, final: Path) -> None:
    try:
        os.rename(new, final)  # over nothing, or over an empty folder
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST, errno.EACCES):
            raise
        _rename_both(new, final)


def _rename_both(new: Path, final: Path) -> None:
    old = hidden(final.parent, final.name, "old")
    with held(final):
        os.rename(final, old)
        try:
            os.rename(new, final)
        except BaseException:
            os.rename(old, final)
            raise
        os.rename(old, new)


def exchange(one: Path, other: Path) -> bool:
    """Exchange the names of two folders in one step; return False where the system cannot."""
    if os.name != "posix":
        return False
    import ctypes

    library = ctypes.CDLL(None, use_errno=True)
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        status = library.renamex_np(first, second, 2)  # RENAME_SWAP
    elif hasattr(library, "renameat2"):
        status = library.renameat2(-100, first, -100, second, 2)  # AT_FDCWD, RENAME_EXCHANGE
    else:
        return False
    if status == 0:
        return True
    code = ctypes.get_errno()
    if code in UNSUPPORTED:
        return False
    raise OSError(code, os.strerror(code), os.fspath(other))
