"""What the library answers: hits, passages, and the account of what was added."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, TextIO

from papers.formats.source import Gauge
from papers.record import Refusal, one_line
from papers.store import Added, Outcome


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """How far adding has come."""

    name: Literal["reading", "embedding"]  # reading comes first
    done: int  # records read, or passages embedded
    share: float  # of this step's work, in [0, 1]


Progress = Callable[[Step], None]

_REFUSALS_KEPT = 1000  # in a report; a damaged dump has one a line


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """One paper that a search found, by its best passage."""

    id: str
    title: str
    score: float  # in [0, 1], higher is better; comparable within one search only
    year: int | None  # of publication
    snippet: str  # an excerpt of the best passage
    spans: tuple[tuple[int, int], ...]  # matched words, as [start, end) in the snippet
    page: int | None  # 1-based page of the best passage; None where the source has no pages
    section: str | None  # the heading that it stands under; None where that cannot be told


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A passage that may be quoted."""

    paper_id: str
    title: str  # the paper's
    authors: tuple[str, ...]  # the paper's
    year: int | None  # of publication
    page: int | None  # 1-based; None where the source has no pages
    section: str | None  # as in Hit
    text: str  # verbatim but for white space
    score: float  # as in Hit


@dataclass(frozen=True, kw_only=True, slots=True)
class AddReport:
    """What became of everything that was offered."""

    new: int  # papers
    known: int  # records of papers that were there already, with as much text
    completed: int  # records that brought a known paper more of its text
    unreadable: tuple[Refusal, ...]  # the first 1000
    unreadable_count: int  # all of them
    seconds: float  # wall time


@dataclass(frozen=True, kw_only=True, slots=True)
class Status:
    """How much is there, and how much of it can be found by meaning."""

    papers: int
    passages: int
    embedded: int  # passages with a vector; the others are found by their words alone
    by_meaning: bool  # False where the library was opened without an embedder


@dataclass(kw_only=True)
class Tally:
    """Counts while files are read, tells its progress, and writes what became of each record to a table.

    The table has the tab-separated columns outcome, paper, reason, where.
    """

    bytes_in_all: int  # of the files that will be read
    progress: Progress | None
    table: TextIO | None
    gauge: Gauge = field(default_factory=Gauge)  # of the file at hand
    bytes_before: int = 0  # of the files that were read
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    refused: list[Refusal] = field(default_factory=list)
    refusals: int = 0
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._row("outcome", "paper", "reason", "where")

    def add(self, path: Path, first: int, outcomes: Iterable[Added]) -> None:
        """What became of records of a file, the first of which was its record number `first`, from 1."""
        for number, added in enumerate(outcomes, first):
            self.counts[added.outcome] += 1
            self._row(added.outcome, added.paper_id, added.reason, f"{path} record {number}")
        self._tell()

    def known_file(self, path: Path, records: int) -> None:
        """A file that was read whole before."""
        self.counts[Outcome.KNOWN] += records
        self._row(Outcome.KNOWN, "", f"the file was read before; it holds {records} papers", str(path))

    def refuse(self, refusal: Refusal) -> None:
        self.refusals += 1
        if len(self.refused) < _REFUSALS_KEPT:
            self.refused.append(refusal)
        self._row("unreadable", "", refusal.reason, refusal.where)

    def next_file(self, size: int) -> None:
        """The file at hand, of so many bytes, is done."""
        self.bytes_before += size
        self.gauge = Gauge()
        self._tell()

    def report(self) -> AddReport:
        return AddReport(
            new=self.counts[Outcome.NEW],
            known=self.counts[Outcome.KNOWN],
            completed=self.counts[Outcome.COMPLETED],
            unreadable=tuple(self.refused),
            unreadable_count=self.refusals,
            seconds=time.monotonic() - self.started,
        )

    def _tell(self) -> None:
        if self.progress is not None:
            share = (self.bytes_before + self.gauge.read) / max(self.bytes_in_all, 1)
            self.progress(Step(name="reading", done=sum(self.counts.values()), share=min(share, 1.0)))

    def _row(self, *cells: str) -> None:
        if self.table is not None:
            self.table.write("\t".join(map(one_line, cells)) + "\n")
