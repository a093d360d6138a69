"""A GPU that somebody else computes on is not leased."""

import asyncio
from dataclasses import replace

from swarm.leases.desk import LeaseDesk
from swarm.leases.guard import HIDDEN_MB, Guard
from swarm.leases.manager import LeaseManager
from swarm.ports import GpuUse, Slot
from tests.fakes import FakeGpus
from tests.lease_lab import SCREEN, ask, granted

SLOTS = [
    Slot(name="gpu-0", accelerator="H100", device=0),
    Slot(name="gpu-1", accelerator="H100", device=1),
    Slot(name="cpu-0", accelerator="cpu"),
]


def why(manager: LeaseManager) -> list[str | None]:
    return [state.unavailable for state in manager.slots() if state.slot.device is not None]


def test_a_strangers_gpu_is_unavailable_until_the_stranger_is_gone(manager: LeaseManager) -> None:
    manager.register(SLOTS, [SCREEN])
    gpus, said = FakeGpus({0: GpuUse(computing=(4711,), held_mb=900)}), list[str]()
    guard = Guard(manager, gpus, said.append, ours=set)
    guard.look()
    guard.look()
    assert why(manager) == ["GPU 0 is used by process 4711", None]
    for name in ("one", "two", "three"):
        ask(manager, name)
    assert {lease.slot.name for lease in manager.grant()} == {"cpu-0", "gpu-1"}
    gpus.uses.clear()
    guard.look()
    assert [lease.slot.name for lease in manager.grant()] == ["gpu-0"]
    assert said == ["gpu-0 is not used: GPU 0 is used by process 4711", "gpu-0 is free again"]


def test_a_process_of_another_container_shows_by_its_memory(manager: LeaseManager) -> None:
    manager.register(SLOTS, [SCREEN])
    uses = {0: GpuUse(held_mb=HIDDEN_MB + 1000), 1: GpuUse(held_mb=HIDDEN_MB)}
    Guard(manager, FakeGpus(uses), lambda _: None, ours=set).look()
    assert why(manager) == ["2,024 MiB of GPU 0 are held by a process that cannot be seen from here", None]


def test_beside_our_own_trial_only_others_are_strangers(manager: LeaseManager) -> None:
    manager.register([replace(SLOTS[0], lead_seconds=1e6)], [SCREEN])
    ask(manager, "one")
    manager.grant()
    gpus = FakeGpus({0: GpuUse(computing=(1, 4711), held_mb=70_000)})
    guard = Guard(manager, gpus, lambda _: None, ours=lambda: {1})
    guard.look()
    assert why(manager) == ["GPU 0 is used by process 4711"]
    ask(manager, "next")
    assert manager.grant() == []
    gpus.uses = {0: GpuUse(computing=(1,), held_mb=70_000)}
    guard.look()
    assert why(manager) == [None]
    assert granted(manager.grant()) == ["next"]


def test_where_the_driver_does_not_tell_it_is_said_once_and_the_slot_is_used(manager: LeaseManager) -> None:
    manager.register(SLOTS[:1], [SCREEN])
    said: list[str] = []
    guard = Guard(manager, FakeGpus({}, silent=True), said.append, ours=set)
    guard.look()
    guard.look()
    assert said == ["gpu-0 is used without looking for others on it: the driver does not tell who uses GPU 0"]
    ask(manager, "one")
    assert granted(manager.grant()) == ["one"]


async def test_who_waits_gets_the_gpu_when_the_stranger_is_gone(manager: LeaseManager) -> None:
    manager.register(SLOTS[:1], [SCREEN])
    gpus = FakeGpus({0: GpuUse(computing=(4711,))})
    desk = LeaseDesk(manager, poll_seconds=0.01)
    desk.before_grant = Guard(manager, gpus, lambda _: None, ours=set).look
    waiting = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    async with asyncio.timeout(5):
        while why(manager) == [None]:
            await asyncio.sleep(0)
        assert not waiting.done()
        gpus.uses.clear()
        assert (await waiting).slot.name == "gpu-0"
    await desk.close()
