"""Files of text as streams of UTF-8 bytes: decompressed, decoded, and never longer than memory allows."""

from __future__ import annotations

import bz2
import codecs
import contextlib
import gzip
import io
import lzma
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from latentmap.data.formats.frames import pyarrow_module
from latentmap.exceptions import DataError

SAMPLE = 2**20
"""The bytes from which encoding, delimiter and types are inferred."""
LONGEST = 2**26
"""The most bytes of one line."""
RATIO = 100
"""The most bytes that a compressed byte may become, beyond `UNPACKED` in all."""
UNPACKED = 2**28
MAGIC = {b"\x1f\x8b": ".gz", b"BZh": ".bz2", b"\xfd7zXZ\0": ".xz", b"\x28\xb5\x2f\xfd": ".zst", b"PK\x03\x04": ".zip"}
BOMS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF32_LE: "utf-32",
    codecs.BOM_UTF32_BE: "utf-32",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}
SIGNATURES = {"utf-8-sig": 3}
"""The bytes before the text of an encoding that needs no decoding."""


@dataclass(frozen=True)
class TextFile:
    """A file of text: its path, how it is compressed (the end of a name, or nothing), and its encoding."""

    path: Path
    compression: str
    encoding: str
    sample: bytes
    """Its first bytes, decompressed."""

    @property
    def plain(self) -> bool:
        """Whether its bytes are UTF-8 as they lie on the disk."""
        return not self.compression and self.encoding in ("utf-8", "utf-8-sig")

    @property
    def signature(self) -> int:
        """The bytes of the mark at the start of UTF-8."""
        return SIGNATURES.get(self.encoding, 0)

    def is_longer(self, most: int) -> bool:
        """Return whether the text is longer than so many bytes; packed text is unpacked for it where it may be."""
        size = self.path.stat().st_size
        if not self.compression or size > most or UNPACKED < RATIO * size <= most:
            return size > most
        length, enough = 0, max(most, UNPACKED)  # small files are read to the end, which tells those made to be large
        with self.bytes() as stream:
            while length <= enough and (block := stream.read(SAMPLE)):
                length += len(block)
        return length > most

    def head(self) -> tuple[str, bool]:
        """Return the text of the first whole lines, and whether that is all."""
        text = codecs.getincrementaldecoder(self.encoding)(errors="strict").decode(self.sample)
        if len(self.sample) < SAMPLE:
            return text, True
        end = max(text.rfind("\n"), text.rfind("\r")) + 1
        return text[:end], False

    @contextlib.contextmanager
    def bytes(self) -> Iterator[IO[bytes]]:
        """Yield the decompressed bytes, in UTF-8, without a mark at the start."""
        with unpacked(self.path, self.compression) as stream:
            if self.encoding in ("utf-8", "utf-8-sig"):
                stream.read(self.signature)
                yield stream
            else:
                yield io.BufferedReader(_Recoded(stream, self.encoding), SAMPLE)

    @contextlib.contextmanager
    def lines(self) -> Iterator[Iterator[str]]:
        """Yield the lines, with their ends as they are, each of limited length and without NUL bytes."""
        with (
            unpacked(self.path, self.compression) as stream,
            io.TextIOWrapper(stream, self.encoding, newline="") as text,
        ):
            yield self._lines(text)

    def _lines(self, text: io.TextIOWrapper) -> Iterator[str]:
        number = 0
        while line := text.readline(LONGEST):
            number += 1
            if len(line) >= LONGEST:
                raise DataError(f"{self.path}: line {number} is longer than {LONGEST:,} characters, so it is no table")
            if "\0" in line:
                raise DataError(
                    f"{self.path}: line {number} holds a NUL byte (0x00), so it is no text; copy or save it again"
                )
            yield line


def text_file(path: Path, encoding: str | None = None) -> TextFile:
    """Return a file of text with compression and encoding as its first bytes and its name say.

    Raises
    ------
    DataError
        If it is no text, or its first line has no end.
    """
    with path.open("rb") as stream:
        first = stream.read(16)
    named = next((end for end in MAGIC.values() if path.name.lower().endswith(end)), "")
    compression = next((end for magic, end in MAGIC.items() if first.startswith(magic)), named)
    with unpacked(path, compression) as stream:
        sample = stream.read(SAMPLE)
        while len(sample) >= SAMPLE and sample.count(b"\n") + sample.count(b"\r") < 3 and len(sample) < LONGEST:
            more = stream.read(3 * len(sample))
            sample += more
            if not more:
                break
    if not sample:
        raise DataError(f"{path} holds no text (0 bytes)")
    ends = sample.count(b"\n") + sample.count(b"\r")
    if len(sample) >= LONGEST and ends < 2:
        raise DataError(f"{path}: line {ends + 1} is longer than {LONGEST:,} bytes, so it is no table")
    found = encoding or _encoding(path, sample)
    _require_text(path, sample, found)
    return TextFile(path, compression, found, sample)


@contextlib.contextmanager
def unpacked(path: Path, compression: str) -> Iterator[IO[bytes]]:
    """Yield the bytes of a file, decompressed; raise once they are far more than such a file may hold."""
    with contextlib.ExitStack() as stack:
        if not compression:
            yield stack.enter_context(path.open("rb"))
            return
        opened: Any
        match compression:
            case ".gz":
                opened = gzip.open(path)
            case ".bz2":
                opened = bz2.open(path)
            case ".xz":
                opened = lzma.open(path)
            case ".zst":
                opened = pyarrow_module("lib").CompressedInputStream(str(path), "zstd")
            case _:
                archive = stack.enter_context(zipfile.ZipFile(path))
                opened = archive.open(_only_member(path, archive))
        stream = stack.enter_context(opened)
        yield io.BufferedReader(_Limited(path, stream, max(UNPACKED, RATIO * path.stat().st_size)), SAMPLE)


def _only_member(path: Path, archive: zipfile.ZipFile) -> str:
    names = [
        one.filename for one in archive.infolist() if not one.is_dir() and not one.filename.startswith("__MACOSX/")
    ]
    if len(names) != 1:
        raise DataError(
            f"{path} holds {len(names)} files ({', '.join(names[:3])}): expected one; extract the one to read"
        )
    return names[0]


def _encoding(path: Path, sample: bytes) -> str:
    """Return the encoding of text: by its mark, by zeros between its letters, UTF-8, else that of Windows."""
    if marked := next((name for mark, name in BOMS.items() if sample.startswith(mark)), None):
        return marked
    start = sample[:4096]
    if len(start) > 3 and start.count(0) > len(start) // 4:
        even, odd = start[::2].count(0), start[1::2].count(0)
        if not min(even, odd):
            return "utf-16-le" if odd else "utf-16-be"
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return western(sample)
    return "utf-8"


def western(sample: bytes) -> str:
    """Return cp1252 if text can be in it, else latin-1, which any bytes are."""
    try:
        sample.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _require_text(path: Path, sample: bytes, encoding: str) -> None:
    if encoding.startswith(("utf-16", "utf-32")):
        return
    if (at := sample.find(0)) >= 0:
        line = sample[:at].count(b"\n") + 1
        raise DataError(f"{path}: line {line} holds a NUL byte (0x00), so it is no text; copy or save it again")
    controls = len(sample) - len(sample.translate(None, bytes([*range(1, 9), *range(14, 27), 28, 29, 30, 31])))
    if controls > len(sample) / 100:
        raise DataError(f"{path} is no text: {controls:,} of its first {len(sample):,} bytes are control characters")


class _Limited(io.RawIOBase):
    """Decompressed bytes, up to a limit."""

    def __init__(self, path: Path, stream: IO[bytes], limit: int) -> None:
        self.path, self.stream, self.limit, self.count = path, stream, limit, 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        block = self.stream.read(len(buffer))
        self.count += len(block)
        if self.count > self.limit:
            raise DataError(
                f"{self.path} holds more than {self.limit / 1e6:,.0f} MB in {self.path.stat().st_size / 1e6:,.1f} MB, "
                "as files do that are made to fill the memory; decompress it first if it is yours"
            )
        buffer[: len(block)] = block
        return len(block)


class _Recoded(io.RawIOBase):
    """Bytes of text of another encoding as UTF-8."""

    def __init__(self, stream: IO[bytes], encoding: str) -> None:
        self.stream, self.decoder = stream, codecs.getincrementaldecoder(encoding)()
        self.left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.left:
            block = self.stream.read(SAMPLE)
            self.left = self.decoder.decode(block, final=not block).encode()
            if not block:
                break
        part, self.left = self.left[: len(buffer)], self.left[len(buffer) :]
        buffer[: len(part)] = part
        return len(part)
