"""Cuts a paper's text into passages of about 200 words that end with a sentence and know their page. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from papers.record import Page, one_line

TARGET_WORDS = 200  # a passage is closed by the sentence that reaches this
WHOLE_WORDS = 320  # a text up to this long stays in one piece: an abstract is one thought
_LONGEST_SENTENCE = 300  # words; tables and reference lists have no full stops
_SENTENCE_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]?[A-Z0-9])")


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """One passage, verbatim but for white space."""

    page: int | None  # 1-based page that it is on; None where the source has no pages
    section: str | None  # heading that it stands under; None where that cannot be told
    text: str  # one line, sentences joined by single spaces


def chunk(pages: Iterable[Page]) -> Iterator[Chunk]:
    """Yields the passages of a text in order. None crosses a page or a section, so that a citation is exact.

    A remainder too short to stand alone joins the passage before it.
    """
    for page in pages:
        text = one_line(page.text)
        if len(text.split()) > WHOLE_WORDS:
            for passage in _pack(sentences(text)):
                yield Chunk(page=page.number, section=page.section, text=passage)
        elif text:
            yield Chunk(page=page.number, section=page.section, text=text)


def sentences(text: str) -> Iterator[str]:
    """The sentences of a text on one line; what has no full stop is cut after some hundred words."""
    for sentence in _SENTENCE_END.split(text):
        words = sentence.split()
        for start in range(0, len(words), _LONGEST_SENTENCE):
            yield " ".join(words[start : start + _LONGEST_SENTENCE])


def _pack(parts: Iterable[str]) -> list[str]:
    passages: list[str] = []
    open_sentences: list[str] = []
    size = 0  # words in open_sentences
    for sentence in parts:
        open_sentences.append(sentence)
        size += len(sentence.split())
        if size >= TARGET_WORDS:
            passages.append(" ".join(open_sentences))
            open_sentences, size = [], 0
    if passages and size < TARGET_WORDS // 3:
        passages[-1] = " ".join([passages[-1], *open_sentences])
    elif open_sentences:
        passages.append(" ".join(open_sentences))
    return passages
