"""The library's truth: papers and their passages in SQLite, each paper once whatever files it came in."""

from __future__ import annotations

import json
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from notebook_store.database import Database
from notebook_store.lexical import LexicalIndex
from papers.chunks import chunk
from papers.record import Extent, Page, Record, family_names, title_key

MIGRATIONS = (
    """
    CREATE TABLE papers (
        id TEXT PRIMARY KEY,
        title TEXT NOT NULL,
        title_key TEXT NOT NULL,    -- see record.title_key
        authors TEXT NOT NULL,      -- JSON list of names
        year INTEGER,
        doi TEXT UNIQUE,
        arxiv_id TEXT UNIQUE,
        url TEXT,
        extent INTEGER NOT NULL,    -- see record.Extent
        added_at REAL NOT NULL      -- Unix seconds
    );
    CREATE INDEX papers_by_title ON papers (title_key);
    CREATE TABLE chunks (
        seq INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        paper TEXT NOT NULL REFERENCES papers (id),
        ordinal INTEGER NOT NULL,   -- place within the paper, from 0
        page INTEGER,               -- 1-based; NULL where the source has no pages
        title TEXT NOT NULL,        -- the paper's: every passage is found by it too
        body TEXT NOT NULL
    );
    CREATE INDEX chunks_by_paper ON chunks (paper, ordinal);
    CREATE TABLE sources (
        sha256 TEXT PRIMARY KEY,    -- of a file read to its end without a refusal
        records INTEGER NOT NULL
    );
    """,
    """
    ALTER TABLE chunks ADD COLUMN section TEXT;  -- heading that it stands under; NULL where that cannot be told
    ALTER TABLE chunks ADD COLUMN keywords TEXT NOT NULL DEFAULT '';  -- the paper's authors and keywords
    UPDATE chunks SET keywords = coalesce(
        (SELECT group_concat(name.value, ', ') FROM papers, json_each(papers.authors) AS name
         WHERE papers.id = chunks.paper), '');
    DROP TABLE IF EXISTS chunks_fts;  -- it lacks the new column, and is made anew
    """,
    """
    ALTER TABLE papers ADD COLUMN is_note INTEGER NOT NULL DEFAULT 0;  -- 1: our own note on a paper, not the paper
    ALTER TABLE papers ADD COLUMN replaced_by TEXT;  -- of a note: the paper that came in its place
    """,
)
COLUMNS = {"title": 3.0, "body": 1.0, "keywords": 1.0}  # how much a word there weighs; docs/papers.md has the reasons


_SHARED_WORDS = 0.5  # share of words from which two texts are taken for one; two texts on one subject share less


class UnknownPaperError(LookupError):
    """No paper has this id; the message names the id and where ids are listed."""


class Outcome(StrEnum):
    """What became of one record."""

    NEW = "new"
    KNOWN = "known"  # the paper was there already
    COMPLETED = "completed"  # it was there with less text, and has more now


@dataclass(frozen=True, kw_only=True, slots=True)
class Added:
    """What became of one record, and which paper it is."""

    outcome: Outcome
    paper_id: str
    reason: str = ""  # by what it was known, or what it brought; empty for a new paper


@dataclass(frozen=True, kw_only=True, slots=True)
class Paper:
    """One paper of the library."""

    id: str  # the source's own id, else "arXiv:…", "doi:…" or "title:…"
    title: str
    authors: tuple[str, ...]  # "Given Family", in order
    year: int | None  # of publication
    doi: str | None  # lower case
    arxiv_id: str | None  # without version
    url: str | None
    extent: Extent  # how much of its text is here
    added_at: float  # Unix seconds


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredChunk:
    """One passage as stored."""

    id: str  # "<paper id>#<ordinal>"
    paper_id: str
    title: str  # the paper's
    page: int | None  # 1-based
    section: str | None  # heading that it stands under
    text: str  # verbatim but for white space
    keywords: str  # the paper's authors and keywords

    def weighted_texts(self) -> Iterator[tuple[str, float]]:
        """What it is found by, and how much a word there weighs."""
        yield from zip((self.title, self.text, self.keywords), COLUMNS.values(), strict=True)


def paper_of(chunk_id: str) -> str:
    """The id of the paper that a passage belongs to."""
    return chunk_id.rpartition("#")[0]


class Store:
    """Papers in, papers out. Every `add` is one transaction, so that a kill leaves whole batches only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.lexical = LexicalIndex(database, content="chunks", key="id", columns=COLUMNS)

    def add(self, records: Sequence[Record], *, are_notes: bool = False) -> list[Added]:
        """Adds them, in one transaction.

        Args:
            records: as a reader found them.
            are_notes: they are our own notes on papers. A note keeps its place until a source brings the paper with
                its text and an id; the note is then read under its old id, and found no more.
        """
        with self._database.write() as connection:
            return [self._add(connection, record, are_notes) for record in records]

    def replaced(self) -> set[str]:
        """The notes whose papers have come."""
        with self._database.read() as connection:
            return {row["id"] for row in connection.execute("SELECT id FROM papers WHERE replaced_by IS NOT NULL")}

    def _add(self, connection: sqlite3.Connection, record: Record, is_note: bool) -> Added:
        known, why = _find(connection, record)
        if known is not None and known["is_note"] and not is_note and record.source_id and record.extent > Extent.TITLE:
            return self._replace(connection, known, record)
        if known is None:
            paper_id = _free_id(connection, record)
            connection.execute(
                "INSERT INTO papers (id, title, title_key, authors, year, doi, arxiv_id, url, extent, added_at, "
                "is_note) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    paper_id,
                    record.title,
                    title_key(record.title),
                    json.dumps(record.authors, ensure_ascii=False),
                    record.year,
                    record.doi,
                    record.arxiv_id,
                    record.url,
                    record.extent,
                    time.time(),
                    is_note,
                ),
            )
            self._add_chunks(connection, paper_id, record.title, record)
            return Added(outcome=Outcome.NEW, paper_id=paper_id)
        _fill_gaps(connection, known, record)
        if record.extent <= known["extent"]:
            return Added(outcome=Outcome.KNOWN, paper_id=known["id"], reason=why)
        self._add_chunks(connection, known["id"], known["title"], record)
        connection.execute("UPDATE papers SET extent = ? WHERE id = ?", (record.extent, known["id"]))
        brought = "the full text" if record.extent is Extent.FULL_TEXT else "the abstract"
        return Added(outcome=Outcome.COMPLETED, paper_id=known["id"], reason=f"{why}; it brought {brought}")

    def _replace(self, connection: sqlite3.Connection, note: sqlite3.Row, record: Record) -> Added:
        """Puts a paper in the place of our note on it, with the ids that the note knew."""
        whole = replace(record, doi=record.doi or note["doi"], arxiv_id=record.arxiv_id or note["arxiv_id"])
        connection.execute(
            "UPDATE papers SET doi = NULL, arxiv_id = NULL, title_key = '', replaced_by = '' WHERE id = ?",
            (note["id"],),
        )
        added = self._add(connection, whole, False)
        connection.execute("UPDATE papers SET replaced_by = ? WHERE id = ?", (added.paper_id, note["id"]))
        return replace(added, reason=f"in the place of our note {note['id']}")

    def _add_chunks(self, connection: sqlite3.Connection, paper_id: str, title: str, record: Record) -> None:
        # A paper known by its title alone is still found by meaning: the title is its passage.
        pages = record.pages if record.extent > Extent.TITLE else (Page(number=None, text=title),)
        keywords = ", ".join(dict.fromkeys((*record.authors, *record.keywords)))
        (start,) = connection.execute("SELECT COUNT(*) FROM chunks WHERE paper = ?", (paper_id,)).fetchone()
        for ordinal, piece in enumerate(chunk(pages), start):
            seq = connection.execute(
                "INSERT INTO chunks (id, paper, ordinal, page, section, title, body, keywords) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (f"{paper_id}#{ordinal}", paper_id, ordinal, piece.page, piece.section, title, piece.text, keywords),
            ).lastrowid
            assert seq is not None
            self.lexical.add(connection, seq)

    def was_read(self, sha256: str) -> int | None:
        """How many records a file of this content held, if it was read whole before."""
        with self._database.read() as connection:
            row = connection.execute("SELECT records FROM sources WHERE sha256 = ?", (sha256,)).fetchone()
        return None if row is None else int(row["records"])

    def mark_read(self, sha256: str, records: int) -> None:
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO sources VALUES (?, ?)", (sha256, records))

    def papers(self, *, limit: int | None, offset: int) -> list[Paper]:
        with self._database.read() as connection:
            rows = connection.execute(
                "SELECT * FROM papers WHERE replaced_by IS NULL ORDER BY added_at DESC, rowid DESC LIMIT ? OFFSET ?",
                (-1 if limit is None else limit, offset),
            ).fetchall()
        return [_paper(row) for row in rows]

    def get(self, paper_id: str) -> Paper:
        """Raises UnknownPaperError."""
        with self._database.read() as connection:
            row = connection.execute("SELECT * FROM papers WHERE id = ?", (paper_id,)).fetchone()
        if row is None:
            raise UnknownPaperError(f"no paper has the id {paper_id!r}; `swarm papers list` shows all ids")
        return _paper(row)

    def chunks_of(self, paper_id: str) -> list[StoredChunk]:
        with self._database.read() as connection:
            rows = connection.execute("SELECT * FROM chunks WHERE paper = ? ORDER BY ordinal", (paper_id,))
            return [_chunk(row) for row in rows]

    def chunks(self, ids: Sequence[str]) -> dict[str, StoredChunk]:
        found: dict[str, StoredChunk] = {}
        with self._database.read() as connection:
            for start in range(0, len(ids), 500):  # below SQLite's limit on parameters
                some = ids[start : start + 500]
                marks = ",".join("?" * len(some))
                query = f"SELECT * FROM chunks WHERE id IN ({marks})"  # noqa: S608  # only question marks go in
                found.update((row["id"], _chunk(row)) for row in connection.execute(query, some))
        return found

    def chunk_ids(self) -> Iterator[str]:
        """All passages, every paper's first passage before any paper's second."""
        with self._database.read() as connection:
            rows = connection.execute("SELECT id FROM chunks ORDER BY ordinal, seq").fetchall()
        return (str(row["id"]) for row in rows)

    def count(self) -> tuple[int, int]:
        """Papers and passages."""
        with self._database.read() as connection:
            row = connection.execute(
                "SELECT (SELECT COUNT(*) FROM papers WHERE replaced_by IS NULL), (SELECT COUNT(*) FROM chunks)"
            ).fetchone()
        return int(row[0]), int(row[1])


def _find(connection: sqlite3.Connection, record: Record) -> tuple[sqlite3.Row | None, str]:
    """The stored paper that this record is, and by what it is known: by DOI, then arXiv id, then title."""
    for column, value, name in (("doi", record.doi, "DOI"), ("arxiv_id", record.arxiv_id, "arXiv id")):
        if value:
            query = f"SELECT * FROM papers WHERE {column} = ?"  # noqa: S608  # the column is one of two literals
            row: sqlite3.Row | None = connection.execute(query, (value,)).fetchone()
            if row is not None:
                return row, f"the same {name}"
    if key := title_key(record.title):
        for row in connection.execute("SELECT * FROM papers WHERE title_key = ?", (key,)).fetchall():
            if _same_work(connection, row, record):
                return row, "the same title"
    return None, ""


def _same_work(connection: sqlite3.Connection, row: sqlite3.Row, record: Record) -> bool:
    """Of two papers with one title: unless their ids, their authors or, lacking those, their texts speak against it."""
    for mine, other in ((row["doi"], record.doi), (row["arxiv_id"], record.arxiv_id)):
        if mine and other and mine != other:
            return False
    stored, offered = family_names(tuple(json.loads(row["authors"]))), family_names(record.authors)
    if stored and offered:
        return bool(stored & offered)
    if row["is_note"] or row["extent"] == Extent.TITLE or record.extent is Extent.TITLE:
        return True  # a note is in words of our own
    bodies = connection.execute("SELECT body FROM chunks WHERE paper = ? ORDER BY ordinal LIMIT 4", (row["id"],))
    return _overlap(" ".join(body for (body,) in bodies), " ".join(page.text for page in record.pages[:4]))


def _overlap(one: str, other: str) -> bool:
    """Whether most of the longer words of the shorter text are in the other: an abstract's are in its paper's text."""
    words, others = (set(re.findall(r"\w{5,}", text.casefold())) for text in (one, other))
    return len(words & others) >= _SHARED_WORDS * min(len(words), len(others))


def _free_id(connection: sqlite3.Connection, record: Record) -> str:
    """The source's own id, unless another paper has it: small corpora number theirs 1, 2, 3."""
    for candidate in (record.source_id, record.derived_id, f"{record.derived_id}:{record.source_id}"):
        if candidate and connection.execute("SELECT 1 FROM papers WHERE id = ?", (candidate,)).fetchone() is None:
            return candidate
    return f"{record.derived_id}:{time.time_ns()}"


def _fill_gaps(connection: sqlite3.Connection, known: sqlite3.Row, record: Record) -> None:
    authors = json.dumps(record.authors, ensure_ascii=False) if record.authors else None
    if known["authors"] == "[]" and authors:
        connection.execute("UPDATE papers SET authors = ? WHERE id = ?", (authors, known["id"]))
    for column in ("year", "doi", "arxiv_id", "url"):
        value = getattr(record, column)
        if known[column] is None and value is not None:
            # OR IGNORE: the id may belong to another paper of the library already.
            query = f"UPDATE OR IGNORE papers SET {column} = ? WHERE id = ?"  # noqa: S608  # four literals
            connection.execute(query, (value, known["id"]))


def _paper(row: sqlite3.Row) -> Paper:
    return Paper(
        id=row["id"],
        title=row["title"],
        authors=tuple(json.loads(row["authors"])),
        year=row["year"],
        doi=row["doi"],
        arxiv_id=row["arxiv_id"],
        url=row["url"],
        extent=Extent(row["extent"]),
        added_at=row["added_at"],
    )


def _chunk(row: sqlite3.Row) -> StoredChunk:
    return StoredChunk(
        id=row["id"],
        paper_id=row["paper"],
        title=row["title"],
        page=row["page"],
        section=row["section"],
        text=row["body"],
        keywords=row["keywords"],
    )
