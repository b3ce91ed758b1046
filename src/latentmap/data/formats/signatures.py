"""What a file holds by its first bytes, to tell a wrong ending from a damaged file."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Collection
from pathlib import Path

from latentmap.exceptions import DataError

HEAD = 512
SIGNATURES = {
    b"\x93NUMPY": ("an array of numpy", ".npy"),
    b"PAR1": ("a parquet table", ".parquet"),
    b"ARROW1": ("an Arrow table", ".arrow"),
    b"FEA1": ("a table of feather's version 1, which is no longer read,", ".feather of version 2"),
    b"\x89HDF\r\n\x1a\n": ("HDF5", ".h5ad"),
    b"SQLite format 3\0": ("a database of SQLite", ".sqlite"),
    b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1": ("a workbook of the old format", ".xls"),
    b"\x1f\x8b": ("gzipped content", ".gz"),
    b"BZh": ("content compressed by bzip2", ".bz2"),
    b"\xfd7zXZ\0": ("content compressed by xz", ".xz"),
    b"\x28\xb5\x2f\xfd": ("content compressed by Zstandard", ".zst"),
    b"\x89PNG": ("an image", ".png"),
    b"\xff\xd8\xff": ("an image", ".jpg"),
    b"GIF8": ("an image", ".gif"),
    b"%PDF": ("a PDF document", ".pdf"),
}
"""By the first bytes of a file: what it holds, and the ending of its name."""
MEMBERS = {
    "xl/": ("an Excel workbook", ".xlsx"),
    "content.xml": ("an OpenDocument sheet", ".ods"),
    ".npy": ("an archive of arrays", ".npz"),
}
"""By the begin or end of the name of a member of a zip archive: what the archive holds, and its ending."""
PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
ARRAYS = (".npy", ".npz", ".parquet", ".arrow", ".feather", ".h5ad")
BINARY = (*ARRAYS, ".xlsx", ".xlsm", ".xlsb", ".xls", ".ods", ".sqlite", ".sqlite3", ".db", ".duckdb")
TEXT = (".csv", ".tsv", ".txt", ".json", ".jsonl", ".ndjson")
ALIKE = {".xls": (".xls", ".xlsx", ".xlsm", ".xlsb"), ".xlsx": (".xlsx", ".xlsm", ".xlsb", ".xls"), ".ods": (".ods",)}
ALIKE |= {".arrow": (".arrow", ".feather"), ".duckdb": (".duckdb", ".db"), ".sqlite": (".sqlite", ".sqlite3", ".db")}
"""Endings of files with the same content; an encrypted workbook has the content of an old one."""


def require_ending(path: Path, ending: str) -> None:
    """Raise if a file whose name ends in ``ending`` holds what another ending stands for.

    Parameters
    ----------
    path
        The file.
    ending
        The ending, by which it would be read.

    Raises
    ------
    DataError
        If the first bytes are those of another format; what no format begins with is left to the reader.
    """
    found = _content(path)
    if found is None:
        return
    what, expected = found
    if ending not in (*BINARY, *TEXT) and not ending.endswith(PACKED):  # one that is not known here
        return
    if ending in ALIKE.get(expected, (expected,)) or ending.endswith(expected):
        return
    if expected == "text":
        if ending in BINARY:
            raise DataError(f"{path} holds {what}, not a {ending} file: rename it to .csv if it is a table as text")
        return
    if expected in PACKED and (ending in TEXT or ending.endswith(PACKED)):  # the reader of text unpacks it
        return
    raise DataError(f"{path} holds {what}, not what {ending} stands for: rename it so that it ends in {expected}")


def _content(path: Path) -> tuple[str, str] | None:
    """Return what a file holds and the ending for that; None if it is not known."""
    with path.open("rb") as stream:
        head = stream.read(HEAD)
    if head.startswith(b"PK\x03\x04"):
        return _archive(path)
    if head[8:12] == b"DUCK":
        return "a database of DuckDB", ".duckdb"
    for begin, content in SIGNATURES.items():
        if head.startswith(begin):
            return content
    if head.lstrip(b"\xef\xbb\xbf \r\n\t").lower().startswith((b"<!doctype html", b"<html")):
        return "a web page (HTML)", ".html"
    return ("text", "text") if _is_text(head) else None


def _archive(path: Path) -> tuple[str, str] | None:
    """Return what a zip archive holds and its ending, by the names of its members; None if it is damaged or empty."""
    names: Collection[str] = ()
    with contextlib.suppress(Exception), zipfile.ZipFile(path) as archive:  # a damaged one is left to the reader
        names = archive.namelist()
    for part, content in MEMBERS.items():
        if any(name.startswith(part) or name.endswith(part) for name in names):
            return content
    return ("a zip archive", ".zip") if names else None


def _is_text(head: bytes) -> bool:
    """Return whether bytes are text: printable ASCII, line ends and tabs."""
    return all(32 <= byte < 127 or byte in b"\r\n\t" for byte in head)
