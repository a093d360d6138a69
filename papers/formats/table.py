"""CSV and its kin with a header: a paper a row, columns known by the names that exporters give them."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence

from papers.formats.source import LINE_BYTES, Source, UnreadableError
from papers.record import Page, Record, Refusal, natural_name, one_line, parse_arxiv_id, parse_doi, parse_year

_DELIMITERS = ",;\t|"
# Field -> names of its column in exports of Zotero, Scopus, Web of Science, Kaggle and people, in lower case.
_COLUMNS: Mapping[str, tuple[str, ...]] = {
    "title": ("title", "titles", "paper title", "article title", "document title", "paper_title"),
    "abstract": ("abstract", "abstracts", "summary", "summaries", "abstract note", "text", "description", "notes"),
    "authors": ("authors", "author", "author(s)", "author full names", "names"),
    "year": ("year", "publication year", "published", "date", "publication date", "pubdate", "update_date"),
    "doi": ("doi",),
    "arxiv_id": ("arxiv_id", "arxiv id", "arxiv", "arxivid"),
    "url": ("url", "link", "links", "pdf", "pdf_url"),
    "id": ("id", "_id", "paper_id", "paperid", "key"),
    "keywords": ("keywords", "author keywords", "terms", "categories", "tags", "manual tags"),
}
_MANY_FIELDS = 2  # known columns that make a table of papers: prose may open with the word "title"


def matches(head: bytes) -> bool:
    return b"\x00" not in head and _delimiter(_header(head)) is not None


def read(source: Source) -> Iterator[Record | Refusal]:
    delimiter = _delimiter(_header(source.head))
    assert delimiter is not None  # `matches` has seen it
    csv.field_size_limit(LINE_BYTES)
    faults: list[Refusal] = []
    rows = csv.reader(_lines(source, faults), delimiter=delimiter, strict=True)
    try:
        header = next(rows)
    except (csv.Error, StopIteration) as error:
        raise UnreadableError(f"the header is not CSV: {error}") from error
    places = _places(header)
    if "title" not in places:
        raise UnreadableError("the header is broken: no column `title`")
    while True:
        try:
            row = next(rows)
        except StopIteration:
            break
        except csv.Error as error:
            faults.append(Refusal(where=f"{source.path} line {rows.line_num}", reason=f"not CSV: {error}"))
            continue
        finally:
            yield from faults
            faults.clear()
        if any(cell.strip() for cell in row):
            yield _record(row, places, len(header), f"{source.path} line {rows.line_num}")


def _lines(source: Source, faults: list[Refusal]) -> Iterator[str]:
    for number, line in source.lines():
        if line is None:
            reason = f"longer than {LINE_BYTES >> 20} MB; the line is left out"
            faults.append(Refusal(where=f"{source.path} line {number}", reason=reason))
            continue
        try:
            yield line.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            reason = f"not UTF-8 at byte {error.start} of the line; the line is left out"
            faults.append(Refusal(where=f"{source.path} line {number}", reason=reason))


def _header(head: bytes) -> str:
    return head.lstrip().split(b"\n", 1)[0].decode("utf-8-sig", "replace")


def _delimiter(line: str) -> str | None:
    """The one that makes a header of this line; None where none does."""
    found = {mark: _places(_cells(line, mark)) for mark in _DELIMITERS}
    best = max(found, key=lambda mark: len(found[mark]))
    return best if "title" in found[best] and len(found[best]) >= _MANY_FIELDS else None


def _cells(line: str, delimiter: str) -> Sequence[str]:
    try:
        return next(csv.reader([line.strip()], delimiter=delimiter), [])
    except csv.Error:
        return ()


def _places(header: Sequence[str]) -> dict[str, int]:
    """Field -> number of its column; of several, the one whose name comes first in _COLUMNS."""
    names = [one_line(name).lower() for name in header]
    found = {field: [names.index(name) for name in known if name in names] for field, known in _COLUMNS.items()}
    return {field: places[0] for field, places in found.items() if places}


def _record(row: Sequence[str], places: Mapping[str, int], width: int, where: str) -> Record | Refusal:
    if len(row) > width:
        return Refusal(where=where, reason=f"has {len(row)} cells, the header {width}; quote cells with delimiters")
    cells = {field: row[place] if place < len(row) else "" for field, place in places.items()}
    title = one_line(cells["title"])
    if not title:
        return Refusal(where=where, reason="the row has no title")
    body, url = cells.get("abstract", "").strip(), one_line(cells.get("url", ""))
    arxiv = " ".join((url, cells.get("doi", ""), cells.get("id", "")))
    return Record(
        title=title,
        pages=(Page(number=None, text=body),) if body else (),
        authors=tuple(_authors(cells.get("authors", ""))),
        year=parse_year(cells.get("year")) or parse_year(cells.get("year", "")[-4:]),
        doi=parse_doi(cells.get("doi")),
        arxiv_id=parse_arxiv_id(cells.get("arxiv_id")) or (parse_arxiv_id(arxiv) if "arxiv" in arxiv.lower() else None),
        url=url or None,
        source_id=one_line(cells.get("id", "")) or None,
        keywords=tuple(_parts(cells.get("keywords", ""))),
    )


def _authors(cell: str) -> Iterator[str]:
    """ "Family, Given; Family, Given", or names between commas or "and"."""
    if ";" in cell:
        yield from (natural_name(name) for name in _parts(cell))
    else:
        yield from _parts(re.sub(r"\s+and\s+", ", ", cell))


def _parts(cell: str) -> Iterator[str]:
    """The members of a cell that holds a list: Python's, or between semicolons or commas."""
    cell = cell.strip().strip("[]")
    for part in cell.split(";" if ";" in cell else ","):
        name = one_line(part).strip("'\"")
        if name:
            yield name
