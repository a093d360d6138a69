"""What the notebook answers with; pure values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from notebook_store.entry import JSON, Entry
from notebook_store.words import Snippet


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """An entry that a search found."""

    entry: Entry
    score: float  # in [0, 1], comparable within one search
    snippet: Snippet  # a passage of the body, with the matched words


@dataclass(frozen=True, kw_only=True, slots=True)
class Tried:
    """An experiment that tried what an entry says."""

    hypothesis: Entry
    came: tuple[Entry, ...]  # its results and decisions, in the order of appending; empty: not over yet

    @property
    def outcome(self) -> str | None:
        """The last outcome there is; None before any."""
        return next((entry.outcome for entry in reversed(self.came) if entry.outcome), None)


@dataclass(frozen=True, kw_only=True, slots=True)
class Idea:
    """What somebody is about to try."""

    text: str  # the hypothesis
    changes: Mapping[str, JSON]  # constants that it sets; empty: it changes code


@dataclass(frozen=True, kw_only=True, slots=True)
class Near:
    """An earlier hypothesis close to an idea, and what came of it."""

    tried: Tried
    distance: float | None  # of the configurations, 0 (the same) to 1; None where the two set no constant in common
    similarity: float | None  # cosine of the meanings, -1 to 1; None where meaning is not searched


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """Who may work on something."""

    key: str  # what is claimed
    holder: str  # who came first
    claimed_at: float  # unix seconds, as the holder gave it
    won: bool  # whether the holder is the one who asked


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    """What a check found."""

    entries: int  # in the log
    embedded: int  # of them, with a stored embedding
    indexed: int | None  # vectors in the vector index; None when this process does not own it
    problems: tuple[str, ...]  # one line each
    skipped: tuple[str, ...]  # what could not be looked at from here, and why

    @property
    def clean(self) -> bool:
        """Whether all that was looked at is sound."""
        return not self.problems
