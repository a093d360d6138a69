"""BM25 over SQLite FTS5 with Porter stemming; the text itself stays in the table that it indexes."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from notebook_store.database import Database
from notebook_store.index import Match

MAX_WORDS = 64  # distinct words of a query that count; a whole page as a query stays fast
SNIPPET_WORDS = 40
OPEN, CLOSE = "\x02", "\x03"  # marks around matched words while a snippet travels out of SQLite
# Words that name nothing: leaving them out spares reading the longest posting lists.
STOP_WORDS = """
a an and are as at be been but by can do does for from had has have how i if in into is it its more no not of on or
our so than that the their them then there these they this those to was we were what when where which while who why
will with would you your
"""
_STOP_WORDS = frozenset(STOP_WORDS.split())


@dataclass(frozen=True, kw_only=True, slots=True)
class Snippet:
    """A passage of plain text (untrusted: escape it before showing it as HTML)."""

    text: str
    spans: tuple[tuple[int, int], ...] = ()  # matched words, as [start, end) in text, in order


class LexicalIndex:
    """A TextIndex over the rows of one table.

    Args:
        database: where the table lives; the index is kept beside it as `<content>_fts`.
        content: the table, with an INTEGER PRIMARY KEY `seq`, a unique text column `key` and the text columns.
        key: the column with a row's id.
        columns: text column -> its weight in BM25.

    The index is made, or filled anew, when it is missing or has lost rows. After changing or deleting rows of
    the table, call `rebuild`.
    """

    def __init__(self, database: Database, *, content: str, key: str = "id", columns: Mapping[str, float]) -> None:
        self._database = database
        self._content = content
        self._key = key
        self._columns = ", ".join(columns)
        self._weights = ", ".join(str(float(weight)) for weight in columns.values())
        self._fts = f"{content}_fts"
        self._create = (
            f"CREATE VIRTUAL TABLE IF NOT EXISTS {self._fts} USING fts5({self._columns}, content='{content}', "
            "content_rowid='seq', tokenize='porter unicode61 remove_diacritics 2')"
        )
        if not self._in_step():
            self.rebuild()

    def add(self, connection: sqlite3.Connection, seq: int) -> None:
        """Indexes row `seq` within the transaction that inserted it."""
        connection.execute(
            f"INSERT INTO {self._fts}(rowid, {self._columns}) "  # noqa: S608 - names come from the constructor
            f"SELECT seq, {self._columns} FROM {self._content} WHERE seq = ?",
            (seq,),
        )

    def query(self, text: str, k: int, *, where: str = "", parameters: Sequence[object] = ()) -> list[Match]:
        """The k best rows for any text, best first; the score is BM25 divided by the best row's, in (0, 1].

        Args:
            text: words; none of FTS5's operators has a meaning.
            k: how many at most.
            where: an SQL condition on the table, under the name `c`, with ? for `parameters`.
        """
        if not (words := match_expression(text)):
            return []
        sql = (
            f"SELECT c.{self._key} AS id, -bm25({self._fts}, {self._weights}) AS score "  # noqa: S608 - as above
            f"FROM {self._fts} JOIN {self._content} AS c ON c.seq = {self._fts}.rowid "
            f"WHERE {self._fts} MATCH ? {f'AND ({where})' if where else ''} ORDER BY score DESC, c.seq LIMIT ?"
        )
        with self._database.read() as connection:
            rows = connection.execute(sql, (words, *parameters, k)).fetchall()
        # FTS5 keeps inverse document frequencies, and so the best score, above zero.
        return [Match(id=row["id"], score=row["score"] / rows[0]["score"]) for row in rows]

    def snippets(self, text: str, ids: Sequence[str], *, column: int = 1) -> dict[str, Snippet]:
        """For each of `ids` that has a word of `text`, the passage of column number `column` with most of them."""
        if not (words := match_expression(text)):
            return {}
        sql = (
            f"SELECT c.{self._key} AS id, snippet({self._fts}, {column}, ?, ?, '…', {SNIPPET_WORDS}) AS passage "  # noqa: S608 - as above
            f"FROM {self._content} AS c CROSS JOIN {self._fts} ON {self._fts}.rowid = c.seq "
            f"WHERE c.{self._key} IN ({', '.join('?' * len(ids))}) AND {self._fts} MATCH ?"
        )
        with self._database.read() as connection:
            rows = connection.execute(sql, (OPEN, CLOSE, *ids, words)).fetchall()
        return {row["id"]: _marked(row["passage"]) for row in rows}

    def rebuild(self) -> None:
        """Makes the index anew from the table, whatever state it is in."""
        with self._database.write() as connection:
            connection.execute(f"DROP TABLE IF EXISTS {self._fts}")
            connection.execute(self._create)
            self._fill(connection)

    def count(self) -> int:
        """How many rows are indexed."""
        with self._database.read() as connection:
            return int(connection.execute(f"SELECT count(*) FROM {self._fts}_docsize").fetchone()[0])  # noqa: S608 - as above

    def problems(self) -> list[str]:
        """Compares every word of the index with the table."""
        try:
            if not self._in_step():
                return [f"the word index does not hold the rows of {self._content}; run the reindex"]
            with self._database.write() as connection:
                connection.execute(f"INSERT INTO {self._fts}({self._fts}, rank) VALUES('integrity-check', 1)")
        except sqlite3.DatabaseError as error:
            return [f"the word index of {self._content} is damaged ({error}); run the reindex"]
        return []

    def _fill(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"INSERT INTO {self._fts}({self._fts}) VALUES('rebuild')")

    def _in_step(self) -> bool:
        """Whether the index is there and has as many rows as the table, seen at one moment."""
        with self._database.read() as connection:
            if connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (self._fts,)).fetchone() is None:
                return False
            sql = f"SELECT (SELECT count(*) FROM {self._fts}_docsize) = (SELECT count(*) FROM {self._content})"  # noqa: S608 - as above
            return bool(connection.execute(sql).fetchone()[0])


def match_expression(text: str) -> str:
    """An FTS5 expression that matches any of the words of `text`; '' when it has none."""
    words = list(dict.fromkeys(re.findall(r"[^\W_]+", text.lower())))
    telling = [word for word in words if word not in _STOP_WORDS] or words
    return " OR ".join(f'"{word}"' for word in telling[:MAX_WORDS])


def _marked(passage: str) -> Snippet:
    """A snippet of a passage with marks in it."""
    text = ""
    spans: list[tuple[int, int]] = []
    for part in passage.split(OPEN):
        word, mark, rest = part.partition(CLOSE)
        if mark:
            spans.append((len(text), len(text) + len(word)))
        text += word + rest
    return Snippet(text=text, spans=tuple(spans))
