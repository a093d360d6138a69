"""The best candidates of a search looked at once more: which of them have the query's words side by side, as it has."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise

from notebook_store.index import Match
from notebook_store.words import stems, telling_pairs

DEPTH = 50  # candidates that are looked at: some ten thousand words
WEIGHT = 0.5  # of the pairs beside the fused score; .3 to .5 did alike (docs/papers.md)
_SATURATION = 1.2  # BM25's k1: how soon repeating a pair stops to matter

Texts = Mapping[str, Iterable[tuple[str, float]]]  # of each candidate: its texts, and how much a word in each weighs


def rerank(query: str, ranking: Sequence[Match], texts: Texts) -> list[Match]:
    """The ranking with its first DEPTH in a new order; scores stay in [0, 1].

    The ordered pairs of the sequential dependence model (Metzler & Croft, SIGIR 2005), scored as BM25 scores words:
    a pair that few candidates have counts for more, and its second occurrence for less than its first.

    Args:
        ranking: fused answers, best first.
        texts: of the first DEPTH.
    """
    pairs = telling_pairs(query)
    head, tail = ranking[:DEPTH], ranking[DEPTH:]
    counts = {match.id: _counts(texts[match.id], frozenset(pairs)) for match in head}
    spread = Counter(pair for found in counts.values() for pair in found)
    rarity = {pair: math.log1p((len(head) - spread[pair] + 0.5) / (spread[pair] + 0.5)) for pair in pairs}
    most = sum(rarity.values())

    def share(match: Match) -> float:
        """Of all the pairs' worth, in [0, 1)."""
        found = counts[match.id].items()
        return sum(rarity[pair] * count / (count + _SATURATION) for pair, count in found) / most if most else 0.0

    looked_at = [Match(id=match.id, score=(match.score + WEIGHT * share(match)) / (1.0 + WEIGHT)) for match in head]
    # The others keep their places: their fused scores are below those of all who were looked at.
    others = [Match(id=match.id, score=match.score / (1.0 + WEIGHT)) for match in tail]
    return sorted(looked_at, key=lambda match: (-match.score, match.id)) + others


def _counts(texts: Iterable[tuple[str, float]], wanted: frozenset[tuple[int, int]]) -> dict[tuple[int, int], float]:
    """How often the wanted pairs are in the texts, weighted."""
    counts: dict[tuple[int, int], float] = {}
    for text, weight in texts:
        for pair in pairwise(stems(text)):
            if pair in wanted:
                counts[pair] = counts.get(pair, 0.0) + weight
    return counts
