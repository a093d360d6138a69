"""Text as stemmed words: what the word index counts, and the passages that show them."""

from __future__ import annotations

import re
import threading
import unicodedata
import zlib
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise
from typing import Any

REVISION = "snowball-english-crc32"  # how words are told apart and counted; an index bears it
SNIPPET_WORDS = 40
SNIPPET_READ = 50_000  # characters of a text that a snippet is chosen from
# Words that name nothing: leaving them out of a query spares reading the longest posting lists.
STOP_WORDS = """
a an and are as at be been but by can do does for from had has have how i if in into is it its more no not of on or
our so than that the their them then there these they this those to was we were what when where which while who why
will with would you your
"""
_STOP_WORDS = frozenset(STOP_WORDS.split())
_WORD = re.compile(r"[^\W_]+")
_local = threading.local()  # a Snowball stemmer keeps state: one for each thread


@dataclass(frozen=True, kw_only=True, slots=True)
class Snippet:
    """A passage of plain text (untrusted: escape it before showing it as HTML)."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()  # matched words, as [start, end) in text, in order


def stems(text: str) -> list[int]:
    """The words of a text, stemmed (Snowball English), without case and accents, as 32-bit numbers, in order."""
    return list(map(_stem, _WORD.findall(text)))


def telling_stems(query: str, limit: int) -> list[int]:
    """The distinct words of a query that count: without stop words, unless it has no others."""
    words = _WORD.findall(query)
    telling = [word for word in words if word.lower() not in _STOP_WORDS] or words
    return list(dict.fromkeys(map(_stem, telling)))[:limit]


def telling_pairs(query: str) -> list[tuple[int, int]]:
    """The distinct neighbours among the words of a query of which neither is a stop word, stemmed."""
    words = _WORD.findall(query)
    near = ((one, other) for one, other in pairwise(words) if not {one.lower(), other.lower()} & _STOP_WORDS)
    return list(dict.fromkeys((_stem(one), _stem(other)) for one, other in near))


def snippet(text: str, wanted: Collection[int]) -> Snippet | None:
    """The passage of some forty words with most of the wanted ones; None when there are none."""
    words = list(_WORD.finditer(text[:SNIPPET_READ]))
    matched = [(place, stem) for place, word in enumerate(words) if (stem := _stem(word.group())) in wanted]
    if not matched:
        return None
    # A little before the first matched word, so that the sentence around it can be read.
    first = max(0, min(_richest(matched) - 5, len(words) - SNIPPET_WORDS))
    last = min(len(words), first + SNIPPET_WORDS) - 1
    whole = text.rstrip()
    start = words[first].start() if first else 0
    end = words[last].end() if last + 1 < len(words) or len(whole) > SNIPPET_READ else len(whole)
    opening = "…" if first else ""
    shift = len(opening) - start
    inside = [words[place] for place, _ in matched if first <= place <= last]
    return Snippet(
        text=opening + text[start:end] + ("…" if end < len(whole) else ""),
        spans=tuple((word.start() + shift, word.end() + shift) for word in inside),
    )


def _richest(matched: list[tuple[int, int]]) -> int:
    """The place from which SNIPPET_WORDS words hold most different matched words, then most of them."""
    seen: Counter[int] = Counter()
    best, most, tail = matched[0][0], (0, 0), 0
    for head, (place, stem) in enumerate(matched):
        seen[stem] += 1
        while matched[tail][0] <= place - SNIPPET_WORDS:
            seen[matched[tail][1]] -= 1
            tail += 1
        worth = (len(+seen), head - tail)
        if worth > most:
            best, most = matched[tail][0], worth
    return best


@lru_cache(maxsize=50_000)  # words; numbers and names that come once push each other out
def _stem(word: str) -> int:
    """A word's number. Two words of a million share theirs with a chance of one in four thousand: no harm is done."""
    word = word.lower()
    if not word.isascii():
        word = "".join(char for char in unicodedata.normalize("NFKD", word) if not unicodedata.combining(char))
    return zlib.crc32(_stemmer().stemWord(word).encode("utf-8", "replace"))


def _stemmer() -> Any:
    if not hasattr(_local, "stemmer"):
        import Stemmer

        _local.stemmer = Stemmer.Stemmer("english")
    return _local.stemmer
