"""Tables of databases in a file: of SQLite, by the standard library, and of DuckDB; opened for reading only."""

from __future__ import annotations

import contextlib
import itertools
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from latentmap.data.checks import require_known
from latentmap.data.formats.arrow_bounds import require_rows
from latentmap.data.formats.base import Request, Source, reading, unique_names
from latentmap.data.formats.frames import pyarrow_module, table_of
from latentmap.data.formats.records import columns_source, rows_as_columns
from latentmap.data.formats.unpacked import require_room, room
from latentmap.exceptions import DataError, MissingExtraError

DUCK = b"DUCK"
PIECE, DUCK_ROWS = 16, 2**14
"""Rows that are read together."""
MOST_CELL, MOST_STEPS = 2**20, 10**3
"""Bytes of a cell, and tens of thousands of steps of a query, that small files may take too."""
MOST_SECONDS, SLOWEST = 20.0, 10**6
"""Seconds of a query of a small file, and bytes of a larger one for each second beyond."""
MOST_VIEWED = 2**20
"""Rows of a view of a small file; the query of a view may have no end."""


def database_source(request: Request) -> Source:
    """Return a source of a table or view of a database, by default of its only table.

    Raises
    ------
    DataError
        If the file is no database or damaged, or has no tables, several, or none of that name.
    """
    path = request.path
    with path.open("rb") as stream:
        is_duck = stream.read(12)[8:] == DUCK
    with reading(path, "DuckDB" if is_duck else "SQLite"):
        return (_of_duckdb if is_duck else _of_sqlite)(path, request)


def _of_sqlite(path: Path, request: Request) -> Source:
    logged = path.with_name(path.name + "-wal").exists()  # changes that are not in the file yet
    address = f"{path.resolve().as_uri()}?mode=ro{'' if logged else '&immutable=1'}"
    with contextlib.closing(sqlite3.connect(address, uri=True)) as database:
        database.text_factory = lambda text: text.decode("utf-8", "replace")
        database.execute("PRAGMA trusted_schema = OFF")
        if (state := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(state)
        known = "SELECT name FROM sqlite_schema WHERE type = ? AND name NOT LIKE 'sqlite_%' ORDER BY name"
        tables, views = ([name for (name,) in database.execute(known, [type_])] for type_ in ("table", "view"))
        name = _chosen(path, tables, views, request.member)
        _bound(database, path)
        most = path.stat().st_size  # a row takes more than a byte
        try:
            cursor = database.execute(f'SELECT * FROM "{name.replace(chr(34), 2 * chr(34))}"')
            names = unique_names([described[0] for described in cursor.description], f"{path}: table {name!r}")
            rows = _rows(path, name, cursor, most if name in tables else max(most, MOST_VIEWED))
        except sqlite3.OperationalError as error:
            if str(error) != "interrupted":
                raise
            raise DataError(f"{path}: {name!r} takes far longer than reading it does; take a table of it") from error
    _require_rows(path, name, len(rows))
    return columns_source(rows_as_columns(names, rows), request)


def _bound(database: sqlite3.Connection, path: Path) -> None:
    """Let no query make cells that are larger than the file, or take far more steps than reading it does."""
    size = path.stat().st_size
    database.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, max(MOST_CELL, size))
    calls = itertools.count()
    database.set_progress_handler(lambda: next(calls) > MOST_STEPS + size // 100, 10_000)


def _rows(path: Path, name: str, cursor: sqlite3.Cursor, most: int) -> list[tuple[Any, ...]]:
    """Return the rows of a query, which are at most so many and fit in memory."""
    rows: list[tuple[Any, ...]] = []
    size = 0
    while piece := cursor.fetchmany(PIECE):
        rows += piece
        size += sum(64 + len(cell) if isinstance(cell, str | bytes) else 32 for row in piece for cell in row)
        require_room(path, size, f"holds in {name!r}")
        if len(rows) > most:
            raise DataError(f"{path}: {name!r} yields more rows than {most:,} bytes can hold; take a table of it")
    return rows


def _of_duckdb(path: Path, request: Request) -> Source:
    try:
        import duckdb
    except ImportError as error:
        raise MissingExtraError("duckdb", "duckdb") from error
    pyarrow_module("lib")
    settings: dict[str, Any] = {"enable_external_access": "false", "memory_limit": f"{max(2**27, room())}B"}
    with duckdb.connect(str(path.absolute()), read_only=True, config=settings) as database:
        known = "SELECT table_name, table_type = 'VIEW' FROM information_schema.tables ORDER BY 1"
        found = database.execute(known).fetchall()
        tables, views = ([name for name, is_view in found if is_view == type_] for type_ in (False, True))
        name = _chosen(path, tables, views, request.member)
        query = database.sql(f'SELECT * FROM "{name.replace(chr(34), 2 * chr(34))}"')
        with _bounded(path, name, database):
            batches, size = [], 0
            reader = query.to_arrow_reader(DUCK_ROWS)
            for batch in reader:
                batches.append(batch)
                size += batch.nbytes
                require_room(path, size, f"holds in {name!r}")
        table = pyarrow_module("lib").Table.from_batches(batches, reader.schema)
    _require_rows(path, name, len(table))
    require_rows(path, table)
    return table_of(replace(request, data=table))


@contextlib.contextmanager
def _bounded(path: Path, name: str, database: Any) -> Iterator[None]:
    """Interrupt a query of DuckDB that takes far longer than reading its file, and say so."""
    seconds, late = MOST_SECONDS + path.stat().st_size / SLOWEST, threading.Event()

    def interrupt() -> None:
        late.set()
        database.interrupt()

    timer = threading.Timer(seconds, interrupt)
    timer.start()
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        if not late.is_set():
            raise
        raise DataError(f"{path}: {name!r} takes more than {seconds:.0f} s; take a table of it") from error
    finally:
        timer.cancel()


def _chosen(path: Path, tables: Sequence[str], views: Sequence[str], member: str | None) -> str:
    """Return the name of the table to read."""
    if member is not None:
        require_known(member, [*tables, *views], f"{path} has no table")
        return member
    if not tables and not views:
        raise DataError(f"{path} is a database without tables")
    if len(tables) != 1:
        listed = ", ".join([*tables, *views][:20]) + (", ..." if len(tables) + len(views) > 20 else "")
        kind = f"{len(tables)} tables" if tables else "no tables but views"
        first = [*tables, *views][0]
        raise DataError(f"{path} has {kind} ({listed}): name one, as in {path}::{first}")
    return tables[0]


def _require_rows(path: Path, name: str, count: int) -> None:
    if not count:
        raise DataError(f"{path}: table {name!r} has no rows: at least one is needed")
