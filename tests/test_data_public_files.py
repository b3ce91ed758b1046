"""Kinds of files that public repositories hold: of several sheets, encrypted, with the ends of other systems' lines."""

import csv
import io
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow.parquet import encryption
from tools.specimens import MANIFEST, SPREADSHEET

from latentmap.cli import main
from latentmap.data.files import csv_writer
from latentmap.data.sources import open_source
from latentmap.exceptions import DataError

ENDS = ["a\rb", "a\nb", "a\r\nb", "plain"]


def columns(path):
    """Return the columns of a file as they came."""
    return {one.name: list(one.as_they_were()) for one in open_source(path).cells}


@pytest.mark.parametrize("end", [".csv", ".tsv"])
def test_ends_of_lines_within_cells_come_back(end, tmp_path):
    """A lone carriage return was written without quotes, so that the row was two for whoever read it."""
    frame = pd.DataFrame({"note": ENDS * 25, "x": np.arange(100) / 7, "k": list("ab") * 50})
    path, out = tmp_path / f"in{end}", tmp_path / f"out{end}"
    mark = "," if end == ".csv" else "\t"
    frame.to_csv(path, index=False, quoting=csv.QUOTE_ALL, sep=mark)
    assert main(["fit", str(path), "-o", str(tmp_path / "run"), "--max-epochs", "1", "--no-report"]) == 0
    assert main(["impute", str(tmp_path / "run"), "-o", str(out)]) == 0
    with out.open(newline="") as file:
        rows = list(csv.reader(file, delimiter=mark))
    assert {len(row) for row in rows} == {3}
    assert [row[0] for row in rows] == ["note", *ENDS * 25]
    assert b"\r\n" not in out.read_bytes().replace(b"a\r\nb", b"")


def test_rows_that_are_rewritten_keep_the_ends_of_lines(tmp_path):
    """Rows with escaped quotes are written anew before they are read."""
    path = tmp_path / "x.csv"
    text = "k,note,x\n" + "".join(f'{i % 3},"say \\"{end}\\" now",{i}.5\n' for i, end in enumerate(ENDS * 10))
    path.write_bytes(text.encode())
    assert columns(path)["note"] == [f'say "{end}" now' for end in ENDS * 10]


def test_the_writer_of_rows():
    text = io.StringIO()
    csv_writer(text, ";").writerows([["a;b", "c\r"], ['"', "d\r\n"]])
    assert text.getvalue() == '"a;b";"c\r"\n"""";"d\r\n"\n'


@pytest.mark.parametrize("odd", ["1 269", "1'269", "1.269,5"])
def test_a_number_with_other_separators_than_the_others(odd, tmp_path):
    """One such number refused the file, since no order could be told of it."""
    path = tmp_path / "x.csv"
    numbers = [*map(str, range(100, 160)), "1,130,345", odd]
    path.write_text("n,x\n" + "".join(f'"{one}",{i}.5\n' for i, one in enumerate(numbers)))
    values = open_source(path).cells[0].values
    assert values[:61].tolist() == [*range(100, 160), 1_130_345]
    assert np.isnan(values[61])


def book_of_sheets(path, rows, repeated):
    """Write a workbook of OpenDocument whose sheets end in blank rows without end, as Excel and LibreOffice do."""
    kinds = {str: 'string"', float: 'float" office:value="{0}"'}
    cell = '<table:table-cell office:value-type="{}><text:p>{}</text:p></table:table-cell>'

    def row(*cells):
        texts = (cell.format(kinds[type(one)].format(one), one) for one in cells)
        return f"<table:table-row>{''.join(texts)}</table:table-row>"

    lines = [row("k", "x"), *(row("pq"[i % 2], i / 8) for i in range(rows))]
    blank = '<table:table-row table:number-rows-repeated="{}"><table:table-cell{}/></table:table-row>'
    lines.append(blank.format(repeated, ' table:number-columns-repeated="16384"'))
    head, tail = SPREADSHEET.split("{}")
    more = '<table:table table:name="More">'
    sheet = "".join(lines)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("mimetype", "application/vnd.oasis.opendocument.spreadsheet", zipfile.ZIP_STORED)
        archive.writestr("META-INF/manifest.xml", MANIFEST)
        archive.writestr("content.xml", f"{head}{sheet}</table:table>{more}{sheet}{tail}")


def test_sheets_that_end_in_blank_rows(tmp_path):
    """The blank rows of one sheet counted as lying above the rows of the next, and the workbook was refused."""
    pytest.importorskip("python_calamine")
    book_of_sheets(tmp_path / "x.ods", 20, 1_048_555)
    for name in ("x.ods", "x.ods::More"):
        assert columns(f"{tmp_path}/{name}")["x"] == [i / 8 for i in range(20)]


class Keys(encryption.KmsClient):
    """A keeper of keys that shows them."""

    def wrap_key(self, key_bytes, master_key_identifier):
        return key_bytes.hex()

    def unwrap_key(self, wrapped_key, master_key_identifier):
        return bytes.fromhex(wrapped_key)


@pytest.mark.parametrize("plain_footer", [True, False])
@pytest.mark.parametrize("whole", [True, False])
def test_encrypted_parquet(plain_footer, whole, tmp_path):
    """The library ended the process where the columns alone are encrypted."""
    settings = encryption.EncryptionConfiguration(
        "key", column_keys={"key": ["a", "b"] if whole else ["b"]}, plaintext_footer=plain_footer
    )
    factory = encryption.CryptoFactory(lambda _: Keys())
    table = pa.table({"a": [1.5, 2.5, 3.5], "b": ["x", "y", "x"]})
    secret = factory.file_encryption_properties(encryption.KmsConnectionConfig(), settings)
    with pq.ParquetWriter(tmp_path / "x.parquet", table.schema, encryption_properties=secret) as writer:
        writer.write_table(table)
    with pytest.raises(DataError, match=r"x\.parquet is encrypted: save it without encryption"):
        open_source(tmp_path / "x.parquet")


def opened(tmp_path, text, name="x.csv"):
    """Return the names and the rows of text, as they came."""
    (tmp_path / name).write_text(text)
    cells = open_source(tmp_path / name).cells
    return [one.name for one in cells], list(zip(*(one.as_they_were() for one in cells), strict=True))


@pytest.mark.parametrize("end", [".csv", ".data", ".txt", ".data.gz"])
def test_tabs_beside_commas_within_quotes(end, tmp_path):
    """Each row has one comma in a name, which was taken for the delimiter."""
    rows = [[f"N{i % 4}, A.", i % 3, f"{100 + i} {200 + i}", i / 8] for i in range(40)]
    frame = pd.DataFrame(rows, columns=["name", "k", "phone", "x"])
    frame.to_csv(tmp_path / f"x{end}", sep="\t", index=False, quoting=csv.QUOTE_ALL)
    found = columns(tmp_path / f"x{end}")
    assert list(found) == ["name", "k", "phone", "x"]
    assert found["name"] == [row[0] for row in rows] and found["phone"] == [row[2] for row in rows]


@pytest.mark.parametrize("name", ["2020", "7"])
def test_a_number_above_text_is_a_name(name, tmp_path):
    """The header was taken for a row, and the columns were called 1 and 2."""
    rows = [(f"A{i % 5}", f"{'RD'[i % 2]}+{i % 4}") for i in range(40)]
    text = "".join(f"{a},{b}\n" for a, b in [("district", name), *rows])
    assert opened(tmp_path, text) == (["district", name], rows)


def test_a_number_above_numbers_or_few_cells_is_none(tmp_path):
    names, rows = opened(tmp_path, "".join(f"{'ab'[i % 2]},{3 * i % 7}\n" for i in range(30)))
    assert names == ["1", "2"] and len(rows) == 30


@pytest.mark.parametrize("name", ["0", "digit"])
def test_text_of_two_words_is_one_column(name, tmp_path):
    """One name stood above two words, and the words were columns of their own; or the file was refused."""
    words = [f"Digit {i * 7 % 10}" for i in range(60)]
    names, rows = opened(tmp_path, "\n".join([name, *words]) + "\n")
    assert (names, [row[0] for row in rows]) == ([name], words)


def test_row_names_that_differ_stand_beside_one_column(tmp_path):
    """R writes one name less than columns, where row names are beside."""
    (tmp_path / "x.txt").write_text("x\n" + "".join(f"r{i} {i}.5\n" for i in range(30)))
    schema = open_source(tmp_path / "x.txt").schema
    assert list(schema.names or ()) == ["x"] and schema.n_rows == 30
