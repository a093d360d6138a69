"""The truth: an append-only log of entries, their attachments and claims, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from itertools import islice
from pathlib import Path
from typing import Literal, TypedDict, TypeVar, Unpack, get_args

from notebook_store.answers import Claim
from notebook_store.database import Database
from notebook_store.entry import JSON, Entry, Kind, Relation, digest
from notebook_store.errors import EntryConflict
from notebook_store.records import entry_of, insert

K = TypeVar("K")
T = TypeVar("T")

_Newest = tuple[int, dict[str, dict[str, JSON]]]  # place of the last hypothesis; id -> what it sets, the newest first

FILE = "notebook.sqlite3"
MIGRATIONS = (
    """
    CREATE TABLE entries (
        seq INTEGER PRIMARY KEY AUTOINCREMENT,  -- order of appending; commits in this order
        id TEXT NOT NULL UNIQUE,
        digest TEXT NOT NULL,                   -- sha256 of all that the entry says
        kind TEXT NOT NULL,
        title TEXT NOT NULL,
        body TEXT NOT NULL,
        keywords TEXT NOT NULL,                 -- id, experiment, factors, author: for search by words
        author TEXT NOT NULL,
        session TEXT NOT NULL,
        task TEXT NOT NULL,
        experiment TEXT,
        outcome TEXT,
        created_at REAL NOT NULL,               -- unix seconds
        details TEXT NOT NULL                   -- JSON: factors, links, citations, data, attachments
    );
    CREATE INDEX entries_by_time ON entries (created_at, seq);
    CREATE INDEX entries_by_experiment ON entries (experiment);
    CREATE TABLE links (seq INTEGER NOT NULL, kind TEXT NOT NULL, target TEXT NOT NULL);
    CREATE INDEX links_by_target ON links (target);
    CREATE TABLE factors (factor TEXT NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (factor, seq)) WITHOUT ROWID;
    CREATE TABLE attachments (sha256 TEXT PRIMARY KEY, data BLOB NOT NULL);
    CREATE TABLE claims (key TEXT PRIMARY KEY, holder TEXT NOT NULL, claimed_at REAL NOT NULL) WITHOUT ROWID;
    """,
    """
    CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
    INSERT INTO facts VALUES ('notebook', lower(hex(randomblob(6))));  -- its name among other notebooks
    CREATE INDEX entries_by_session ON entries (session, created_at);
    CREATE INDEX factors_by_entry ON factors (seq);
    DROP TABLE IF EXISTS entries_fts
    """,
    """
    -- the newest of a kind, without a look at what was appended between them
    CREATE INDEX entries_by_kind ON entries (kind, created_at, seq);
    CREATE INDEX entries_of_session_by_kind ON entries (session, kind, created_at, seq)
    """,
)

_REMEMBERED = 2_000  # entries, and constants

Column = Literal["kind", "author", "session", "task", "outcome"]  # what entries are counted by


class Filters(TypedDict, total=False):
    """Conditions on entries; all that are given must hold."""

    kinds: Collection[Kind]
    author: str
    session: str
    task: str
    experiment: str
    factor: str  # one of the entry's factors
    outcome: str  # data["outcome"]
    since: float  # unix seconds, included
    until: float  # unix seconds, excluded


class Log:
    """Appends and reads entries; for many threads and processes at once."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._newest: dict[tuple[str, int], _Newest] = {}  # constant, how many -> the newest hypotheses on it
        self._entries: dict[int, Entry] = {}  # place -> entry

    @classmethod
    def open(cls, folder: Path, *, create: bool) -> Log:
        """Opens the log in `folder`.

        Raises:
            NewerSchema, LogBroken; NoNotebook when there is none and `create` is false.
        """
        return cls(Database.open(folder / FILE, MIGRATIONS, create=create))

    def append(self, connection: sqlite3.Connection, entry: Entry) -> int | None:
        """Writes the entry within a transaction; its place in the log, or None when the same was there.

        Raises:
            EntryConflict: another entry has the id.
        """
        name = digest(entry)
        known = connection.execute("SELECT digest FROM entries WHERE id = ?", (entry.id,)).fetchone()
        if known is not None:
            if known["digest"] != name:
                raise EntryConflict(
                    f"entry {entry.id} is already written with other content; "
                    "append the amendment under a new id with a supersedes link"
                )
            return None
        return insert(connection, entry, name)

    def claim(self, key: str, holder: str, *, at: float) -> Claim:
        """Claims `key` for `holder`, unless somebody came first; asking again as the holder is harmless.

        One statement, so that of several processes exactly one wins. A claim lasts for ever.
        """
        with self.database.statement() as connection:
            row = connection.execute(
                "INSERT INTO claims (key, holder, claimed_at) VALUES (?, ?, ?) "
                "ON CONFLICT (key) DO UPDATE SET holder = holder RETURNING holder, claimed_at",
                (key, holder, at),
            ).fetchone()
        return Claim(key=key, holder=row["holder"], claimed_at=float(row["claimed_at"]), won=row["holder"] == holder)

    def find(self, ids: Sequence[str]) -> dict[str, Entry]:
        """The entries with these ids, as far as there are such, in this order."""
        found: dict[str, Entry] = {}
        with self.database.read() as connection:
            for name in ids:
                row = connection.execute("SELECT * FROM entries WHERE id = ?", (name,)).fetchone()
                if row is not None:
                    found[name] = self._read(connection, row)
        return found

    def entries(self, *, limit: int | None = None, **filters: Unpack[Filters]) -> list[Entry]:
        """The newest entries first."""
        where, parameters = conditions(filters)
        sql = f"SELECT * FROM entries AS c WHERE {where} ORDER BY created_at DESC, seq DESC LIMIT ?"  # noqa: S608 - only ? inside
        with self.database.read() as connection:
            rows = connection.execute(sql, (*parameters, -1 if limit is None else limit)).fetchall()
            return [self._read(connection, row) for row in rows]

    def _read(self, connection: sqlite3.Connection, row: sqlite3.Row) -> Entry:
        """The entry of a row. Small ones are remembered: they never change, and the newest are asked for often."""
        found = self._entries.get(row["seq"])
        if found is None:
            found = entry_of(connection, row)
            if not found.attachments:
                _remember(self._entries, row["seq"], found)
        return found

    def changes(self, factor: str, limit: int) -> dict[str, dict[str, JSON]]:
        """Of the newest hypotheses on a constant, what each sets: id -> data["changes"], the newest first.

        Reads what is new since the last call, and nothing older than asked for.
        """
        sql = (
            "SELECT seq, c.id, json_extract(details, '$.data') AS data "
            "FROM factors JOIN entries AS c USING (seq) WHERE factor = ? AND seq > ? AND kind = ? "
            "ORDER BY factors.seq DESC LIMIT ?"
        )
        with self.database.read() as connection:
            last, known = self._newest.get((factor, limit), (0, {}))
            rows = connection.execute(sql, (factor, last, Kind.HYPOTHESIS.value, limit)).fetchall()
            if rows:
                fresh = {row["id"]: _changes(row["data"]) for row in rows}
                known = dict(islice((fresh | known).items(), limit))
                _remember(self._newest, (factor, limit), (rows[0]["seq"], known))
        return {name: changes for name, changes in known.items() if changes}

    def ids(self, *, after: int = 0) -> list[tuple[int, str]]:
        """(place in the log, id) of the entries behind place `after`, in the order of appending."""
        with self.database.read() as connection:
            rows = connection.execute("SELECT seq, id FROM entries WHERE seq > ? ORDER BY seq", (after,))
            return [(row["seq"], row["id"]) for row in rows]

    def count(self, **filters: Unpack[Filters]) -> int:
        """How many entries."""
        where, parameters = conditions(filters)
        with self.database.read() as connection:
            sql = f"SELECT count(*) FROM entries AS c WHERE {where}"  # noqa: S608 - only ? inside
            return int(connection.execute(sql, parameters).fetchone()[0])

    def tally(self, column: Column, **filters: Unpack[Filters]) -> dict[str, int]:
        """How many entries have each value of a column, most first; those that have none are left out."""
        if column not in get_args(Column):
            raise ValueError(column)  # it becomes part of the statement
        where, parameters = conditions(filters)
        with self.database.read() as connection:
            sql = (
                f"SELECT c.{column}, count(*) FROM entries AS c WHERE {where} AND c.{column} <> ''"  # noqa: S608 - a column's name
                f" GROUP BY c.{column} ORDER BY count(*) DESC, c.{column}"
            )
            rows = connection.execute(sql, parameters).fetchall()
        return {str(row[0]): int(row[1]) for row in rows}

    def texts(self, ids: Sequence[str]) -> list[str]:
        """Title and body of known entries, in the order of `ids`: what is embedded."""
        sql = "SELECT title, body FROM entries WHERE id = ?"
        with self.database.read() as connection:
            return ["\n".join(connection.execute(sql, (name,)).fetchone()) for name in ids]

    def last(self) -> int:
        """The place of the newest entry in the log; 0 when there is none."""
        with self.database.read() as connection:
            return int(connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0])

    def fact(self, name: str) -> str | None:
        """What is noted about the notebook itself under a name."""
        with self.database.read() as connection:
            row = connection.execute("SELECT value FROM facts WHERE name = ?", (name,)).fetchone()
        return None if row is None else str(row["value"])

    def note_fact(self, name: str, value: str) -> None:
        """Notes something about the notebook itself, in place of what was there."""
        with self.database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO facts VALUES (?, ?)", (name, value))

    def links_to(self, entry_id: str, **filters: Unpack[Filters]) -> list[tuple[Relation, Entry]]:
        """Which entries say what about this one, in the order of appending."""
        where, parameters = conditions(filters)
        sql = (
            "SELECT links.kind AS relation, c.* FROM links JOIN entries AS c USING (seq) "  # noqa: S608 - only ? inside
            f"WHERE links.target = ? AND {where} ORDER BY seq, links.rowid"
        )
        with self.database.read() as connection:
            rows = connection.execute(sql, (entry_id, *parameters)).fetchall()
            return [(Relation(row["relation"]), self._read(connection, row)) for row in rows]

    def problems(self) -> list[str]:
        """Checks the file, and that every entry and attachment says what it said when it was written."""
        try:
            with self.database.read() as connection:
                found = [f"the log is damaged: {row[0]}" for row in connection.execute("PRAGMA quick_check(5)")]
                if found != ["the log is damaged: ok"]:
                    return found
                seqs = [row["seq"] for row in connection.execute("SELECT seq FROM entries ORDER BY seq")]
        except sqlite3.DatabaseError as error:
            return [f"the log is damaged ({error}); restore it from a copy"]
        return [problem for seq in seqs for problem in self._changed(seq)]

    def _changed(self, seq: int) -> list[str]:
        with self.database.read() as connection:
            row = connection.execute("SELECT * FROM entries WHERE seq = ?", (seq,)).fetchone()
            try:
                same = digest(entry_of(connection, row)) == row["digest"]
            except (ValueError, LookupError):
                same = False
        return [] if same else [f"entry {row['id']} is not what was written; restore the log from a copy"]


def _remember(kept: dict[K, T], key: K, what: T) -> None:
    """Keep it, and forget all where there is too much."""
    if len(kept) >= _REMEMBERED:
        kept.clear()
    kept[key] = what


def _changes(data: str | None) -> dict[str, JSON]:
    """What a hypothesis sets, by its data as JSON; nothing where that says nothing of it."""
    changes = json.loads(data or "{}").get("changes")
    return changes if isinstance(changes, dict) else {}


def conditions(filters: Filters) -> tuple[str, list[object]]:
    """The filters as an SQL condition on entries under the name `c`, and its parameters."""
    parts = ["TRUE"]
    parameters: list[object] = []
    if (kinds := filters.get("kinds")) is not None:
        parts.append(f"c.kind IN ({', '.join('?' * len(kinds))})")
        parameters += [Kind(kind).value for kind in kinds]
    for column in ("author", "session", "task", "experiment", "outcome"):
        if column in filters:
            parts.append(f"c.{column} = ?")
            parameters.append(filters[column])
    if "factor" in filters:
        parts.append("c.seq IN (SELECT seq FROM factors WHERE factor = ?)")
        parameters.append(filters["factor"])
    if "since" in filters:
        parts.append("c.created_at >= ?")
        parameters.append(filters["since"])
    if "until" in filters:
        parts.append("c.created_at < ?")
        parameters.append(filters["until"])
    return " AND ".join(parts), parameters
