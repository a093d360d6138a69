"""One file of papers, opened safely: gzip undone, and limits against files made to fill memory or disk."""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

_GZIP = b"\x1f\x8b"  # that gzip data begin with
HEAD_BYTES = 64 * 1024  # looked at to tell the format
LINE_BYTES = 8 * 1024 * 1024  # the longest line of a record; a paper's whole text has about 0.1 MB
WHOLE_BYTES = 64 * 1024 * 1024  # the largest file of a format that must be read in one piece
GZIP_RATIO = 100  # text shrinks three- to tenfold; deflate's limit, reached by bombs alone, is 1032
_READ_BYTES = 256 * 1024
_GZIP_SLACK = 16 * 1024 * 1024  # bytes that any gzip may expand to, whatever its ratio


class UnreadableError(Exception):
    """The file, or what is left of it, cannot be read; the message says why and what to do."""


@dataclass(kw_only=True)
class Gauge:
    """How far the reading of a file has come."""

    read: int = 0  # bytes of the file as it lies on disk


@dataclass(frozen=True, kw_only=True)
class Source:
    """A file that exists and may be read."""

    path: Path
    gzipped: bool
    head: bytes  # the first HEAD_BYTES of the content, gzip undone
    gauge: Gauge  # moved along by whoever reads

    @contextmanager
    def open(self) -> Iterator[BinaryIO]:
        """The content as a binary stream.

        Raises UnreadableError while it is read, where gzip data are damaged or expand beyond the limits.
        """
        with self.path.open("rb", buffering=0) as file:
            raw = io.BufferedReader(_Gauged(file, self.gauge), _READ_BYTES)
            if not self.gzipped:
                yield raw
                return
            limit = GZIP_RATIO * self.path.stat().st_size + _GZIP_SLACK
            try:
                with gzip.GzipFile(fileobj=raw) as unzipped:
                    yield io.BufferedReader(_Limited(unzipped, limit))
            except (EOFError, gzip.BadGzipFile, zlib.error) as damage:
                raise UnreadableError(f"damaged gzip data ({damage}); fetch the file again") from damage

    def lines(self) -> Iterator[tuple[int, bytes | None]]:
        """Numbered lines, from 1, in constant memory; None stands for a line over LINE_BYTES."""
        with self.open() as stream:
            number = 0
            while line := stream.readline(LINE_BYTES + 1):
                number += 1
                if len(line) <= LINE_BYTES:
                    yield number, line
                    continue
                while line and not line.endswith(b"\n"):
                    line = stream.readline(LINE_BYTES)
                yield number, None

    def text(self, *, errors: str = "strict") -> str:
        """The whole content. Raises UnreadableError: over WHOLE_BYTES, or not UTF-8 where errors are strict."""
        with self.open() as stream:
            content = stream.read(WHOLE_BYTES + 1)
        if len(content) > WHOLE_BYTES:
            raise UnreadableError(f"larger than {WHOLE_BYTES >> 20} MB, the limit for this format; split it")
        try:
            return content.decode("utf-8-sig", errors)
        except UnicodeDecodeError as error:
            raise UnreadableError(
                f"not UTF-8 at byte {error.start}; convert it, for example with `iconv -f latin1 -t utf-8`"
            ) from error


def open_source(path: Path, gauge: Gauge) -> Source:
    """Raises UnreadableError, with the reason, for what is missing, forbidden, empty or no regular file."""
    try:
        if not path.is_file():
            raise UnreadableError(_why_no_file(path))
        with path.open("rb") as raw:
            gzipped = raw.read(2) == _GZIP
    except PermissionError as error:
        raise UnreadableError("no permission to read it; change its mode with `chmod +r`") from error
    except OSError as error:
        raise UnreadableError(f"cannot be read: {error.strerror or error}") from error
    source = Source(path=path, gzipped=gzipped, head=b"", gauge=Gauge())
    with source.open() as stream:
        head = stream.read(HEAD_BYTES)
    if not head.strip():
        raise UnreadableError("the file is empty")
    if gzipped and head.startswith(_GZIP):
        raise UnreadableError("gzipped twice; unpack it once")
    return Source(path=path, gzipped=gzipped, head=head, gauge=gauge)


def _why_no_file(path: Path) -> str:
    if path.exists():
        return "is not a regular file"
    return "does not exist; it is a link to a file that is gone" if path.is_symlink() else "does not exist"


class _Gauged(io.RawIOBase):
    """Hands a file through and keeps its gauge."""

    def __init__(self, file: io.FileIO, gauge: Gauge) -> None:
        self._file = file
        self._gauge = gauge

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: a wider Buffer
        size = self._file.readinto(buffer)
        self._gauge.read += size
        return size


class _Limited(io.RawIOBase):
    """Hands a stream through until more than `limit` bytes have come out of it."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream = stream
        self._left = limit

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]  # typeshed: a wider Buffer
        data = self._stream.read1(len(buffer))
        self._left -= len(data)
        if self._left < 0:
            raise UnreadableError(f"expands more than {GZIP_RATIO} times, as decompression bombs do; unpack it first")
        buffer[: len(data)] = data
        return len(data)
