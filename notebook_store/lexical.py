"""Documents found by their words: BM25 over stemmed words, kept in SQLite beside the table that it indexes."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from notebook_store.database import Database
from notebook_store.index import Match, best_rows
from notebook_store.words import REVISION, Snippet, snippet, stems, telling_stems

if TYPE_CHECKING:
    from notebook_store.postings import Integers, Postings

MAX_WORDS = 64  # distinct words of a query that count; a whole page as a query stays fast
FILL_BATCH = 2000  # rows between two commits of a filling


class LexicalIndex:
    """The rows of one table, found by their words. Thread-safe.

    Args:
        database: where the table lives; the index is kept beside it as `<content>_words`.
        content: the table, with an INTEGER PRIMARY KEY `seq` that grows, a unique text column `key` and the text
            columns.
        key: the column with a row's id.
        columns: text column -> how much a word in it weighs.

    The words of a row are counted in the transaction that inserts it (`add`) and stored; the first query of a
    process reads all counts into memory, and every query what has been added since, by whichever process. What was
    inserted without `add` is counted at opening. After changing or deleting rows of the table, call `rebuild`.
    """

    def __init__(self, database: Database, *, content: str, key: str = "id", columns: Mapping[str, float]) -> None:
        self._database = database
        self._content = content
        self._key = key
        self._weights = dict(columns)
        self._columns = ", ".join(columns)
        self._table = f"{content}_words"
        self._revision = f"{REVISION} {self._weights}"
        self._lock = threading.Lock()
        self._postings: Postings | None = None
        self._prepare()

    def add(self, connection: sqlite3.Connection, seq: int) -> None:
        """Counts the words of row `seq`, within the transaction that inserted it."""
        sql = f"SELECT {self._columns} FROM {self._content} WHERE seq = ?"  # noqa: S608 - names come from the constructor
        self._store(connection, seq, connection.execute(sql, (seq,)).fetchone())

    def query(self, text: str, k: int, *, among: Integers | None = None) -> list[Match]:
        """The k best rows for any text, best first; the score is BM25 divided by the best row's, in (0, 1].

        Args:
            text: words; nothing in it is an operator.
            k: how many at most.
            among: the only rows that may be found, by `seq`; None: all.
        """
        import numpy as np

        postings = self._refreshed()
        words = telling_stems(text, MAX_WORDS)
        if not words or not len(postings.seqs):
            return []
        scores = postings.scores(words)
        rows = np.flatnonzero(scores)
        if among is not None:
            rows = rows[np.isin(postings.seqs, among, assume_unique=True, kind="table")[rows]]
        rows = rows[best_rows(scores[rows], k)]
        ids = self._ids([int(seq) for seq in postings.seqs[rows]])
        best = scores[rows[0]] if len(rows) else np.float32(1)
        return [
            Match(id=name, score=float(scores[row] / best))
            for row in rows
            if (name := ids.get(int(postings.seqs[row]))) is not None
        ]

    def snippets(self, text: str, ids: Sequence[str], *, column: str = "body") -> dict[str, Snippet]:
        """For each of `ids` that has a word of `text`, the passage of the column with most of them."""
        wanted = frozenset(telling_stems(text, MAX_WORDS))
        sql = f"SELECT {column} FROM {self._content} WHERE {self._key} = ?"  # noqa: S608 - as above
        with self._database.read() as connection:
            rows = [(name, connection.execute(sql, (name,)).fetchone()) for name in ids]
        found = {name: snippet(row[0], wanted) for name, row in rows if row is not None}
        return {name: passage for name, passage in found.items() if passage is not None}

    def rebuild(self) -> None:
        """Counts all words anew, whatever state the index is in."""
        with self._database.write() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {self._table}")
            connection.execute(f"DROP TABLE IF EXISTS {self._content}_fts")  # the index of an earlier version
        self._forget()
        self._prepare()

    def load(self) -> None:
        """Reads the counts into memory now, so that no query has to."""
        self._refreshed()

    def count(self) -> int:
        """How many rows are indexed."""
        with self._database.read() as connection:
            return int(connection.execute(f"SELECT count(*) FROM {self._table}").fetchone()[0])  # noqa: S608 - as above

    def problems(self) -> list[str]:
        """Counts every word again and compares; takes a second for some ten thousand rows."""
        sql = (
            f"SELECT {self._columns}, length, words FROM {self._content} AS c "  # noqa: S608 - as above
            f"LEFT JOIN {self._table} AS w ON w.seq = c.seq"
        )
        wrong = 0
        with self._database.read() as connection:
            for row in connection.execute(sql):
                wrong += (row["length"], row["words"]) != self._counted(row)
            (strange,) = connection.execute(
                f"SELECT count(*) FROM {self._table} WHERE seq NOT IN (SELECT seq FROM {self._content})"  # noqa: S608 - as above
            ).fetchone()
        if wrong + strange:
            return [f"the word index of {self._content} is wrong about {wrong + strange} rows; run the reindex"]
        return []

    def _prepare(self) -> None:
        """Makes the table, and counts what it lacks."""
        with self._database.write() as connection:
            connection.execute("CREATE TABLE IF NOT EXISTS word_indexes (name TEXT PRIMARY KEY, revision TEXT)")
            row = connection.execute("SELECT revision FROM word_indexes WHERE name = ?", (self._table,)).fetchone()
            if row is None or row["revision"] != self._revision:
                connection.execute(f"DROP TABLE IF EXISTS {self._table}")
                connection.execute("INSERT OR REPLACE INTO word_indexes VALUES (?, ?)", (self._table, self._revision))
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self._table} "
                "(seq INTEGER PRIMARY KEY, length INTEGER NOT NULL, words BLOB NOT NULL)"
            )
        while self._fill():
            pass

    def _fill(self) -> bool:
        """Counts some of the rows behind the last one that was counted; whether there were any."""
        sql = (
            f"SELECT seq, {self._columns} FROM {self._content} "  # noqa: S608 - as above
            f"WHERE seq > (SELECT coalesce(max(seq), 0) FROM {self._table}) ORDER BY seq LIMIT {FILL_BATCH}"
        )
        with self._database.read() as connection:
            if connection.execute(sql).fetchone() is None:
                return False
        with self._database.write() as connection:
            for row in connection.execute(sql).fetchall():
                self._store(connection, row["seq"], row)
        return True

    def _store(self, connection: sqlite3.Connection, seq: int, row: sqlite3.Row) -> None:
        connection.execute(f"INSERT INTO {self._table} VALUES (?, ?, ?)", (seq, *self._counted(row)))  # noqa: S608 - as above

    def _counted(self, row: sqlite3.Row) -> tuple[int, bytes]:
        """A row's length in words, and its POSTINGs."""
        import numpy as np

        from notebook_store.postings import MOST, POSTING

        counts: dict[int, float] = {}
        length = 0
        for column, weight in self._weights.items():
            words = stems(row[column])
            length += len(words)
            for word, often in Counter(words).items():
                counts[word] = counts.get(word, 0.0) + weight * often
        found = np.empty(len(counts), dtype=POSTING)
        found["word"] = list(counts)
        found["count"] = np.minimum(list(counts.values()), MOST)
        return length, found.tobytes()

    def _refreshed(self) -> Postings:
        """All rows, with those that were added since the last query."""
        from notebook_store.postings import Postings

        with self._lock:
            postings = self._postings or Postings()
            last = int(postings.seqs[-1]) if len(postings.seqs) else 0
            with self._database.read() as connection:
                sql = f"SELECT seq, length, words FROM {self._table} WHERE seq > ? ORDER BY seq"  # noqa: S608 - as above
                fresh = [tuple(row) for row in connection.execute(sql, (last,))]
            if fresh:
                postings = postings.grown(*zip(*fresh, strict=True))
            self._postings = postings
            return postings

    def _ids(self, seqs: Sequence[int]) -> dict[int, str]:
        sql = f"SELECT {self._key} FROM {self._content} WHERE seq = ?"  # noqa: S608 - as above
        with self._database.read() as connection:
            rows = [(seq, connection.execute(sql, (seq,)).fetchone()) for seq in seqs]
        return {seq: row[0] for seq, row in rows if row is not None}

    def _forget(self) -> None:
        with self._lock:
            self._postings = None
