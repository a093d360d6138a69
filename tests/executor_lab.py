"""Executors for tests, each with its bench: what it takes to use one, and to find it again after a restart."""

import asyncio
import sys
from collections.abc import Awaitable, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from swarm.config import PoolSettings
from swarm.executors.local import LocalExecutor
from swarm.executors.simulated import Course, SimulatedExecutor, lost
from swarm.executors.sky.cloud import Cloud
from swarm.executors.sky.executor import SkyExecutor
from swarm.executors.sky.fleet import Patience, Tell
from swarm.ports import Executor, Slot, SystemClock, TrialOrder
from tests.fake_cloud import FakeCloud
from tests.fakes import completed
from trainer.contract import Outcome, Task, load_task

T = TypeVar("T")

GOOD = "print('loss: 1.25')\n"
BETTER = "print('loss: 0.75')\n"
BROKEN = "raise RuntimeError('no such layer')\n"
ENDLESS = "import time\nprint('started', flush=True)\ntime.sleep(600)\n"
PREPARE = """\
import pathlib, sys
print('writing words', flush=True)
pathlib.Path(sys.argv[1], 'words.txt').write_text('words')
"""


class Bench(Protocol):
    """An adapter and how to use it."""

    executor: Executor

    async def run(self, work: Awaitable[T]) -> T:
        """Wait for something that takes the adapter's time."""
        ...

    def reopen(self) -> Executor:
        """The executor as a resumed swarm sees it."""
        ...


class LocalBench:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.executor: Executor = self.reopen()

    async def run(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(30):
            return await work

    def reopen(self) -> Executor:
        return LocalExecutor(self.folder / "trials", self.folder / "data")


class SimulatedBench:
    """A simulated trial lives as long as its executor, which does not die here: the same one is found again."""

    def __init__(self) -> None:
        self.executor: Executor = SimulatedExecutor(SystemClock(), self._course)

    async def run(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(30):
            return await work

    def reopen(self) -> Executor:
        return self.executor

    def _course(self, order: TrialOrder) -> Course:
        if order.source == BROKEN:
            return Course(seconds=0.01, result=lost(order, Outcome.CRASHED, "RuntimeError: no such layer"))
        if order.source == ENDLESS:
            return Course(seconds=1e9, result=completed(order, 0.0))
        return Course(seconds=0.01, result=completed(order, float(order.source.split(":")[1].strip(" ')\n"))))


class SkyBench:
    """SkyPilot's place is taken by a cloud of folders and processes; the jobs in it are what a cluster would run."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.cloud = FakeCloud(folder / "cloud")
        self.executor: Executor = self.reopen()

    async def run(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(30):
            return await work

    def reopen(self) -> Executor:
        return sky_executor(self.cloud, self.folder)


async def nobody_told(slots: Sequence[str], why: str | None) -> None:
    """Hears of slots, and passes nothing on."""


def sky_executor(
    cloud: Cloud, folder: Path, *, pool: PoolSettings | None = None, tell: Tell = nobody_told, watch: float = 0.2
) -> SkyExecutor:
    """An executor of session "s" for one cluster with three slots, cpu-0 to cpu-2; ``watch``: see Patience."""
    experiment = folder / "experiment.yaml"
    experiment.write_text(f"run: |\n  PYTHONPATH=. {sys.executable} -m trainer.remote $NIGHTSWARM_DO\n")
    return SkyExecutor(
        cloud,
        folder / "home",
        "s",
        [pool or PoolSettings(accelerators="cpu:3")],
        experiment=experiment,
        tell=tell,
        patience=Patience(first_retry=0.05, last_retry=0.2, watch=watch, again=0.02),
    )


def make_task(folder: Path, *, prepare: str = PREPARE) -> Task:
    folder.mkdir()
    (folder / "train.py").write_text(GOOD)
    (folder / "prepare.py").write_text(prepare)
    (folder / "task.toml").write_text(
        'name = "words"\neditable = "train.py"\nprotected = ["prepare.py"]\nmetric = "loss"\n'
        'prepare = "python prepare.py"\nbudget = { wall = 60 }\n'
    )
    return load_task(folder)


def order(task: Task, trial_id: str, source: str = GOOD, *, seed: int = 7) -> TrialOrder:
    return TrialOrder(
        trial_id=trial_id,
        session="s",
        task=task,
        source=source,
        tier="screen",
        budget=task.budget("screen"),
        seed=seed,
        slot=Slot(name="cpu-0", accelerator="cpu"),
        token=1,
    )


async def ready(bench: Bench, task: Task) -> Executor:
    await bench.run(bench.executor.prepare(task, lambda line: None))
    return bench.executor
