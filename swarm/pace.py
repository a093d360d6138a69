"""How much of what a session was given is left, and what still fits into it."""

import asyncio
from dataclasses import replace

from swarm.leases.budget import Budget, Spent
from swarm.leases.desk import LeaseDesk
from swarm.lifecycle import Lab
from swarm.research.experiment import Status

EXAM_PAIRS = 2  # fresh seeds of the closing examination
EXAM_SHARE = 0.2  # of the session's hours at most; a session too short for it does without


class Pace:
    """Reads clocks and leases; starts and stops nothing."""

    def __init__(self, lab: Lab, desk: LeaseDesk, *, slots: int) -> None:
        self._lab = lab
        self._desk = desk
        self._slots = slots
        self._state = lab.journal.state
        self._spent = Spent()  # as of the last look at the leases; the seconds are always fresh
        self._started_at = lab.clock.now()
        self._earlier_seconds = 0.0  # worked in earlier runs

    async def begin(self) -> None:
        """Start this run's time."""
        pulses = await asyncio.to_thread(self._lab.journal.ledger.pulses, self._state.session)
        self._earlier_seconds = self._state.elapsed(pulses)
        self._started_at = self._lab.clock.now()

    async def take_stock(self) -> None:
        """Look up what the leases took, where a limit asks for it."""
        limits = self._lab.settings.limits
        if limits.gpu_hours is None and limits.dollars is None:
            return
        models = self._state.spending().dollars
        use = await self._desk.call(self._desk.manager.lease_seconds, session=self._state.session)
        leased = Spent.from_use(use, seconds=0.0, experiments=self._state.begun())
        self._spent = replace(leased, dollars=leased.dollars + models)

    @property
    def budget(self) -> Budget:
        """The session's limits and what it has used of them."""
        seconds = self._earlier_seconds + self._lab.clock.now() - self._started_at
        return Budget(limits=self._lab.settings.limits, spent=replace(self._spent, seconds=seconds))

    def fits(self, tier: str) -> bool:
        """Whether a trial begun now still ends in time, the closing examination included."""
        return self.budget.fits(self._lab.trials.expected_seconds(tier) + self.exam_seconds())

    def exam_seconds(self) -> float:
        """Time to keep free for the closing examination; 0 when there is nothing to examine or too little time."""
        hours = self._lab.settings.limits.hours
        if self._state.incumbent.status is Status.BASELINE:
            return 0.0
        rounds = -(-2 * EXAM_PAIRS // self._slots)
        needed = rounds * self._lab.trials.expected_seconds("validate")
        return needed if hours is None or needed <= EXAM_SHARE * hours * 3600 else 0.0

    def short_of_time(self) -> bool:
        """Whether a promising candidate had better be validated now than wait for the rest of its wave."""
        return not self.budget.fits(4 * self._lab.trials.expected_seconds("validate") + self.exam_seconds())

    def reached(self) -> str | None:
        """The limit that ends the session, in words; None while something still fits."""
        if not self.fits("screen") and not self.fits("validate"):
            return f"the {self._lab.settings.limits.hours:g} hours are over"
        return self.budget.reached()
