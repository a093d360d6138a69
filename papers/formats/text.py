"""Markdown and plain text: one file is one paper, its first heading or line the title."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from papers.formats.source import Source, UnreadableError
from papers.record import Page, Record, Refusal, one_line

_TITLE_CHARS = 300  # a longer first line is a paragraph, not a title
_SUFFIXES = ("", ".md", ".markdown", ".txt", ".text")  # of names: other text is code, tables, unknown formats
_HEADING = re.compile(r"^#{1,6}\s+|\s+#+$")


_NOT_TEXT = (b"\xff\xd8", b"\x89PNG", b"\xff\xfe", b"\xfe\xff", b"[", b"PK", b"BZh", b"\xfd7zXZ")


def matches(head: bytes) -> bool:
    # Broken UTF-8 is text all the same: the reader then says at which byte it breaks.
    return b"\x00" not in head and not head.startswith(_NOT_TEXT)


def read(source: Source) -> Iterator[Record | Refusal]:
    name = source.path.name.lower().removesuffix(".gz")
    if Path(name).suffix not in _SUFFIXES:
        raise UnreadableError("text of no known format; if it is one paper, name it .md or .txt")
    lines = source.text().splitlines()
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise UnreadableError("the file is empty")
    title = one_line(_HEADING.sub("", lines[first].strip()))[:_TITLE_CHARS]
    if not title:
        raise UnreadableError("no title: its first line has no words")
    yield Record(title=title, pages=(Page(number=None, text="\n".join(lines[first + 1 :])),))
