"""What goes on beside a session's work: heartbeats of its leases, the wishes of people, room on the disk."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, Protocol

from swarm.crew import Crew
from swarm.housekeeping import Housekeeper
from swarm.lab import Lab
from swarm.research.rulings import Ruling, read_ruling

BEATS = 12  # heartbeats in a lease's time to live
HOUSEKEEPING_TICKS = 10  # of the session, between two looks at the disk


class Ruled(Protocol):
    """A session, as far as its keepers may meddle with it."""

    @property
    def number(self) -> int: ...  # of this run
    @property
    def phase(self) -> str: ...
    def drain(self, reason: str) -> None: ...
    async def stop_now(self, reason: str) -> None: ...
    async def rule(self, ruling: Ruling) -> bool: ...


class Keepers:
    """The coroutines that run until the session's work is over."""

    def __init__(self, lab: Lab, crew: Crew, session: Ruled) -> None:
        self._lab = lab
        self._crew = crew
        self._session = session
        self._state = lab.journal.state
        self._housekeeper = Housekeeper(self._state, crew.executor, lab.lineage, crew.disk)
        self._listening = asyncio.Event()  # wishes that are left from now on are heard
        self._holds: dict[str, str] = {}  # who keeps trials from starting -> what is said of it

    @property
    def held(self) -> str | None:
        """Why no trial may start; None where they may."""
        return next(reversed(self._holds.values()), None)

    def all(self) -> tuple[Callable[[], Coroutine[Any, Any, None]], ...]:
        """What is to run until it is cancelled."""
        return (self._heartbeats, self._pulse, self._watch, self._keep_house)

    async def _heartbeats(self) -> None:
        """Keep the leases of running trials; a lease that was lost takes its trial along."""
        desk = self._crew.desk
        while True:
            tokens = {trial.token: trial for trial in self._state.live_trials.values()}
            valid = await desk.call(desk.manager.heartbeat, list(tokens))
            for token in tokens.keys() - valid:
                if tokens[token].id in self._state.live_trials:
                    self._crew.say(f"{tokens[token].id} lost its lease: cancelling it")
                    await self._crew.executor.cancel(tokens[token].id)
                    await desk.reclaim(token)
            await self._lab.clock.sleep(desk.manager.ttl / BEATS)

    async def _pulse(self) -> None:
        """Leave a pulse: whoever looks on sees that this run lives, and what it does; wishes left then are heard."""
        ledger, clock = self._lab.journal.ledger, self._lab.clock
        await self._listening.wait()
        while True:
            phase = self._session.phase
            await asyncio.to_thread(ledger.pulse, self._state.session, self._session.number, clock.now(), phase)
            await clock.sleep(self._crew.tick_seconds)

    async def _watch(self) -> None:
        """Heed the wishes people leave, one after the other."""
        ledger = self._lab.journal.ledger
        seen = await asyncio.to_thread(ledger.last_wish)
        self._listening.set()
        for _, wish in await asyncio.to_thread(ledger.wishes, self._state.session, 0):
            if (ruling := read_ruling(wish)) is not None:  # left while nobody worked: those alone still hold
                await self._session.rule(ruling)
        while True:
            for seq, wish in await asyncio.to_thread(ledger.wishes, self._state.session, seen):
                seen = seq
                await self._heed(wish)
            await self._lab.clock.sleep(self._crew.tick_seconds)

    async def _keep_house(self) -> None:
        """Start no trial while the disk runs short, forget what nobody needs, pack the candidates."""
        while True:
            if (shortage := await asyncio.to_thread(self._housekeeper.shortage)) is not None:
                self._hold("the disk", f"paused: {shortage}")
            else:
                self._let_go("the disk")
            await self._housekeeper.tidy()
            await self._housekeeper.pack()
            await self._lab.clock.sleep(HOUSEKEEPING_TICKS * self._crew.tick_seconds)

    def _hold(self, who: str, phase: str) -> None:
        """Let no trial start until whoever asks for it lets go."""
        self._holds[who] = phase
        self._crew.desk.close_doors()

    def _let_go(self, who: str) -> None:
        if self._holds.pop(who, None) is not None and not self._holds:
            self._crew.desk.open_doors()

    async def _heed(self, wish: str) -> None:
        match wish:
            case "stop":
                self._session.drain("stopped by `swarm stop`")
            case "stop-now":
                await self._session.stop_now("stopped by `swarm stop --now`")
            case "pause":
                self._hold("a person", "paused")
            case "resume":
                self._let_go("a person")
            case _ if (ruling := read_ruling(wish)) is not None:
                await self._session.rule(ruling)
