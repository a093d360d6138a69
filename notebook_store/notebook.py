"""The notebook: append, claim, search; the log is the truth and the indexes follow it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from notebook_store.chroma import ChromaFolder
from notebook_store.embed import Embedder
from notebook_store.entry import Entry, Relation
from notebook_store.errors import UnknownEntry
from notebook_store.index import VectorIndex, fuse
from notebook_store.indexer import Indexer
from notebook_store.lexical import LexicalIndex, Snippet
from notebook_store.log import Claim, Filters, Log, conditions

if TYPE_CHECKING:
    from notebook_store.exact import ExactIndex

CHROMA_FOLDER = "chroma"
COLLECTION = "entries"
COLUMNS = {"title": 3.0, "body": 1.0, "keywords": 1.0}  # weights in BM25
CANDIDATES = 100  # answers of each index that are fused, at least
SNIPPET_CHARACTERS = 240  # of an entry found by meaning alone


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """An entry that a search found."""

    entry: Entry
    score: float  # in [0, 1], comparable within one search
    snippet: Snippet  # a passage of the body, with the matched words


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a check found."""

    entries: int  # in the log
    embedded: int  # of them, with a stored embedding
    indexed: int | None  # vectors in the vector index; None when this process does not own it
    problems: tuple[str, ...]  # one line each
    skipped: tuple[str, ...]  # what could not be looked at from here, and why

    @property
    def clean(self) -> bool:
        """Whether all that was looked at is sound."""
        return not self.problems


class Notebook:
    """The shared research notebook, from one process: its owner, or any number of others beside it.

    The owner holds Chroma, and embeds in the background what anybody appends. The others read the same log and
    the same embeddings; they search meaning exactly instead of through Chroma. Thread-safe; calls block for
    milliseconds, `flush`, `reindex` and `check` for longer.
    """

    def __init__(self, log: Log, embedder: Embedder | None, chroma: ChromaFolder | None) -> None:
        self._log = log
        self._embedder = embedder
        self._chroma = chroma
        self._words = LexicalIndex(log.database, content="entries", columns=COLUMNS)
        self._exact: ExactIndex | None = None
        self._indexer: Indexer | None = None
        if embedder is not None:
            from notebook_store.exact import ExactIndex

            self._exact = ExactIndex(log.database, name="embeddings", embedder=embedder)
            if chroma is not None:
                vectors = chroma.collection(COLLECTION, embedder)
                self._indexer = Indexer(log=log, embedder=embedder, exact=self._exact, vectors=vectors)

    @classmethod
    def open(cls, folder: Path, *, embedder: Embedder, rebuild: bool = False) -> Self:
        """Opens or makes the notebook in `folder` as its one owner, and begins to index what is missing.

        Args:
            folder: the notebook's own.
            embedder: makes the vectors; it must be the one that the index was made with.
            rebuild: throw both indexes away first and make them anew from the log.

        Raises:
            FolderOwned, IndexBroken, EmbedderChanged, NewerSchema, LogBroken.
        """
        chroma = ChromaFolder.open(folder / CHROMA_FOLDER, rebuild=rebuild)
        try:
            log = Log.open(folder, create=True)
            try:
                notebook = cls(log, embedder, chroma)
            except BaseException:
                log.database.close()
                raise
        except BaseException:
            chroma.close()
            raise
        if rebuild:
            notebook._words.rebuild()
        notebook._follow()
        return notebook

    @classmethod
    def read(cls, folder: Path, *, embedder: Embedder | None = None) -> Self:
        """Opens the notebook in `folder` beside its owner, or without one; appending and claiming work too.

        Args:
            folder: the notebook's own.
            embedder: the owner's, to search by meaning; None searches by words alone.

        Raises:
            NoNotebook, NewerSchema, LogBroken.
        """
        log = Log.open(folder, create=False)
        try:
            return cls(log, embedder, None)
        except BaseException:
            log.database.close()
            raise

    def append(self, entry: Entry) -> bool:
        """Writes the entry; True when it is new, False when the very same was there.

        It is on disk and found by its words when this returns; its meaning is indexed in the background.

        Raises:
            EntryConflict: another entry has the id.
        """
        with self._log.database.write() as connection:
            seq = self._log.append(connection, entry)
            if seq is not None:
                self._words.add(connection, seq)
        if seq is not None:
            self._follow()
        return seq is not None

    def claim(self, key: str, holder: str, *, at: float) -> Claim:
        """Claims `key` for `holder` unless somebody came first, over all processes; `at` in unix seconds."""
        return self._log.claim(key, holder, at=at)

    def get(self, entry_id: str) -> Entry:
        """The entry; raises UnknownEntry."""
        entry = self._log.find([entry_id]).get(entry_id)
        if entry is None:
            raise UnknownEntry(f"the notebook has no entry {entry_id}; list the entries to see their ids")
        return entry

    def entries(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> list[Entry]:
        """Entries that pass the filters, newest first."""
        return self._log.entries(limit=limit, **filters)

    def recent(self, n: int = 10) -> list[Entry]:
        """The n newest entries, newest first."""
        return self._log.entries(limit=n)

    def count(self, **filters: Unpack[Filters]) -> int:
        """How many entries pass the filters."""
        return self._log.count(**filters)

    def links_to(self, entry_id: str) -> list[tuple[Relation, Entry]]:
        """The entries that link to this one, each with what it says of it, in the order of appending."""
        return self._log.links_to(entry_id)

    def search(self, query: str, k: int = 10, **filters: Unpack[Filters]) -> list[Hit]:
        """The k entries that fit best by words and by meaning, best first."""
        depth = max(CANDIDATES, 2 * k)
        where, parameters = conditions(filters)
        rankings = [self._words.query(query, depth, where=where, parameters=parameters)]
        if query.strip() and self._embedder is not None and self._exact is not None:
            vector = self._embedder.embed([query])[0]
            if filters:
                among = [name for _, name in self._log.ids(**filters)]
                rankings.append(self._exact.query(vector, depth, among=among))
            else:
                rankings.append(self._all_vectors(self._exact).query(vector, depth))
        best = fuse(rankings, k)
        ids = [match.id for match in best]
        entries, marked = self._log.find(ids), self._words.snippets(query, ids)
        return [
            Hit(entry=entry, score=match.score, snippet=marked.get(match.id) or _beginning(entry))
            for match in best
            if (entry := entries.get(match.id)) is not None
        ]

    def flush(self) -> None:
        """Waits until all that is in the log is embedded and indexed; raises what kept it from that.

        Beside the owner there is nothing to wait for.
        """
        if self._indexer is not None:
            self._indexer.flush()

    def reindex(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Makes the word index anew and, for the owner, the vector index; stored embeddings are used again.

        Args:
            progress: told (vectors done, vectors in all) now and then.
        """
        self._words.rebuild()
        if self._indexer is not None:
            self._indexer.rebuild(progress)

    def check(self) -> Report:
        """Compares the log with itself and both indexes with the log, after `flush`; takes seconds."""
        self.flush()
        problems = self._log.problems() + self._words.problems()
        entries, embedded, indexed = self._log.count(), 0, None
        skipped = []
        if self._exact is None:
            skipped.append("the embeddings: no embedder was given")
        else:
            problems += self._exact.problems()
            embedded = self._exact.count()
        if self._indexer is None:
            skipped.append("the vector index: only its owner can look")
        else:
            problems += self._indexer.problems()
            indexed = self._indexer.vectors.count()
        return Report(
            entries=entries,
            embedded=embedded,
            indexed=indexed,
            problems=tuple(problems),
            skipped=tuple(skipped),
        )

    def close(self) -> None:
        """Ends the indexing after the batch at hand and gives everything up; the rest is indexed at the next open."""
        if self._indexer is not None:
            self._indexer.close()
        if self._chroma is not None:
            self._chroma.close()
        self._log.database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _follow(self) -> None:
        if self._indexer is not None:
            self._indexer.wake()

    def _all_vectors(self, exact: ExactIndex) -> VectorIndex:
        """Chroma for its owner, who also picks up what other processes have appended; the stored vectors otherwise."""
        if self._indexer is None:
            return exact
        if self._indexer.behind():
            self._indexer.wake()
        return self._indexer.vectors


def _beginning(entry: Entry) -> Snippet:
    """The first words of the body."""
    text = " ".join(entry.body.split())
    return Snippet(text=text if len(text) <= SNIPPET_CHARACTERS else text[:SNIPPET_CHARACTERS].rstrip() + "…")
