"""A session of weeks on simulated time: does memory stay flat, does an event cost at the end what it cost before?

    python -m tests.bench.bench_soak [DAYS]

Sixteen slots, trials of nine minutes; session, leases, statistics, optimiser, reviewer and notebook are the real ones.
One line a simulated day.
"""

import asyncio
import os
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from swarm.bench.landscape import Valley
from swarm.bench.night import Night, scenario_of
from swarm.bench.simulation import Simulation, simulated
from swarm.ports import Slot

SLOTS = 16
DAY = 86400.0  # seconds
BUDGET_SECONDS = 495.0  # of one trial: with its overhead some 2,600 a day


@dataclass(frozen=True, kw_only=True)
class Day:
    """What was seen at a moment of the session."""

    number: int  # simulated days since its start
    experiments: int
    events: int  # of the ledger
    seconds: float  # real, since the start
    cpu: float  # seconds of this process, since the start: what load beside it does not change much
    memory_mb: float  # resident


@dataclass(kw_only=True)
class Watch:
    """Looks at a simulated session once a simulated day."""

    simulation: Simulation
    days: list[Day] = field(default_factory=list)
    began: float = field(default_factory=time.perf_counter)

    async def run(self) -> str:
        looking = asyncio.create_task(self._look())
        try:
            return await self.simulation.session.run()
        finally:
            looking.cancel()
            self._note()

    async def _look(self) -> None:
        while True:
            await asyncio.sleep(DAY)
            self._note()
            self._print()

    def _note(self) -> None:
        state = self.simulation.session.state
        self.days.append(
            Day(
                number=len(self.days) + 1,
                experiments=len(state.experiments),
                events=state.seq,
                seconds=time.perf_counter() - self.began,
                cpu=time.process_time(),
                memory_mb=psutil.Process().memory_info().rss / 1e6,
            )
        )

    def _print(self) -> None:
        before, now = self.days[-2] if len(self.days) > 1 else None, self.days[-1]
        took = now.cpu - (before.cpu if before else 0.0)
        events = now.events - (before.events if before else 0)
        print(
            f"{now.number:4d} {now.experiments:12,} {now.events:10,} {now.seconds:8.0f} {now.cpu:8.0f} "
            f"{now.memory_mb:6.0f} {1000 * took / max(1, events):10.3f}",
            flush=True,
        )


def main(days: int) -> None:
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    night = Night(
        landscape=Valley(),
        slots=[Slot(name=f"h100-{number}", accelerator="H100") for number in range(SLOTS)],
        hours=24.0 * days,
        budget_seconds=BUDGET_SECONDS,
    )
    print(" day  experiments     events   real s    CPU s     MB  CPU ms/event")
    with tempfile.TemporaryDirectory(prefix="swarm-soak-") as folder:
        root = Path(folder)
        with simulated(scenario_of(night, root / "task"), root / "home") as simulation:
            watch = Watch(simulation=simulation)
            print(simulation.clock.run(watch.run()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
