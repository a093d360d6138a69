"""What the library answers: hits, passages, and the account of what was added."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from papers.record import Refusal
from papers.store import Outcome

Progress = Callable[[str, int, int | None], None]
"""Called as ("reading", records so far, None) and then ("embedding", passages done, passages in all)."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A passage that may be quoted."""

    paper_id: str
    title: str  # the paper's
    authors: tuple[str, ...]  # the paper's
    year: int | None  # of publication
    page: int | None  # 1-based; None where the source has no pages
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
    """Counts while files are read, and tells its progress."""

    progress: Progress | None
    counts: dict[Outcome, int] = field(default_factory=lambda: dict.fromkeys(Outcome, 0))
    refused: list[Refusal] = field(default_factory=list)
    refusals: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, outcomes: Iterable[Outcome]) -> None:
        for outcome in outcomes:
            self.counts[outcome] += 1
        if self.progress is not None:
            self.progress("reading", sum(self.counts.values()), None)

    def refuse(self, refusal: Refusal) -> None:
        self.refusals += 1
        if len(self.refused) < _REFUSALS_KEPT:
            self.refused.append(refusal)

    def report(self) -> AddReport:
        return AddReport(
            new=self.counts[Outcome.NEW],
            known=self.counts[Outcome.KNOWN],
            completed=self.counts[Outcome.COMPLETED],
            unreadable=tuple(self.refused),
            unreadable_count=self.refusals,
            seconds=time.monotonic() - self.started,
        )
