"""The library of papers: add files to it, search it by words and by meaning, quote from it.

    with Library.open(folder, embedder=MiniLM()) as library:
        report = library.add([Path("~/papers").expanduser(), STARTER])
        for hit in library.search("learning rate warmup", k=5):
            print(hit.score, hit.title, hit.page, hit.snippet)

SQLite (`papers.sqlite3`) is the truth: papers, passages, and the passages' vectors, slow to compute. The word
index (FTS5, in the same file) and the vector index (Chroma, in `chroma/`) are rebuilt from it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, TextIO

from notebook_store.database import Database
from notebook_store.embed import Embedder
from notebook_store.exact import ExactIndex
from notebook_store.index import Match, VectorIndex, fuse
from notebook_store.rerank import DEPTH, rerank
from notebook_store.words import Snippet
from papers import formats
from papers.formats.sections import is_references
from papers.record import Record, Refusal
from papers.results import AddReport, Hit, Passage, Progress, Status, Step, Tally
from papers.store import MIGRATIONS, Paper, Store, StoredChunk, paper_of

if TYPE_CHECKING:
    from notebook_store.chroma import ChromaFolder

STARTER = Path(__file__).with_name("starter")  # our own notes on well-known papers: `library.add([STARTER])`

_BATCH_RECORDS = 256  # records in one transaction: many to be fast, few to lose little to a kill
_BATCH_CHARS = 4_000_000  # of text in one transaction
_BATCH_EMBED = 128  # passages embedded between two commits: some seconds; enough to batch like lengths
_SNIPPET_WORDS = 40  # as long as the word index's own snippets
_CANDIDATES = 500  # passages taken from each index before they are fused; fewer normalise less well


class Library:
    """A library in a folder. Methods may be called from several threads."""

    def __init__(self, database: Database, *, embedder: Embedder | None, chroma: ChromaFolder | None) -> None:
        self._database = database
        self._store = Store(database)
        self._embedder = embedder
        self._chroma = chroma
        self._vectors: ExactIndex | None = None
        self._index: VectorIndex | None = None
        self._synced = -1  # the newest vector that the index is known to have; see ExactIndex.newest
        if embedder is not None:
            self._vectors = ExactIndex(database, name="vectors", embedder=embedder)
            self._index = chroma.collection("papers", embedder) if chroma is not None else self._vectors
            self._sync()

    @classmethod
    def open(cls, folder: Path, *, embedder: Embedder | None, rebuild: bool = False) -> Self:
        """Opens, and where missing makes, the library in `folder`, and owns its vector index.

        Without an embedder it is searched by words alone. `rebuild` refills the vector index from SQLite.
        Raises notebook_store's FolderOwned where another process owns it (then `read` it), IndexBroken and
        EmbedderChanged where it must be rebuilt, NewerSchema where a newer version wrote it.
        """
        from notebook_store.chroma import ChromaFolder

        folder.mkdir(parents=True, exist_ok=True)
        chroma = None if embedder is None else ChromaFolder.open(folder / "chroma", rebuild=rebuild)
        try:
            database = Database.open(folder / "papers.sqlite3", MIGRATIONS)
            return cls(database, embedder=embedder, chroma=chroma)
        except BaseException:
            if chroma is not None:
                chroma.close()
            raise

    @classmethod
    def read(cls, folder: Path, *, embedder: Embedder | None = None) -> Self:
        """Opens a library that another process may own, to search or to add. Vectors are compared one by one."""
        folder.mkdir(parents=True, exist_ok=True)
        return cls(Database.open(folder / "papers.sqlite3", MIGRATIONS), embedder=embedder, chroma=None)

    def close(self) -> None:
        formats.close()
        if self._chroma is not None:
            self._chroma.close()
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # ------------------------------------------------------------------ adding

    def add(
        self,
        paths: Iterable[Path],
        *,
        progress: Progress | None = None,
        table: TextIO | None = None,
        embed: bool = True,
    ) -> AddReport:
        """Adds every paper in these files and folders, in constant memory.

        What was read is found by its words at once; the vectors come after, unless `embed` is False
        (then call `embed`). It may be killed anywhere and run again: nothing is lost, nothing is there twice.

        Args:
            progress: told now and then how far it is.
            table: gets a line for every record: what became of it, and why.
        """
        sizes = {found: _size(found) for found in formats.find(paths)}
        tally = Tally(bytes_in_all=sum(sizes.values()), progress=progress, table=table)
        for found, size in sizes.items():
            if isinstance(found, Refusal):
                tally.refuse(found)
            else:
                self._add_file(found, tally)
            tally.next_file(size)
        if embed:
            self.embed(progress=progress)
        return tally.report()

    def _add_file(self, path: Path, tally: Tally) -> None:
        digest = _sha256(path)
        records_before = self._store.was_read(digest) if digest else None
        if records_before is not None:
            tally.known_file(path, records_before)
            return
        refusals_before, records, are_notes = tally.refusals, 0, STARTER in path.parents
        batch: list[Record] = []
        chars = 0
        for item in formats.read(path, tally.gauge):
            if isinstance(item, Refusal):
                tally.refuse(item)
                continue
            batch.append(item)
            chars += sum(len(page.text) for page in item.pages)
            if len(batch) >= _BATCH_RECORDS or chars >= _BATCH_CHARS:
                tally.add(path, records + 1, self._store.add(batch, are_notes=are_notes))
                records += len(batch)
                batch, chars = [], 0
        tally.add(path, records + 1, self._store.add(batch, are_notes=are_notes))
        records += len(batch)
        if digest and tally.refusals == refusals_before:
            self._store.mark_read(digest, records)

    def embed(self, *, progress: Progress | None = None, at_most: int | None = None) -> int:
        """Computes vectors that are missing, every paper's first passage first; returns how many.

        Args:
            progress: told now and then how far it is.
            at_most: so many; None: all.
        """
        if self._vectors is None or self._embedder is None:
            return 0
        missing = self._vectors.missing(list(self._store.chunk_ids()))[:at_most]
        for start in range(0, len(missing), _BATCH_EMBED):
            ids = missing[start : start + _BATCH_EMBED]
            chunks = self._store.chunks(ids)
            vectors = self._embedder.embed([f"{chunks[key].title}. {chunks[key].text}" for key in ids])
            self._vectors.upsert(ids, vectors)  # committed here: only then may the index know it
            if self._index is not None and self._index is not self._vectors:
                self._index.upsert(ids, vectors)
            if progress is not None:
                done = start + len(ids)
                progress(Step(name="embedding", done=done, share=done / len(missing)))
        return len(missing)

    def _sync(self) -> None:
        """Brings vectors that the index lacks into it: from a kill, another process, or a rebuild."""
        if self._index is None or self._vectors is None or self._index is self._vectors:
            return
        if (newest := self._vectors.newest()) == self._synced:
            return
        if self._index.count() != self._vectors.count():
            if self._index.ids() - self._vectors.ids():  # left over from a database that is gone
                self._index.clear()
            lacking = sorted(self._vectors.ids() - self._index.ids())
            for start in range(0, len(lacking), 1000):
                ids = lacking[start : start + 1000]
                self._index.upsert(ids, self._vectors.vectors(ids))
        self._synced = newest

    # ------------------------------------------------------------------ finding

    def search(self, query: str, k: int = 10) -> list[Hit]:
        """The k papers nearest to the query, best first."""
        best: dict[str, Match] = {}  # paper id -> its best passage
        replaced = self._store.replaced()
        n = max(_CANDIDATES, 5 * k)
        while True:
            ranked = self._ranked(query, n)
            for match in ranked:
                if (paper := paper_of(match.id)) not in replaced:
                    best.setdefault(paper, match)
            if len(best) >= k or len(ranked) < n:
                break
            best, n = {}, 4 * n  # many passages of few papers: look further down
        matches = list(best.values())[:k]
        ids = [match.id for match in matches]
        chunks, snippets = self._store.chunks(ids), self._store.lexical.snippets(query, ids)
        hits = []
        for match in matches:
            chunk = chunks[match.id]
            snippet = snippets.get(match.id) or Snippet(text=_opening(chunk.text), spans=())
            hits.append(
                Hit(
                    id=chunk.paper_id,
                    title=chunk.title,
                    score=match.score,
                    year=self._store.get(chunk.paper_id).year,
                    snippet=snippet.text,
                    spans=snippet.spans,
                    page=chunk.page,
                    section=chunk.section,
                )
            )
        return hits

    def passages(self, query: str, k: int = 5) -> list[Passage]:
        """The k passages nearest to the query, best first, to be quoted verbatim; lists of references are none."""
        matches = self._ranked(query, max(_CANDIDATES, k))
        found: list[Passage] = []
        for match in matches:
            if len(found) == k:
                break
            chunk = self._store.chunks([match.id])[match.id]
            if is_references(chunk.section):
                continue
            paper = self._store.get(chunk.paper_id)
            found.append(
                Passage(
                    paper_id=paper.id,
                    title=paper.title,
                    authors=paper.authors,
                    year=paper.year,
                    page=chunk.page,
                    section=chunk.section,
                    text=chunk.text,
                    score=match.score,
                )
            )
        return found

    def nearest(self, query: str, k: int) -> list[Match]:
        """Ids of the k passages nearest in meaning alone, best first; none without an embedder."""
        if self._index is None or self._embedder is None:
            return []
        self._sync()
        return self._index.query(self._embedder.embed([query])[0], k)

    def _ranked(self, query: str, n: int) -> list[Match]:
        """Up to 2n passages by words and by meaning, best first; the first of them are looked at once more.

        Scores of both are normalised and added: this beat reciprocal ranks on abstracts (docs/papers.md).
        """
        if not query.strip():
            return []
        rankings: list[Sequence[Match]] = [self._store.lexical.query(query, n)]
        if self._embedder is not None:
            rankings.append(self.nearest(query, n))
        ranking = fuse(rankings, 2 * n)
        chunks = self._store.chunks([match.id for match in ranking[:DEPTH]])
        return rerank(query, ranking, {key: chunk.weighted_texts() for key, chunk in chunks.items()})

    # ------------------------------------------------------------------ looking

    def papers(self, *, limit: int | None = None, offset: int = 0) -> list[Paper]:
        """The papers, those added last first."""
        return self._store.papers(limit=limit, offset=offset)

    def get(self, paper_id: str) -> Paper:
        """Raises UnknownPaperError."""
        return self._store.get(paper_id)

    def text(self, paper_id: str) -> Iterator[StoredChunk]:
        """A paper's passages in reading order. Raises UnknownPaperError."""
        self._store.get(paper_id)
        yield from self._store.chunks_of(paper_id)

    def status(self) -> Status:
        papers, passages = self._store.count()
        embedded = 0 if self._vectors is None else self._vectors.count()
        return Status(papers=papers, passages=passages, embedded=embedded, by_meaning=self._embedder is not None)


def _opening(text: str) -> str:
    """What stands for a passage that was found by its meaning, without a word of the query."""
    words = text.split()
    return " ".join(words[:_SNIPPET_WORDS]) + ("…" if len(words) > _SNIPPET_WORDS else "")


def _size(found: Path | Refusal) -> int:
    """Bytes of a file that can be looked at; the reader reports the others."""
    try:
        return found.stat().st_size if isinstance(found, Path) else 0
    except OSError:
        return 0


def _sha256(path: Path) -> str | None:
    """Of the file's content; None where it cannot be read, which its reader will report."""
    try:
        if not path.is_file():
            return None
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None
