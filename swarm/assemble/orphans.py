"""What sessions of the home left behind when they died: clusters, running trials, leases, places in the queue."""

import asyncio
from collections.abc import Callable
from contextlib import suppress

from swarm.assemble.stores import data_folder
from swarm.errors import StaleToken, SwarmError
from swarm.executors.local import LocalExecutor
from swarm.executors.sky.cloud import OpenCloud
from swarm.executors.sky.registry import Registry, tear_down
from swarm.home import Home
from swarm.leases.desk import LeaseDesk
from swarm.leases.lease import Lease
from swarm.ports import Clock

LOOK_SECONDS = 5.0  # between two looks for sessions that died
GRACE_SECONDS = 15.0  # after it was found dead in which a session may be resumed and find its trials running
Say = Callable[[str], None]  # one line of progress for a person


async def end_orphans(home: Home, desk: LeaseDesk, session: str, say: Say, sky: OpenCloud) -> None:
    """End what other sessions of the home left running when they died, and take their slots back."""
    living = home.at_work() | {session}
    registry = Registry(home.clusters)
    for record in registry.all():
        if record.session not in living:
            say(f"tearing down {record.cluster}, left by session {record.session}")
            await asyncio.to_thread(tear_down, sky(None), registry, record.cluster)
    for waiting in await desk.call(desk.manager.queue):
        if waiting.session not in living:
            await desk.call(desk.manager.withdraw, waiting.request_id)
    for lease in await desk.call(desk.manager.live):
        if lease.session not in living:
            await _end_trial(home, desk, lease)


class Reaper:
    """Takes back what sessions hold that die while ours works: their requests at once, their slots after a grace."""

    def __init__(self, home: Home, desk: LeaseDesk, session: str, clock: Clock, say: Say) -> None:
        self._home = home
        self._desk = desk
        self._session = session
        self._clock = clock
        self._say = say
        self._found: dict[str, float] = {}  # session that is dead -> when it was first seen so, unix seconds

    async def run(self) -> None:
        """Look for ever."""
        while True:
            await self._clock.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except SwarmError as error:
                self._say(f"what dead sessions hold cannot be taken back now: {error}")

    async def look(self) -> None:
        """Look once. What waits for a dead session would else be granted a slot that nobody uses."""
        leases = await self._desk.call(self._desk.manager.live)
        queue = await self._desk.call(self._desk.manager.queue)
        living = self._home.at_work() | {self._session}  # read last: a session is at work before it asks for anything
        now = self._clock.now()
        dead = ({lease.session for lease in leases} | {waiting.session for waiting in queue}) - living
        self._found = {name: self._found.get(name, now) for name in dead}
        for waiting in queue:
            if waiting.session in dead:
                await self._desk.call(self._desk.manager.withdraw, waiting.request_id)
        for lease in leases:
            if lease.session in dead and now - self._found[lease.session] >= GRACE_SECONDS:
                self._say(f"session {lease.session} died: taking {lease.slot.name} back")
                await _end_trial(self._home, self._desk, lease)


async def _end_trial(home: Home, desk: LeaseDesk, lease: Lease) -> None:
    await LocalExecutor(home.session(lease.session) / "trials", data_folder()).cancel(lease.request_id)
    with suppress(StaleToken):  # it came alive in this moment, and gave it back
        await desk.reclaim(lease.token)
