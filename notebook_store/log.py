"""The truth: an append-only log of entries, their attachments and claims, in one SQLite file."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Literal, TypedDict, TypeVar, Unpack, get_args

from notebook_store.answers import Claim
from notebook_store.database import Database
from notebook_store.entry import JSON, Entry, Kind, Relation, digest
from notebook_store.errors import EntryConflict
from notebook_store.records import entry_of, insert

K = TypeVar("K")
T = TypeVar("T")

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
_COMPARED = 30  # newest hypotheses on a constant that one is compared with

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
        self._newest: dict[str, dict[str, dict[str, JSON]]] = {}  # constant -> its newest hypotheses, the newest last
        self._followed = 0  # place up to which these are known
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

    def changes(self, factors: Collection[str]) -> dict[str, dict[str, JSON]]:
        """Of the newest hypotheses on each of some constants, what they set: id -> data["changes"].

        Reads what is new since the last call, and of a constant that nobody asked for yet the newest only.
        """
        found: dict[str, dict[str, JSON]] = {}
        with self.database.read() as connection:
            self._follow_hypotheses(connection)
            for factor in factors:
                if factor not in self._newest:
                    _remember(self._newest, factor, self._newest_on(connection, factor))
                found |= self._newest[factor]
        return found

    def _follow_hypotheses(self, connection: sqlite3.Connection) -> None:
        """Takes up the hypotheses behind the last one known, on the constants that somebody asked for."""
        before, self._followed = self._followed, _last(connection)
        if not self._newest:
            return
        rows = connection.execute(
            # by place and not by kind, of which there are many
            "SELECT id, details FROM entries WHERE seq > ? AND seq <= ? AND +kind = ? ORDER BY seq",
            (before, self._followed, Kind.HYPOTHESIS.value),
        )
        for row in rows:
            more = json.loads(row["details"])
            for factor in more["factors"]:
                if (known := self._newest.get(factor)) is not None:
                    known |= _changes(row["id"], more["data"])
                    if len(known) > _COMPARED:
                        del known[next(iter(known))]

    def _newest_on(self, connection: sqlite3.Connection, factor: str) -> dict[str, dict[str, JSON]]:
        """What the newest hypotheses on a constant set, the newest last."""
        rows = connection.execute(
            "SELECT c.id, details FROM factors JOIN entries AS c USING (seq) "
            "WHERE factor = ? AND seq <= ? AND kind = ? ORDER BY factors.seq DESC LIMIT ?",
            (factor, self._followed, Kind.HYPOTHESIS.value, _COMPARED),
        ).fetchall()
        found: dict[str, dict[str, JSON]] = {}
        for row in reversed(rows):
            found |= _changes(row["id"], json.loads(row["details"])["data"])
        return found

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
            return _last(connection)

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


def _changes(name: str, data: dict[str, JSON]) -> dict[str, dict[str, JSON]]:
    """A hypothesis's id -> what it sets; nothing where its data say nothing of it."""
    changes = data.get("changes")
    return {name: changes} if isinstance(changes, dict) and changes else {}


def _last(connection: sqlite3.Connection) -> int:
    """The place of the newest entry; 0 when there is none."""
    return int(connection.execute("SELECT coalesce(max(seq), 0) FROM entries").fetchone()[0])


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
