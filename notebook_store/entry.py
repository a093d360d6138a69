"""A page of the notebook and its parts; pure values."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, TypeAlias

from notebook_store.errors import InvalidEntry

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")  # SQLite's words end at NUL; a lone surrogate has no UTF-8


class Kind(StrEnum):
    """What a page is."""

    HYPOTHESIS = "hypothesis"  # what may be true, and the change that would show it
    REVIEW = "review"  # a judgement of a proposal before it runs
    RESULT = "result"  # what came out of an experiment
    CLAIM = "claim"  # what a paper says
    INSIGHT = "insight"  # what an analysis found
    DECISION = "decision"  # what was promoted, refused or stopped, and why
    NOTE = "note"  # anything else, a human's wish too


class Relation(StrEnum):
    """What a page has to do with another."""

    SUPPORTS = "supports"
    REFUTES = "refutes"
    DERIVED_FROM = "derived-from"
    CITES = "cites"
    SUPERSEDES = "supersedes"


@dataclass(frozen=True, kw_only=True, slots=True)
class Link:
    """From the page that holds it to another."""

    kind: Relation
    target: str  # id of an entry, which need not exist yet

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", Relation(self.kind))
        object.__setattr__(self, "target", clean(self.target))


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """A passage of a source outside the notebook."""

    source: str  # id of the source, such as 'arxiv:1412.6980'
    title: str  # of the source
    quote: str = ""  # the passage, as it stands there
    page: int | None = None  # counted from 1; None when the source has no pages


@dataclass(frozen=True, kw_only=True, slots=True)
class Attachment:
    """A file that belongs to a page, such as a figure."""

    name: str  # file name, unique within the page
    media_type: str  # such as 'image/png'
    data: bytes

    @property
    def sha256(self) -> str:
        """The content's name in the log."""
        return hashlib.sha256(self.data).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One page. It never changes: an amendment is a new page that supersedes it.

    NUL and lone surrogates in its text become U+FFFD, and `data` is copied as JSON would carry it.

    Raises:
        InvalidEntry: no id, or data that JSON cannot carry (absence is null, never NaN).
    """

    id: str  # chosen by the writer, so that writing again is harmless
    kind: Kind
    title: str  # one line
    body: str  # Markdown; untrusted
    author: str  # role or person
    session: str  # '' outside a session
    task: str  # '' when it is about no task
    created_at: float  # unix seconds
    experiment: str | None = None  # id of the experiment it is about
    factors: tuple[str, ...] = ()  # names of the constants in play
    links: tuple[Link, ...] = ()
    citations: tuple[Citation, ...] = ()
    data: Mapping[str, JSON] = field(default_factory=dict, hash=False)  # hardware, budget, n, score, outcome, …
    attachments: tuple[Attachment, ...] = ()

    def __post_init__(self) -> None:
        if not self.id:
            raise InvalidEntry("an entry needs an id, chosen by its writer")
        for name in ("id", "title", "body", "author", "session", "task"):
            object.__setattr__(self, name, clean(getattr(self, name)))
        if self.experiment is not None:
            object.__setattr__(self, "experiment", clean(self.experiment))
        if not math.isfinite(self.created_at):
            raise InvalidEntry(f"entry {self.id} needs the time it was made, in unix seconds")
        object.__setattr__(self, "created_at", float(self.created_at))
        object.__setattr__(self, "kind", Kind(self.kind))
        object.__setattr__(self, "factors", tuple(clean(factor) for factor in self.factors))
        for name in ("links", "citations", "attachments"):
            object.__setattr__(self, name, tuple(getattr(self, name)))
        try:
            data = json.loads(json.dumps(dict(self.data), allow_nan=False))
        except (TypeError, ValueError) as error:
            raise InvalidEntry(
                f"the data of entry {self.id} is not JSON ({error}); write None for an absent number"
            ) from error
        object.__setattr__(self, "data", data)
        if len({attachment.name for attachment in self.attachments}) < len(self.attachments):
            raise InvalidEntry(f"two attachments of entry {self.id} have one name; give each its own")

    @property
    def outcome(self) -> str | None:
        """`data["outcome"]` when it is text."""
        outcome = self.data.get("outcome")
        return outcome if isinstance(outcome, str) else None


def clean(text: str) -> str:
    """The text with what cannot be stored or searched replaced by U+FFFD."""
    return _UNSTORABLE.sub("\ufffd", text)


def details(entry: Entry) -> dict[str, Any]:
    """What the log keeps of an entry as JSON beside its plain columns; attachments by sha256."""
    return {
        "factors": list(entry.factors),
        "links": [{"kind": link.kind.value, "target": link.target} for link in entry.links],
        "citations": [
            {"source": cited.source, "title": cited.title, "quote": cited.quote, "page": cited.page}
            for cited in entry.citations
        ],
        "data": entry.data,
        "attachments": [
            {"name": attached.name, "media_type": attached.media_type, "sha256": attached.sha256}
            for attached in entry.attachments
        ],
    }


def digest(entry: Entry) -> str:
    """sha256 of everything an entry says: equal entries have equal digests, and no others have."""
    plain = {
        name: getattr(entry, name)
        for name in ("id", "kind", "title", "body", "author", "session", "task", "created_at", "experiment")
    }
    text = json.dumps(plain | details(entry), sort_keys=True, ensure_ascii=True, allow_nan=False)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
