"""Embeddings from a server that speaks OpenAI's protocol: OpenAI, vLLM, Ollama, llama.cpp, TEI, LiteLLM."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import httpx

from notebook_store.entry import clean
from notebook_store.errors import EmbedderChanged, EmbedderDown

if TYPE_CHECKING:
    from notebook_store.embed import Vectors

KEY_VARIABLE = "OPENAI_API_KEY"  # read from the environment at each use, kept nowhere
BATCH = 64  # texts a request
CHARACTERS = 8000  # of a text that are sent: some 2,000 tokens, which every model takes
ATTEMPTS = 4
LONGEST_WAIT_SECONDS = 20.0  # between two attempts, whatever the server asks for
SECONDS = 30.0  # of one request


class ServedEmbedder:
    """An Embedder on a server.

    Args:
        url: the API's base, such as http://127.0.0.1:11434/v1.
        model: as the server calls it.
        dimension: numbers a vector.
        revision: which weights of it. Servers do not tell, so whoever knows says it; it is kept with the index.

    Raises (in `embed`):
        EmbedderDown: the server does not answer, or not with embeddings.
        EmbedderChanged: its vectors have another dimension.
    """

    def __init__(self, *, url: str, model: str, dimension: int, revision: str = "unknown") -> None:
        self.name = model
        self.revision = revision
        self.dimension = dimension
        self._url = url.rstrip("/") + "/embeddings"
        self._client = httpx.Client(timeout=SECONDS)

    def embed(self, texts: Sequence[str]) -> Vectors:
        """Unit vectors, float32, shape (len(texts), dimension)."""
        import numpy as np

        # An empty input is an error to most servers.
        inputs = [clean(text)[:CHARACTERS].strip() or "." for text in texts]
        rows: list[Any] = []
        for start in range(0, len(inputs), BATCH):
            rows += self._asked(inputs[start : start + BATCH])
        if any(len(row) != self.dimension for row in rows):
            found = next(len(row) for row in rows if len(row) != self.dimension)
            raise EmbedderChanged(
                f"{self.name} at {self._url} gives {found} dimensions, not {self.dimension}; "
                "correct the dimension, then run the notebook's reindex"
            )
        vectors: Vectors = np.array(rows, dtype=np.float32).reshape(len(rows), self.dimension)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if not np.isfinite(lengths).all() or (lengths == 0).any():
            raise EmbedderDown(f"{self.name} at {self._url} gives vectors without a direction; check the server")
        return np.asarray(vectors / lengths, dtype=np.float32)

    def _asked(self, inputs: list[str]) -> list[list[float]]:
        """The vectors of some texts, in their order; asks again after 429 and 5xx, as long as the server wishes."""
        key = os.environ.get(KEY_VARIABLE)
        headers = {"authorization": f"Bearer {key}"} if key else {}
        body = {"model": self.name, "input": inputs, "encoding_format": "float"}
        for attempt in range(1, ATTEMPTS + 1):
            try:
                answer = self._client.post(self._url, json=body, headers=headers)
            except httpx.HTTPError as error:
                said = f"{type(error).__name__}: {error}"
                raise EmbedderDown(f"no embeddings from {self._url} ({said}); see that the server runs") from error
            if answer.status_code != 429 and answer.status_code < 500:
                break
            if attempt < ATTEMPTS:
                time.sleep(_pause(answer.headers.get("retry-after"), attempt))
        if not answer.is_success:
            remedy = f"set {KEY_VARIABLE}" if answer.status_code in (401, 403) else "check the address and the model"
            raise EmbedderDown(f"{self._url} answered {answer.status_code} to {self.name}: {_words(answer)}; {remedy}")
        try:
            data = sorted(answer.json()["data"], key=lambda one: one["index"])
            vectors = [list(map(float, one["embedding"])) for one in data]
        except (ValueError, TypeError, KeyError) as error:
            raise EmbedderDown(f"{self._url} answered without embeddings; check the address") from error
        if len(vectors) != len(inputs):
            raise EmbedderDown(f"{self._url} gave {len(vectors)} vectors for {len(inputs)} texts; check the server")
        return vectors


def _pause(asked: str | None, attempt: int) -> float:
    """Seconds until the next attempt."""
    try:
        wished = float(asked) if asked is not None else 0.5 * 2**attempt
    except ValueError:  # a date: rare, and no reason to wait for long
        wished = 2.0**attempt
    return min(max(wished, 0.0), LONGEST_WAIT_SECONDS)


def _words(answer: httpx.Response) -> str:
    return " ".join(answer.text.split())[:160]
