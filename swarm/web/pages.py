"""Templates with what they need everywhere: figures in words, addresses, harmless text."""

import re
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from notebook_store.words import Snippet
from swarm import dossier, wording
from swarm.web import text

TEMPLATES = Path(__file__).with_name("templates")
PAGE = 50  # rows of a page of a table


def environment() -> Environment:
    """All templates; every value is escaped unless it is markup that this package made."""
    made = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "duration": wording.duration,
        "score": _score,
        "share": wording.share,
        "improvement": wording.improvement,
        "hidden_shard": wording.hidden_shard,
        "worth": wording.worth,
        "plain": lambda words: wording.plain(text.shown(str(words))),
        "shown": text.shown,
        "markdown": text.markdown,
        "diff": text.coloured_diff,
        "marked": text.marked,
        "passage": lambda hit: text.marked(Snippet(text=hit.snippet, spans=hit.spans)),
        "clock": _clock,
        "number": dossier.number,
        "inert": lambda words: re.sub(r"([\\`*_\[\]<>#|!&])", r"\\\1", wording.plain(text.shown(str(words)))),
        "at": lambda name: quote(str(name), safe=""),
        "signed": lambda value: "" if value is None else f"{value:+.4f}",
        "svg": lambda picture: Markup(picture.svg),  # noqa: S704 - pictures escape the text they hold
    }
    made.globals |= {"short": wording.short, "query": query}
    return made


def query(given: Mapping[str, Any], **changes: Any) -> str:
    """A query string of what was given with some of it changed; empty values are left out."""
    merged = {**given, **changes}
    return "?" + urlencode({name: value for name, value in merged.items() if value not in ("", None)})


def _score(value: float | None, ci95: list[float] | None = None) -> str:
    return "—" if value is None else wording.score(value, ci95)


def _clock(at: float | None, form: str = "%Y-%m-%d %H:%M:%S") -> str:
    return "" if at is None else datetime.fromtimestamp(at).astimezone().strftime(form)


def pages_of(total: int, page: int, size: int = PAGE) -> dict[str, int]:
    """The page meant, within those there are, and what lies around it."""
    last = max(1, -(-total // size))
    number = min(max(1, page), last)
    return {"number": number, "last": last, "total": total, "start": (number - 1) * size, "size": size}
