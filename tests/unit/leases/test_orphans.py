"""What a session that died held is taken back by the sessions that live."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from swarm.assemble.orphans import GRACE_SECONDS, Reaper
from swarm.executors.virtual_time import VirtualClock
from swarm.home import Home
from swarm.leases.desk import LeaseDesk
from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.ports import Slot


class House:
    """A home with one slot, where sessions `dead` and `ours` ask for it."""

    def __init__(self, root: Path) -> None:
        self.clock = VirtualClock()
        self.home = Home(root / "home", create=True)
        self.manager = LeaseManager(root / "home" / "leases.db", self.clock)
        self.manager.register([Slot(name="cpu-0", accelerator="cpu")], [Tier(name="screen", priority=0)])
        self.said: list[str] = []

    @asynccontextmanager
    async def desk(self) -> AsyncIterator[tuple[LeaseDesk, Reaper]]:
        desk = LeaseDesk(self.manager)
        yield desk, Reaper(self.home, desk, "ours", self.clock, self.said.append)
        await desk.close()

    def ask(self, session: str, number: int) -> str:
        request = f"{session}-{number}"
        self.manager.request(request, tier="screen", session=session, holder="proposer")
        return request


def test_what_waits_for_a_dead_session_goes_at_once_and_its_slot_after_the_grace(tmp_path: Path) -> None:
    house = House(tmp_path)

    async def course() -> None:
        async with house.desk() as (desk, reaper):
            held = house.ask("dead", 1)
            await desk.call(house.manager.grant)
            house.ask("dead", 2)
            ours = house.ask("ours", 1)
            with house.home.working("dead"):
                await reaper.look()
                assert len(house.manager.queue()) == 2, "whoever is at work keeps what it has"
            await reaper.look()
            assert [waiting.request_id for waiting in house.manager.queue()] == [ours]
            assert [lease.request_id for lease in house.manager.live()] == [held]
            await house.clock.sleep(GRACE_SECONDS)
            await reaper.look()
            assert house.manager.live() == []
            assert house.said == ["session dead died: taking cpu-0 back"]
            assert [lease.request_id for lease in await desk.call(house.manager.grant)] == [ours]

    house.clock.run(course())


def test_a_session_that_is_resumed_within_the_grace_keeps_its_slot(tmp_path: Path) -> None:
    house = House(tmp_path)

    async def course() -> None:
        async with house.desk() as (desk, reaper):
            held = house.ask("dead", 1)
            await desk.call(house.manager.grant)
            await reaper.look()
            await house.clock.sleep(GRACE_SECONDS - 1)
            with house.home.working("dead"):
                await house.clock.sleep(GRACE_SECONDS)
                await reaper.look()
            await reaper.look()  # dead again, and its grace begins anew
            assert [lease.request_id for lease in house.manager.live()] == [held]

    house.clock.run(course())
