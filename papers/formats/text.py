"""Markdown and plain text: one file is one paper, its first heading or line the title."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from papers.formats.source import Source, UnreadableError
from papers.record import Page, Record, Refusal, one_line, parse_arxiv_id, parse_doi, parse_year

_TITLE_CHARS = 300  # a longer first line is a paragraph, not a title
_SUFFIXES = ("", ".md", ".markdown", ".txt", ".text")  # of names: other text is code, tables, unknown formats
_ABOUT_A_FOLDER = frozenset(
    {"readme", "license", "licence", "copying", "notice", "changelog", "contributing", "makefile"}
)
_HEADING = re.compile(r"^#{1,6}\s+|\s+#+$")


_NOT_TEXT = (b"\xff\xd8", b"\x89PNG", b"\xff\xfe", b"\xfe\xff", b"[", b"PK", b"BZh", b"\xfd7zXZ", b"%!PS", b"{\\rtf")
_MARKUP = (b"<!doctype", b"<html", b"<?xml")  # in lower case: pages and feeds that are no papers


def matches(head: bytes) -> bool:
    # Broken UTF-8 is text all the same: the reader then says at which byte it breaks.
    return b"\x00" not in head and not head.startswith(_NOT_TEXT) and not head.lstrip()[:20].lower().startswith(_MARKUP)


def read(source: Source) -> Iterator[Record | Refusal]:
    name = source.path.name.lower().removesuffix(".gz")
    if Path(name).suffix not in _SUFFIXES:
        raise UnreadableError("text of no known format; if it is one paper, name it .md or .txt")
    if Path(name).stem in _ABOUT_A_FOLDER:
        raise UnreadableError("by its name it is about the folder, and no paper; if it is one, give it another name")
    front, lines = _front_matter(source.text().splitlines())
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    title = front.get("title", "")
    if not title:
        if first is None:
            raise UnreadableError("the file is empty")
        title = one_line(_HEADING.sub("", lines[first].strip()))[:_TITLE_CHARS]
        lines = lines[first + 1 :]
    if not title:
        raise UnreadableError("no title: its first line has no words")
    yield Record(
        title=title,
        pages=(Page(number=None, text="\n".join(lines)),),
        authors=tuple(_listed(front.get("authors") or front.get("author", ""))),
        year=parse_year(front.get("year") or front.get("date")),
        doi=parse_doi(front.get("doi")),
        arxiv_id=parse_arxiv_id(front.get("arxiv")),
        url=front.get("url") or None,
        keywords=tuple(_listed(front.get("tags") or front.get("keywords", ""))),
    )


def _front_matter(lines: list[str]) -> tuple[dict[str, str], list[str]]:
    """The `key: value` lines between two `---` at the top, as note programs write them, and the other lines."""
    if not lines or lines[0].strip() != "---" or "---" not in (rest := [line.strip() for line in lines[1:]]):
        return {}, lines
    end = rest.index("---")
    pairs = (line.partition(":") for line in rest[:end])
    return {key.strip().lower(): value.strip().strip("'\"") for key, _, value in pairs if value}, lines[end + 2 :]


def _listed(value: str) -> Iterator[str]:
    """The members of `[a, b]` or `a, b`."""
    for part in value.strip("[]").split(","):
        if one := one_line(part).strip("'\""):
            yield one
