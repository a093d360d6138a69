"""Stand-ins for what is slow or far away. Each keeps its port's promises: the contract suites run on them too."""

import asyncio
import heapq
from collections.abc import Awaitable, Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import ParamSpec, TypeVar

from swarm.ports import TrialOrder
from trainer.contract import Outcome, Task, TrialResult

T = TypeVar("T")
P = ParamSpec("P")
R = TypeVar("R")


class FakeClock:
    """Time that moves only when told to."""

    def __init__(self, now: float = 1_000_000.0) -> None:
        self._now = now
        self._sleepers: list[tuple[float, int, asyncio.Future[None]]] = []
        self._count = 0

    def now(self) -> float:
        return self._now

    async def sleep(self, seconds: float) -> None:
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._count += 1
        heapq.heappush(self._sleepers, (self._now + max(0.0, seconds), self._count, woken))
        if seconds <= 0:
            self.advance(0.0)
        await woken

    def jump(self, seconds: float) -> None:
        """Set the clock on or back without anybody having slept."""
        self._now += seconds

    def advance(self, seconds: float) -> None:
        """Let time pass, and wake in order those whose time has come."""
        until = self._now + seconds
        while self._sleepers and self._sleepers[0][0] <= until:
            due, _, woken = heapq.heappop(self._sleepers)
            self._now = max(self._now, due)
            if not woken.done():
                woken.set_result(None)
        self._now = max(self._now, until)

    async def drive(self, work: Awaitable[T], *, settle_seconds: float = 0.002) -> T:
        """Run ``work``, skipping the time in which everything sleeps.

        Time stands still while ``asyncio.to_thread`` works; ``settle_seconds`` (real) is how long other threads
        and pipes get to wake the loop before it moves on.
        """
        threads = _CountingThreads()
        asyncio.get_running_loop().set_default_executor(threads)
        task = asyncio.ensure_future(work)
        while not task.done():
            await asyncio.wait([task], timeout=settle_seconds)
            if threads.busy:
                continue
            while self._sleepers and self._sleepers[0][2].done():
                heapq.heappop(self._sleepers)
            if self._sleepers and not task.done():
                self.advance(max(0.0, self._sleepers[0][0] - self._now))
        return await task


class _CountingThreads(ThreadPoolExecutor):
    """A thread pool that knows how many of its calls are not done."""

    busy = 0

    def submit(self, fn: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Future[R]:
        self.busy += 1
        future = super().submit(fn, *args, **kwargs)
        future.add_done_callback(lambda _: setattr(self, "busy", self.busy - 1))
        return future


def completed(order: TrialOrder, metric: float, *, holdout: float | None = None) -> TrialResult:
    """The result of a trial that went well."""
    return TrialResult(
        trial_id=order.trial_id, outcome=Outcome.COMPLETED, metric=metric, holdout=holdout, seed=order.seed
    )


def failed(order: TrialOrder, outcome: Outcome, message: str = "as the test asked") -> TrialResult:
    """The result of a trial that has no value."""
    return TrialResult(trial_id=order.trial_id, outcome=outcome, seed=order.seed, message=message)


class FakeExecutor:
    """An Executor in memory. A trial takes ``seconds(order)`` of the clock and gives ``objective(order)``.

    An exception of ``objective`` reaches whoever waits for the result: a test's mistake is seen.
    """

    def __init__(
        self,
        clock: FakeClock,
        *,
        objective: Callable[[TrialOrder], TrialResult],
        seconds: Callable[[TrialOrder], float] = lambda order: 1.0,
    ) -> None:
        self._clock = clock
        self._objective = objective
        self._seconds = seconds
        self._trials: dict[str, asyncio.Task[TrialResult]] = {}
        self.orders: dict[str, TrialOrder] = {}  # every trial ever started, in order
        self.prepared: list[str] = []  # names of tasks

    @property
    def running(self) -> list[str]:
        """Ids of trials under way."""
        return [trial_id for trial_id, trial in self._trials.items() if not trial.done()]

    async def prepare(self, task: Task, progress: Callable[[str], None]) -> None:
        if task.name not in self.prepared:
            self.prepared.append(task.name)
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
            return failed(self.orders[trial_id], Outcome.PREEMPTED, "cancelled")
        return trial.result()

    async def cancel(self, trial_id: str) -> None:
        trial = self._trials.get(trial_id)
        if trial:
            trial.cancel()
            await asyncio.wait([trial])

    async def _run(self, order: TrialOrder) -> TrialResult:
        await self._clock.sleep(self._seconds(order))
        return self._objective(order)
