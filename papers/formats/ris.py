"""RIS, which every reference manager and publisher exports: lines `TAG  - value`, from TY to ER."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from papers.formats.source import LINE_BYTES, Source
from papers.record import Page, Record, Refusal, natural_name, one_line, parse_arxiv_id, parse_doi, parse_year

_FIRST = re.compile(rb"^(?:\xef\xbb\xbf)?\s*TY {1,2}- ?\S", re.MULTILINE)
_TAG = re.compile(r"^([A-Z][A-Z0-9]) {1,2}-(?: (.*))?$")
_MOST_LINES = 10_000  # of one record; more is another format, or made to fill memory

Fields = dict[str, list[str]]


def matches(head: bytes) -> bool:
    return b"\x00" not in head and _FIRST.match(head) is not None


def read(source: Source) -> Iterator[Record | Refusal]:
    fields: Fields | None = None  # None between records
    began, tag, lines = 0, "", 0
    for number, raw in source.lines():
        where = f"{source.path} line {number}"
        try:
            line = None if raw is None else raw.decode("utf-8-sig").rstrip()
        except UnicodeDecodeError as error:
            yield Refusal(where=where, reason=f"not UTF-8 at byte {error.start} of the line; the line is left out")
            continue
        if line is None:
            yield Refusal(where=where, reason=f"longer than {LINE_BYTES >> 20} MB; the line is left out")
        elif (match := _TAG.match(line)) is None:
            if fields and fields.get(tag) and line and lines < _MOST_LINES:  # a long value goes on
                fields[tag][-1] += f" {line}"
                lines += 1
        else:
            tag, value = match.group(1), (match.group(2) or "").strip()
            if tag == "TY":
                if fields is not None:
                    yield _unended(source, began)
                fields, began, lines = defaultdict(list), number, 0
            elif tag == "ER":
                if fields is not None:
                    yield _record(fields, f"{source.path} line {began}")
                fields = None
            elif fields is not None and lines < _MOST_LINES:
                fields[tag].append(value)
                lines += 1
    if fields is not None:
        yield _unended(source, began)


def _unended(source: Source, began: int) -> Refusal:
    return Refusal(where=f"{source.path} line {began}", reason="the record has no end (`ER  - `); it may be cut off")


def _record(fields: Mapping[str, Sequence[str]], where: str) -> Record | Refusal:
    def first(*tags: str) -> str:
        return next((text for tag in tags if tag in fields for text in map(one_line, fields[tag]) if text), "")

    title = first("TI", "T1", "CT", "BT")
    if not title:
        return Refusal(where=where, reason="the record has no title (TI or T1)")
    body = first("AB", "N2")
    links = [one_line(link) for tag in ("UR", "L2", "LK") for link in fields.get(tag, ())]
    named = " ".join([first("DO"), first("M3"), first("ID"), first("JO", "T2", "JF"), *links])
    return Record(
        title=title,
        pages=(Page(number=None, text=body),) if body else (),
        authors=tuple(natural_name(name) for tag in ("AU", "A1") for name in fields.get(tag, ()) if name),
        year=parse_year(first("PY", "Y1", "DA")),
        doi=parse_doi(first("DO")) or next((doi for doi in map(parse_doi, links) if doi), None),
        arxiv_id=parse_arxiv_id(named) if "arxiv" in named.lower() else None,
        url=next((link for link in links if link), None),
        keywords=tuple(word for word in map(one_line, fields.get("KW", ())) if word),
    )
