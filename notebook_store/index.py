"""What an index promises, and how the answers of several indexes become one ranking."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from notebook_store.embed import Vectors


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """One answer of an index."""

    id: str
    score: float  # cosine in [-1, 1], or BM25 divided by the best answer's, in (0, 1]; higher is better


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


def best_rows(scores: NDArray[np.float32], k: int) -> list[int]:
    """The rows of the k highest scores, best first; of equal ones the earlier row."""
    import numpy as np

    rows = np.arange(len(scores))
    if 0 < k < len(scores):
        least = np.partition(scores, len(scores) - k)[len(scores) - k]
        rows = np.flatnonzero(scores >= least)
    order = np.argsort(-scores[rows], kind="stable")[: max(k, 0)]
    return [int(row) for row in rows[order]]


def fuse(rankings: Sequence[Sequence[Match]], k: int) -> list[Match]:
    """One ranking of several: a document's scores, each in [0, 1], are added and divided by the rankings.

    A document that a ranking lacks gets nothing from it, and a negative cosine counts as nothing. The result is in
    [0, 1]; ties go to the smaller id. This is CombSUM (Fox & Shaw, TREC-2, 1994). A cosine goes in as it is: scaled
    to the best of its ranking, the least bad neighbour of a query that resembles nothing would equal an exact word.
    """
    total: dict[str, float] = {}
    for ranking in rankings:
        for match in ranking:
            part = min(max(match.score, 0.0), 1.0) / len(rankings)
            total[match.id] = total.get(match.id, 0.0) + part
    order = sorted(total.items(), key=lambda item: (-item[1], item[0]))
    return [Match(id=name, score=score) for name, score in order[:k]]
