"""When a session has used what it was given. Pure arithmetic over figures that others measured."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

from swarm.config import Limits
from swarm.leases.lease import SlotUse


@dataclass(frozen=True, kw_only=True)
class Spent:
    """What a session has used so far."""

    seconds: float = 0.0  # wall-clock, over all its runs
    experiments: int = 0  # begun, the rejected not counted
    gpu_hours: float = 0.0  # slot-hours under lease
    dollars: float = 0.0  # for slots and for models
    tokens: int = 0  # of language models, in and out

    def and_slots(self, use: Iterable[SlotUse]) -> "Spent":
        """With what leases took, as ``LeaseManager`` tells it, on top."""
        use = tuple(use)
        return replace(
            self,
            gpu_hours=self.gpu_hours + sum(slot.seconds for slot in use) / 3600,
            dollars=self.dollars + sum(slot.dollars for slot in use),
        )


@dataclass(frozen=True, kw_only=True)
class Left:
    """What remains of each limit, never below zero; None: not limited."""

    seconds: float | None
    experiments: int | None
    gpu_hours: float | None
    dollars: float | None
    tokens: int | None


@dataclass(frozen=True, kw_only=True)
class Budget:
    """A session's limits beside what it has used."""

    limits: Limits
    spent: Spent = Spent()

    @property
    def left(self) -> Left:
        limits, spent = self.limits, self.spent
        return Left(
            seconds=None if limits.hours is None else max(0.0, limits.hours * 3600 - spent.seconds),
            experiments=None if limits.experiments is None else max(0, limits.experiments - spent.experiments),
            gpu_hours=None if limits.gpu_hours is None else max(0.0, limits.gpu_hours - spent.gpu_hours),
            dollars=None if limits.dollars is None else max(0.0, limits.dollars - spent.dollars),
            tokens=None if limits.tokens is None else max(0, limits.tokens - spent.tokens),
        )

    def reached(self) -> str | None:
        """The first limit that is used up, in words; None while all last."""
        limits, left = self.limits, self.left
        if left.seconds == 0:
            return f"the {limits.hours:g} hours are over"
        if left.experiments == 0:
            return f"all {limits.experiments} experiments were begun"
        if left.gpu_hours == 0:
            return f"the {limits.gpu_hours:g} GPU-hours are used"
        if left.dollars == 0:
            return f"the ${limits.dollars:.2f} are spent"
        if left.tokens == 0:
            return f"the {limits.tokens:,} tokens are used"
        return None

    def fits(self, expected_seconds: float) -> bool:
        """Whether a trial that lasts this long, begun now, still ends within the hours."""
        left = self.left.seconds
        return left is None or expected_seconds <= left

    def lasts(self) -> bool:
        """Whether there are GPU-hours, dollars and tokens left for another trial."""
        left = self.left
        return 0 not in (left.gpu_hours, left.dollars, left.tokens)
