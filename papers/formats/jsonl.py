"""JSON lines in the shapes that exports of papers have.

Understood by their fields: the arXiv snapshot on Kaggle (id, title, abstract, authors_parsed, versions),
Semantic Scholar (corpusid, externalids), OpenAlex works (display_name, abstract_inverted_index), BEIR (_id,
title, text), and plain {"id", "title", "abstract", "authors", "year", "url"}.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from papers.formats.source import LINE_BYTES, Source
from papers.record import Page, Record, Refusal, one_line, parse_arxiv_id, parse_doi, parse_year

_MOST_POSITIONS = 50_000  # words in an inverted index; a hostile one could name position 10**12


def matches(head: bytes) -> bool:
    return head.removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"{")


def read(source: Source) -> Iterator[Record | Refusal]:
    for number, line in source.lines():
        if line is None:
            yield _refusal(source, number, f"longer than {LINE_BYTES >> 20} MB, the limit for one paper")
        elif line.strip():
            try:
                yield parse(json.loads(line.removeprefix(b"\xef\xbb\xbf")))
            except UnicodeDecodeError as error:
                yield _refusal(source, number, f"not UTF-8 at byte {error.start} of the line")
            except json.JSONDecodeError as error:
                yield _refusal(source, number, f"not JSON: {error.msg} at column {error.colno}")
            except RecursionError:
                yield _refusal(source, number, "not a paper: JSON nested too deeply")
            except ValueError as error:
                yield _refusal(source, number, str(error))


def parse(item: object) -> Record:
    """One JSON object as a Record. Raises ValueError, saying what is missing."""
    if not isinstance(item, dict):
        raise ValueError("not a paper: the line is no JSON object")  # noqa: TRY004  # a fault of the data
    fields = {str(key).lower(): value for key, value in item.items() if value not in (None, "", [], {})}
    title = one_line(_text(fields.get("title") or fields.get("display_name")))
    if not title:
        raise ValueError("not a paper: no field `title`")
    named_ids = _mapping(fields.get("externalids") or fields.get("ids"))
    ids = {str(key).lower(): value for key, value in named_ids.items()}
    own = next((fields[key] for key in ("id", "_id", "corpusid", "paperid") if key in fields), None)
    url = one_line(_text(fields.get("url"))) or None
    doi = parse_doi(_text(fields.get("doi") or ids.get("doi")))
    body = _text(fields.get("abstract")) or _inverted(fields.get("abstract_inverted_index"))
    body = body or _text(fields.get("text")) or _text(_mapping(fields.get("tldr")).get("text"))
    return Record(
        title=title,
        pages=(Page(number=None, text=body),) if body.strip() else (),
        authors=tuple(_authors(fields)),
        year=_year(fields),
        doi=doi,
        arxiv_id=_arxiv_id(fields, ids, own, url),
        url=url,
        source_id=one_line(str(own)) if isinstance(own, str | int) else None,
    )


def _arxiv_id(fields: Mapping[str, Any], ids: Mapping[str, Any], own: object, url: str | None) -> str | None:
    """Only from fields that hold one by contract or say so: a bare number elsewhere may be anything."""
    for named in (fields.get("arxiv_id"), fields.get("arxivid"), ids.get("arxiv")):
        if named:
            return parse_arxiv_id(str(named))
    kaggle = bool({"versions", "authors_parsed", "update_date"} & fields.keys())
    for text in (str(own or ""), url or "", _text(fields.get("doi") or ids.get("doi"))):
        if (kaggle and text == str(own)) or "arxiv" in text.lower():
            found = parse_arxiv_id(text)
            if found:
                return found
    return None


def _authors(fields: Mapping[str, Any]) -> Iterator[str]:
    parsed = fields.get("authors_parsed")
    if isinstance(parsed, list):
        for name in parsed:
            if isinstance(name, list) and len(name) >= 2:
                yield one_line(f"{name[1]} {name[0]}")
        return
    listed = fields.get("authors") or fields.get("authorships") or []
    if isinstance(listed, str):
        listed = listed.replace(" and ", ", ").split(",")
    for author in listed if isinstance(listed, list) else []:
        person = _mapping(author)
        name = author if isinstance(author, str) else person.get("name") or _mapping(person.get("author"))
        name = one_line(_text(name.get("display_name") if isinstance(name, dict) else name))
        if name:
            yield name


def _year(fields: Mapping[str, Any]) -> int | None:
    named = (fields.get(key) for key in ("year", "publication_year", "published", "publication_date"))
    found = next((year for year in map(parse_year, named) if year), None)
    versions = fields.get("versions")
    if found is None and isinstance(versions, list) and versions:  # Kaggle: "Mon, 2 Apr 2007 19:18:42 GMT"
        words = _text(_mapping(versions[0]).get("created")).split()
        found = next((year for year in map(parse_year, words) if year), None)
    return found or parse_year(fields.get("update_date"))


def _inverted(index: object) -> str:
    """OpenAlex's {word: [positions]} back into running text."""
    places: dict[int, str] = {}
    for word, positions in _mapping(index).items():
        for position in positions if isinstance(positions, list) else []:
            if isinstance(position, int) and len(places) < _MOST_POSITIONS:
                places[position] = str(word)
    return " ".join(places[position] for position in sorted(places))


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, dict) else {}


def _refusal(source: Source, number: int, reason: str) -> Refusal:
    return Refusal(where=f"{source.path} line {number}", reason=reason)
