"""Temporary folders beside what they become: locked while in use, and removed by the next writer after a kill."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
from collections.abc import Collection, Iterator
from pathlib import Path

from latentmap.data.locks import held, release, take

MOST_BYTES = 200
"""Bytes of a name that the names of its temporary folders hold, so that these do not become too long."""


@contextlib.contextmanager
def temporary_folder(target: Path, *, inside: bool = False, mode: int = 0o700) -> Iterator[Path]:
    """Yield a new folder beside a target, or inside it, which is removed at the end.

    What killed processes left of such folders is removed before.
    """
    clean(target)
    parent = target if inside else target.parent
    while True:
        path = hidden(parent, target.name, "new")
        path.mkdir(mode=mode)
        try:
            descriptor = _locked(path)
        except BaseException:
            shutil.rmtree(path, ignore_errors=True)
            raise
        if descriptor is not None:
            break
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        release(descriptor)


def clean(target: str | os.PathLike[str]) -> None:
    """Remove the temporary folders and files of a target that killed processes left; living ones keep theirs.

    A folder that was moved away and not yet replaced takes its name again.
    """
    final = Path(os.path.realpath(target))
    for old in _matching(final.parent, rf"\.{re.escape(_stem(final.name))}\.old-[0-9a-f]{{8}}"):
        with held(old) as dead, contextlib.suppress(OSError):
            if dead:
                _put_back(old, final)
    sweep(final.parent, [final.name])
    sweep(final, [final.name])


def sweep(folder: Path, names: Collection[str] | None = None) -> None:
    """Remove from a folder what killed processes left of temporary folders and files, for these names or for any."""
    for path in temporaries(folder, names):
        with held(path) as dead, contextlib.suppress(OSError):
            if dead:
                remove(path)


def temporaries(folder: Path, names: Collection[str] | None = None) -> list[Path]:
    """Return the temporary folders in a folder, and the temporary files of version 0.1, for these names or for any."""
    stems = ".+" if names is None else "|".join(re.escape(_stem(name)) for name in names)
    whole = ".+" if names is None else "|".join(map(re.escape, names))
    return _matching(folder, rf"\.({stems})\.new-[0-9a-f]{{8}}|\.[0-9a-f]{{8}}-({whole})")


def hidden(parent: Path, name: str, kind: str) -> Path:
    """Return a new hidden path for a folder that becomes or was the one of a name."""
    return parent / f".{_stem(name)}.{kind}-{os.urandom(4).hex()}"


def remove(path: Path) -> None:
    """Remove a file, a link, or a folder with all that it holds, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _put_back(old: Path, final: Path) -> None:
    """Give a folder that was moved away its name again, or else, before any of its files go, a temporary one."""
    os.rename(old, hidden(old.parent, final.name, "new") if os.path.lexists(final) else final)


def _locked(path: Path) -> int | None:
    """Return the descriptor of a new folder, locked; -1 where there are no locks; None if it was cleaned away."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError:  # Windows has no descriptor of a folder
        return -1
    kept = False
    try:
        kept = take(descriptor) is not False and path.exists()
    finally:
        if not kept:
            release(descriptor)
    return descriptor if kept else None


def _matching(folder: Path, pattern: str) -> list[Path]:
    matches = re.compile(pattern, re.DOTALL).fullmatch
    try:
        return [folder / name for name in os.listdir(folder) if matches(name)]
    except OSError:
        return []


def _stem(name: str) -> str:
    return os.fsdecode(os.fsencode(name)[:MOST_BYTES])
