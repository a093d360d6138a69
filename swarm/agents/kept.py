"""Replies that were paid for, kept on disk: a run of a role that dies is run again and asks nothing twice.

One SQLite file a session. A reply is kept under its run's id and its number within the run; what a run came to is
kept too, until whoever asked for it has put it on record.
"""

import json
import sqlite3
import threading
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from swarm.ports import Answer, ToolCall, Usage

_TABLES = """
CREATE TABLE IF NOT EXISTS replies (run TEXT NOT NULL, number INTEGER NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY (run, number)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS results (run TEXT PRIMARY KEY, result TEXT NOT NULL,
    delivered INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS voices (author TEXT PRIMARY KEY, at REAL NOT NULL, doing TEXT NOT NULL,
    said TEXT NOT NULL) WITHOUT ROWID;
"""


@dataclass(frozen=True, kw_only=True)
class Voice:
    """What an author does or says, for whoever looks on."""

    author: str
    at: float  # unix seconds
    doing: str  # the node of the role's graph: "think", "use tools", ...; empty: nothing
    said: str  # the end of its answer so far, as the model words it: foreign text


class KeptReplies:
    """The replies of one session. Calls block for a millisecond or so; used from several threads."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, timeout=60, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=FULL")  # a reply is money
        self._db.executescript(_TABLES)

    def close(self) -> None:
        self._db.close()

    def reply(self, run: str, number: int) -> Answer | None:
        """The reply number ``number`` (from 0) of a run; None when it was not paid for yet."""
        with self._lock:
            row = self._db.execute("SELECT answer FROM replies WHERE run = ? AND number = ?", (run, number)).fetchone()
        return None if row is None else _read(json.loads(row[0]))

    def keep(self, run: str, number: int, answer: Answer) -> None:
        """Keep a reply; doing it again changes nothing."""
        with self._lock:
            self._db.execute(
                "INSERT OR IGNORE INTO replies VALUES (?, ?, ?)", (run, number, json.dumps(asdict(answer)))
            )

    def result(self, run: str) -> Any | None:
        """What a run came to, as JSON values; None while it has not."""
        with self._lock:
            row = self._db.execute("SELECT result FROM results WHERE run = ?", (run,)).fetchone()
        return None if row is None else json.loads(row[0])

    def conclude(self, run: str, result: Any) -> None:
        """Keep what a run came to."""
        with self._lock:
            self._db.execute("INSERT OR IGNORE INTO results (run, result) VALUES (?, ?)", (run, json.dumps(result)))

    def deliver(self, run: str) -> None:
        """Note that a run's result is on record where it belongs."""
        with self._lock:
            self._db.execute("UPDATE results SET delivered = 1 WHERE run = ?", (run,))

    def voice(self, author: str, at: float, doing: str, said: str) -> None:
        """Note what an author does now, and the end of what it says (``at`` in unix seconds)."""
        with self._lock:
            self._db.execute("INSERT OR REPLACE INTO voices VALUES (?, ?, ?, ?)", (author, at, doing, said))

    def delivered(self, prefix: str) -> int:
        """How many runs whose id is ``prefix`` and a number were delivered."""
        with self._lock:
            row = self._db.execute(
                "SELECT count(*) FROM results WHERE delivered AND substr(run, 1, ?) = ?", (len(prefix), prefix)
            ).fetchone()
        return int(row[0])


def voices_in(path: Path) -> list[Voice]:
    """What every author of the session whose replies are kept there did last, by name; none where nobody thinks."""
    if not path.exists():
        return []
    with closing(sqlite3.connect(path, timeout=60)) as db:
        if db.execute("SELECT 1 FROM sqlite_master WHERE name = 'voices'").fetchone() is None:
            return []  # it is being made
        rows = db.execute("SELECT author, at, doing, said FROM voices ORDER BY author").fetchall()
    return [Voice(author=author, at=at, doing=doing, said=said) for author, at, doing, said in rows]


def _read(kept: dict[str, Any]) -> Answer:
    calls = tuple(ToolCall(**call) for call in kept["calls"])
    return Answer(text=kept["text"], calls=calls, finish=kept["finish"], usage=Usage(**kept["usage"]))
