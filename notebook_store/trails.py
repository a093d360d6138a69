"""What led to an entry and what came of it, by its links; and what was tried near an idea."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from notebook_store.answers import Idea, Near, Tried
from notebook_store.entry import JSON, Entry, Kind, Relation
from notebook_store.index import Match
from notebook_store.log import Log

MOST_GROUNDS = 50  # entries that are told of what an entry rests on
NEAR_DISTANCE = 0.15  # of two configurations: closer ones are near
NEAR_MEANING = 0.6  # cosine of two hypotheses: higher ones are near


def tried(log: Log, entry: Entry) -> list[Tried]:
    """The hypotheses that link to an entry, or it itself when it is one, each with what came out of it."""
    if entry.kind is Kind.HYPOTHESIS:
        hypotheses = [entry]
    else:
        linked = [other for _, other in log.links_to(entry.id, kinds=[Kind.HYPOTHESIS])]
        hypotheses = list({other.id: other for other in linked}.values())
    return [_tried(log, hypothesis) for hypothesis in hypotheses]


def grounds(log: Log, entry: Entry) -> list[tuple[Relation, Entry]]:
    """The entries that an entry's links lead to, and theirs, the nearest first."""
    found: dict[str, tuple[Relation, Entry]] = {entry.id: (Relation.DERIVED_FROM, entry)}
    ring = [entry]
    while ring and len(found) <= MOST_GROUNDS:
        said = {link.target: link.kind for page in ring for link in page.links if link.target not in found}
        ring = list(log.find(list(said)).values())
        found |= {page.id: (said[page.id], page) for page in ring}
    return list(found.values())[1 : MOST_GROUNDS + 1]


def near(log: Log, idea: Idea, by_meaning: Sequence[Match], k: int) -> list[Near]:
    """The k hypotheses nearest to an idea by either measure, of those that are near."""
    similarity = {match.id: match.score for match in by_meaning}
    alike_enough = [name for name, cosine in similarity.items() if cosine >= NEAR_MEANING]
    compared = log.changes(idea.changes)
    close: list[tuple[float, str, float | None]] = []
    for name in dict.fromkeys([*alike_enough, *compared]):
        if name not in similarity and _lacks_too_much(idea.changes, compared[name]):
            continue
        apart = distance(idea.changes, compared[name]) if name in compared else None
        alike = similarity.get(name)
        if (apart is not None and apart <= NEAR_DISTANCE) or (alike is not None and alike >= NEAR_MEANING):
            close.append((min(1.0 if apart is None else apart, 1.0 - (alike or 0.0)), name, apart))
    nearest = sorted(close, key=lambda item: item[:2])[:k]
    pages = log.find([name for _, name, _ in nearest])
    return [
        Near(tried=_tried(log, pages[name]), distance=apart, similarity=similarity.get(name))
        for _, name, apart in nearest
    ]


def distance(one: Mapping[str, JSON], other: Mapping[str, JSON]) -> float | None:
    """How far apart two configurations are: the mean over all constants that either sets, 0 to 1.

    Two numbers of one sign are as far apart as their ratio: a factor of ten, and more, counts 1. Anything else
    counts 0 when it is the same and 1 when it is not, as does a constant that only one sets. None when they set no
    constant in common.
    """
    if not one.keys() & other.keys():
        return None
    names = one.keys() | other.keys()
    return sum(_apart(one[name], other[name]) if name in one and name in other else 1.0 for name in names) / len(names)


def _lacks_too_much(one: Mapping[str, JSON], other: Mapping[str, JSON]) -> bool:
    """Whether what only one of them sets keeps two configurations from being near, whatever the rest is."""
    both = len(one.keys() & other.keys())
    either = len(one) + len(other) - both
    return either - both > NEAR_DISTANCE * either


def _apart(a: JSON, b: JSON) -> float:
    if a == b:
        return 0.0
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, int | float) or not isinstance(b, int | float):
        return 1.0
    return min(1.0, abs(math.log10(a / b))) if a * b > 0 else 1.0


def _tried(log: Log, hypothesis: Entry) -> Tried:
    came = [other for _, other in log.links_to(hypothesis.id, kinds=[Kind.RESULT, Kind.DECISION])]
    return Tried(hypothesis=hypothesis, came=tuple(came))
