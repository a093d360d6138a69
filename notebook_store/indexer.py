"""Keeps the vectors in step with the log, in the background; the log itself is the queue."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING

from notebook_store.chroma import ChromaIndex
from notebook_store.embed import Embedder
from notebook_store.log import Log

if TYPE_CHECKING:
    from notebook_store.exact import ExactIndex

EMBED_BATCH = 32  # entries between two commits: the work that a kill can waste
COPY_BATCH = 1000  # stored vectors copied at once
GATHER_SECONDS = 0.2  # a pass waits this long for more entries: one write to Chroma costs as much as a hundred vectors

_logger = logging.getLogger(__name__)


class Indexer:
    """One thread that embeds what the log has and the indexes lack.

    There is no queue in memory: a pass reads from the log what is new, so that nothing grows when embedding is
    slower than appending, and a pass after a kill finds what the last one left. Chroma is written before the
    stored embeddings: what is stored has been in Chroma.

    Args:
        log: the truth.
        embedder: makes the vectors.
        exact: where they are stored, to be used again.
        vectors: the index that follows.
        warm: called once, in the first pass.
    """

    def __init__(
        self, *, log: Log, embedder: Embedder, exact: ExactIndex, vectors: ChromaIndex, warm: Callable[[], None]
    ) -> None:
        self.vectors = vectors
        self._log = log
        self._embedder = embedder
        self._exact = exact
        self._warm = warm
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="notebook-indexer")
        self._lock = threading.Lock()
        self._next: Future[None] | None = None  # the pass that has not started yet
        self._closing = threading.Event()
        self._hurry = threading.Event()  # somebody waits: do not gather
        self._restored = False  # whether Chroma has been compared with the stored embeddings
        self._done_to = 0  # place in the log up to which everything is embedded and indexed

    def wake(self) -> Future[None]:
        """A pass that starts after now."""
        with self._lock:
            if self._next is None:
                self._next = self._thread.submit(self._pass)
                self._next.add_done_callback(_report)
            return self._next

    def flush(self) -> None:
        """Waits for a pass; raises what went wrong in it."""
        self._hurry.set()
        self.wake().result()

    def behind(self) -> bool:
        """Whether the log has grown since the last pass, by another process perhaps."""
        return self._log.last() > self._done_to

    def rebuild(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Empties Chroma and fills it again, embedding only what was never embedded."""
        self._thread.submit(self._rebuild, progress).result()

    def problems(self) -> list[str]:
        """Compares log, stored embeddings and Chroma, and Chroma with itself."""
        written = {name for _, name in self._log.ids()}
        stored = self._exact.ids()
        indexed = self.vectors.ids()
        differences = {
            "entries have no stored embedding": written - stored,
            "entries are missing from the vector index": written - indexed,
            "vectors in the vector index have no entry in the log": indexed - written,
        }
        found = [
            f"{len(names)} {what} (such as {min(names)}); run the reindex"
            for what, names in differences.items()
            if names
        ]
        return found + self.vectors.problems()

    def close(self) -> None:
        """Lets the batch at hand end; what is left waits for the next open."""
        self._closing.set()
        self._hurry.set()
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _pass(self) -> None:
        self._hurry.wait(GATHER_SECONDS)
        with self._lock:
            self._next = None
            self._hurry.clear()
        if not self._restored:
            self._copy(sorted(self._exact.ids() - self.vectors.ids()), None)
            self._warm()
            self._restored = True
        places = self._log.ids(after=self._done_to)
        self._embed(self._exact.missing([name for _, name in places]), None)
        if places and not self._closing.is_set():
            self._done_to = places[-1][0]

    def _rebuild(self, progress: Callable[[int, int], None] | None) -> None:
        self.vectors.clear()
        places = self._log.ids()
        ids = [name for _, name in places]
        missing = self._exact.missing(ids)
        lacking = set(missing)
        stored = [name for name in ids if name not in lacking]
        total = len(ids)
        self._copy(stored, progress and (lambda done: progress(done, total)))
        self._embed(missing, progress and (lambda done: progress(len(stored) + done, total)))
        if places and not self._closing.is_set():
            self._restored, self._done_to = True, places[-1][0]

    def _copy(self, ids: Sequence[str], progress: Callable[[int], None] | None) -> None:
        """Brings stored embeddings to Chroma."""
        for start in range(0, len(ids), COPY_BATCH):
            if self._closing.is_set():
                return
            part = ids[start : start + COPY_BATCH]
            self.vectors.upsert(part, self._exact.vectors(part))
            if progress:
                progress(start + len(part))

    def _embed(self, ids: Sequence[str], progress: Callable[[int], None] | None) -> None:
        """Embeds entries and brings them to both indexes."""
        for start in range(0, len(ids), EMBED_BATCH):
            if self._closing.is_set():
                return
            part = ids[start : start + EMBED_BATCH]
            vectors = self._embedder.embed(self._log.texts(part))
            self.vectors.upsert(part, vectors)
            self._exact.upsert(part, vectors)
            if progress:
                progress(start + len(part))


def _report(done: Future[None]) -> None:
    if not done.cancelled() and (error := done.exception()) is not None:
        _logger.error("the notebook's indexing stopped: %s; words are still found, meanings are not", error)
