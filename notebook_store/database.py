"""One SQLite file for many threads and many processes: WAL, short transactions, a schema version."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from filelock import FileLock

from notebook_store.errors import LogBroken, NewerSchema, NoNotebook, NoSpace, Unwritable

BUSY_SECONDS = 300.0  # how long a statement waits for another process's transaction
CHECKPOINT_PAGES = 8000  # 32 MB of journal between checkpoints: each waits for the disk


class Database:
    """Two connections to one file, one to write and one to read, each shared by all threads under a lock.

    In WAL mode readers never wait for the writer, and the writers of several processes take turns.
    A commit survives the death of the process at once; a power cut can take the last moments, and never more
    (synchronous=NORMAL: the disk is waited for at checkpoints only, not at each commit).
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = _connect(path)
        self._reader = _connect(path)
        self._write_lock = threading.RLock()
        self._read_lock = threading.RLock()

    @classmethod
    def open(cls, path: Path, migrations: Sequence[str], *, create: bool = True) -> Self:
        """Opens the file and brings it to version len(migrations).

        Args:
            path: the file; its folder is made when missing.
            migrations: script i brings version i to i + 1 (kept in `PRAGMA user_version`).
            create: make the file when there is none; otherwise raise NoNotebook.

        Raises:
            NewerSchema, NoNotebook, LogBroken, NoSpace, Unwritable.
        """
        if not create and not path.is_file():
            raise NoNotebook(
                f"there is no {path.name} in {path.parent}; start a session there first, or check the path"
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            # The switch to WAL and the first script need the file alone; two processes may start at once.
            with FileLock(path.with_name(path.name + ".setup-lock")), _faults_told(path):
                database = cls(path)
                try:
                    database._migrate(migrations)
                except BaseException:
                    database.close()
                    raise
        except sqlite3.DatabaseError as error:
            if isinstance(error, sqlite3.OperationalError):
                raise
            raise LogBroken(f"{path} is damaged or is no notebook ({error}); restore it from a copy") from error
        return database

    def _migrate(self, migrations: Sequence[str]) -> None:
        if self._writer.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            self._writer.execute("PRAGMA journal_mode = WAL")
        (version,) = self._writer.execute("PRAGMA user_version").fetchone()
        if version > len(migrations):
            raise NewerSchema(
                f"{self.path} has schema version {version}, this program knows up to {len(migrations)}; "
                "update the program, or use another folder"
            )
        for number in range(version, len(migrations)):
            self._writer.executescript(
                f"BEGIN IMMEDIATE;\n{migrations[number]};\nPRAGMA user_version = {number + 1};\nCOMMIT;"
            )

    @contextmanager
    def read(self) -> Iterator[sqlite3.Connection]:
        """The reading connection; other reading threads wait until you leave, so be brief."""
        with self._read_lock:
            yield self._reader

    @contextmanager
    def write(self) -> Iterator[sqlite3.Connection]:
        """A transaction: committed on leaving, rolled back when an exception passes through.

        Raises:
            NoSpace, Unwritable.
        """
        with self._write_lock, _faults_told(self.path):
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                yield self._writer
                self._writer.execute("COMMIT")
            finally:
                if self._writer.in_transaction:
                    self._writer.execute("ROLLBACK")

    @contextmanager
    def statement(self) -> Iterator[sqlite3.Connection]:
        """The writing connection without a transaction around it: each statement is one of its own.

        Raises:
            NoSpace, Unwritable.
        """
        with self._write_lock, _faults_told(self.path):
            yield self._writer

    def close(self) -> None:
        """Closes both connections; waits for whoever is using them."""
        with self._write_lock, self._read_lock:
            self._writer.close()
            self._reader.close()


@contextmanager
def _faults_told(path: Path) -> Iterator[None]:
    """Says in our own words that the file cannot be written."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode != sqlite3.SQLITE_FULL:
            raise Unwritable(
                f"{path} cannot be written ({error}); see that its disk is writable and no other program holds the file"
            ) from error
        raise NoSpace(f"the disk is full: cannot write {path}; free some space, nothing is lost") from error


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    connection.row_factory = sqlite3.Row
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}")
    return connection
