"""Foreign text made harmless for a page: Markdown without HTML, diffs, passages with the matched words marked."""

import re
from functools import cache

from markdown_it import MarkdownIt
from markupsafe import Markup, escape
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import DiffLexer

from notebook_store.words import Snippet

_LONG = 60_000  # characters of one text that a page shows; the rest is counted
# Marks that turn the direction of the text around them, and others that nobody sees.
_UNSEEN = re.compile("[\u200b\u200e\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\x00-\x08\x0b-\x1f\x7f]")


def shown(text: str) -> str:
    """The text with marks that would turn or hide other text made visible, and cut where it is endless."""
    cut = text if len(text) <= _LONG else f"{text[:_LONG]}… ({len(text) - _LONG} more characters)"
    return _UNSEEN.sub(lambda mark: f"⟨U+{ord(mark.group()):04X}⟩", cut)


def markdown(text: str) -> Markup:
    """Markdown as HTML: HTML in it shows as text, pictures as their links, links lead to http and https alone."""
    return Markup(_parser().render(shown(text)))  # noqa: S704 - the parser escapes all text: html is off


class _Harmless(MarkdownIt):
    """CommonMark in which a link leads to a web page and runs nothing here."""

    def validateLink(self, url: str) -> bool:  # noqa: N802 - the library's name
        return re.match(r"https?://\S+$", url.strip(), flags=re.IGNORECASE) is not None


@cache
def _parser() -> MarkdownIt:
    return _Harmless("commonmark", {"html": False}).enable("table").disable("image")


def coloured_diff(diff: str) -> Markup:
    """A unified diff with its lines marked by class."""
    return Markup(highlight(shown(diff), DiffLexer(), HtmlFormatter(cssclass="diff")))  # noqa: S704 - Pygments escapes


def marked(snippet: Snippet) -> Markup:
    """A passage with the matched words marked."""
    parts, at = [], 0
    for start, end in snippet.spans:
        parts += [escape(shown(snippet.text[at:start])), Markup("<mark>"), escape(shown(snippet.text[start:end]))]
        parts.append(Markup("</mark>"))
        at = end
    parts.append(escape(shown(snippet.text[at:])))
    return Markup("").join(parts)
