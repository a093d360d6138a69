"""BM25 in memory: which rows have which words, as arrays, growing at the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

Floats: TypeAlias = "NDArray[np.float32]"
Integers: TypeAlias = "NDArray[np.int64]"

POSTING = np.dtype([("word", "<u4"), ("count", "<f2")])  # a word of a row, and how often it is there, weighted
MOST = 60_000.0  # the highest count that is kept: 16 bits hold no more
K1, B = 1.2, 0.75  # BM25's usual constants: when repeating a word stops to matter, and how much length counts


class Postings:
    """Rows and their words (Robertson & Zaragoza, The Probabilistic Relevance Framework, 2009). Never changed in place.

    Rows come in blocks. A block is joined with the one before it unless that one is more than twice its size, so
    that there are few blocks and a row is moved a few times at most. Six bytes a posting.
    """

    def __init__(self) -> None:
        self.seqs: Integers = np.zeros(0, dtype=np.int64)  # row -> its number in the table, growing
        self._lengths: Floats = np.zeros(0, dtype=np.float32)  # row -> words it has
        self._norm: Floats = self._lengths  # row -> BM25's length term
        self._blocks: tuple[_Block, ...] = ()

    def grown(self, seqs: Sequence[int], lengths: Sequence[int], blobs: Sequence[bytes]) -> Postings:
        """These rows and more: for each its number, its length in words and its POSTINGs."""
        found = np.frombuffer(b"".join(blobs), dtype=POSTING)
        sizes = np.fromiter((len(blob) // POSTING.itemsize for blob in blobs), dtype=np.int64, count=len(blobs))
        rows = np.repeat(np.arange(len(self.seqs), len(self.seqs) + len(seqs), dtype=np.int32), sizes)
        block = _Block(np.ascontiguousarray(found["word"]), rows, np.ascontiguousarray(found["count"]))
        more = Postings()
        more.seqs = np.concatenate([self.seqs, np.asarray(seqs, dtype=np.int64)])
        more._lengths = np.concatenate([self._lengths, np.asarray(lengths, dtype=np.float32)])
        relative = more._lengths / max(float(more._lengths.mean()), 1.0)
        more._norm = np.asarray(K1 * (1.0 - B + B * relative), dtype=np.float32)
        blocks = list(self._blocks)
        while blocks and len(blocks[-1].rows) <= 2 * len(block.rows):
            block = blocks.pop().joined(block)
        more._blocks = (*blocks, block)
        return more

    def scores(self, words: Sequence[int]) -> Floats:
        """BM25 of every row for the distinct words of a query, shape (rows,); 0 where none of them occurs."""
        scores: Floats = np.zeros(len(self.seqs), dtype=np.float32)
        for word in words:
            parts = [part for block in self._blocks if (part := block.find(word)) is not None]
            spread = sum(len(rows) for rows, _ in parts)
            # The 1 keeps a word that most rows have from counting against them (as Lucene does).
            rarity = np.float32(np.log1p((len(scores) - spread + 0.5) / (spread + 0.5)))
            for rows, counts in parts:
                often = counts.astype(np.float32)
                scores[rows] += rarity * often * np.float32(K1 + 1.0) / (often + self._norm[rows])
        return scores


class _Block:
    """Postings ordered by word, then by row."""

    def __init__(self, words: NDArray[np.uint32], rows: NDArray[np.int32], counts: NDArray[np.float16]) -> None:
        order = _order(words)
        words, self.rows, self._counts = words[order], rows[order], counts[order]
        self._starts = np.flatnonzero(np.concatenate([[True], words[1:] != words[:-1]])) if len(words) else order
        self._words = words[self._starts]

    def find(self, word: int) -> tuple[NDArray[np.int32], NDArray[np.float16]] | None:
        """The rows that have a word, and how often."""
        place = int(np.searchsorted(self._words, np.uint32(word)))
        if place == len(self._words) or self._words[place] != word:
            return None
        end = self._starts[place + 1] if place + 1 < len(self._starts) else len(self.rows)
        part = slice(self._starts[place], end)
        return self.rows[part], self._counts[part]

    def joined(self, other: _Block) -> _Block:
        return _Block(
            np.concatenate([self._spread(), other._spread()]),
            np.concatenate([self.rows, other.rows]),
            np.concatenate([self._counts, other._counts]),
        )

    def _spread(self) -> NDArray[np.uint32]:
        return np.repeat(self._words, np.diff(np.append(self._starts, len(self.rows))))


def _order(words: NDArray[np.uint32]) -> Integers:
    """A stable order of 32-bit words: numpy sorts 16 bits by radix, twice that is twice as fast as 32 at once."""
    order = np.argsort(words.astype(np.uint16), kind="stable")
    high = (words >> np.uint32(16)).astype(np.uint16)
    return order[np.argsort(high[order], kind="stable")]
