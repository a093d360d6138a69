"""An embedder without a model; it keeps the port's promises and the contract suite runs on it too.

It stands apart from the other fakes so that the notebook's tests import nothing of the swarm.
"""

import hashlib
import re
from collections.abc import Sequence

import numpy as np

from notebook_store.embed import Vectors


class WordEmbedder:
    """The sum of one pseudo-random direction a word: texts that share words are near each other."""

    def __init__(self, *, name: str = "words", revision: str = "1", dimension: int = 64) -> None:
        self.name = name
        self.revision = revision
        self.dimension = dimension
        self.texts_seen = 0

    def embed(self, texts: Sequence[str]) -> Vectors:
        self.texts_seen += len(texts)
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in enumerate(texts):
            for word in ["", *re.findall(r"\w+", text.lower())]:
                vectors[row] += self._direction(word)
            vectors[row] /= np.linalg.norm(vectors[row])
        return vectors

    def _direction(self, word: str) -> Vectors:
        seed = int.from_bytes(hashlib.sha256(word.encode("utf-8", "replace")).digest()[:8], "little")
        # The empty word keeps a text without words away from zero, and weighs next to nothing in others.
        weight = 1.0 if word else 1e-3
        return (np.random.default_rng(seed).normal(size=self.dimension) * weight).astype(np.float32)
