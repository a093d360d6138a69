"""All proposers together: rules come at once, thoughts when they are ready, so that no slot waits for a thought."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from swarm.errors import CapReached, ModelMisused, ModelUnavailable, SwarmError
from swarm.ports import Brief, Clock, Proposer
from swarm.research.experiment import Proposal
from swarm.research.portfolio import Tried, shares

_REST_SECONDS = 60.0  # that a proposer is left alone of whom nothing came; doubled each time
_LONGEST_OUTAGE = 300.0  # to ask an endpoint that is down costs nothing
_LONGEST_REST = 1800.0  # to ask a model that has nothing to say does


class Thinker(Proposer, Protocol):
    """A Proposer that takes its time, and whose proposals cost something: the same come until they are delivered."""

    async def deliver(self) -> None:
        """What was proposed last is on record."""
        ...

    async def give_up(self) -> None:
        """What was thought can never be used."""
        ...


@dataclass(kw_only=True)
class _Seat:
    """A thinker and what it is at."""

    thinker: Thinker
    thought: "asyncio.Task[list[Proposal]] | None" = None
    ready: list[Proposal] = field(default_factory=list)  # thought of, not proposed yet
    open: bool = False  # its last thought was taken up and is not delivered yet
    rests_until: float = 0.0  # unix seconds
    rest: float = _REST_SECONDS
    gone: bool = False  # for the rest of the session


class Portfolio:
    """A Proposer (see ports) made of others. Use from one event loop."""

    name = "portfolio"

    def __init__(
        self,
        rule: Proposer,
        thinkers: Sequence[Thinker],
        *,
        shares_slots: bool,
        clock: Clock,
        tell: Callable[[str, str], Awaitable[None]],
    ) -> None:
        """``rule`` proposes at once and fills what the thinkers leave open. Where it is not to share the slots, the
        thinkers are waited for, and it stands in only where nothing came of any of them. ``tell(author, line)`` says
        what a person should know.
        """
        self._rule = rule
        self._shares_slots = shares_slots
        self._seats = {thinker.name: _Seat(thinker=thinker) for thinker in thinkers}
        self._clock = clock
        self._tell = tell

    async def propose(self, brief: Brief) -> list[Proposal]:
        """At most ``brief.wanted``, shared by what each was worth. Raises what the rule raises."""
        for seat in self._seats.values():
            if seat.open and not seat.ready:  # whoever asks again has filed what was proposed before
                await seat.thinker.deliver()
                seat.open = False
        share = self._shares(brief)
        for name, seat in self._seats.items():
            if self._idle(seat) and (wanted := share.get(name, 0)):
                seat.thought = asyncio.create_task(seat.thinker.propose(replace(brief, wanted=wanted)), name=name)
        await self._collect_all()
        while not self._shares_slots and await self._another_thought():
            await self._collect_all()
        found: list[Proposal] = []
        for seat in self._seats.values():
            room = brief.wanted - len(found)
            found, seat.ready = found + seat.ready[:room], seat.ready[room:]
        if len(found) < brief.wanted and (self._shares_slots or not found):
            found = await self._rule.propose(replace(brief, wanted=brief.wanted - len(found))) + found
        return found

    @property
    def exhausted(self) -> bool:
        """Whether nobody thinks, or will again: then only the rule is left."""
        return all(seat.gone for seat in self._seats.values())

    async def close(self) -> None:
        """Give up the thoughts that are under way; what was paid for is kept."""
        thoughts = [seat.thought for seat in self._seats.values() if seat.thought is not None]
        for thought in thoughts:
            thought.cancel()
        await asyncio.gather(*thoughts, return_exceptions=True)

    def _shares(self, brief: Brief) -> dict[str, int]:
        arms = [name for name, seat in self._seats.items() if not seat.gone]
        if self._shares_slots:
            arms.append(self._rule.name)
        tried = [Tried(author=o.author, gain=o.gain, seconds=o.seconds) for o in brief.observations]
        return shares(arms, tried, brief.wanted, brief.seed) if arms else {}

    def _idle(self, seat: _Seat) -> bool:
        busy = seat.gone or seat.thought is not None or seat.open
        return not busy and self._clock.now() >= seat.rests_until

    async def _another_thought(self) -> bool:
        """Wait until another thought is done; False where something is ready, or nobody thinks."""
        thoughts = [seat.thought for seat in self._seats.values() if seat.thought is not None]
        if not thoughts or any(seat.ready for seat in self._seats.values()):
            return False
        await asyncio.wait(thoughts, return_when=asyncio.FIRST_COMPLETED)
        return True

    async def _collect_all(self) -> None:
        for seat in self._seats.values():
            await self._collect(seat)

    async def _collect(self, seat: _Seat) -> None:
        """Take up a thought that is ready, or what kept it from being one."""
        if seat.thought is None or not seat.thought.done():
            return
        thought, seat.thought = seat.thought, None
        try:
            seat.ready = list(thought.result())
            seat.open = True
            if seat.ready:
                if seat.rest > _REST_SECONDS:
                    await self._tell(seat.thinker.name, "thinks again")
                seat.rest = _REST_SECONDS
            else:
                await self._let_rest(seat, "it had nothing to propose", _LONGEST_REST)
        except ModelUnavailable as error:
            await self._let_rest(seat, str(error), _LONGEST_OUTAGE)
        except (CapReached, ModelMisused) as error:
            seat.gone = True
            await self._tell(seat.thinker.name, f"proposes no more: {error}")
        except SwarmError as error:
            await seat.thinker.give_up()
            await self._let_rest(seat, f"it had nothing usable: {error}", _LONGEST_REST)

    async def _let_rest(self, seat: _Seat, why: str, longest: float) -> None:
        """Leave a thinker alone for a while, longer each time: what fails now is likely to fail again at once."""
        seat.rests_until = self._clock.now() + seat.rest
        await self._tell(seat.thinker.name, f"rests for {seat.rest:.0f} s: {why}")
        seat.rest = min(2 * seat.rest, longest)
