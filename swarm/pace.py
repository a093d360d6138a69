"""How much of what a session was given is left, and what still fits into it."""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from swarm.lab import Lab
from swarm.leases.budget import Budget, Spent
from swarm.leases.desk import LeaseDesk
from swarm.ports import Slot
from swarm.research.experiment import Status
from swarm.research.stack import kept_changes, taken_apart

EXAM_PAIRS = 2  # fresh seeds of the closing examination
EXAM_SHARE = 0.2  # of each limit at most; a session too short for it does without
ABLATION_SHARE = 0.1  # of each limit at most, that the ablation of the incumbent may take
FEWEST_PAIRS = 2  # validation seeds of an ablation in a short session


class Pace:
    """Reads clocks, leases and costs; starts and stops nothing."""

    def __init__(self, lab: Lab, desk: LeaseDesk, *, slots: Sequence[Slot]) -> None:
        self._lab = lab
        self._desk = desk
        self._slots = slots
        self._exam_slots = slots  # those that may validate
        self._state = lab.journal.state
        self._used = Spent()  # by the slots, as of the last look at the leases
        self._seconds = 0.0  # worked in all runs, as of the last look at the clock
        self._looked_at = lab.clock.now()  # unix seconds
        self._kept = ("", 0)  # an incumbent and how many changes are kept in it
        self.examining = False  # from then on nothing is set aside for the closing examination

    async def begin(self) -> None:
        """Start this run's time."""
        kinds = (await self._desk.kinds("validate"))[:1]
        self._exam_slots = [slot for slot in self._slots if slot.accelerator in kinds]
        pulses = await asyncio.to_thread(self._lab.journal.ledger.pulses, self._state.session)
        self._seconds = self._state.elapsed(pulses)
        self._looked_at = self._lab.clock.now()

    async def take_stock(self) -> None:
        """Look up what the leases took, where a limit asks for it."""
        limits = self._lab.settings.limits
        if limits.gpu_hours is not None or limits.dollars is not None:
            use = await self._desk.call(self._desk.manager.used, self._state.session)
            self._used = Spent().and_slots(use)

    @property
    def budget(self) -> Budget:
        """The session's limits and what it has used of them."""
        spent = replace(
            self._used,
            seconds=self._worked(),
            experiments=self._state.begun(),
            dollars=self._used.dollars + self._state.spending().dollars,
            tokens=self._state.spending().tokens,
        )
        return Budget(limits=self._lab.settings.limits, spent=spent)

    def _worked(self) -> float:
        """Seconds worked in all runs; a clock that is set back gives no time back."""
        now = self._lab.clock.now()
        self._seconds += max(0.0, now - self._looked_at)
        self._looked_at = now
        return self._seconds

    async def may_start(self, tier: str) -> bool:
        """Whether a trial begun now ends in time and is paid for, the closing examination included."""
        await self.take_stock()
        return self.in_time(tier) and (self.budget if self.examining else self._but_for_exam()).lasts()

    def exam_seconds(self) -> float:
        """Time to keep free for the ablation and the closing examination; 0 when there is nothing to examine or too
        little time.

        Slots that validate may be screening when it begins, and are waited for.
        """
        hours = self._lab.settings.limits.hours
        if self._state.incumbent.status is Status.BASELINE:
            return 0.0
        needed = self._lasting(self._exam_runs()) + self._lab.trials.expected_seconds("screen")
        if hours is not None and needed > EXAM_SHARE * hours * 3600:
            return 0.0
        return needed + self._lasting(self._ablation_runs(self.ablation_pairs()))

    def ablation_pairs(self) -> int:
        """Validation seeds on which each kept change of the incumbent can be told its worth; 0: it is told, or there
        is too little time.
        """
        incumbent, limits = taken_apart(self._state), self._lab.settings.limits
        if incumbent.status is Status.BASELINE or incumbent.id in self._state.ablations:
            return 0
        price = max((slot.price_per_hour for slot in self._exam_slots), default=0.0)
        for pairs in (max(FEWEST_PAIRS, self._lab.settings.promotion.min_pairs), FEWEST_PAIRS):
            runs = self._ablation_runs(pairs)
            used = runs * self._lab.trials.expected_seconds("validate") / 3600
            asked = (
                (self._lasting(runs) / 3600, limits.hours),
                (used, limits.gpu_hours),
                (used * price, limits.dollars),
            )
            if all(limit is None or needed <= ABLATION_SHARE * limit for needed, limit in asked):
                return pairs
        return 0

    def _ablation_runs(self, pairs: int) -> int:
        """Trials of an ablation: every change out in turn, then all out that seem worth nothing."""
        incumbent = taken_apart(self._state)
        if self._kept[0] != incumbent.id:
            self._kept = (incumbent.id, len(kept_changes(self._state, incumbent)))
        return (self._kept[1] + 1) * pairs

    def _exam_runs(self) -> int:
        """Trials of the closing examination that are still to be run."""
        both = (self._state.incumbent, self._state.baseline)
        return sum(max(0, EXAM_PAIRS - len(experiment.hidden_seeds)) for experiment in both)

    def _lasting(self, runs: int) -> float:
        """Seconds until so many validation trials have ended."""
        return -(-runs // max(1, len(self._exam_slots))) * self._lab.trials.expected_seconds("validate")

    def may_validate(self) -> bool:
        """Whether a validation begun now ends before the closing examination must begin."""
        return not self.examining and self.in_time("validate")

    def short_of_time(self) -> bool:
        """Whether a promising candidate had better be validated now than wait for the rest of its wave."""
        return not self.budget.fits(4 * self._lab.trials.expected_seconds("validate") + self.exam_seconds())

    def reached(self) -> str | None:
        """The limit that ends the session, in words; None while something still fits."""
        if not self.in_time("screen") and not self.in_time("validate"):
            return f"the {self._lab.settings.limits.hours:g} hours are over"
        return (self.budget if self.examining else self._but_for_exam()).reached()

    def in_time(self, tier: str) -> bool:
        """Whether a trial begun now ends within the hours. Screening goes on beside the closing examination."""
        aside = self.exam_seconds() if tier == "validate" and not self.examining else 0.0
        return self.budget.fits(self._lab.trials.expected_seconds(tier) + aside)

    def _but_for_exam(self) -> Budget:
        """The budget without what the closing examination will take of it, where that is a small part."""
        runs = self._exam_runs() + self._ablation_runs(self.ablation_pairs()) if self.exam_seconds() else 0
        hours = runs * self._lab.trials.expected_seconds("validate") / 3600
        dollars = hours * max((slot.price_per_hour for slot in self._exam_slots), default=0.0)
        budget, limits = self.budget, self._lab.settings.limits
        if limits.gpu_hours is not None and hours > EXAM_SHARE * limits.gpu_hours:
            hours = dollars = 0.0
        if limits.dollars is not None and dollars > EXAM_SHARE * limits.dollars:
            hours = dollars = 0.0
        spent = replace(budget.spent, gpu_hours=budget.spent.gpu_hours + hours, dollars=budget.spent.dollars + dollars)
        return replace(budget, spent=spent)
