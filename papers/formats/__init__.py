"""Reads papers out of files, told apart by their content, never by their name.

A format is a module with two functions: `matches(head: bytes) -> bool`, on the first bytes, and
`read(source) -> Iterator[Record | Refusal]`, which streams. To add one, write it and name it in FORMATS.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Protocol

from papers.formats import bibtex, jsonl, pdf, text
from papers.formats.source import Source, UnreadableError, open_source
from papers.record import Record, Refusal


class Format(Protocol):
    """What a module of this package offers."""

    def matches(self, head: bytes) -> bool: ...

    def read(self, source: Source) -> Iterator[Record | Refusal]: ...


# In the order in which they are asked; plain text is last, since every other text format is text as well.
FORMATS: tuple[Format, ...] = (pdf, jsonl, bibtex, text)

_FOREIGN = (
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"\x89PNG", "a PNG image"),
    (b"PK\x03\x04", "a ZIP archive (or an Office document)"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\x28\xb5\x2f\xfd", "a zstd archive"),
    (b"\xff\xfe", "UTF-16 text"),
    (b"\xfe\xff", "UTF-16 text"),
    (b"[", "a JSON array or INI text; JSON must have one object per line, as `jq -c '.[]'` writes it"),
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


def read(path: Path) -> Iterator[Record | Refusal]:
    """Everything in one file. A fault ends this file with a Refusal, never the whole run."""
    try:
        source = open_source(path)
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
    known = next((what for magic, what in _FOREIGN if head.startswith(magic)), "unknown binary data")
    return f"not a format of papers: {known}"
