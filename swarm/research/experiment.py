"""Proposal, Review, Trial, Experiment and their legal moves. Pure: no file, clock, network or randomness."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any, TypeVar

from swarm.errors import IllegalTransition

Knob = bool | int | float | str  # the value of one ALL_CAPS constant of the editable file
Json = Mapping[str, Any]  # what an event or a notebook entry carries: JSON values


T = TypeVar("T")


def changed(known: T, **changes: Any) -> T:
    """``dataclasses.replace`` for a class that computes nothing when it is made, at a fifth of its cost.

    A session is replayed event by event, and each makes an experiment or a trial anew.
    """
    made = object.__new__(type(known))
    made.__dict__.update(known.__dict__, **changes)
    for computed in ("scored", "hidden_seeds"):  # of the one before
        made.__dict__.pop(computed, None)
    return made


class Status(StrEnum):
    """Where an experiment stands; the closed list."""

    BASELINE = "BASELINE"  # the task's own file: not proposed by anyone, never judged as a gain
    PROPOSED = "PROPOSED"
    REJECTED = "REJECTED"
    HELD = "HELD"  # approved by the reviewer, waits for a person's yes
    APPROVED = "APPROVED"  # waits for a screening slot
    SCREENING = "SCREENING"
    PRUNED = "PRUNED"
    PROMOTED = "PROMOTED"  # waits for validation
    VALIDATING = "VALIDATING"
    CONFIRMED = "CONFIRMED"
    REFUTED = "REFUTED"
    CRASHED = "CRASHED"
    WITHDRAWN = "WITHDRAWN"  # its edit no longer applies to the incumbent, or it became another's twin
    ABLATION = "ABLATION"  # the incumbent without some of its changes: run to tell what these are worth


FINAL = frozenset(
    {
        Status.BASELINE,
        Status.REJECTED,
        Status.PRUNED,
        Status.CONFIRMED,
        Status.REFUTED,
        Status.CRASHED,
        Status.WITHDRAWN,
    }
)


class Move(StrEnum):
    """What can happen to an experiment."""

    HOLD = "hold"  # only a person may let it run
    APPROVE = "approve"
    REJECT = "reject"
    SCREEN = "screen"  # its first screening trial starts
    RETEST = "retest"  # undecided: screen again with another seed
    PRUNE = "prune"
    PROMOTE = "promote"
    KEEP = "keep"  # the incumbent moved and it still looks better
    VALIDATE = "validate"  # its first validation trial starts
    CONFIRM = "confirm"
    REFUTE = "refute"
    CRASH = "crash"  # its trials end without a value
    STACK = "stack"  # it beat the incumbent of before: on top of the new one, or as it is, it is validated again
    REBASE = "rebase"  # the incumbent moved: same idea, new parent, screened anew
    WITHDRAW = "withdraw"


_LEGAL: Mapping[tuple[Status, Move], Status] = {
    (Status.PROPOSED, Move.APPROVE): Status.APPROVED,
    (Status.PROPOSED, Move.HOLD): Status.HELD,
    (Status.PROPOSED, Move.REJECT): Status.REJECTED,
    (Status.HELD, Move.APPROVE): Status.APPROVED,
    (Status.HELD, Move.REJECT): Status.REJECTED,
    (Status.APPROVED, Move.SCREEN): Status.SCREENING,
    (Status.APPROVED, Move.REBASE): Status.APPROVED,
    (Status.APPROVED, Move.WITHDRAW): Status.WITHDRAWN,
    (Status.SCREENING, Move.RETEST): Status.SCREENING,
    (Status.SCREENING, Move.PRUNE): Status.PRUNED,
    (Status.SCREENING, Move.PROMOTE): Status.PROMOTED,
    (Status.SCREENING, Move.CRASH): Status.CRASHED,
    (Status.SCREENING, Move.REBASE): Status.APPROVED,
    (Status.SCREENING, Move.WITHDRAW): Status.WITHDRAWN,
    (Status.PROMOTED, Move.KEEP): Status.PROMOTED,
    (Status.PROMOTED, Move.VALIDATE): Status.VALIDATING,
    (Status.PROMOTED, Move.REBASE): Status.APPROVED,
    (Status.PROMOTED, Move.STACK): Status.PROMOTED,
    (Status.PROMOTED, Move.WITHDRAW): Status.WITHDRAWN,
    (Status.VALIDATING, Move.CONFIRM): Status.CONFIRMED,
    (Status.VALIDATING, Move.REFUTE): Status.REFUTED,
    (Status.VALIDATING, Move.CRASH): Status.CRASHED,
    (Status.VALIDATING, Move.STACK): Status.PROMOTED,
    (Status.ABLATION, Move.CONFIRM): Status.CONFIRMED,  # as good with less, and still better than the baseline
}


@dataclass(frozen=True, kw_only=True)
class Proposal:
    """A hypothesis and the edit that tests it."""

    author: str  # who proposes: the role's name, with an instance suffix where several run
    hypothesis: str  # one sentence that a trial can contradict
    parent: str  # commit of the candidate the edit was made on
    source: str  # the whole edited file
    changes: Mapping[str, Knob] = field(default_factory=dict)  # constants set; empty for an edit of the code
    expected_gain: float | None = None  # in the metric's unit, positive is better; None: not stated
    citations: tuple[str, ...] = ()  # ids of notebook entries that led here
    wave: str | None = None  # the wave it belongs to
    origin: str | None = None  # names the proposal for ever where thinking of it cost money: filed twice, it is one
    design: str = "search"  # how its wave was made: "plackett-burman", "search", ...


class ReviewVerdict(StrEnum):
    """What a reviewer answers."""

    APPROVED = "APPROVED"
    REVISE = "REVISE"
    REJECTED = "REJECTED"


@dataclass(frozen=True, kw_only=True)
class Review:
    """A reviewer's answer to a proposal."""

    verdict: ReviewVerdict
    reasons: tuple[str, ...]  # one sentence each; for an approval, what was checked
    author: str = "reviewer"  # who says so
    thought: bool = False  # a model judged it, after every rule had passed it
    sampled: bool = False  # it runs although the model turned it down: so the reviewer is measured


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One run of one candidate, from the moment it was given a slot."""

    id: str
    experiment: str
    candidate: str  # commit it ran
    tier: str
    slot: str
    accelerator: str
    seed: int
    token: int  # fencing token of the lease it ran under
    started_at: float  # unix seconds
    ended_at: float | None = None  # unix seconds; None while it runs
    outcome: str | None = None  # a trainer Outcome; None while it runs
    value: float | None = None  # the metric on the validation shard; None unless COMPLETED
    holdout: float | None = None  # the metric on the hidden shard; None unless asked for
    train_seconds: float | None = None  # charged to the candidate
    peak_memory_mb: float | None = None
    steps: int | None = None
    message: str = ""  # one line: why it has no value
    curve: Sequence[float] = ()  # mean training loss of each whole tenth of the budget, as the candidate told it
    sandbox: str = ""  # how far it was shut in: full, partial or none; empty where that is not on record

    @property
    def completed(self) -> bool:
        return self.value is not None


@dataclass(frozen=True, kw_only=True)
class Experiment:
    """A proposal and all that happened to it. Immutable: moves give a new one."""

    id: str
    status: Status
    author: str
    hypothesis: str
    parent: str | None  # commit it was last based on; None for the baseline
    candidate: str  # commit of its current file
    changes: Mapping[str, Knob]
    expected_gain: float | None  # in the metric's unit, positive is better
    citations: tuple[str, ...]
    wave: str | None
    created_at: float  # unix seconds
    reasons: tuple[str, ...] = ()  # of the last move
    verdict: Json = field(default_factory=dict)  # the numbers behind the last decision
    trials: tuple[Trial, ...] = ()  # in order of their start
    moves: int = 0  # made so far
    retests: int = 0  # screening looks at the current candidate that asked for another one

    @property
    def is_final(self) -> bool:
        """Whether nobody works on it any more; an ablation is confirmed as soon as it is told, or never."""
        return self.status in FINAL or self.status is Status.ABLATION

    def advance(
        self,
        move: Move,
        *,
        reasons: tuple[str, ...] = (),
        verdict: Json | None = None,
        candidate: str | None = None,
        parent: str | None = None,
    ) -> "Experiment":
        """The experiment after ``move``; ``candidate`` and ``parent`` are given by a REBASE or STACK alone.

        Raises IllegalTransition when the status forbids the move.
        """
        status = _LEGAL.get((self.status, move))
        if status is None:
            raise IllegalTransition(f"experiment {self.id} is {self.status}: it cannot {move}")
        return changed(
            self,
            status=status,
            reasons=reasons,
            verdict=self.verdict if verdict is None else verdict,
            candidate=candidate or self.candidate,
            parent=parent or self.parent,
            moves=self.moves + 1,
            retests=0 if move is Move.REBASE else self.retests + (move is Move.RETEST),
        )

    def with_trial(self, trial: Trial) -> "Experiment":
        """The experiment with ``trial`` added, or replaced where its id is known."""
        if any(known.id == trial.id for known in self.trials):
            trials = tuple(trial if known.id == trial.id else known for known in self.trials)
        else:
            trials = (*self.trials, trial)
        return changed(self, trials=trials)

    def completed(self, tier: str, accelerator: str | None = None) -> tuple[Trial, ...]:
        """Trials of the *current* candidate on a tier that have a value (and one accelerator type, if given)."""
        found = self.scored.get(tier, ())
        return found if accelerator is None else tuple(trial for trial in found if trial.accelerator == accelerator)

    @cached_property
    def hidden_seeds(self) -> frozenset[int]:
        """The seeds on which the current candidate was scored on the hidden shard."""
        return frozenset(t.seed for found in self.scored.values() for t in found if t.holdout is not None)

    @cached_property
    def scored(self) -> Mapping[str, tuple[Trial, ...]]:
        """Tier -> trials of the current candidate that have a value."""
        found: dict[str, tuple[Trial, ...]] = {}
        own = [trial for trial in self.trials if trial.candidate == self.candidate and trial.completed]
        for tier in dict.fromkeys(trial.tier for trial in own):
            found[tier] = tuple(trial for trial in own if trial.tier == tier)
        return found
