"""How long a validation waits for a slot that screens: one screening trial at most, and not at all where it preempts.

A night on two kinds of accelerator, in virtual time: as many validations are about as there are slots for them, so that
they wait for screening alone; four agents flood the rest.
"""

import asyncio
import random
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.executors.virtual_time import VirtualClock
from swarm.leases.desk import LeaseDesk
from swarm.leases.lease import Lease
from swarm.leases.manager import LeaseManager
from swarm.ports import Slot
from tests.lease_lab import SCREEN, VALIDATE

COUNTS = {"H100": 6, "H200": 2}
SLOTS = [Slot(name=f"{kind}-{n}", accelerator=kind) for kind, count in COUNTS.items() for n in range(count)]
KINDS = tuple(COUNTS)
SHORTEST, LONGEST = 250.0, 400.0  # seconds of a screening trial
HOURS = 8.0
LOOK_SECONDS = 5.0  # how often it is seen who is to give way


class Night:
    """Who asks for what, and how long validations waited, by the kind they need."""

    def __init__(self, desk: LeaseDesk, clock: VirtualClock) -> None:
        self.desk, self.clock = desk, clock
        self.chance = random.Random(0)
        self.waits: dict[str, list[float]] = {kind: [] for kind in KINDS}
        self.screened = 0
        self.screening: dict[int, asyncio.Event] = {}  # token -> set when its trial is to end
        self.asked = 0

    async def trial(self, tier: str, holder: str, accelerator: str | None, seconds: float) -> tuple[Lease, float]:
        """Have a slot for a while; how long it was waited for."""
        self.asked += 1
        begun = self.clock.now()
        lease = await self.desk.acquire(
            f"{holder}-{self.asked}",
            tier=tier,
            session="s",
            holder=holder,
            bid=self.chance.random(),
            accelerator=accelerator,
        )
        waited = self.clock.now() - begun
        stop = self.screening[lease.token] = asyncio.Event()
        try:
            async with asyncio.timeout(seconds):
                await stop.wait()
        except TimeoutError:
            pass
        del self.screening[lease.token]
        await self.desk.release(lease.token)
        return lease, waited

    async def screen(self, holder: str) -> None:
        """An agent that always wants more, now and then on one kind of slot: a second look."""
        while True:
            kind = self.chance.choice([None, None, None, *KINDS])
            await self.trial("screen", holder, kind, self.chance.uniform(SHORTEST, LONGEST))
            self.screened += 1

    async def validate(self, kind: str) -> None:
        """One of as many as there are slots of a kind."""
        while True:
            await self.clock.sleep(self.chance.expovariate(1 / 900))
            _, waited = await self.trial("validate", "validator", kind, self.chance.uniform(SHORTEST, LONGEST))
            self.waits[kind].append(waited)

    async def preempt(self) -> None:
        """What a session does for tiers that preempt."""
        while True:
            for lease in await self.desk.call(self.desk.manager.make_way):
                self.screening[lease.token].set()
            await self.clock.sleep(LOOK_SECONDS)

    async def run(self) -> None:
        crowd = [self.screen(f"agent-{number % 4}") for number in range(40)]
        crowd += [self.validate(slot.accelerator) for slot in SLOTS]
        tasks = [asyncio.create_task(work) for work in (*crowd, self.preempt())]
        await self.clock.sleep(HOURS * 3600)
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
        await self.desk.close()


def night(folder: Path, *, preempt: bool) -> Night:
    clock = VirtualClock()
    manager = LeaseManager(folder / "leases.db", clock, lease_seconds=1e6)
    manager.register(
        SLOTS, [replace(SCREEN, accelerators=KINDS), replace(VALIDATE, accelerators=KINDS, preempt=preempt)]
    )
    found = Night(LeaseDesk(manager, poll_seconds=3600.0), clock)
    clock.run(found.run())
    manager.close()
    return found


@pytest.mark.parametrize("preempt", [False, True])
def test_a_validation_waits_at_most_one_screening_trial(tmp_path: Path, preempt: bool) -> None:
    found = night(tmp_path, preempt=preempt)
    for kind, waits in found.waits.items():
        told = f"median {statistics.median(waits):.0f} s, longest {max(waits):.0f} s"
        print(f"{kind}: {len(waits)} validations waited {told} beside {found.screened} screenings")
        assert len(waits) > 30
        assert max(waits) <= (LOOK_SECONDS if preempt else LONGEST)
    assert max(map(max, found.waits.values())) > (0 if preempt else 0.5 * LONGEST), "the slots were contended"
    assert found.screened > 300
