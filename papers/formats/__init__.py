"""Reads papers out of files, told apart by their content, never by their name.

A format is a module with two functions: `matches(head: bytes) -> bool`, on the first bytes, and
`read(source) -> Iterator[Record | Refusal]`, which streams. To add one, write it and name it in FORMATS.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from papers.formats import atom, bibtex, json_document, jsonl, pdf, ris, table, text
from papers.formats.source import Gauge, Source, UnreadableError, open_source
from papers.record import Record, Refusal


class Format(Protocol):
    """What a module of this package offers."""

    def matches(self, head: bytes) -> bool: ...

    def read(self, source: Source) -> Iterator[Record | Refusal]: ...


# In the order in which they are asked; plain text is last, since every other text format is text as well.
FORMATS: tuple[Format, ...] = (pdf, atom, json_document, jsonl, ris, bibtex, table, text)

_FOREIGN = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"PK\x03\x04", "a ZIP archive (unpack it) or an Office document (save it as PDF)"),
    (b"\xfd7zXZ", "an xz archive; unpack it first"),
    (b"BZh", "a bzip2 archive; unpack it first"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive; unpack it first"),
    (b"\xff\xfe", "UTF-16 text; convert it with `iconv -f utf-16 -t utf-8`"),
    (b"\xfe\xff", "UTF-16 text; convert it with `iconv -f utf-16 -t utf-8`"),
    (b"[", "an array of no objects, or INI text"),
    (b"%!PS", "PostScript; convert it with `ps2pdf`"),
    (b"{\\rtf", "a rich-text document; save it as PDF"),
    (b"7z\xbc\xaf", "a 7z archive; unpack it first"),
    (b"<", "a web page or XML; a page that a site sends instead of a PDF looks like this"),
)


def find(paths: Iterable[Path]) -> Iterator[Path | Refusal]:
    """The files named, and those in the folders named but for hidden ones and hidden folders."""
    for path in paths:
        if not path.is_dir():
            yield path
            continue
        found = False
        faults: list[OSError] = []
        for folder, folders, names in os.walk(path, onerror=faults.append):
            folders[:] = sorted(name for name in folders if not name.startswith("."))
            for name in sorted(names):
                if not name.startswith("."):
                    found = True
                    yield Path(folder, name)
        for fault in faults:
            yield Refusal(where=str(fault.filename), reason=f"cannot be listed: {fault.strerror}")
        if not found and not faults:
            yield Refusal(where=str(path), reason="no files in this folder")


def read(path: Path, gauge: Gauge | None = None) -> Iterator[Record | Refusal]:
    """Everything in one file. A fault ends this file with a Refusal, never the whole run."""
    try:
        source = open_source(path, gauge or Gauge())
        for format_ in FORMATS:
            if format_.matches(source.head):
                yield from format_.read(source)
                return
        yield Refusal(where=str(path), reason=_foreign(source.head))
    except UnreadableError as error:
        yield Refusal(where=str(path), reason=str(error))


def close() -> None:
    """Ends what readers keep running between files; the next `read` starts it again."""
    pdf.close_reader()


def _foreign(head: bytes) -> str:
    known = next((what for magic, what in _FOREIGN if head.lstrip().startswith(magic)), "unknown binary data")
    return f"not a format of papers: {known}"
