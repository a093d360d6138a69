"""Who and what a session works with beside the lab: the specialists, the slots and their leases."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from swarm.housekeeping import Disk
from swarm.leases.desk import LeaseDesk
from swarm.ports import Brief, Executor, Slot, WaveReport
from swarm.research.experiment import Proposal

TICK_SECONDS = 0.5  # how often wishes, limits and pulses are looked after when nothing else happens


class Specialists(Protocol):
    """The agents, as the session needs them."""

    async def propose(self, brief: Brief) -> list[Proposal]:
        """Think of experiments; fewer than wanted, or none, when there is nothing worth a slot."""
        ...

    @property
    def exhausted(self) -> bool:
        """Whether nothing can come any more where nothing came; a model that thinks or rests may still propose."""
        ...

    async def read(self, factors: Sequence[str]) -> None:
        """Look up what the library says about these factors and write claims."""
        ...

    async def analyse(self, report: WaveReport) -> str:
        """Find out what a wave shows; the notebook id of the finding."""
        ...

    async def reflect(self, report: WaveReport) -> None:
        """Think about an analysed wave, where there is a model to think with."""
        ...

    async def widen(self, level: int, factors: Sequence[str]) -> None:
        """Look for new directions: nothing was confirmed for long. ``level``: how often this was said since."""
        ...

    def hush(self) -> None:
        """Give up the thoughts that are under way: the session ends."""
        ...

    async def close(self) -> None:
        """End what the agents keep running."""
        ...


@dataclass(frozen=True, kw_only=True)
class Crew:
    """What a session works with beside the lab."""

    desk: LeaseDesk
    executor: Executor
    specialists: Specialists
    slots: Sequence[Slot]
    disk: Disk | None  # None: room is no matter
    say: Callable[[str], None]  # one line of progress for a person
    tick_seconds: float = TICK_SECONDS  # of the loop's time
    thinkers: int = 1  # how many calls for proposals may be under way at once
