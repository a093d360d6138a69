"""Entries and answers as JSON: one form for the HTTP API and for files."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from notebook_store.answers import Claim, Hit, Near, Report, Tried
from notebook_store.entry import Attachment, Citation, Entry, Kind, Link, Relation, details
from notebook_store.errors import InvalidEntry
from notebook_store.words import Snippet

PLAIN = ("id", "title", "body", "author", "session", "task", "created_at", "experiment")


def entry_json(entry: Entry) -> dict[str, Any]:
    """All of an entry; attachments in base64."""
    told = {name: getattr(entry, name) for name in PLAIN} | {"kind": entry.kind.value} | details(entry)
    told["attachments"] = [
        {"name": one.name, "media_type": one.media_type, "data": base64.b64encode(one.data).decode()}
        for one in entry.attachments
    ]
    return told


def brief_json(entry: Entry) -> dict[str, Any]:
    """An entry as listings name it, without its body."""
    return {
        "id": entry.id,
        "kind": entry.kind.value,
        "title": entry.title,
        "author": entry.author,
        "created_at": entry.created_at,
        "session": entry.session,
        "experiment": entry.experiment,
    }


def entry_from(told: Any) -> Entry:
    """The entry of `entry_json`. Raises InvalidEntry naming the field that is wrong."""
    if not isinstance(told, dict):
        raise InvalidEntry("an entry is a JSON object")
    try:
        for name in PLAIN[:-2]:
            if not isinstance(told[name], str):
                raise InvalidEntry(f"{name} of an entry is a string, not {told[name]!r}")
        if told["kind"] not in list(Kind):
            raise InvalidEntry(f"no kind {told['kind']!r}; there are: {', '.join(Kind)}")
        return Entry(
            **{name: told[name] for name in PLAIN[:-2]},
            kind=Kind(told["kind"]),
            created_at=float(told["created_at"]),
            experiment=told.get("experiment"),
            factors=tuple(told.get("factors", ())),
            links=tuple(Link(kind=Relation(link["kind"]), target=link["target"]) for link in told.get("links", ())),
            citations=tuple(Citation(**cited) for cited in told.get("citations", ())),
            data=told.get("data", {}),
            attachments=tuple(_attachment(one) for one in told.get("attachments", ())),
        )
    except KeyError as error:
        raise InvalidEntry(f"an entry needs {error.args[0]}") from error
    except (TypeError, ValueError, AttributeError, binascii.Error) as error:
        raise InvalidEntry(f"entry {told.get('id')!r} is not as it should be: {error}") from error


def _attachment(told: dict[str, str]) -> Attachment:
    data = base64.b64decode(told["data"], validate=True)
    return Attachment(name=told["name"], media_type=told["media_type"], data=data)


def hit_json(hit: Hit) -> dict[str, Any]:
    return {"entry": entry_json(hit.entry), "score": hit.score, "snippet": hit.snippet.text, "spans": hit.snippet.spans}


def hit_from(told: dict[str, Any]) -> Hit:
    spans = tuple((start, end) for start, end in told["spans"])
    return Hit(entry=entry_from(told["entry"]), score=told["score"], snippet=Snippet(text=told["snippet"], spans=spans))


def tried_json(tried: Tried) -> dict[str, Any]:
    return {"hypothesis": entry_json(tried.hypothesis), "came": [entry_json(entry) for entry in tried.came]}


def tried_from(told: dict[str, Any]) -> Tried:
    return Tried(hypothesis=entry_from(told["hypothesis"]), came=tuple(map(entry_from, told["came"])))


def near_json(near: Near) -> dict[str, Any]:
    return {"tried": tried_json(near.tried), "distance": near.distance, "similarity": near.similarity}


def near_from(told: dict[str, Any]) -> Near:
    return Near(tried=tried_from(told["tried"]), distance=told["distance"], similarity=told["similarity"])


def related_json(related: tuple[Relation, Entry]) -> dict[str, Any]:
    return {"kind": related[0].value, "entry": entry_json(related[1])}


def related_from(told: dict[str, Any]) -> tuple[Relation, Entry]:
    return Relation(told["kind"]), entry_from(told["entry"])


def claim_from(told: dict[str, Any]) -> Claim:
    return Claim(**told)


def report_from(told: dict[str, Any]) -> Report:
    return Report(**told | {"problems": tuple(told["problems"]), "skipped": tuple(told["skipped"])})
