"""Delimited text parsed by pyarrow: every cell as text, block by block on all cores."""

from __future__ import annotations

import collections
import contextlib
import functools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

from latentmap.data.formats.delimited_fast import NULLS
from latentmap.data.formats.frames import pyarrow_module
from latentmap.data.formats.streams import LONGEST

if TYPE_CHECKING:
    from latentmap.data.formats.delimited import Plan

BLOCK = 2**22
"""The bytes of text that are parsed at a time: what they become stays in the cache."""

T = TypeVar("T")
U = TypeVar("U")


def in_order(work: Callable[[T], U], items: Iterable[T]) -> Iterator[U]:
    """Yield what a function makes of each item, in order; the next few are made on all cores meanwhile.

    >>> list(in_order(len, ["a", "bc"]))
    [1, 2]
    """
    cores = pyarrow_module("lib").cpu_count()
    with ThreadPoolExecutor(cores) as pool:
        waiting: collections.deque[Any] = collections.deque()
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > 2 * cores:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()


def parsed(plan: Plan, columns: Sequence[int], work: Callable[[Any], T], *, multiline: bool, block: int) -> Iterator[T]:
    """Yield what a function makes of each block of rows, in order; it gets a table of text, named by column number.

    Parameters
    ----------
    plan
        The file.
    columns
        The numbers of the columns to read.
    work
        The function, which is called on several threads.
    multiline
        Whether cells may hold the end of a line.
    block
        The bytes of a block.

    Raises
    ------
    pyarrow.ArrowInvalid
        If rows have different lengths, or a line ends within quotes unless that is expected.
    """
    types = dict.fromkeys(columns, pyarrow_module("lib").string())
    settings = options(plan, types, None, multiline=multiline, block=block if multiline else 2 * LONGEST)
    with opened(plan) as stream:
        if multiline:
            reader = pyarrow_module("csv").open_csv(stream, *settings)
            yield from in_order(work, map(pyarrow_module("lib").Table.from_batches, ([batch] for batch in reader)))
        else:
            yield from in_order(functools.partial(_parse, work, settings), _cut(stream, block))


def _cut(stream: Any, size: int) -> Iterator[bytes]:
    """Yield blocks of whole lines."""
    rest = b""
    while data := stream.read(size):
        if end := data.rfind(b"\n") + 1:
            yield b"".join((rest, memoryview(data)[:end]))
            rest = data[end:]
        elif len(rest := rest + data) > LONGEST:
            raise pyarrow_module("lib").ArrowInvalid("a line is too long")
    if rest:
        yield rest


def _parse(work: Callable[[Any], T], settings: tuple[Any, ...], data: bytes) -> T:
    lib = pyarrow_module("lib")
    table = pyarrow_module("csv").read_csv(lib.py_buffer(data), *settings)
    if is_open(table):
        raise lib.ArrowInvalid("a line ends within quotes")
    return work(table)


def is_open(table: Any) -> bool:
    """Return whether the last row may end within quotes, and hold the rest of the file; or whether it is no text."""
    last = [column[-1].as_py() for column in table.columns] if table.num_rows else []
    return any("\n" in cell or "\0" in cell for cell in last)


def options(
    plan: Plan, types: Mapping[int, Any], missing: Sequence[str] | None, *, multiline: bool, block: int
) -> tuple[Any, Any, Any]:
    """Return how pyarrow reads, parses and converts the columns of these types; None are missing without marks."""
    csv, dialect = pyarrow_module("csv"), plan.dialect

    def handle(row: Any) -> str:
        return "skip" if dialect.comment and row.text.lstrip().startswith(dialect.comment) else "error"

    return (
        csv.ReadOptions(column_names=[str(i) for i in range(dialect.width)], block_size=block, use_threads=multiline),
        csv.ParseOptions(delimiter=dialect.delimiter, newlines_in_values=multiline, invalid_row_handler=handle),
        csv.ConvertOptions(
            column_types={str(i): one for i, one in types.items()},
            include_columns=[str(i) for i in sorted(types)],
            null_values=[*NULLS, *(missing or ())],
            strings_can_be_null=missing is not None,
            check_utf8=missing is not None,  # otherwise text is decoded, which checks it
        ),
    )


@contextlib.contextmanager
def opened(plan: Plan) -> Iterator[Any]:
    """Yield the bytes of a file below its headers; a file of pyarrow if it is UTF-8."""
    with plan.file.bytes() as stream:
        skipped = sum(len(stream.readline()) for _ in range(plan.dialect.skip))
        if not plan.file.plain:
            yield stream
            return
    with pyarrow_module("lib").OSFile(str(plan.file.path)) as native:
        native.seek(plan.file.signature + skipped)
        yield native


def diagnose(plan: Plan) -> None:
    """Raise for the first row of another length, an open quote or a NUL byte, if there is one."""
    with plan.file.lines() as lines:
        for _ in plan.records(lines):
            pass
