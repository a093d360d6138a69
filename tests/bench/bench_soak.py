"""A session of weeks on simulated time: does memory stay flat, does an event cost at the end what it cost before?

    python -m tests.bench.bench_soak [DAYS]

Sixteen slots, trials of nine minutes; session, leases, statistics, optimiser, reviewer and notebook are the real ones.
One line a simulated day.
"""

# BLAS looks at its variable once, when numpy is imported: its threads only wait for each other here
import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import asyncio
import sqlite3
import sys
import tempfile
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from swarm.bench.landscape import Valley
from swarm.bench.night import Night, scenario_of
from swarm.bench.simulation import Simulation, simulated
from swarm.ports import Slot
from swarm.research.ledger import Kind

SLOTS = 16
DAY = 86400.0  # seconds
THINK_SECONDS = 1.0  # of thought a proposal: it is the optimiser that thinks
BUDGET_SECONDS = 520.0  # of one trial: with its overhead some 2,500 a day


@dataclass(frozen=True, kw_only=True)
class Day:
    """What was seen at a moment of the session."""

    number: int  # simulated days since its start
    ideas: int  # proposals on record
    trials: int  # that have ended
    events: int  # of the ledger
    seconds: float  # real, since the start
    cpu: float  # seconds of this process, since the start: what load beside it does not change much
    memory_mb: float  # resident

    def cost(self, before: "Day | None") -> float:
        """CPU-milliseconds an event since another day, or the start."""
        cpu, events = (before.cpu, before.events) if before else (0.0, 0)
        return 1000 * (self.cpu - cpu) / (self.events - events)


@dataclass(kw_only=True)
class Watch:
    """Looks at a simulated session once a simulated day."""

    simulation: Simulation
    ledger: Path
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

    def _note(self) -> None:
        state = self.simulation.session.state
        with closing(sqlite3.connect(self.ledger)) as db:
            (ended,) = db.execute("SELECT count(*) FROM events WHERE kind = ?", (Kind.TRIAL_ENDED,)).fetchone()
        day = Day(
            number=len(self.days) + 1,
            ideas=len(state.experiments),
            trials=ended,
            events=state.seq,
            seconds=time.perf_counter() - self.began,
            cpu=time.process_time(),
            memory_mb=psutil.Process().memory_info().rss / 1e6,
        )
        print(
            f"{day.number:4d} {day.ideas:10,} {day.trials:10,} {day.events:10,} {day.seconds:8.0f} {day.cpu:8.0f} "
            f"{day.memory_mb:6.0f} {day.cost(self.days[-1] if self.days else None):10.3f}",
            flush=True,
        )
        self.days.append(day)


def main(days: int) -> None:
    night = Night(
        landscape=Valley(),
        slots=[Slot(name=f"h100-{number}", accelerator="H100") for number in range(SLOTS)],
        hours=24.0 * days,
        budget_seconds=BUDGET_SECONDS,
        think_seconds=THINK_SECONDS,
        thinkers=1,
    )
    print(" day      ideas     trials     events   real s    CPU s     MB  CPU ms/event")
    with tempfile.TemporaryDirectory(prefix="swarm-soak-") as folder:
        root = Path(folder)
        with simulated(scenario_of(night, root / "task"), root / "home") as simulation:
            watch = Watch(simulation=simulation, ledger=root / "home" / "ledger.db")
            print(simulation.clock.run(watch.run()))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 24)
