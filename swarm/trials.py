"""One trial from the wish to the result: lease, submit, wait, record, release. May be run twice; runs once."""

import asyncio
import statistics
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Protocol

from swarm.errors import StaleToken, SwarmError
from swarm.journal import Journal
from swarm.ports import Executor, Limits, Slot, TrialOrder
from swarm.research.experiment import Experiment, Trial
from swarm.research.ledger import Kind
from swarm.research.speeds import speed_of
from trainer.contract import Budget, BudgetKind, Outcome, Task, TrialResult

LOST = (Outcome.PREEMPTED, Outcome.CONTENDED)  # outcomes that say nothing of the candidate
ATTEMPTS = 5  # a trial that was lost or disturbed is run again this often at most
GAVE_WAY = "it gave its slot to a higher tier; it is run again"


class Lease(Protocol):
    """What a trial needs to know of its lease."""

    @property
    def token(self) -> int: ...
    @property
    def slot(self) -> Slot: ...


class Leases(Protocol):
    """What a trial needs of the lease manager; every call may block, but not the event loop."""

    async def acquire(
        self, request_id: str, *, session: str, tier: str, holder: str, bid: float, accelerator: str | None
    ) -> Lease: ...
    async def kinds(self, tier: str) -> tuple[str, ...]: ...
    async def note_speed(self, slot: str, steps_per_second: float) -> None: ...
    async def validate(self, token: int) -> None: ...
    async def release(self, token: int) -> None: ...
    async def reclaim(self, token: int) -> None: ...


class Draining(SwarmError):
    """The session takes up no new trials: what waits, waits for the next run."""


class Gate:
    """Whether new trials may start. The session closes it when it drains."""

    def __init__(self) -> None:
        self.closed = asyncio.Event()
        self.ending = False  # running trials are ended too
        self.fits: Callable[[str], Awaitable[bool]] = _always  # tier -> whether a trial begun now keeps the limits


async def _always(tier: str) -> bool:
    del tier
    return True


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """Where a trial's inputs come from."""

    task: Task
    budgets: dict[str, Budget]  # tier -> budget of one trial
    slots: dict[str, Slot]  # by name, for trials found again after a restart
    text: Callable[[str], Awaitable[str]]  # commit -> editable file


@dataclass(frozen=True, kw_only=True)
class _Wish:
    """A trial that somebody wants."""

    experiment: Experiment
    tier: str
    seed: int
    bid: float  # expected gain per second of a slot
    accelerator: str | None  # the one kind of slot it may run on
    holdout: bool
    keep: bool
    limits: Callable[[str], Limits]  # accelerator -> when to cut it
    pardoned: int  # failures that are passed over

    @property
    def name(self) -> str:
        """The same for everybody who wants the same trial."""
        parts = (self.experiment.id, self.experiment.candidate[:8], self.tier, str(self.seed), self.accelerator)
        return "-".join(part for part in parts if part is not None)


class Trials:
    """Runs trials for the lifecycle."""

    def __init__(self, journal: Journal, leases: Leases, executor: Executor, inputs: Inputs, gate: Gate) -> None:
        self._journal = journal
        self._leases = leases
        self._executor = executor
        self._inputs = inputs
        self.gate = gate
        self._flights: dict[str, asyncio.Task[Trial]] = {}  # what is being run or waited for, by name
        self._gave_way: set[str] = set()  # trials that were ended for a higher tier
        self._lasted: dict[str, deque[float]] = {}  # tier -> seconds its last trials took
        self._typical: dict[str, float] = {}  # tier -> their median

    async def run(
        self,
        experiment: Experiment,
        tier: str,
        seed: int,
        *,
        bid: float = 0.0,
        accelerator: str | None = None,
        holdout: bool = False,
        keep: bool = False,
        limits: Callable[[str], Limits] = lambda _: (),
        started: Callable[[], Awaitable[None]] | None = None,
        pardoned: int = 0,
    ) -> Trial:
        """Run the experiment's candidate once, or find the run it had; ``started`` is called once it has a slot,
        ``limits`` with its accelerator type: they say when to cut it.

        What it saved is left in its folder where ``keep`` is set. ``accelerator`` names the one kind of slot it must
        run on; None: any that the tier may use. After so many failures as are ``pardoned`` it is run once more, and may
        be lost as often again. Who asks for a trial that is under way shares it. The trial may have no value: see its
        outcome. Raises Draining when it was not started and will not be.
        """
        wish = _Wish(
            experiment=experiment,
            tier=tier,
            seed=seed,
            bid=bid,
            accelerator=accelerator if len(await self.kinds(tier)) > 1 else None,
            holdout=holdout,
            keep=keep,
            limits=limits,
            pardoned=pardoned,
        )
        if wish.name not in self._flights:
            self._flights[wish.name] = asyncio.create_task(self._run(wish, started), name=wish.name)
            self._flights[wish.name].add_done_callback(lambda flight: self._landed(wish.name, flight))
        return await self._flights[wish.name]

    async def kinds(self, tier: str) -> tuple[str, ...]:
        """The kinds of accelerator a tier may use, best first; those with no slot to be had now come last."""
        return await self._leases.kinds(tier)

    def _landed(self, name: str, flight: asyncio.Task[Trial]) -> None:
        del self._flights[name]
        if not flight.cancelled():
            flight.exception()  # whoever waits gets it; if nobody does, it is no loss

    async def _run(self, wish: "_Wish", started: Callable[[], Awaitable[None]] | None) -> Trial:
        attempt = lost = failed = 0
        while True:
            name = f"{wish.name}-{attempt}"
            trial = self._known(wish.experiment.id, name) or await self._start(wish, name)
            if started is not None:
                await started()
            if trial.outcome is None:
                trial = await self._finish(trial, wish)
            lost += trial.outcome in LOST and trial.message != GAVE_WAY
            failed += trial.outcome not in LOST
            if trial.completed or failed > wish.pardoned or lost == ATTEMPTS * (1 + wish.pardoned):
                return trial
            attempt += 1

    async def give_way(self, trial_id: str) -> None:
        """End a trial whose slot a higher tier needs: it is on record as PREEMPTED, and runs again as a new attempt."""
        self._gave_way.add(trial_id)
        await self._executor.cancel(trial_id)

    async def settled(self) -> None:
        """Wait until nothing is being run or waited for, whoever asked for it."""
        while self._flights:
            await asyncio.wait(self._flights.values())
            await asyncio.sleep(0)

    def expected_seconds(self, tier: str) -> float:
        """How long a trial of a tier takes under its lease: the median of the last ones, else from its budget."""
        return self._typical[tier] if tier in self._typical else self.planned_seconds(tier)

    def planned_seconds(self, tier: str) -> float:
        """How long a trial of a tier should take, by its budget alone; 0 for a budget in steps, which does not tell."""
        budget = self._inputs.budgets[tier]
        return 0.0 if budget.kind is BudgetKind.STEPS else budget.amount * 1.2 + 5

    def _known(self, experiment: str, name: str) -> Trial | None:
        trials = self._journal.state.experiments[experiment].trials
        return next((trial for trial in trials if trial.id == name), None)

    async def _start(self, wish: "_Wish", name: str) -> Trial:
        experiment = wish.experiment
        lease = await self._acquire(wish, name)
        if self.gate.closed.is_set() or not await self.gate.fits(wish.tier):
            await self._leases.release(lease.token)
            raise Draining("the session ends before another trial could")
        trial = Trial(
            id=name,
            experiment=experiment.id,
            candidate=experiment.candidate,
            tier=wish.tier,
            slot=lease.slot.name,
            accelerator=lease.slot.accelerator,
            seed=wish.seed,
            token=lease.token,
            started_at=self._journal.clock.now(),
        )
        data = {
            field: getattr(trial, field)
            for field in ("id", "candidate", "tier", "slot", "accelerator", "seed", "token")
        }
        await self._journal.record(Kind.TRIAL_STARTED, name, data, experiment=experiment.id)
        return trial

    async def _acquire(self, wish: "_Wish", name: str) -> Lease:
        if self.gate.closed.is_set():
            raise Draining("the session takes up no new trials")
        grant = asyncio.ensure_future(
            self._leases.acquire(
                name,
                session=self._journal.session,
                tier=wish.tier,
                holder=wish.experiment.author,
                bid=wish.bid,
                accelerator=wish.accelerator,
            )
        )
        closed = asyncio.ensure_future(self.gate.closed.wait())
        try:
            await asyncio.wait({grant, closed}, return_when=asyncio.FIRST_COMPLETED)
            if grant.done():
                return grant.result()
            raise Draining("the session takes up no new trials")
        finally:
            closed.cancel()
            if not grant.done():
                grant.cancel()
                await asyncio.wait({grant})

    async def drop_checkpoints(self, experiment: Experiment) -> None:
        """Keep no longer what its validation runs saved."""
        for trial in experiment.trials:
            if trial.tier == "validate":
                await self._executor.drop_checkpoint(trial.id)

    async def _finish(self, trial: Trial, wish: "_Wish") -> Trial:
        await self._executor.submit(
            TrialOrder(
                trial_id=trial.id,
                session=self._journal.session,
                task=self._inputs.task,
                source=await self._inputs.text(trial.candidate),
                tier=trial.tier,
                budget=self._inputs.budgets[trial.tier],
                seed=trial.seed,
                slot=self._inputs.slots[trial.slot],
                token=trial.token,
                holdout=wish.holdout,
                limits=wish.limits(trial.accelerator),
                keep=wish.keep,
            )
        )
        if self.gate.ending:  # it was not there to be ended yet
            await self._executor.cancel(trial.id)
        result = await self._executor.result(trial.id)
        try:
            await self._leases.validate(trial.token)
        except StaleToken as error:
            result = _refused(result, str(error))
        if trial.id in self._gave_way and result.outcome is Outcome.PREEMPTED:
            result = replace(result, message=GAVE_WAY)
        result = self._undisturbed(trial, result)
        await self._journal.record(
            Kind.TRIAL_ENDED,
            trial.id,
            {
                "outcome": result.outcome,
                "value": result.metric,
                "holdout": result.holdout,
                "train_seconds": result.train_seconds,
                "peak_memory_mb": result.peak_memory_mb,
                "steps": result.steps,
                "message": result.message,
                "curve": result.curve,
                "sandbox": result.sandbox,
            },
            experiment=trial.experiment,
        )
        try:
            await self._leases.release(trial.token)
        except StaleToken:
            await self._leases.reclaim(trial.token)  # the trial is over: an expired lease may give its slot back
        ended = self._known(trial.experiment, trial.id)
        assert ended is not None
        if ended.completed and ended.ended_at is not None:
            lasted = self._lasted.setdefault(trial.tier, deque(maxlen=15))
            lasted.append(ended.ended_at - ended.started_at)
            self._typical[trial.tier] = statistics.median(lasted)
            if (speed := speed_of(ended)) is not None:
                await self._leases.note_speed(ended.slot, speed)
        return ended

    def _undisturbed(self, trial: Trial, result: TrialResult) -> TrialResult:
        """The result, or CONTENDED without a score where the trial went much slower than it should have."""
        if result.outcome is not Outcome.COMPLETED:
            return result
        told = self._journal.state.speeds.contention(
            replace(trial, steps=result.steps, train_seconds=result.train_seconds)
        )
        return (
            result
            if told is None
            else replace(result, outcome=Outcome.CONTENDED, metric=None, holdout=None, message=told)
        )


def _refused(result: TrialResult, why: str) -> TrialResult:
    """A result that came under an old fencing token is written down as lost, never as a score."""
    return replace(result, outcome=Outcome.PREEMPTED, metric=None, holdout=None, message=f"result refused: {why}")
