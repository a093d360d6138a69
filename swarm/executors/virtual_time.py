"""Time that passes only while nobody has anything to do: an event loop, and the clock that shows its time.

What runs on ``VirtualClock.run`` is ordinary asyncio code. Whenever all of it sleeps, the loop moves its time on to the
next one due instead of waiting. Calls handed to threads run at once, on the loop: no virtual time passes meanwhile,
and the same program with the same seeds always runs the same course.
"""

import asyncio
import selectors
from asyncio.base_events import BaseEventLoop
from collections.abc import Callable, Coroutine
from concurrent.futures import Executor
from typing import Any, TypeVar, TypeVarTuple

from swarm.errors import SwarmError

T = TypeVar("T")
Ts = TypeVarTuple("Ts")

EPOCH = 1_000_000_000.0  # unix seconds at which virtual time begins, unless told otherwise


class VirtualClock:
    """A Clock (see ports) whose time is that of the loop it runs."""

    def __init__(self, now: float = EPOCH) -> None:
        self._start = now
        self.elapsed = 0.0  # seconds of loop time so far, over all runs

    def now(self) -> float:
        return self._start + self.elapsed

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end in virtual time, as ``asyncio.run`` does in real time.

        Raises what ``work`` raises, and SwarmError when everything waits for something that can never come.
        """
        with asyncio.Runner(loop_factory=lambda: _VirtualLoop(self)) as runner:
            return runner.run(work)


class _VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop on a VirtualClock."""

    def __init__(self, clock: VirtualClock) -> None:
        self._virtual = clock
        super().__init__(_VirtualSelector(clock))

    def time(self) -> float:
        return self._virtual.elapsed

    def run_in_executor(self, executor: Executor | None, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        """Run ``func`` now, whatever executor was meant."""
        del executor
        future: asyncio.Future[T] = BaseEventLoop.create_future(self)
        try:
            future.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - it reaches whoever awaits the future, as from a thread
            future.set_exception(error)
        return future


class _VirtualSelector(selectors.DefaultSelector):
    """Moves the clock on where another selector would wait."""

    def __init__(self, clock: VirtualClock) -> None:
        super().__init__()
        self._clock = clock

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout == 0 and len(self.get_map()) == 1:
            return []  # there is more to do, and nothing to hear but the loop's own pipe
        ready = super().select(0)
        if not ready and timeout is None:
            raise SwarmError("the simulation stands still: everything waits for something that can never come")
        if not ready and timeout:
            self._clock.elapsed += timeout
        return ready
