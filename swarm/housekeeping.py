"""What finished trials leave on the disk, how long it is kept, and whether there is room for more.

The policy, in one place:

- scratch goes with its trial; the harness sees to it;
- the checkpoint of a candidate's first validation run is kept until its verdict, and for good when that is CONFIRMED;
- candidates lie in git, packed every ``PACKED`` experiments: unpacked ones take some thirty times the room;
- logs, curves and all else in a trial's folder are kept for the newest ``KEPT`` experiments, for the CONFIRMED ones
  and for the baseline. Scores, mean curves and candidates are never dropped: they are in the ledger and in git.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

from swarm.ports import CandidateStore, Executor
from swarm.research.experiment import Experiment, Status
from swarm.research.state import SessionState

KEPT = 1000  # experiments whose trials keep their folders
PACKED = 500  # experiments from one packing of candidates to the next
_SLACK = 1.1  # times the reserve must be free again before trials start


@dataclass(frozen=True, kw_only=True)
class Disk:
    """The disk of the home."""

    place: str  # as a person knows it
    free_mb: Callable[[], float]  # MB that can still be written
    reserve_mb: float  # MB that are kept free


class Housekeeper:
    """Forgets trials that nobody needs any more, packs candidates, and tells when the disk runs short."""

    def __init__(self, state: SessionState, executor: Executor, candidates: CandidateStore, disk: Disk | None) -> None:
        """``disk`` None: room is no matter, as on simulated time."""
        self._state = state
        self._executor = executor
        self._candidates = candidates
        self._disk = disk
        self._short = False
        self._looked_at = 0  # experiments with a lower number are forgotten, kept for good, or late
        self._late: list[int] = []  # numbers of experiments that are old and not over
        self._packed = len(state.experiments) // PACKED  # times that so many candidates are there

    def shortage(self) -> str | None:
        """Why no trial should start now; None where there is room. Looks at the disk: call it from a thread."""
        if self._disk is None:
            return None
        wanted = self._disk.reserve_mb * (_SLACK if self._short else 1.0)
        self._short = self._disk.free_mb() < wanted
        if not self._short:
            return None
        return (
            f"less than {self._disk.reserve_mb:g} MB are free on the disk of {self._disk.place}; make room there and "
            "it goes on by itself"
        )

    async def tidy(self) -> None:
        """Forget the trials of experiments that are over and no longer among the newest."""
        old = len(self._state.experiments) - KEPT
        numbers = [*self._late, *range(self._looked_at, old)]
        self._looked_at = max(self._looked_at, old)
        self._late = []
        for number in numbers:
            experiment = self._state.experiments[self._state.name_of(number)]
            if not experiment.is_final:
                self._late.append(number)
            elif not _for_good(experiment):
                for trial in experiment.trials:
                    await self._executor.forget(trial.id)

    async def pack(self) -> None:
        """Pack the candidates when there are many new ones, and room to do it."""
        full = len(self._state.experiments) // PACKED
        if full > self._packed and not self._short:
            self._packed = full
            await asyncio.to_thread(self._candidates.pack)


def _for_good(experiment: Experiment) -> bool:
    return experiment.status in (Status.BASELINE, Status.CONFIRMED)
