"""Append-only events of experiments in SQLite: the truth of a session. State is replay (see state.py)."""

import json
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from swarm.errors import DiskFull, HomeTooNew, SwarmError
from swarm.research.experiment import Json

SCHEMA = 1  # raised when a table changes; an older program refuses a newer file
_TOGETHER = 500  # events that are parsed at once
BUSY_SECONDS = 300.0  # how long a statement waits for another process
_CHECKPOINT_PAGES = 8000  # 32 MB of journal between checkpoints: each waits for the disk

_TABLES = """
CREATE TABLE IF NOT EXISTS events (
    seq        INTEGER PRIMARY KEY AUTOINCREMENT,
    session    TEXT NOT NULL,
    at         REAL NOT NULL,
    kind       TEXT NOT NULL,
    key        TEXT NOT NULL,
    experiment TEXT,
    data       TEXT NOT NULL,
    UNIQUE (session, kind, key)
);
CREATE INDEX IF NOT EXISTS events_of_session ON events (session, seq);
CREATE TABLE IF NOT EXISTS pulses (session TEXT NOT NULL, run INTEGER NOT NULL, at REAL NOT NULL,
    phase TEXT NOT NULL, PRIMARY KEY (session, run)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS wishes (seq INTEGER PRIMARY KEY AUTOINCREMENT, session TEXT NOT NULL,
    wish TEXT NOT NULL, at REAL NOT NULL);
"""


class Kind(StrEnum):
    """What an event tells."""

    SESSION_OPENED = "session-opened"
    RUN_STARTED = "run-started"  # a process began to work on the session
    RUN_ENDED = "run-ended"  # that process stopped in good order
    PROPOSED = "proposed"
    MOVED = "moved"
    TRIAL_STARTED = "trial-started"
    TRIAL_ENDED = "trial-ended"
    WAVE_OPENED = "wave-opened"
    WAVE_ANALYSED = "wave-analysed"
    MODEL_ASKED = "model-asked"  # an answer was paid for; data: author, model, tokens, dollars
    REVIEWED = "reviewed"  # a reviewer that thinks has judged; key: the experiment
    WAVE_REFLECTED = "wave-reflected"  # those who think have looked at an analysed wave
    PLATEAU = "plateau"  # no gain was confirmed for long; key: counts them; data: level, experiments
    TOLD = "told"  # what a person should know of a specialist; data: author, line
    ABLATED = "ablated"  # what each kept change of an incumbent is worth; key: the incumbent
    SESSION_ENDED = "session-ended"


@dataclass(frozen=True, kw_only=True)
class Event:
    """One line of the ledger."""

    seq: int  # grows over the whole home
    session: str
    at: float  # unix seconds
    kind: Kind
    key: str  # unique within (session, kind): the same step taken twice leaves one event
    experiment: str | None
    data: Json


class Ledger:
    """The events of all sessions of a home. Safe for one writer a session and any number of readers."""

    def __init__(self, path: Path) -> None:
        """Open or make the file. Raises HomeTooNew when a newer version wrote it."""
        self._lock = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA:
            self._db.close()
            raise HomeTooNew(
                f"{path} was written by a newer version (schema {version}, this one knows {SCHEMA}); "
                "upgrade nightswarm or use another --home"
            )
        self._db.execute("PRAGMA synchronous=NORMAL")  # both are of this connection; the mode is the file's
        self._db.execute(f"PRAGMA wal_autocheckpoint={_CHECKPOINT_PAGES}")
        if version == SCHEMA:
            return
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.executescript(_TABLES)
        self._db.execute(f"PRAGMA user_version={SCHEMA}")

    def close(self) -> None:
        self._db.close()

    def append(
        self, session: str, kind: Kind, key: str, *, at: float, data: Json, experiment: str | None = None
    ) -> Event | None:
        """Write one event; None when (session, kind, key) is already there. Raises DiskFull, SwarmError."""
        with self._lock:
            try:
                row = self._db.execute(
                    "INSERT OR IGNORE INTO events (session, at, kind, key, experiment, data)"
                    " VALUES (?, ?, ?, ?, ?, ?) RETURNING seq",
                    (session, at, kind, key, experiment, json.dumps(data, sort_keys=True)),
                ).fetchone()
            except sqlite3.OperationalError as error:
                raise _told(error) from error
        if row is None:
            return None
        return Event(seq=row[0], session=session, at=at, kind=kind, key=key, experiment=experiment, data=data)

    def events(self, session: str, after: int = 0, experiment: str | None = None) -> Iterator[Event]:
        """Events of a session, or of one experiment in it, with seq > ``after``, oldest first."""
        with self._lock:
            rows = self._db.execute(
                "SELECT seq, session, at, kind, key, experiment, data FROM events"
                " WHERE session = ? AND seq > ? AND (? IS NULL OR experiment = ?) ORDER BY seq",
                (session, after, experiment, experiment),
            ).fetchall()
        for start in range(0, len(rows), _TOGETHER):
            some = rows[start : start + _TOGETHER]
            told = json.loads(f"[{','.join(row[-1] for row in some)}]")  # one call for many is three times as fast
            for (seq, name, at, kind, key, about, _), data in zip(some, told, strict=True):
                yield Event(seq=seq, session=name, at=at, kind=Kind(kind), key=key, experiment=about, data=data)

    def sessions(self) -> list[str]:
        """Names of all sessions, in the order they were opened."""
        with self._lock:
            rows = self._db.execute(
                "SELECT session FROM events WHERE kind = ? ORDER BY seq", (Kind.SESSION_OPENED,)
            ).fetchall()
        return [row[0] for row in rows]

    def experiments(self, session: str) -> list[str]:
        """Ids of a session's experiments, in the order they were proposed."""
        with self._lock:
            rows = self._db.execute(
                "SELECT experiment FROM events WHERE session = ? AND kind = ? ORDER BY seq", (session, Kind.PROPOSED)
            ).fetchall()
        return [row[0] for row in rows]

    def pulse(self, session: str, run: int, at: float, phase: str) -> None:
        """Note that run number ``run`` of the session was alive at ``at`` (unix seconds) and what it was doing."""
        with self._lock:
            try:
                self._db.execute("INSERT OR REPLACE INTO pulses VALUES (?, ?, ?, ?)", (session, run, at, phase))
            except sqlite3.OperationalError as error:
                raise _told(error) from error

    def pulses(self, session: str) -> dict[int, float]:
        """Run number -> unix seconds it was last alive."""
        with self._lock:
            return dict(self._db.execute("SELECT run, at FROM pulses WHERE session = ?", (session,)).fetchall())

    def phase(self, session: str) -> str:
        """What the session's newest run said it was doing at its last pulse; empty before any."""
        with self._lock:
            row = self._db.execute(
                "SELECT phase FROM pulses WHERE session = ? ORDER BY run DESC LIMIT 1", (session,)
            ).fetchone()
        return "" if row is None else str(row[0])

    def wish(self, session: str, wish: str, at: float) -> None:
        """Leave a wish (stop, stop-now, pause, resume) for the process that works on the session."""
        with self._lock:
            self._db.execute("INSERT INTO wishes (session, wish, at) VALUES (?, ?, ?)", (session, wish, at))

    def wishes(self, session: str, after: int) -> list[tuple[int, str]]:
        """Wishes with seq > ``after``, oldest first."""
        with self._lock:
            return self._db.execute(
                "SELECT seq, wish FROM wishes WHERE session = ? AND seq > ? ORDER BY seq", (session, after)
            ).fetchall()

    def last_wish(self) -> int:
        """The seq of the newest wish: a run heeds only later ones."""
        with self._lock:
            return int(self._db.execute("SELECT coalesce(max(seq), 0) FROM wishes").fetchone()[0])


def _told(error: sqlite3.OperationalError) -> SwarmError:
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return DiskFull("the disk is full; free some space and start the session again: nothing is lost")
    return SwarmError(
        f"the ledger cannot be written ({error}); see that its disk is writable and no other program holds the file, "
        "then start the session again: nothing is lost"
    )
