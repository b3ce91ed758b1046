"""Messy text tables with a known clean twin: every trait alone and with others gives the twin, however it is read."""

import bz2
import datetime
import gzip
import io
import lzma
import zipfile

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from latentmap.data.columns import Requested, Table
from latentmap.data.formats.delimited_fast import numbers_of
from latentmap.data.sources import open_source
from latentmap.data.text_formats import TextFormat

N = 40
RNG = np.random.default_rng(0)
FRACTIONS = np.round(RNG.normal(0, 3000, N), 2)
FRACTIONS[0] = 5754.25
WHOLE = RNG.integers(1, 90_000, N).astype(float)
WHOLE[:2] = 1234567, 348
DAYS = np.arange(18_000, 18_000 + 9 * N, 9).astype(float)
DATES = [datetime.date(1970, 1, 1) + datetime.timedelta(days=int(day)) for day in DAYS]
TIMES = [datetime.datetime.combine(date, datetime.time(i % 24, i, 30)) for i, date in enumerate(DATES)]
STAMPS = DAYS + np.array([(i % 24) / 24 + i / 1440 + 30 / 86_400 for i in range(N)])
TRUTH = (np.arange(N) % 3 == 0).astype(float)
SECONDS = np.array([3600.0 * (i % 5) + 60 * (i + 3) + i for i in range(N)])
HOLES = np.arange(N) % 9 == 4


def thousands(value, comma=",", point=".", places=0):
    text = f"{abs(value):,.{places}f}".translate({ord(","): comma, ord("."): point})
    return ("-" if value < 0 else "") + text


def dates(pattern, times=False):
    return [moment.strftime(pattern) for moment in (TIMES if times else DATES)]


def with_mark(mark, values=FRACTIONS):
    texts = [mark if hole else repr(value) for hole, value in zip(HOLES, values.tolist(), strict=True)]
    return texts, np.where(HOLES, np.nan, values)


def words_of(false, true):
    return [true if value else false for value in TRUTH]


def text(*words):
    cells = [words[i % len(words)] for i in range(N)]
    return cells, cells


def accounting(value):
    return f"({thousands(-value, places=2)})" if value < 0 else thousands(value, places=2)


TYPED = {
    "fractions": ([repr(v) for v in FRACTIONS.tolist()], FRACTIONS),
    "whole numbers": ([str(int(v)) for v in WHOLE], WHOLE),
    "exponents": ([f"{v:.6e}" for v in FRACTIONS], np.array([float(f"{v:.6e}") for v in FRACTIONS])),
    "plus signs": ([f"{v:+.2f}" for v in FRACTIONS], FRACTIONS),
    "thousands": ([thousands(v) for v in WHOLE], WHOLE),
    "thousands with decimals": ([thousands(v, places=2) for v in FRACTIONS], FRACTIONS),
    "thousands with points": ([thousands(v, ".", ",", 2) for v in FRACTIONS], FRACTIONS),
    "thousands with spaces": ([thousands(v, " ", ",", 2) for v in FRACTIONS], FRACTIONS),
    "thousands with narrow spaces": ([thousands(v, "\u202f", ",", 2) for v in FRACTIONS], FRACTIONS),
    "thousands with apostrophes": ([thousands(v, "'", ".", 2) for v in FRACTIONS], FRACTIONS),
    "decimal commas": ([f"{v:.2f}".replace(".", ",") for v in FRACTIONS], FRACTIONS),
    "dollars": (["$" + thousands(abs(v), places=2) for v in FRACTIONS], abs(FRACTIONS)),
    "negative dollars": ([f"-${-v:.2f}" if v < 0 else f"${v:.2f}" for v in FRACTIONS], FRACTIONS),
    "euros behind": ([thousands(v, ".", ",", 2) + " €" for v in FRACTIONS], FRACTIONS),
    "euros before": ([f"€ {abs(v):.2f}" for v in FRACTIONS], abs(FRACTIONS)),
    "a currency by code": ([f"USD {abs(v):.2f}" for v in FRACTIONS], abs(FRACTIONS)),
    "accounting negatives": ([accounting(v) for v in FRACTIONS], FRACTIONS),
    "percent": ([f"{v:.2f}%" for v in FRACTIONS], FRACTIONS),
    "a unit": ([f"{v:.2f} kg" for v in FRACTIONS], FRACTIONS),
    "a unit with signs": ([f"{v:.2f}km/h" for v in FRACTIONS], FRACTIONS),
    "degrees": ([f"{v:.2f} °C" for v in FRACTIONS], FRACTIONS),
    "typographic minus": ([f"{v:.2f}".replace("-", "−") for v in FRACTIONS], FRACTIONS),
    "spaces around": ([f"  {v:.2f} " for v in FRACTIONS], FRACTIONS),
    "h:m:s": ([f"{int(s // 3600)}:{int(s // 60) % 60:02d}:{int(s) % 60:02d}" for s in SECONDS], SECONDS),
    "iso durations": ([f"PT{int(s // 60)}M{int(s) % 60}S" for s in SECONDS], SECONDS),
    "days and hours": ([str(pd.Timedelta(seconds=s)) for s in SECONDS], SECONDS),
    "iso dates": (dates("%Y-%m-%d"), DAYS),
    "dates with slashes, year first": (dates("%Y/%m/%d"), DAYS),
    "month first": (dates("%m/%d/%Y"), DAYS),
    "day first": (dates("%d/%m/%Y"), DAYS),
    "day first with points": (dates("%d.%m.%Y"), DAYS),
    "day first with dashes": (dates("%d-%m-%Y"), DAYS),
    "short years": (dates("%m/%d/%y"), DAYS),
    "no padding": ([f"{d.month}/{d.day}/{d.year}" for d in DATES], DAYS),
    "names of months": (dates("%d %b %Y"), DAYS),
    "long names of months": (dates("%B %d, %Y"), DAYS),
    "months with dashes": (dates("%d-%b-%Y"), DAYS),
    "weekdays": (dates("%A, %d %B %Y"), DAYS),
    "iso times": (dates("%Y-%m-%dT%H:%M:%S", True), STAMPS),
    "times with a space": (dates("%Y-%m-%d %H:%M:%S", True), STAMPS),
    "times in UTC": (dates("%Y-%m-%d %H:%M:%S UTC", True), STAMPS),
    "times with Z": (dates("%Y-%m-%dT%H:%M:%SZ", True), STAMPS),
    "times with a zone": (dates("%Y-%m-%dT%H:%M:%S+02:00", True), STAMPS - 2 / 24),
    "halves of days": (dates("%m/%d/%Y %I:%M:%S %p", True), STAMPS),
    "two forms of dates": ([d.strftime("%m/%d/%Y" if i % 10 == 0 else "%Y-%m-%d") for i, d in enumerate(DATES)], DAYS),
    "true and false": (words_of("false", "true"), TRUTH),
    "True and False": (words_of("False", "True"), TRUTH),
    "yes and no": (words_of("No", "Yes"), TRUTH),
    "t and f": (words_of("f", "t"), TRUTH),
    "Y and N": (words_of("N", "Y"), TRUTH),
    "truth and blanks": (
        ["" if hole else text for hole, text in zip(HOLES, words_of("False", "True"), strict=True)],
        np.where(HOLES, np.nan, TRUTH),
    ),
    "a few words": (
        ["unknown" if i in (7, 21) else repr(v) for i, v in enumerate(FRACTIONS.tolist())],
        np.where(np.isin(np.arange(N), (7, 21)), np.nan, FRACTIONS),
    ),
    "zip codes": text("00501", "02139", "94103"),
    "long ids": text("1152921504606846977", "1152921504606846978", "12"),
    "words": text("oak", "elm", "ash"),
    "words and numbers": text("7", "A/5 21", "PC 4"),
    "a dash among words": text("+", "-", "o"),
    "two units": text("5 kg", "11 lb"),
    "two currencies": text("$5", "€11"),
    "quoted text": text('say "a", b', "c; d"),
    "text of two lines": text("one\ntwo", "three"),
    "accents": text("größe", "café"),
}  # fmt: skip
MARKS = ["", "NA", "N/A", "n/a", "#N/A", "#DIV/0!", "-", "--", "?", ".", "null", "NULL", "None", "nan", "NaN", "<NA>"]
TYPED |= {f"missing: {mark!r}": with_mark(mark) for mark in MARKS}


def lines_of(columns, names, delimiter=",", end="\n", quoting=0):
    frame = pd.DataFrame(dict(zip(names, columns, strict=True)), dtype=object)
    return frame.to_csv(index=False, sep=delimiter, lineterminator=end, quoting=quoting)


def zipped(content):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("table.csv", content)
    return stream.getvalue()


def with_index(text, first):
    head, *rows = text.split("\n")
    return "\n".join([first + head, *(f"row{i}," + row if row else row for i, row in enumerate(rows))])


def zstd(content):
    pa = pytest.importorskip("pyarrow")
    return pa.compress(content, "zstd", asbytes=True)


PLAIN = lambda columns, names: lines_of(columns, names).encode()  # noqa: E731
FILES = {
    "commas": ("x.csv", PLAIN),
    "semicolons": ("x.csv", lambda c, n: lines_of(c, n, ";").encode()),
    "tabs": ("x.csv", lambda c, n: lines_of(c, n, "\t").encode()),
    "tsv": ("x.tsv", lambda c, n: lines_of(c, n, "\t").encode()),
    "bars": ("x.txt", lambda c, n: lines_of(c, n, "|").encode()),
    "windows lines": ("x.csv", lambda c, n: lines_of(c, n, end="\r\n").encode()),
    "no last line end": ("x.csv", lambda c, n: lines_of(c, n).rstrip("\n").encode()),
    "all quoted": ("x.csv", lambda c, n: lines_of(c, n, quoting=1).encode()),
    "declared separator": ("x.csv", lambda c, n: b"sep=;\n" + lines_of(c, n, ";").encode()),
    "utf-8 with mark": ("x.csv", lambda c, n: lines_of(c, n).encode("utf-8-sig")),
    "utf-16": ("x.csv", lambda c, n: lines_of(c, n).encode("utf-16")),
    "utf-16 without mark": ("x.csv", lambda c, n: lines_of(c, n).encode("utf-16-le")),
    "windows-1252": ("x.csv", lambda c, n: lines_of(c, n).encode("cp1252")),
    "gzip": ("x.csv.gz", lambda c, n: gzip.compress(PLAIN(c, n))),
    "bzip2": ("x.csv.bz2", lambda c, n: bz2.compress(PLAIN(c, n))),
    "xz": ("x.csv.xz", lambda c, n: lzma.compress(PLAIN(c, n))),
    "zip": ("x.csv.zip", lambda c, n: zipped(PLAIN(c, n))),
    "zstd": ("x.csv.zst", lambda c, n: zstd(PLAIN(c, n))),
    "gzip under another name": ("x.csv", lambda c, n: gzip.compress(PLAIN(c, n))),
    "comments": ("x.csv", lambda c, n: b"# made by instrument 5\n# on Monday\n" + PLAIN(c, n)),
    "blank lines": ("x.csv", lambda c, n: b"\n\n" + PLAIN(c, n) + b"\n\n"),
    "header after #": ("x.csv", lambda c, n: b"#" + PLAIN(c, n)),
}  # fmt: skip
NARROW = {"thousands with narrow spaces", "typographic minus"}  # which cp1252 has not


def expect(source, traits, start=0):
    """Hold the columns of a source against the clean twin."""
    named = {column.name: column for column in source.cells}  # whatever kind it has, or follows from another
    for k, trait in enumerate(traits, start):
        column, twin = named[f"c{k}"], TYPED[trait][1]
        if isinstance(twin, list):
            assert column.values.tolist() == twin, trait
        else:
            np.testing.assert_allclose(column.values, twin, rtol=1e-12, atol=2e-9, err_msg=trait)
        dates = not isinstance(twin, list) and twin[1] in (*DAYS, *STAMPS, STAMPS[1] - 2 / 24)
        assert column.type.startswith("Date") == dates


def write(folder, layout, traits):
    name, make = FILES[layout]
    path = folder / name
    path.write_bytes(make([TYPED[trait][0] for trait in traits], [f"c{k}" for k in range(len(traits))]))
    return path


@pytest.mark.parametrize("trait", TYPED)
def test_each_trait_gives_its_clean_twin(trait, tmp_path, reader):
    traits = [trait, "words"]
    expect(open_source(write(tmp_path, "commas", traits), columns=Requested()), traits)


@pytest.mark.parametrize("layout", FILES)
def test_each_layout_gives_the_same_table(layout, tmp_path, reader):
    traits = [trait for trait in TYPED if not (layout == "windows-1252" and trait in NARROW)]
    if layout == "semicolons":
        traits.remove("thousands")  # 35,843 among semicolons is rather a decimal comma
    expect(open_source(write(tmp_path, layout, traits), columns=Requested()), traits)


MESSY = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])


@MESSY
@given(st.lists(st.sampled_from(list(TYPED)), min_size=2, max_size=4, unique=True), st.sampled_from(list(FILES)))
def test_traits_do_not_disturb_one_another(tmp_path, traits, layout):
    if layout == "windows-1252" and NARROW & set(traits):
        layout = "utf-16"
    if layout == "semicolons" and "thousands" in traits:
        layout = "tabs"
    expect(open_source(write(tmp_path, layout, traits), columns=Requested()), traits)


CODES = {"zip codes", "long ids"}  # which other libraries read as numbers


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_a_frame_of_the_same_file_is_read_alike(library, tmp_path):
    traits = [trait for trait in TYPED if trait not in CODES]
    path = write(tmp_path, "commas", traits)
    frame = pd.read_csv(path) if library == "pandas" else pl.read_csv(path, infer_schema_length=None)
    expect(open_source(frame, columns=Requested()), traits)
    ours = open_source(path, columns=Requested())
    table = Table.from_json(ours.table.to_json())  # as a saved run has it
    np.testing.assert_allclose(open_source(frame, columns=table).read(slice(None)), ours.read(slice(None)), atol=2e-9)
    theirs = open_source(frame, columns=Requested())
    np.testing.assert_allclose(
        open_source(path, columns=theirs.table).read(slice(None)), theirs.read(slice(None)), atol=2e-9
    )


@pytest.mark.parametrize("trait", [t for t in TYPED if t not in ("two forms of dates", "a few words", "spaces around")])
def test_what_is_read_is_written_alike(trait):
    frame = pd.DataFrame({"c0": TYPED[trait][0]}, dtype=object)
    source = open_source(frame, columns=Requested())
    column, values = source.table.columns[0], source.read(slice(None))[:, 0]
    if column.format is None:
        return
    written = column.write(values)
    again = open_source(pd.DataFrame({"c0": written}, dtype=object), columns=source.table)
    np.testing.assert_allclose(again.read(slice(None))[:, 0], values, atol=2e-9)
    same = {
        "plus signs",
        "times with a zone",
        "iso durations",
        "typographic minus",
        "days and hours",
        "exponents",
        "weekdays",
    }
    if trait not in same and not trait.startswith("missing"):
        spaced = {ord("\u202f"): " "}
        assert [text for text in written if text is not None] == [t.translate(spaced) for t in TYPED[trait][0] if t]


@pytest.mark.parametrize("layout", ["commas", "gzip", "utf-16"])
def test_a_file_larger_than_memory_is_read_block_by_block(layout, tmp_path, monkeypatch):
    traits = list(TYPED)
    path = write(tmp_path, layout, traits)
    whole = open_source(path, columns=Requested())
    monkeypatch.setattr("latentmap.data.formats.delimited.LARGE", 0)
    monkeypatch.setattr("latentmap.data.formats.parquet.LAZY", 0)
    source = open_source(path, columns=Requested())
    assert type(source).__name__ == "ParquetTable" and source.name == str(path)
    expect(whole, traits)
    assert source.names == whole.names
    assert [(c.name, c.kind, c.type) for c in source.table.columns] == [
        (c.name, c.kind, c.type) for c in whole.table.columns
    ]
    np.testing.assert_allclose(source.read(slice(None)), whole.read(slice(None)), atol=2e-9)
    np.testing.assert_allclose(source.read(np.array([3, 1])), whole.read(np.array([3, 1])), atol=2e-9)


@pytest.mark.parametrize("rows", [N, 30_000])
def test_long_columns_are_read_as_short_ones(rows, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    money = np.round(rng.lognormal(7, 1.5, rows), 2)
    moments = np.datetime64("2010-01-01", "s") + rng.integers(0, 10**8, rows).astype("m8[s]")
    frame = pd.DataFrame({
        "dollars": [f"${v:,.2f}" for v in money],
        "debts": [f"-${v:,.2f}" if i % 3 else f"${v:,.2f}" for i, v in enumerate(money)],
        "euros": [f"{v:,.2f} €".translate({44: ".", 46: ","}) for v in money],
        "when": pd.Series(moments).dt.strftime("%d/%m/%Y %H:%M:%S"),
        "late": [f"${v:,.2f}" if i < rows - 1 else "unknown" for i, v in enumerate(money)],
        "loose": [repr(v) if i < rows - 1 else "1,234.5" for i, v in enumerate(money.tolist())],
    })  # fmt: skip
    frame.to_csv(tmp_path / "x.csv", index=False)
    source = open_source(tmp_path / "x.csv")
    read = dict(zip(source.names, source.read(slice(None)).T, strict=True))
    signs = np.where(np.arange(rows) % 3 > 0, -1, 1)
    np.testing.assert_array_equal(read["dollars"], money)
    np.testing.assert_array_equal(read["debts"], money * signs)
    np.testing.assert_array_equal(read["euros"], money)
    np.testing.assert_allclose(read["when"], moments.astype(np.int64) / 86_400, atol=2e-9)
    np.testing.assert_array_equal(read["late"][:-1], money[:-1])
    assert np.isnan(read["late"][-1]) and read["loose"][-1] == 1234.5
    assert source.remark.startswith("column 'late': text in 1 cell that is no number ('unknown')")


THOUSANDS = TextFormat("number", thousands=",", decimal=".", places=0)


@pytest.mark.parametrize("cells", [["1,2345", "5"], ["12345,678"], ["1,23", "4"], [",123"], ["1,234,", "1"], ["-,123"]])
def test_separators_out_of_place_are_not_read_fast(cells):
    pa = pytest.importorskip("pyarrow")
    right = numbers_of(pa.array(["1,234", "5", "67", "1,234,567", "-3,210", "999"]), THOUSANDS)
    assert right.tolist() == [1234, 5, 67, 1234567, -3210, 999]
    assert numbers_of(pa.array(cells), THOUSANDS) is None
