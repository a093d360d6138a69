"""The notebook in a folder of this machine: the log is the truth and the indexes follow it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Self, Unpack

from notebook_store import trails
from notebook_store.answers import Claim, Hit, Idea, Near, Report, Tried
from notebook_store.chroma import ChromaFolder
from notebook_store.embed import Embedder, Vectors
from notebook_store.entry import Entry, Kind, Relation
from notebook_store.errors import EmbedderDown, FolderOwned, IndexBroken, UnknownEntry
from notebook_store.index import Match, fuse
from notebook_store.indexer import Indexer
from notebook_store.lexical import LexicalIndex
from notebook_store.log import Column, Filters, Log
from notebook_store.notebook import Notebook
from notebook_store.roster import Passing, Roster
from notebook_store.server import served_at
from notebook_store.setup import FACT as SETUP_FACT
from notebook_store.setup import Setup
from notebook_store.words import Snippet

if TYPE_CHECKING:
    from notebook_store.exact import ExactIndex

CHROMA_FOLDER = "chroma"
COLLECTION = "entries"
COLUMNS = {"title": 3.0, "body": 1.0, "keywords": 1.0}  # weights in BM25
CANDIDATES = 100  # answers of each index that are fused, at least
FEW = 2000  # entries passing a filter up to which meaning is searched among them alone, exactly
WIDEST = 2000  # neighbours asked for at once before a filter is applied
STREAMED = 200  # entries held at once while all are read
SNIPPET_CHARACTERS = 240  # of an entry found by meaning alone


class LocalNotebook(Notebook):
    """See `Notebook.open` and `Notebook.read`."""

    def __init__(
        self, log: Log, embedder: Embedder | None, chroma: ChromaFolder | None, *, collection: str = COLLECTION
    ) -> None:
        self._log = log
        self._embedder = embedder
        self._chroma = chroma
        self._words = LexicalIndex(log.database, content="entries", columns=COLUMNS)
        self._roster = Roster(log.database)
        self._exact: ExactIndex | None = None
        self._indexer: Indexer | None = None
        self._fault: str | None = None  # why the last search did without meaning
        self._slow: str | None = None  # why it did without the vector index
        if embedder is not None:
            from notebook_store.exact import ExactIndex

            self._exact = ExactIndex(log.database, name="embeddings", embedder=embedder)
            if chroma is not None:
                vectors = chroma.collection(collection, embedder)
                self._indexer = Indexer(log=log, embedder=embedder, exact=self._exact, vectors=vectors, warm=self._warm)

    @classmethod
    def owned(cls, folder: Path, *, embedder: Embedder, rebuild: bool, chroma_url: str | None) -> Self:
        """See `Notebook.open`."""
        try:
            chroma = ChromaFolder.open(folder / CHROMA_FOLDER, rebuild=rebuild, server=chroma_url)
        except FolderOwned as error:
            url = served_at(folder)
            remedy = f"reach it with --url {url}" if url else "stop it, or read the notebook beside it"
            raise FolderOwned(f"{error}; {remedy}", error.pid) from None
        try:
            log = Log.open(folder, create=True)
            try:
                # Several notebooks may share a server.
                name = COLLECTION if chroma_url is None else f"{COLLECTION}-{log.fact('notebook')}"
                if rebuild:
                    chroma.forget(name)
                notebook = cls(log, embedder, chroma, collection=name)
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
    def beside(cls, folder: Path, *, embedder: Embedder | None) -> Self:
        """See `Notebook.read`."""
        log = Log.open(folder, create=False)
        try:
            return cls(log, embedder, None)
        except BaseException:
            log.database.close()
            raise

    # ---- writing ---------------------------------------------------------------------------------------------

    def extend(self, entries: Sequence[Entry]) -> list[bool]:
        with self._log.database.write() as connection:
            places = [self._log.append(connection, entry) for entry in entries]
            for seq in places:
                if seq is not None:
                    self._words.add(connection, seq)
        new = [seq is not None for seq in places]
        if any(new):
            self._follow()
        return new

    def claim(self, key: str, holder: str, *, at: float) -> Claim:
        return self._log.claim(key, holder, at=at)

    # ---- reading ---------------------------------------------------------------------------------------------

    def get(self, entry_id: str) -> Entry:
        entry = self._log.find([entry_id]).get(entry_id)
        if entry is None:
            raise UnknownEntry(f"the notebook has no entry {entry_id}; list the entries to see their ids")
        return entry

    def entries(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> list[Entry]:
        return self._log.entries(limit=limit, **filters)

    def keep_setup(self, setup: Setup) -> None:
        """Notes with what the index is made, for whoever opens the notebook next."""
        self._log.note_fact(SETUP_FACT, setup.kept())

    def stream(self, **filters: Unpack[Filters]) -> Iterator[Entry]:
        ids = self._roster.passing(**filters).ids()
        for start in range(0, len(ids), STREAMED):
            yield from self._log.find(ids[start : start + STREAMED]).values()

    def count(self, **filters: Unpack[Filters]) -> int:
        return self._log.count(**filters)

    def tally(self, column: Column, **filters: Unpack[Filters]) -> dict[str, int]:
        return self._log.tally(column, **filters)

    def links_to(self, entry_id: str) -> list[tuple[Relation, Entry]]:
        return self._log.links_to(entry_id)

    def tried(self, entry_id: str) -> list[Tried]:
        return trails.tried(self._log, self.get(entry_id))

    def grounds(self, entry_id: str) -> list[tuple[Relation, Entry]]:
        return trails.grounds(self._log, self.get(entry_id))

    # ---- finding ---------------------------------------------------------------------------------------------

    def search(self, query: str, k: int = 10, **filters: Unpack[Filters]) -> list[Hit]:
        return self._found(query, self._vector(query), k, filters)

    def like(self, entry_id: str, k: int = 10, **filters: Unpack[Filters]) -> list[Hit]:
        entry = self.get(entry_id)
        text = f"{entry.title}\n{entry.body}"
        known = self._exact is not None and not self._exact.missing([entry_id])
        vector = self._exact.vectors([entry_id])[0] if self._exact and known else self._vector(text)
        # Where meaning tells, a whole page of words would only cost time.
        hits = self._found(entry.title if vector is not None else text, vector, k + 1, filters)
        return [hit for hit in hits if hit.entry.id != entry_id][:k]

    def near(self, idea: Idea, k: int = 3) -> list[Near]:
        vector = self._vector(idea.text)
        matches = []
        if vector is not None:
            matches = self._nearest(vector, CANDIDATES, self._roster.passing(kinds=[Kind.HYPOTHESIS]))
        return trails.near(self._log, idea, matches, k)

    def identity(self) -> str:
        return self._log.fact("notebook") or ""

    def notices(self) -> list[str]:
        found = []
        if self._fault is not None:
            found.append(f"meaning was not searched, words alone: {self._fault}")
        if self._exact is not None:
            lacking = self._log.count() - self._exact.count()
            if lacking > 0:
                found.append(f"{lacking} entries are not embedded with this model yet; they are found by words alone")
        if self._slow is not None:
            found.append(f"meanings are compared one by one: {self._slow}")
        return found

    # ---- keeping the indexes ---------------------------------------------------------------------------------

    def flush(self) -> None:
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
        if self._indexer is not None:
            self._indexer.close()
        if self._chroma is not None:
            self._chroma.close()
        self._log.database.close()

    def _warm(self) -> None:
        """Reads into memory what searches need, so that the first one does not have to."""
        self._words.load()
        self._roster.load()
        if self._exact is not None:
            self._exact.load()

    def _follow(self) -> None:
        if self._indexer is not None:
            self._indexer.wake()

    # ---- the steps of a search -------------------------------------------------------------------------------

    def _vector(self, text: str) -> Vectors | None:
        """The meaning of a text; None where there is none to search by, or nobody to tell it."""
        if self._embedder is None or not text.strip():
            return None
        try:
            vector: Vectors = self._embedder.embed([text])[0]
        except EmbedderDown as error:
            self._fault = str(error)
            return None
        self._fault = None
        return vector

    def _found(self, query: str, vector: Vectors | None, k: int, filters: Filters) -> list[Hit]:
        depth = max(CANDIDATES, 2 * k)
        passing = self._roster.passing(**filters) if filters else None
        rankings = [self._words.query(query, depth, among=None if passing is None else passing.seqs)]
        if vector is not None:
            rankings.append(self._nearest(vector, depth, passing))
        best = fuse(rankings, k)
        ids = [match.id for match in best]
        entries, marked = self._log.find(ids), self._words.snippets(query, ids)
        return [
            Hit(entry=entry, score=match.score, snippet=marked.get(match.id) or _beginning(entry))
            for match in best
            if (entry := entries.get(match.id)) is not None
        ]

    def _nearest(self, vector: Vectors, depth: int, passing: Passing | None) -> list[Match]:
        """The entries nearest in meaning, of those that pass."""
        assert self._exact is not None
        if passing is None:
            return self._all_nearest(self._exact, vector, depth)
        if len(passing.seqs) > FEW:
            wide = self._all_nearest(self._exact, vector, min(WIDEST, int(2 * depth / passing.share)))
            found = [match for match in wide if match.id in passing]
            if len(found) >= depth // 2:
                return found[:depth]
        return self._exact.query(vector, depth, among=passing.ids())

    def _all_nearest(self, exact: ExactIndex, vector: Vectors, k: int) -> list[Match]:
        """By Chroma for its owner, who also picks up what others have appended; by the stored vectors otherwise."""
        if self._indexer is None:
            return exact.query(vector, k)
        if self._indexer.behind():
            self._indexer.wake()
        try:
            found = self._indexer.vectors.query(vector, k)
        except IndexBroken as error:
            self._slow = str(error)
            return exact.query(vector, k)
        self._slow = None
        return found


def _beginning(entry: Entry) -> Snippet:
    """The first words of the body."""
    text = " ".join(entry.body.split())
    return Snippet(text=text if len(text) <= SNIPPET_CHARACTERS else text[:SNIPPET_CHARACTERS].rstrip() + "…")
