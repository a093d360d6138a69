"""Waiting for a lease in an event loop."""

import asyncio
from pathlib import Path

import pytest

from swarm.errors import SwarmError
from swarm.leases.desk import LeaseDesk
from swarm.leases.manager import LeaseManager
from tests.fakes import FakeClock


async def test_a_release_serves_the_next_at_once(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    first = await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting = asyncio.create_task(desk.acquire("two", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    await desk.release(first.token)
    async with asyncio.timeout(0.8):  # less than the poll for other processes
        second = await waiting
    assert second.slot == first.slot
    assert second.token > first.token
    await desk.close()


async def test_a_slot_freed_by_another_process_is_noticed(manager: LeaseManager, path: Path, clock: FakeClock) -> None:
    desk, other = LeaseDesk(manager), LeaseManager(path, clock)
    first = await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting = asyncio.create_task(desk.acquire("two", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    other.release(first.token)
    (lease,) = other.grant()  # even the grant may be another's
    async with asyncio.timeout(5):
        assert await waiting == lease
    other.close()
    await desk.close()


async def test_a_cancelled_wait_leaves_the_queue(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting = asyncio.create_task(desk.acquire("two", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert manager.queue() == []
    await desk.close()


@pytest.mark.parametrize("turns", range(12))
async def test_a_wait_cancelled_at_any_moment_leaks_no_slot(manager: LeaseManager, turns: int) -> None:
    desk = LeaseDesk(manager)
    waiting = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    try:
        lease = await waiting
    except asyncio.CancelledError:
        pass
    else:
        await desk.release(lease.token)
    await desk.call(manager.grant)
    assert manager.live() == []
    await desk.close()


async def test_a_resumed_wait_gets_the_lease_it_had_and_cancelling_it_does_not_end_it(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    lease = await desk.acquire("one", tier="screen", session="s", holder="a")
    assert await desk.acquire("one", tier="screen", session="s", holder="a") == lease
    again = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    await asyncio.sleep(0)
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again
    assert manager.live() == [lease]
    await desk.close()


async def test_closed_doors_grant_nothing(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    desk.close_doors()
    waiting = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    assert manager.live() == []
    desk.open_doors()
    assert (await waiting).request_id == "one"
    await desk.close()


async def test_two_tasks_cannot_wait_for_one_request(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    desk.close_doors()
    waiting = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    with pytest.raises(SwarmError, match="already waited for"):
        await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await desk.close()


async def _queued(manager: LeaseManager, count: int) -> None:
    async with asyncio.timeout(5):
        while len(manager.queue()) < count:
            await asyncio.sleep(0)
