"""Trials that take virtual time and no work: what each does is told by a world, a function of its order."""

import asyncio
import math
import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from swarm.ports import Clock, TrialOrder
from trainer.contract import BudgetKind, Outcome, Task, TrialResult


@dataclass(frozen=True, kw_only=True)
class Course:
    """What becomes of one trial."""

    seconds: float  # from its start to its result
    result: TrialResult


World = Callable[[TrialOrder], Course]


class SimulatedExecutor:
    """An Executor (see ports) in memory: a trial takes ``world(order).seconds`` of the clock.

    Its trials live as long as this object does: a swarm that is resumed must be given the same one. An exception of
    ``world`` reaches whoever waits for the result.
    """

    def __init__(self, clock: Clock, world: World) -> None:
        self._clock = clock
        self._world = world
        self._trials: dict[str, asyncio.Task[TrialResult]] = {}
        self._prepared: set[str] = set()  # names of tasks
        self.orders: dict[str, TrialOrder] = {}  # every trial started and not forgotten, in order

    async def prepare(self, task: Task, progress: Callable[[str], None]) -> None:
        if task.name not in self._prepared:
            self._prepared.add(task.name)
            progress(f"prepared {task.name}")

    async def submit(self, order: TrialOrder) -> None:
        if order.trial_id not in self._trials:
            self.orders[order.trial_id] = order
            self._trials[order.trial_id] = asyncio.create_task(self._run(order))

    async def result(self, trial_id: str) -> TrialResult:
        trial = self._trials.get(trial_id)
        if trial is None:
            return TrialResult(trial_id=trial_id, outcome=Outcome.PREEMPTED, message="it was never started")
        await asyncio.wait([trial])
        if trial.cancelled():
            return lost(self.orders[trial_id], Outcome.PREEMPTED, "cancelled")
        return trial.result()

    async def cancel(self, trial_id: str) -> None:
        trial = self._trials.get(trial_id)
        if trial:
            trial.cancel()
            await asyncio.wait([trial])

    async def drop_checkpoint(self, trial_id: str) -> None:
        """Nothing to do: nothing was trained."""

    async def forget(self, trial_id: str) -> None:
        self._trials.pop(trial_id, None)
        self.orders.pop(trial_id, None)

    async def _run(self, order: TrialOrder) -> TrialResult:
        course = self._world(order)
        await self._clock.sleep(course.seconds)
        return course.result


def lost(order: TrialOrder, outcome: Outcome, message: str) -> TrialResult:
    """The result of a trial that has no value."""
    return TrialResult(trial_id=order.trial_id, outcome=outcome, seed=order.seed, message=message)


# ── a world: an objective on machines ───────────────────────────────────────────────────────────────────


@dataclass(frozen=True, kw_only=True)
class Score:
    """What a candidate's training gives, wherever it runs."""

    value: float | None  # in the task's metric; None: the candidate fails
    outcome: Outcome = Outcome.COMPLETED  # how it fails where it has no value
    seconds: float | None = None  # of training until its end or failure; None: the whole budget
    holdout: float | None = None  # on the hidden shard; None: the same as ``value``
    peak_memory_mb: float = 0.0  # MiB


Objective = Callable[[TrialOrder], Score]


@dataclass(frozen=True, kw_only=True)
class Machines:
    """How the slots behave: what is theirs and not the candidate's. All chance follows from trial ids and ``seed``."""

    overhead_seconds: float = 0.0  # start-up and evaluation, on top of the budget
    overhead_sd: float = 0.0  # seconds; the spread of it, cut at nought
    steps_per_second: Mapping[str, float] = field(default_factory=dict)  # accelerator -> speed; others: 1.0
    lost_share: float = 0.0  # of trials that crash through no fault of the candidate
    straggler_share: float = 0.0  # of trials whose slot is shared with a stranger
    straggler_speed: float = 0.4  # of the usual steps/s, while shared
    preemptions_per_hour: float = 0.0  # of one slot
    seed: int = 0


def world(objective: Objective, machines: Machines) -> World:
    """What becomes of trials of ``objective`` on ``machines``. A budget in steps takes as long as the slot needs."""

    def course(order: TrialOrder) -> Course:
        chance = random.Random(f"{machines.seed}/{order.trial_id}")
        score = objective(order)
        speed = machines.steps_per_second.get(order.slot.accelerator, 1.0)
        if chance.random() < machines.straggler_share:
            speed *= machines.straggler_speed
        counted = order.budget.kind is BudgetKind.STEPS
        full = order.budget.amount / speed if counted else order.budget.amount
        train = full if score.seconds is None else min(full, score.seconds)
        overhead = max(0.0, chance.gauss(machines.overhead_seconds, machines.overhead_sd))
        result = TrialResult(
            trial_id=order.trial_id,
            outcome=score.outcome,
            metric=score.value,
            holdout=(score.value if score.holdout is None else score.holdout) if order.holdout else None,
            seed=order.seed,
            steps=int(train * speed),
            train_seconds=train,
            wall_seconds=train + overhead,
            overhead_seconds=overhead,
            peak_memory_mb=score.peak_memory_mb,
            message="" if score.value is not None else "the candidate fails, says the objective",
        )
        return _befallen(order, Course(seconds=train + overhead, result=result), machines, chance)

    return course


def _befallen(order: TrialOrder, course: Course, machines: Machines, chance: random.Random) -> Course:
    """The course with what its machine does to it."""
    if chance.random() < machines.lost_share:
        end = course.seconds * chance.random()
        return Course(seconds=end, result=lost(order, Outcome.CRASHED, "the machine lost it"))
    per_second = machines.preemptions_per_hour / 3600
    if per_second and (end := -math.log(1 - chance.random()) / per_second) < course.seconds:
        return Course(seconds=end, result=lost(order, Outcome.PREEMPTED, "its machine was taken away"))
    return course
