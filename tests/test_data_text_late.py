"""Cells late in a file that are other than the first ones: the table is the same as that of the standard library."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from latentmap.data.columns import Requested
from latentmap.data.formats import delimited_arrow, delimited_columns
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

pytest.importorskip("pyarrow")
N = 1300
"""The rows, of which the first thousand tell how a column is read."""
RNG = np.random.default_rng(0)
WHOLE = RNG.integers(0, 90_000, N)
DAYS = np.datetime64("2001-01-01") + RNG.integers(0, 9000, N)
TIMES = DAYS.astype("datetime64[s]") + RNG.integers(0, 86_400, N)
COLUMNS = {
    "whole": [str(v) for v in WHOLE],
    "fraction": [f"{v:g}" for v in np.round(RNG.normal(0, 30, N), 3)],
    "thousands": [f"{v:,}" for v in WHOLE],
    "fractions with thousands": [f"{v:,}" for v in np.round(RNG.normal(0, 3000, N), 2)],
    "money": [f"${v:,.2f}" for v in RNG.lognormal(7, 1, N)],
    "percent": [f"{v:.1f}%" for v in RNG.normal(9, 2, N)],
    "decimal commas": [f"{v:.2f}".replace(".", ",") for v in RNG.normal(9, 2, N)],
    "marks": [["-", "NA", "", f"{v:.2f}"][min(i % 9, 3)] for i, v in enumerate(RNG.normal(9, 2, N))],
    "day": [str(day) for day in DAYS],
    "day of a month": [day.strftime("%m/%d/%Y") for day in DAYS.tolist()],
    "time": [str(time).replace("T", " ") for time in TIMES],
    "truth": [str(bool(v % 3)) for v in WHOLE],
    "yes": [["no", "yes"][v % 2] for v in WHOLE],
    "word": [["oak", "elm", "ash"][v % 3] for v in WHOLE],
}
LATE = {
    "code": "02139",
    "negative code": "-007",
    "word": "oak",
    "decimal": "2.75",
    "decimals": "1.23456",
    "plus": "+5",
    "zero": "0",
    "exponent": "1e5",
    "infinite": "-inf",
    "hexadecimal": "0x1F",
    "beyond 2^53": "9007199254740993",
    "fraction beyond 2^53": "1.5e300",
    "thousands": "12,345",
    "thousands out of place": "1,23,4",
    "decimal comma": "1,5",
    "money": "$3",
    "accounting": "($1,234.50)",
    "inner sign": "$-5.00",
    "percent": "5%",
    "date": "2024-02-29",
    "no day": "2023-02-29",
    "other date": "29/02/2024",
    "short year": "01/05/24",
    "time": "2024-02-29 12:30",
    "zone": "2024-02-29 12:30+01",
    "early year": "0001-01-01",
    "no year": "0000-01-01",
    "truth": "True",
    "other case": "TRUE",
    "blank": "",
    "spaces": "  ",
    "padded": " 7 ",
    "mark": "--",
    "missing": "n/a",
    "line": "one\ntwo",
    "quotes": 'a "b"',
    "letter": "é",
}


def quoted(cell):
    return '"' + cell.replace('"', '""') + '"' if any(c in cell for c in ',"\n') else cell


def written(path, columns):
    rows = zip(*columns.values(), strict=True)
    lines = [",".join(map(quoted, row)) for row in (tuple(columns), *rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def outcome(path, columns=None):
    """Return all that is read of a file, or the error."""
    try:
        source = open_source(path, columns=columns or Requested())
    except DataError as error:
        return str(error)
    return [
        (c.name, c.type, c.format, c.note, c.n_present, c.as_they_were().tolist(), c.values.tolist())
        for c in source.cells
    ], (source.table, source.remark, source.read(slice(None)).tolist())


def both(path, monkeypatch, columns=None):
    """Return what pyarrow's blocks and the standard library make of a file."""
    with monkeypatch.context() as patched:
        patched.setattr(delimited_arrow, "BLOCK", 2**13)
        patched.setattr(delimited_columns, "BLOCK", 2**13)
        patched.setattr(delimited_columns, "LONG", 0)
        fast = outcome(path, columns)
        patched.setattr("latentmap.data.formats.delimited._has_pyarrow", lambda: False)
        return fast, outcome(path, columns)


def test_columns_that_are_written_alike_are_read_in_one_pass(tmp_path, monkeypatch):
    passes, read = [], delimited_columns._values
    monkeypatch.setattr(
        delimited_columns, "_values", lambda plan, readers: passes.append(readers) or read(plan, readers)
    )
    fast, slow = both(written(tmp_path / "x.csv", COLUMNS), monkeypatch)
    np.testing.assert_equal(fast, slow)
    (readers,) = passes
    words = [name for name, reader in zip(COLUMNS, readers.values(), strict=True) if hasattr(reader, "known")]
    assert words == ["word"]


def test_rows_may_become_shorter_and_blocks_may_end_within_a_cell(tmp_path, monkeypatch):
    n = 4000
    note = ["a long one " * 9 if i < 1000 else "b" for i in range(n)]
    columns = {"x": [f"{i % 97}.5" for i in range(n)], "note": note, "kind": ["oak", "elm"] * (n // 2)}
    fast, slow = both(written(tmp_path / "x.csv", columns), monkeypatch)
    np.testing.assert_equal(fast, slow)
    columns["note"][2000:3000] = ["b\nc\nd,e" * 200] * 1000
    fast, slow = both(written(tmp_path / "y.csv", columns), monkeypatch)
    np.testing.assert_equal(fast, slow)


def test_columns_of_a_fit_are_taken_in_its_order(tmp_path):
    names = ["money", "whole", "word", "fraction"]
    path = written(tmp_path / "x.csv", {name: COLUMNS[name] for name in names})
    table = open_source(path).table
    turned = replace(table, columns=table.columns[::-1])
    np.testing.assert_array_equal(open_source(path, columns=turned).all_rows(), open_source(path).all_rows()[:, ::-1])


@pytest.mark.parametrize("late", LATE)
def test_late_cells_are_read_as_in_a_small_file(late, tmp_path, monkeypatch):
    rows = RNG.integers(1100, N, len(COLUMNS))
    columns = {
        name: [*cells[:row], LATE[late], *cells[row + 1 :]]
        for (name, cells), row in zip(COLUMNS.items(), rows, strict=True)
    }
    fast, slow = both(written(tmp_path / "x.csv", columns), monkeypatch)
    np.testing.assert_equal(fast, slow)


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_any_late_cells_are_read_as_in_a_small_file(data, tmp_path_factory):
    late = st.sampled_from(list(LATE.values())) | st.text("0123456789+-.,eE$% :/TZ", max_size=8)
    columns = {name: list(cells) for name, cells in COLUMNS.items()}
    for name in data.draw(st.lists(st.sampled_from(list(COLUMNS)), min_size=1, max_size=6, unique=True)):
        columns[name][data.draw(st.integers(1000, N - 1))] = data.draw(late)
    with pytest.MonkeyPatch.context() as patched:
        fast, slow = both(written(tmp_path_factory.mktemp("late") / "x.csv", columns), patched)
    np.testing.assert_equal(fast, slow)


@pytest.mark.parametrize("pyarrow", [True, False])
def test_marks_of_missing_cells_are_no_levels_of_text(pyarrow, tmp_path, monkeypatch):
    monkeypatch.setattr("latentmap.data.formats.delimited._has_pyarrow", lambda: pyarrow)
    path = written(tmp_path / "x.csv", {"kind": ["oak", "", "elm", "NA"] * 30, "x": COLUMNS["fraction"][:120]})
    cells = open_source(path, columns=Requested()).cells[0]
    assert set(cells.levels[0]) == {"oak", None, "elm"} and cells.n_present == 60
