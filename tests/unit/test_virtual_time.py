"""Virtual time passes only while everything sleeps, and always takes the same course."""

import asyncio

import pytest

from swarm.errors import SwarmError
from swarm.executors.virtual_time import EPOCH, VirtualClock


def test_time_is_that_of_whoever_sleeps_longest() -> None:
    clock = VirtualClock()
    woken: list[tuple[str, float]] = []

    async def sleeper(name: str, seconds: float, times: int) -> None:
        for _ in range(times):
            await clock.sleep(seconds)
            woken.append((name, clock.now() - EPOCH))

    async def all_of_them() -> None:
        await asyncio.gather(sleeper("hourly", 3600.0, 3), sleeper("daily", 86_400.0, 1))

    clock.run(all_of_them())
    assert woken == [("hourly", 3600.0), ("hourly", 7200.0), ("hourly", 10_800.0), ("daily", 86_400.0)]


def test_threads_take_no_time_and_their_errors_arrive() -> None:
    clock = VirtualClock()

    async def work() -> int:
        with pytest.raises(ZeroDivisionError):
            await asyncio.to_thread(lambda: 1 // 0)
        return await asyncio.to_thread(sum, [1, 2])

    assert clock.run(work()) == 3
    assert clock.now() == EPOCH


def test_timeouts_are_in_virtual_time() -> None:
    clock = VirtualClock()

    async def work() -> None:
        async with asyncio.timeout(30):
            await asyncio.Event().wait()

    with pytest.raises(TimeoutError):
        clock.run(work())
    assert clock.now() == EPOCH + 30


def test_waiting_for_what_can_never_come_is_said() -> None:
    async def work() -> None:
        await asyncio.Event().wait()

    with pytest.raises(SwarmError, match="the simulation stands still"):
        VirtualClock().run(work())


def test_time_goes_on_from_run_to_run() -> None:
    clock = VirtualClock(5.0)
    for _ in range(2):
        clock.run(clock.sleep(10.0))
    assert clock.now() == 25.0
