"""How fast trials go: what is usual on a slot, what a candidate has shown, and when a slot must have been shared. Pure.

A slow trial has one of two causes: a heavier candidate, which is its own affair, or a stranger on the accelerator,
which spoils its score under a time budget. They are told apart by running again: a candidate that is as slow twice
is slow by itself.
"""

import statistics
from collections import defaultdict, deque

from swarm.research.experiment import Trial
from trainer.contract import Outcome

SLOW = 0.5  # of a slot's norm: below it a candidate that nobody knows is run again
DISTURBED = 0.7  # of a candidate's own speed on this kind of accelerator: below it the slot was shared
ALIKE = 0.25  # two speeds within this share of each other are the same
_RECENT = 15  # trials of a slot that make its norm
_ENOUGH = 5  # of them before a norm says anything


_Shown = defaultdict[tuple[str, str], list[float]]  # (tier, accelerator) -> steps per second of its trials


class Speeds:
    """Steps per second of all trials of a session, taken in one at a time."""

    def __init__(self) -> None:
        self._usual: dict[tuple[str, str], deque[float]] = defaultdict(lambda: deque(maxlen=_RECENT))  # (tier, slot)
        self._own: dict[str, _Shown] = {}  # candidate -> what it has shown
        self._doubted: dict[str, _Shown] = {}  # the same, of contended trials

    def add(self, trial: Trial) -> None:
        """Take in a trial that has ended."""
        speed = speed_of(trial)
        if speed is None:
            return
        if trial.outcome == Outcome.CONTENDED:
            self._doubted.setdefault(trial.candidate, _Shown(list))[trial.tier, trial.accelerator].append(speed)
        elif trial.completed:
            self._usual[trial.tier, trial.slot].append(speed)
            self._own.setdefault(trial.candidate, _Shown(list))[trial.tier, trial.accelerator].append(speed)

    def forget(self, candidate: str) -> None:
        """Expect no more trials of ``candidate``."""
        self._own.pop(candidate, None)
        self._doubted.pop(candidate, None)

    def norm(self, tier: str, slot: str) -> float | None:
        """Steps per second that are usual on a slot; None before five trials have ended there."""
        usual = self._usual.get((tier, slot), ())
        return statistics.median(usual) if len(usual) >= _ENOUGH else None

    def contention(self, trial: Trial) -> str | None:
        """Why a completed trial's slot must have been shared, in one line; None where nothing speaks for it."""
        speed, where = speed_of(trial), (trial.tier, trial.accelerator)
        if speed is None:
            return None
        if own := self._own.get(trial.candidate, _Shown()).get(where):
            usual = statistics.median(own)
            return None if speed >= DISTURBED * usual else _told(speed, usual, "this candidate's own")
        norm = self.norm(trial.tier, trial.slot)
        if norm is None or speed >= SLOW * norm:
            return None
        if any(
            abs(speed - other) <= ALIKE * other for other in self._doubted.get(trial.candidate, _Shown()).get(where, ())
        ):
            return None  # as slow as before: the candidate is heavy
        return _told(speed, norm, f"the norm of {trial.slot}")


def speed_of(trial: Trial) -> float | None:
    """Steps per charged second; None for a trial that reported no steps."""
    if not trial.steps or not trial.train_seconds:
        return None
    return trial.steps / trial.train_seconds


def _told(speed: float, usual: float, whose: str) -> str:
    return f"{speed:.3g} steps/s, {whose} is {usual:.3g}: the slot was shared; it is run again"
