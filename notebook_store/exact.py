"""Vectors kept in SQLite and searched exactly: what Chroma is rebuilt from, and what readers search without it."""

from __future__ import annotations

import json
import threading
from collections.abc import Collection, Sequence

import numpy as np

from notebook_store.database import Database
from notebook_store.embed import Embedder, Vectors, model_key
from notebook_store.index import Match, best_rows

READ_BATCH = 5000  # vectors read from the table at once


class ExactIndex:
    """A VectorIndex over an SQLite table, one set of vectors for each model.

    The vectors of this model are held in memory from the first query on (4 bytes a number), and a query first
    reads what has been added since, by whichever process.

    Args:
        database: where the table lives; it is made when missing.
        name: the table.
        embedder: whose vectors these are.
    """

    def __init__(self, database: Database, *, name: str, embedder: Embedder) -> None:
        self._database = database
        self._table = name
        self._model = model_key(embedder)
        self._dimension = embedder.dimension
        self._lock = threading.Lock()
        self._forget()
        with database.write() as connection:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {name} (stamp INTEGER PRIMARY KEY AUTOINCREMENT, model TEXT NOT NULL, "
                "id TEXT NOT NULL, vector BLOB NOT NULL, UNIQUE (model, id))"
            )

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Stores the vectors, shape (len(ids), dimension), in one transaction."""
        if vectors.shape != (len(ids), self._dimension):
            raise ValueError(f"expected vectors of shape {(len(ids), self._dimension)}, got {vectors.shape}")
        data = np.ascontiguousarray(vectors, dtype="<f4")
        rows = [(self._model, name, row.tobytes()) for name, row in zip(ids, data, strict=True)]
        with self._database.write() as connection:
            connection.executemany(
                f"INSERT OR REPLACE INTO {self._table} (model, id, vector) VALUES (?, ?, ?)",  # noqa: S608 - the name comes from the constructor
                rows,
            )

    def query(self, vector: Vectors, k: int, *, among: Collection[str] | None = None) -> list[Match]:
        """The k nearest, best first; only ids in `among` when it is given."""
        with self._lock:
            self._refresh()
            ids, rows, matrix = self._ids, self._rows, self._matrix[: len(self._ids)]
        chosen = None
        if among is not None:
            chosen = np.array(sorted(rows[name] for name in among if name in rows), dtype=np.intp)
            matrix = matrix[chosen]
        scores = matrix @ np.asarray(vector, dtype=np.float32)
        best = best_rows(scores, k)
        names = best if chosen is None else chosen[best]
        return [Match(id=ids[row], score=float(score)) for row, score in zip(names, scores[best], strict=True)]

    def load(self) -> None:
        """Reads the vectors into memory now, so that no query has to."""
        with self._lock:
            self._refresh()

    def missing(self, ids: Sequence[str]) -> list[str]:
        """Those of `ids` without a vector of this model, in the order given."""
        sql = f"SELECT id FROM {self._table} WHERE model = ? AND id IN (SELECT value FROM json_each(?))"  # noqa: S608 - as above
        with self._database.read() as connection:
            known = {row["id"] for row in connection.execute(sql, (self._model, json.dumps(list(ids))))}
        return [name for name in ids if name not in known]

    def vectors(self, ids: Sequence[str]) -> Vectors:
        """The stored vectors of known ids, shape (len(ids), dimension); KeyError for an unknown one."""
        with self._lock:
            self._refresh()
            return np.array(self._matrix[[self._rows[name] for name in ids]])

    def ids(self) -> set[str]:
        """All ids with a vector of this model."""
        with self._database.read() as connection:
            rows = connection.execute(f"SELECT id FROM {self._table} WHERE model = ?", (self._model,))  # noqa: S608 - as above
            return {row["id"] for row in rows}

    def count(self) -> int:
        """How many ids have a vector of this model."""
        with self._database.read() as connection:
            sql = f"SELECT count(*) FROM {self._table} WHERE model = ?"  # noqa: S608 - as above
            return int(connection.execute(sql, (self._model,)).fetchone()[0])

    def newest(self) -> int:
        """A number that grows with every vector that anybody stores; it costs the same however many there are."""
        with self._database.read() as connection:
            row = connection.execute(f"SELECT coalesce(max(stamp), 0) FROM {self._table}").fetchone()  # noqa: S608 - as above
            return int(row[0])

    def clear(self) -> None:
        """Deletes the vectors of this model."""
        with self._lock:
            with self._database.write() as connection:
                connection.execute(f"DELETE FROM {self._table} WHERE model = ?", (self._model,))  # noqa: S608 - as above
            self._forget()

    def problems(self) -> list[str]:
        """Looks for vectors of the wrong size or length."""
        with self._database.read() as connection:
            sql = f"SELECT id, vector FROM {self._table} WHERE model = ?"  # noqa: S608 - as above
            bad = [row["id"] for row in connection.execute(sql, (self._model,)) if not self._sound(row["vector"])]
        return [f"the stored vector of {name} is damaged" for name in bad]

    def _sound(self, blob: bytes) -> bool:
        if len(blob) != 4 * self._dimension:
            return False
        return bool(abs(np.linalg.norm(np.frombuffer(blob, dtype="<f4")) - 1.0) < 1e-3)

    def _forget(self) -> None:
        self._stamp = 0  # the newest row that the matrix holds
        self._ids: list[str] = []  # id of each row of the matrix
        self._rows: dict[str, int] = {}  # id -> row of the matrix
        self._matrix: Vectors = np.zeros((0, self._dimension), dtype=np.float32)  # grown by doubling

    def _refresh(self) -> None:
        """Reads the rows that are newer than the matrix, without keeping other readers waiting for long."""
        while self._read_some():
            pass

    def _read_some(self) -> bool:
        """Reads some of them; whether there were any."""
        with self._database.read() as connection:
            # The + keeps SQLite from gathering a model's rows by the other index first.
            sql = (
                f"SELECT stamp, id, vector FROM {self._table} WHERE stamp > ? AND +model = ? "  # noqa: S608 - as above
                "ORDER BY stamp LIMIT ?"
            )
            fresh = connection.execute(sql, (self._stamp, self._model, READ_BATCH)).fetchall()
        if not fresh:
            return False
        ids = list(self._ids)  # queries under way hold the old list
        for row in fresh:
            if row["id"] not in self._rows:
                self._rows[row["id"]] = len(ids)
                ids.append(row["id"])
        if len(ids) > len(self._matrix):
            grown = np.zeros((max(len(ids), 2 * len(self._matrix)), self._dimension), dtype=np.float32)
            grown[: len(self._ids)] = self._matrix[: len(self._ids)]
            self._matrix = grown
        for row in fresh:
            self._matrix[self._rows[row["id"]]] = np.frombuffer(row["vector"], dtype="<f4")
        self._ids = ids
        self._stamp = fresh[-1]["stamp"]
        return True
