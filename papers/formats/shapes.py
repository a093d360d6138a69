"""One paper as a JSON object, in the shapes that exports and APIs have. Pure.

Understood by their fields: the arXiv snapshot on Kaggle (id, title, abstract, authors_parsed, versions),
Semantic Scholar (corpusid or paperId, externalIds, tldr), OpenAlex works (display_name, abstract_inverted_index),
OpenReview notes (content, with or without {"value": …}), BEIR (_id, title, text), and plain {"id", "title",
"abstract", "authors", "year", "url", "keywords"}.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from papers.record import Page, Record, one_line, parse_arxiv_id, parse_doi, parse_year

_MOST_POSITIONS = 50_000  # words in an inverted index; a hostile one could name position 10**12
_OPENING_CHARS = 120  # of a text that stands for a missing title
_ENVELOPES = ("results", "data", "notes", "papers", "works", "items")  # what APIs call their list of papers
_OPENREVIEW = "https://openreview.net/forum?id="


def unwrap(value: object) -> Iterator[object]:
    """The papers of an API's answer: of a list, or of an object around one; anything else is itself."""
    if isinstance(value, dict) and not {"title", "display_name", "content", "text"} & value.keys():
        value = next((value[key] for key in _ENVELOPES if isinstance(value.get(key), list)), value)
    if isinstance(value, list):
        yield from value
    else:
        yield value


def parse(item: object) -> Record:
    """One JSON object as a Record. Raises ValueError, saying what is missing."""
    if not isinstance(item, dict):
        raise ValueError("not a paper: no JSON object")  # noqa: TRY004  # a fault of the data
    fields = {str(key).lower(): value for key, value in item.items() if value not in (None, "", [], {})}
    if isinstance(fields.get("content"), dict):
        fields = _openreview(fields)
    text = _text(fields.get("abstract")) or _inverted(fields.get("abstract_inverted_index"))
    text = text or _text(fields.get("text")) or _text(_mapping(fields.get("tldr")).get("text"))
    text = text or _text(fields.get("tl;dr"))
    title = one_line(_text(fields.get("title") or fields.get("display_name"))) or _opening(fields, text)
    if not title:
        raise ValueError("not a paper: no field `title`")
    named_ids = _mapping(fields.get("externalids") or fields.get("ids"))
    ids = {str(key).lower(): value for key, value in named_ids.items()}
    own = next((fields[key] for key in ("id", "_id", "corpusid", "paperid") if key in fields), None)
    url = one_line(_text(fields.get("url"))) or None
    return Record(
        title=title,
        pages=(Page(number=None, text=text),) if text.strip() else (),
        authors=tuple(_authors(fields)),
        year=_year(fields),
        doi=parse_doi(_text(fields.get("doi") or ids.get("doi"))),
        arxiv_id=_arxiv_id(fields, ids, own, url),
        url=url,
        source_id=one_line(str(own)) if isinstance(own, str | int) else None,
        keywords=tuple(_keywords(fields)),
    )


def _opening(fields: Mapping[str, Any], text: str) -> str:
    """The first words of a text without title, as many BEIR corpora have them."""
    return one_line(text)[:_OPENING_CHARS] if "_id" in fields else ""


def _openreview(note: Mapping[str, Any]) -> dict[str, Any]:
    """The content of an OpenReview note, of either version of its API, beside the note's own fields."""
    content = {str(key).lower(): value for key, value in note["content"].items()}
    plain = {key: value.get("value") if isinstance(value, dict) else value for key, value in content.items()}
    fields = {key: value for key, value in {**note, **plain}.items() if value not in (None, "", [], {})}
    forum = note.get("forum") or note.get("id")
    if "url" not in fields and isinstance(forum, str):
        fields["url"] = _OPENREVIEW + forum
    millis = next((note[key] for key in ("pdate", "cdate", "tcdate") if isinstance(note.get(key), int)), None)
    if "year" not in fields and millis is not None and 0 < millis < 10**13:
        fields["year"] = datetime.fromtimestamp(millis / 1000, UTC).year
    return fields


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
    yield from _names(listed)


def _keywords(fields: Mapping[str, Any]) -> Iterator[str]:
    for key in ("keywords", "categories", "fieldsofstudy", "s2fieldsofstudy", "topics"):
        listed = fields.get(key) or []
        yield from _names(listed.replace(";", ",").split(",") if isinstance(listed, str) else listed)


def _names(listed: object) -> Iterator[str]:
    """Names out of strings, {"name"}, {"display_name"}, {"category"} or {"author": {"display_name"}}."""
    for one in listed if isinstance(listed, list) else []:
        holder = _mapping(one)
        named = (holder.get(key) for key in ("name", "display_name", "category"))
        name = one if isinstance(one, str) else next((name for name in named if isinstance(name, str)), None)
        name = one_line(_text(name or _mapping(holder.get("author")).get("display_name")))
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
