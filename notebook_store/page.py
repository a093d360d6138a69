"""Entries as one HTML page that stands alone: no script, no other host, figures inside."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

from notebook_store.entry import Entry
from notebook_store.export import code_cells, output_text

PICTURES = ("image/png", "image/jpeg")
WIDE = 160  # characters of a fact that are shown

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --dim: #8888; --card: #8881 }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem }
article { border-top: 1px solid var(--line); padding: 1rem 0 } h1, h2 { line-height: 1.25 } h2 { font-size: 1.15rem }
.kind { font-size: .8rem; border: 1px solid var(--line); border-radius: .5rem; padding: 0 .4rem; margin-right: .4rem }
.meta, dt, figcaption { color: GrayText; font-size: .85rem } nav { columns: 2; font-size: .85rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 0 1rem; font-size: .9rem } dd { margin: 0 }
pre { overflow-x: auto; background: var(--card); padding: .6rem; border-radius: .4rem; font-size: .85rem }
table { border-collapse: collapse; display: block; overflow-x: auto } td, th { border: 1px solid var(--line);
padding: .1rem .5rem } blockquote { border-left: 3px solid var(--dim); margin-left: 0; padding-left: 1rem }
img { max-width: 100% } @media (max-width: 40rem) { nav { columns: 1 } } a { overflow-wrap: anywhere }
"""
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'; img-src data:">
<title>{{ title }}</title><style>{{ style|safe }}</style></head><body>
<h1>{{ title }}</h1><p class="meta">{{ entries|length }} entries</p>
<nav aria-label="entries">{% for e in entries %}<div><a href="#{{ e.anchor }}">{{ e.title }}</a></div>{% endfor %}</nav>
{% for e in entries %}
<article id="{{ e.anchor }}"><h2><span class="kind">{{ e.kind }}</span>{{ e.title }}</h2>
<p class="meta">{{ e.author }} · {{ e.when }}{% if e.experiment %} · experiment {{ e.experiment }}{% endif
%}{% if e.factors %} · on {{ e.factors|join(", ") }}{% endif %} · {{ e.id }}</p>
{{ e.body|safe }}
{% for cell in e.cells %}{{ cell.source|safe }}{% if cell.output %}<pre>{{ cell.output }}</pre>{% endif %}{% endfor %}
{% for f in e.figures %}<figure><img src="data:{{ f.kind }};base64,{{ f.data }}" alt="{{ f.name }}"><figcaption>
{{ f.name }}</figcaption></figure>{% endfor %}
{% for f in e.files %}<p class="meta">attached: {{ f.name }} ({{ f.bytes }} bytes)</p>{% endfor %}
{% if e.facts %}<dl>{% for name, value in e.facts %}<dt>{{ name }}</dt><dd>{{ value }}</dd>{% endfor %}</dl>{% endif %}
{% if e.links or e.citations %}<ul>
{% for l in e.links %}<li>{{ l.said }} {% if l.anchor %}<a href="#{{ l.anchor }}">{{ l.name }}</a>{% else
%}{{ l.name }}{% endif %}</li>{% endfor %}
{% for c in e.citations %}<li>cites <cite>{{ c.title }}</cite> ({{ c.source }}{% if c.page %}, p. {{ c.page }}{% endif
%}){% if c.quote %}: “{{ c.quote }}”{% endif %}</li>{% endfor %}</ul>{% endif %}
</article>{% endfor %}
</body></html>
"""


def to_html(entries: Sequence[Entry], *, title: str) -> str:
    """The page, entries in the order given, with links between them both ways.

    All text is untrusted: it is escaped, Markdown is rendered without HTML, images and script links, and the page's
    policy forbids scripts and every other host.
    """
    import jinja2

    anchors = {entry.id: f"e{number}" for number, entry in enumerate(entries)}
    names = {entry.id: entry.title for entry in entries}
    back: dict[str, list[tuple[str, str]]] = {}
    for entry in entries:
        for link in entry.links:
            back.setdefault(link.target, []).append((f"{link.kind} by", entry.id))

    def links(entry: Entry) -> list[dict[str, str | None]]:
        both = [(link.kind.value, link.target) for link in entry.links] + back.get(entry.id, [])
        return [{"said": said, "name": names.get(other, other), "anchor": anchors.get(other)} for said, other in both]

    shown = [_shown(entry) | {"anchor": anchors[entry.id], "links": links(entry)} for entry in entries]
    page = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined).from_string(_PAGE)
    return page.render(title=title, entries=shown, style=_STYLE + _code_styles())


def _shown(entry: Entry) -> dict[str, Any]:
    cells = [
        {"source": _highlighted(cell["source"], "python"), "output": "".join(map(output_text, cell["outputs"]))}
        for cell in code_cells(entry)
    ]
    return {
        "id": entry.id,
        "kind": entry.kind.value,
        "title": entry.title,
        "author": entry.author,
        "when": datetime.fromtimestamp(entry.created_at, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "experiment": entry.experiment,
        "factors": entry.factors,
        "body": _markdown().render(entry.body),
        "cells": cells,
        "figures": [
            {"name": one.name, "kind": one.media_type, "data": base64.b64encode(one.data).decode()}
            for one in entry.attachments
            if one.media_type in PICTURES
        ],
        "files": [
            {"name": one.name, "bytes": len(one.data)} for one in entry.attachments if one.media_type not in PICTURES
        ],
        "facts": [(name, _short(value)) for name, value in entry.data.items() if name != "cells"],
        "citations": entry.citations,
    }


def _short(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text if len(text) <= WIDE else text[:WIDE] + "…"


@cache
def _markdown() -> Any:
    """Markdown without raw HTML and without images; links to scripts are text (its own rule)."""
    from markdown_it import MarkdownIt

    options = {"html": False, "highlight": lambda code, language, _: _highlighted(code, language)}
    return MarkdownIt("commonmark", options).enable("table").disable("image")


def _highlighted(code: str, language: str) -> str:
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import TextLexer, get_lexer_by_name
    from pygments.util import ClassNotFound

    try:
        lexer = get_lexer_by_name(language) if language else TextLexer()
    except ClassNotFound:
        lexer = TextLexer()
    return f"<pre>{highlight(code, lexer, HtmlFormatter(nowrap=True))}</pre>"


@cache
def _code_styles() -> str:
    from pygments.formatters import HtmlFormatter

    light = str(HtmlFormatter(style="default").get_style_defs("pre"))
    dark = str(HtmlFormatter(style="github-dark").get_style_defs("pre"))
    # The page's own background stays behind the code.
    plain = "pre { background: var(--card) !important }"
    return f"{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n{plain}"
