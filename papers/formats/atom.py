"""Atom feeds as arXiv's API answers: an entry a paper. Read as it streams, an entry at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, ParseError, XMLPullParser

from papers.formats.source import LINE_BYTES, Source, UnreadableError
from papers.record import Page, Record, Refusal, one_line, parse_arxiv_id, parse_doi, parse_year

ATOM = "{http://www.w3.org/2005/Atom}"
ARXIV = "{http://arxiv.org/schemas/atom}"
_READ_BYTES = 256 * 1024
_ERROR_ID = "http://arxiv.org/api/errors"  # of the entry in which arXiv says what was wrong with a query


def matches(head: bytes) -> bool:
    return b"<feed" in head and b"http://www.w3.org/2005/Atom" in head


def read(source: Source) -> Iterator[Record | Refusal]:
    # Entities could make a small feed a large one, and feeds have no use for them.
    if b"<!DOCTYPE" in source.head or b"<!ENTITY" in source.head:
        raise UnreadableError("an Atom feed with a DOCTYPE; such are not read")
    parser: XMLPullParser[Any] = XMLPullParser(("start", "end"))
    number, since_entry = 0, 0
    feed: Element | None = None
    with source.open() as stream:
        while True:
            data = stream.read(_READ_BYTES)
            since_entry += len(data)
            try:
                if data:
                    parser.feed(data)
                else:
                    parser.close()
                events: list[Any] = list(parser.read_events())
            except ParseError as error:
                raise UnreadableError(f"not XML: {error}; what follows entry {number} is not read") from error
            for event, element in events:
                assert isinstance(element, Element)  # what start and end tell
                if feed is None:
                    feed = element
                if event == "end" and element.tag == f"{ATOM}entry":
                    number, since_entry = number + 1, 0
                    yield _record(element, f"{source.path} entry {number}")
                    feed.clear()  # what was read is not kept
            if since_entry > LINE_BYTES:
                raise UnreadableError(f"entry {number + 1} is longer than {LINE_BYTES >> 20} MB")
            if not data:
                return


def _record(entry: Element, where: str) -> Record | Refusal:
    link = one_line(entry.findtext(f"{ATOM}id") or "")
    title = one_line(entry.findtext(f"{ATOM}title") or "")
    summary = (entry.findtext(f"{ATOM}summary") or "").strip()
    if link.startswith(_ERROR_ID):
        return Refusal(where=where, reason=f"arXiv refused the query: {one_line(summary)}")
    if not title:
        return Refusal(where=where, reason="the entry has no title")
    names = (one_line(name.text or "") for name in entry.findall(f"{ATOM}author/{ATOM}name"))
    terms = (one_line(category.get("term") or "") for category in entry.findall(f"{ATOM}category"))
    return Record(
        title=title,
        pages=(Page(number=None, text=summary),) if summary else (),
        authors=tuple(name for name in names if name),
        year=parse_year(entry.findtext(f"{ATOM}published")),
        doi=parse_doi(entry.findtext(f"{ARXIV}doi")),
        arxiv_id=parse_arxiv_id(link) if "arxiv" in link.lower() else None,
        url=link or None,
        keywords=tuple(term for term in terms if term),
    )
