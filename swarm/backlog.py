"""The backlog of experiments: kept so deep that no slot waits for a thought."""

import asyncio
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Protocol

from swarm.lab import Lab
from swarm.lifecycle import Lifecycle
from swarm.ports import Brief
from swarm.research.experiment import Proposal, Status
from swarm.research.knobs import derive_ranges, read_knobs
from swarm.research.ledger import Kind

ASK_AGAIN_SECONDS = 10.0  # after nothing came and nothing happened since: a model may have come back


class Thinkers(Protocol):
    """Who proposes."""

    async def propose(self, brief: Brief) -> list[Proposal]: ...

    @property
    def exhausted(self) -> bool: ...


@dataclass(frozen=True, kw_only=True)
class Ask:
    """What a thinker is asked for."""

    thinker: int  # 0, 1, ...
    wave: str | None  # None: single experiments
    wanted: int


class Backlog:
    """Decides what to ask for, asks, and files the answers."""

    def __init__(
        self,
        lab: Lab,
        lifecycle: Lifecycle,
        specialists: Thinkers,
        *,
        slots: int,
        thinkers: int,
    ) -> None:
        """``slots`` may run at once; ``thinkers`` calls for proposals may be under way at once."""
        self._lab = lab
        self._state = lab.journal.state
        self._lifecycle = lifecycle
        self._specialists = specialists
        self._slots = slots
        self._thinkers = thinkers
        self._nothing_at = (-1, 0.0)  # state.seq, and the time, when a proposer had nothing to say
        self._bold = 0  # plateaus to which a wave has answered
        self._asked: dict[int, Ask] = {}  # by thinker: what is being thought of

    @property
    def waves(self) -> set[str]:
        """Waves that are being thought of."""
        return {ask.wave for ask in self._asked.values() if ask.wave is not None}

    @property
    def exhausted(self) -> bool:
        """Whether nobody has anything to propose as things are, and nobody will."""
        return not self._asked and self._nothing_at[0] == self._state.seq and self._specialists.exhausted

    def asks(self, busy: Collection[int]) -> Iterator[Ask]:
        """What to ask for now, while fewer experiments wait, or are being thought of, than there are slots.

        Whoever takes an ask must ``think`` it. ``busy`` thinkers are left alone.
        """
        limit = self._lab.settings.limits.experiments
        seq, at = self._nothing_at
        if seq == self._state.seq and self._lab.clock.now() < at + ASK_AGAIN_SECONDS:
            return
        for thinker in range(self._thinkers):
            coming = sum(ask.wanted for ask in self._asked.values())
            room = None if limit is None else limit - self._state.begun() - coming
            full = self._state.count(Status.PROPOSED, Status.HELD, Status.APPROVED) + coming > self._slots
            if full or (room is not None and room <= 0):
                return
            if thinker not in busy:
                self._asked[thinker] = self._next_ask(thinker, room)
                yield self._asked[thinker]

    async def think(self, ask: Ask) -> None:
        """Have the proposer think, and file what it says."""
        try:
            await self._lab.scribe.program()
            await self._file(await self._brief(ask), ask)
        finally:
            del self._asked[ask.thinker]

    def _next_ask(self, thinker: int, room: int | None) -> Ask:
        """A wave, or single experiments to bridge the time in which the last wave is not yet understood."""
        bridge = bool(self._state.unread_waves or self.waves)
        wanted = -(-self._slots // self._thinkers) if bridge else self._lab.settings.waves.size
        return Ask(
            thinker=thinker,
            wave=None if bridge else f"wave {len(self._state.waves) + 1}",
            wanted=wanted if room is None else min(wanted, room),
        )

    async def _file(self, brief: Brief, ask: Ask) -> None:
        proposals = await self._specialists.propose(brief)
        if not proposals:
            self._nothing_at = (self._state.seq, self._lab.clock.now())
            return
        waves = {proposal.wave: proposal for proposal in reversed(proposals) if proposal.wave is not None}
        for name, first in waves.items():
            await self._lab.journal.record(Kind.WAVE_OPENED, name, {"design": first.design, "parent": first.parent})
        for proposal in proposals[: ask.wanted]:
            await self._lifecycle.admit(proposal)

    def _is_bold(self, ask: Ask) -> bool:
        """Whether this is the first wave since a plateau was announced."""
        if ask.wave is None or self._state.plateau is None or self._bold >= self._state.plateaus:
            return False
        self._bold = self._state.plateaus
        return True

    async def _brief(self, ask: Ask) -> Brief:
        incumbent = self._state.incumbent
        source = await asyncio.to_thread(self._lab.lineage.source, incumbent.candidate)
        knobs = read_knobs(source)
        return Brief(
            session=self._state.session,
            task=self._lab.task,
            parent=incumbent.candidate,
            source=source,
            knobs=knobs,
            ranges=derive_ranges(knobs, self._lab.task.ranges),
            observations=await self._lab.observer.observations(),
            taken=await self._lab.observer.unscreened(),
            parts=await self._lab.observer.parts(),
            files=await self._lab.observer.files(),
            noise=self._lab.observer.screening_noise(),
            wanted=ask.wanted,
            wave=ask.wave,
            slots=self._slots,
            barren=self._state.barren if self._state.plateau else 0,
            bold=self._is_bold(ask),
            seed=self._lab.settings.seed * 1_000_000 + len(self._state.experiments) * self._thinkers + ask.thinker,
        )
