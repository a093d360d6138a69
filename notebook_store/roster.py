"""Who wrote what when, for all entries at once, in memory: filters without reading the pages."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Unpack

import numpy as np
from numpy.typing import NDArray

from notebook_store.database import Database
from notebook_store.entry import Kind
from notebook_store.log import Filters

_NAMED = ("kind", "author", "session", "task", "experiment", "outcome")


class Roster:
    """What filters ask for, of every entry, in the order of appending. Thread-safe.

    The first use reads all entries but their pages (some 0.1 KB each stay in memory); every use reads what has been
    appended since, by whichever process.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._sheet = _Sheet()

    def passing(self, **filters: Unpack[Filters]) -> Passing:
        """The entries that pass the filters, as of now."""
        sheet = self._refreshed()
        return Passing(sheet, sheet.mask(filters))

    def load(self) -> None:
        """Reads the roster into memory now, so that no search has to."""
        self._refreshed()

    def _refreshed(self) -> _Sheet:
        with self._lock:
            last = int(self._sheet.seqs[-1]) if len(self._sheet.seqs) else 0
            with self._database.read() as connection:
                cursor = connection.cursor()
                cursor.row_factory = None  # plain tuples: there may be a hundred thousand
                entries = cursor.execute(
                    f"SELECT seq, id, created_at, {', '.join(_NAMED)} FROM entries WHERE seq > ? ORDER BY seq",  # noqa: S608 - constants
                    (last,),
                ).fetchall()
                factors = cursor.execute("SELECT seq, factor FROM factors WHERE seq > ?", (last,)).fetchall()
            if entries:
                self._sheet = self._sheet.grown(entries, factors)
            return self._sheet


class Passing:
    """Some entries of a notebook."""

    def __init__(self, sheet: _Sheet, mask: NDArray[np.bool_]) -> None:
        self._sheet = sheet
        self._mask = mask
        self.seqs = sheet.seqs[mask]  # their places in the log, growing
        self.share = len(self.seqs) / max(len(mask), 1)  # of all entries

    def ids(self) -> list[str]:
        """Their ids, in the order of appending."""
        return [self._sheet.ids[row] for row in np.flatnonzero(self._mask)]

    def __contains__(self, entry_id: str) -> bool:
        row = self._sheet.rows.get(entry_id)
        return row is not None and row < len(self._mask) and bool(self._mask[row])


class _Sheet:
    """Columns over all entries. Arrays are replaced, lists and dictionaries grow: a sheet keeps its own rows."""

    def __init__(self) -> None:
        self.seqs: NDArray[np.int64] = np.zeros(0, dtype=np.int64)
        self.ids: list[str] = []
        self.rows: dict[str, int] = {}  # id -> row
        self._times: NDArray[np.float64] = np.zeros(0)  # created_at
        self._codes: NDArray[np.int32] = np.zeros((len(_NAMED), 0), dtype=np.int32)
        self._words: list[dict[str | None, int]] = [{} for _ in _NAMED]  # what a code stands for
        self._factors: dict[str, list[int]] = {}  # factor -> rows, growing

    def grown(self, entries: Sequence[tuple[object, ...]], factors: Sequence[tuple[int, str]]) -> _Sheet:
        """This sheet and new rows of (seq, id, created_at, *_NAMED), with (seq, factor) of them."""
        more = _Sheet()
        more.ids, more.rows, more._words, more._factors = self.ids, self.rows, self._words, self._factors
        seqs, ids, times, *named = zip(*entries, strict=True)
        more.seqs = np.concatenate([self.seqs, np.array(seqs, dtype=np.int64)])
        more._times = np.concatenate([self._times, np.array(times, dtype=np.float64)])
        codes = [
            [words.setdefault(value, len(words)) for value in column]
            for words, column in zip(self._words, named, strict=True)
        ]
        more._codes = np.concatenate([self._codes, np.array(codes, dtype=np.int32)], axis=1)
        row_of = {seq: row for row, seq in enumerate(seqs, start=len(self.seqs))}
        self.ids.extend(ids)
        self.rows.update(zip(ids, row_of.values(), strict=True))
        for seq, factor in factors:
            if seq in row_of:  # appended between the two questions otherwise: it comes with its entry
                self._factors.setdefault(factor, []).append(row_of[seq])
        return more

    def mask(self, filters: Filters) -> NDArray[np.bool_]:
        """For each row, whether it passes."""
        passes = np.ones(len(self.seqs), dtype=bool)
        for column, words, name in zip(self._codes, self._words, _NAMED, strict=True):
            if name == "kind":
                kinds = filters.get("kinds")
                wanted = None if kinds is None else [words.get(Kind(kind).value, -1) for kind in kinds]
            else:
                wanted = [words.get(str(filters[name]), -1)] if name in filters else None  # type: ignore[literal-required]  # one of the names of Filters
            if wanted is not None:
                passes &= np.isin(column, wanted)
        if "factor" in filters:
            having = np.zeros(len(passes), dtype=bool)
            rows = np.array(self._factors.get(filters["factor"], []), dtype=np.intp)
            having[rows[rows < len(having)]] = True
            passes &= having
        if "since" in filters:
            passes &= self._times >= filters["since"]
        if "until" in filters:
            passes &= self._times < filters["until"]
        return passes
