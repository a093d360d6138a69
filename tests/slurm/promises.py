"""The Executor's promises, kept on a real cluster: run by test_clusters.py in a process that has the bed's environment.

All 16 devices are there at once, on two clusters that the tests share: each test is a session of its own, and takes
the clusters over from the one before.
"""

import asyncio
import itertools
import os
from collections.abc import Awaitable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import pytest

from swarm.config import PoolSettings
from swarm.executors.sky.executor import SkyExecutor
from swarm.executors.sky.fleet import Patience, Tell
from swarm.executors.sky.registry import Registry, tear_down
from swarm.executors.sky.sdk import SkySdk
from swarm.ports import Executor, Slot, TrialOrder
from tests.contracts.test_executor import (  # collected from here, with the bench below
    task,  # noqa: F401
    test_a_cancelled_trial_is_preempted,  # noqa: F401
    test_a_crash_has_no_value,  # noqa: F401
    test_a_known_trial_is_not_started_anew,  # noqa: F401
    test_a_resumed_swarm_finds_its_trials,  # noqa: F401
    test_a_trial_never_submitted_is_preempted,  # noqa: F401
    test_trials_run_side_by_side,  # noqa: F401
)
from tests.executor_lab import make_task, nobody_told

T = TypeVar("T")
FOLDER = Path(os.environ["NIGHTSWARM_BED_TEST"])  # of the run; experiment.yaml lies in it
POOLS = [
    PoolSettings(accelerators="H100:13", infra="slurm/bed/h100"),
    PoolSettings(accelerators="H200:3", infra="slurm/bed/h200"),
]
SECONDS = 300.0  # for one thing a test waits for, on a machine that may be busy


class ClusterBench:
    """The orders of the tests name a slot of some machine: each gets one of the 16 in turn."""

    def __init__(self, session: str, turn: Iterator[int]) -> None:
        self._session = session
        self._turn = turn
        self.executor: Executor = self.reopen()

    async def run(self, work: Awaitable[T]) -> T:
        async with asyncio.timeout(SECONDS):
            return await work

    def reopen(self) -> Executor:
        return AnySlot(self._session, self._turn)


class AnySlot(SkyExecutor):
    """A SkyExecutor that chooses the slot of each order itself. Trials of all tests have the same names, so each is
    one of its test's session: a cluster runs what it is told twice only once.
    """

    def __init__(self, session: str, turn: Iterator[int], *, tell: Tell = nobody_told) -> None:
        super().__init__(
            SkySdk(),
            FOLDER / "home",
            session,
            POOLS,
            experiment=FOLDER / "experiment.yaml",
            tell=tell,
            patience=Patience(again=1.0),
        )
        self._session, self._turn = session, turn
        self._chosen: dict[str, Slot] = {}  # trial -> its slot: told twice, it must not be two clusters'

    async def submit(self, order: TrialOrder) -> None:
        slot = self._chosen.setdefault(order.trial_id, self.slots[next(self._turn) % len(self.slots)])
        await super().submit(replace(order, session=self._session, slot=slot))


async def both_clusters_up() -> None:
    """Start them as a session that is gone the next moment."""
    up, all_up = set[str](), asyncio.Event()

    async def tell(slots: Sequence[str], why: str | None) -> None:
        if why is None:
            up.update(slots)
        if len(up) == len(executor.slots):
            all_up.set()

    executor = AnySlot("opening", itertools.repeat(0), tell=tell)
    async with asyncio.timeout(SECONDS):
        await executor.prepare(make_task(FOLDER / "task"), print)
        await all_up.wait()


@pytest.fixture(scope="session")
def turn() -> Iterator[Iterator[int]]:
    """Numbers slots, H100 and H200 by turns, once both clusters are up; at the end the clusters are torn down."""
    asyncio.run(both_clusters_up())
    yield itertools.chain.from_iterable(zip(itertools.cycle(range(13)), itertools.cycle(range(13, 16)), strict=False))
    registry = Registry(FOLDER / "home" / "clusters")
    for record in registry.all():
        tear_down(SkySdk(), registry, record.cluster)
    assert SkySdk().known() == []


@pytest.fixture
def bench(request: pytest.FixtureRequest, turn: Iterator[int]) -> ClusterBench:
    return ClusterBench(request.node.name.replace("_", "-"), turn)
