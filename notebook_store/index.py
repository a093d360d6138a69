"""What an index promises, and how the answers of several indexes become one ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from notebook_store.embed import Vectors


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """One answer of an index."""

    id: str
    score: float  # higher is better; comparable within one answer only


class VectorIndex(Protocol):
    """Unit vectors under ids, found by cosine.

    An index is not the truth: whoever fills it can fill it again. Ids are unique; writing a known id replaces
    its vector. What `upsert` has returned from is found by the next `query` and survives the process's death.
    """

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Stores any number of vectors, shape (len(ids), dimension); the same call twice changes nothing."""

    def query(self, vector: Vectors, k: int) -> list[Match]:
        """The k nearest of `vector` (shape (dimension,)), best first; the score is the cosine, in [-1, 1]."""

    def ids(self) -> set[str]:
        """All ids."""

    def count(self) -> int:
        """How many ids."""

    def clear(self) -> None:
        """Forgets everything."""

    def problems(self) -> list[str]:
        """What a health check found wrong, one line each; an empty list means sound."""


class TextIndex(Protocol):
    """Documents under ids, found by their words."""

    def query(self, text: str, k: int) -> list[Match]:
        """The k best documents for any text whatever, best first; [] when no word is known."""

    def rebuild(self) -> None:
        """Makes the index anew from the documents."""

    def count(self) -> int:
        """How many documents are indexed."""

    def problems(self) -> list[str]:
        """What a health check found wrong, one line each; an empty list means sound."""


def fuse(rankings: Sequence[Sequence[Match]], k: int) -> list[Match]:
    """One ranking of several: scores are divided by the best of their ranking, added, and divided by the rankings.

    Zero is the floor of BM25 and of a cosine that says anything; a document that a ranking lacks gets zero from it.
    The result is in [0, 1]; ties go to the smaller id. Adding scores is CombSUM (Fox & Shaw, TREC-2, 1994); with
    this normalisation it hardly depends on how deep the rankings are, which with min-max it does.
    """
    total: dict[str, float] = {}
    for ranking in rankings:
        best = max((match.score for match in ranking), default=0.0)
        for match in ranking:
            part = max(match.score, 0.0) / best if best > 0 else 0.0
            total[match.id] = total.get(match.id, 0.0) + part / len(rankings)
    order = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return [Match(id=name, score=score) for name, score in order[:k]]
