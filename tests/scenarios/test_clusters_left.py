"""However a session on clusters ends, no cluster is left: whole sessions in a cloud of folders and processes."""

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from swarm.assemble.choice import StartRequest
from swarm.assemble.session import opened_session
from swarm.config import PoolSettings
from swarm.doctor import State, examine
from swarm.home import Home
from swarm.mending import mend
from swarm.session import Session
from tests.executor_lab import sky_executor
from tests.fake_cloud import FakeCloud
from trainer.contract import Outcome, load_task

pytestmark = pytest.mark.slow
TASK = 'editable = "train.py"\nmetric = "loss"\nbudget = { wall = 60 }\nranges.X = { low = 0.0, high = 5.0 }\n'
QUICK = """\
import os
import random

X = 1.0
print(f"loss: {1 + X * X + random.Random(os.environ['NIGHTSWARM_SEED']).gauss(0, 0.01)}")
"""
ENDLESS = "X = 1.0\nimport time\ntime.sleep(600)\n"
CONFIG = """\
executor = "sky"
experiment = "experiment.yaml"

[[pool]]
accelerators = "cpu:2"
"""


class Yard:
    """A home, a task, and the cloud that its sessions find."""

    def __init__(self, folder: Path, train: str) -> None:
        self.cloud = FakeCloud(folder / "cloud")
        self.home = Home(folder / "home", create=True)
        self.said: list[str] = []
        self.folder = folder
        (folder / "bowl").mkdir()
        (folder / "bowl" / "task.toml").write_text(TASK)
        (folder / "bowl" / "train.py").write_text(train)
        self.task = load_task(folder / "bowl")
        (folder / "swarm.toml").write_text(CONFIG)
        # Of a session "s"; its experiment.yaml serves all.
        self.dying = sky_executor(self.cloud, folder, pool=PoolSettings(accelerators="cpu:2"))

    def session(self, **limits: float) -> AbstractAsyncContextManager[Session]:
        request = StartRequest(task=str(self.task.folder), config=self.folder / "swarm.toml", limits=limits)
        return opened_session(self.home, request, self.said.append, sky=lambda log: self.cloud)


async def dies(yard: Yard) -> None:
    """A swarm starts a cluster, and is gone the next moment."""
    await yard.dying.prepare(yard.task, lambda line: None)


async def until(session: Session, true: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not true():
            await session.changed()


async def test_a_session_whose_budget_is_spent_leaves_no_cluster(tmp_path: Path) -> None:
    """Not its own either, and none of a dead session."""
    yard = Yard(tmp_path, QUICK)
    await asyncio.to_thread(asyncio.run, dies(yard))
    async with yard.session(gpu_hours=2 / 3600) as session:
        assert "left by session s" in " ".join(yard.said)
        assert len(yard.cloud.known()) == 1
        reason = await session.run()
        spent = session.pace.budget.spent.gpu_hours * 3600
    assert "GPU" in reason
    assert 2 <= spent < 2 + 2 * 4  # overshot by running trials alone
    assert session.state.baseline.trials
    assert yard.cloud.known() == []


async def test_a_session_stopped_at_once_leaves_no_cluster(tmp_path: Path) -> None:
    yard = Yard(tmp_path, ENDLESS)
    async with yard.session() as session:
        running = asyncio.create_task(session.run())
        await until(session, lambda: bool(session.state.live_trials))
        await session.stop_now("enough")
        await running
        assert {trial.outcome for trial in session.state.baseline.trials} == {Outcome.PREEMPTED}
    assert yard.cloud.known() == []


async def test_what_a_dead_session_left_is_listed_and_torn_down(tmp_path: Path) -> None:
    yard = Yard(tmp_path, QUICK)
    await asyncio.to_thread(asyncio.run, dies(yard))
    (name,) = yard.cloud.known()
    (found,) = [finding for finding in examine(yard.home.root) if finding.what == "clusters"]
    assert (found.state, found.found) == (State.LACK, f"orphaned: {name} of session s")
    assert list(mend(yard.home, lambda log: yard.cloud)) == [f"{name} is torn down"]
    assert yard.cloud.known() == []
    assert not any(finding.what == "clusters" for finding in examine(yard.home.root))
