"""Judged trials through the executor: one warm worker forks them all, and its death costs none of them."""

import asyncio
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from swarm.executors.local import LocalExecutor
from swarm.ports import Slot, TrialOrder
from tests.trainer_lab import documented_task
from trainer.contract import WARM_POSSIBLE, Budget, BudgetKind, Outcome, Task, harness_alive, load_task

pytestmark = pytest.mark.skipif(not WARM_POSSIBLE, reason="there are warm workers on Linux alone")


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return load_task(documented_task("bigram", tmp_path))


@pytest.fixture
def executor(tmp_path: Path) -> Iterator[LocalExecutor]:
    executor = LocalExecutor(tmp_path / "trials", tmp_path / "data")
    yield executor
    executor.close()


def order(task: Task, name: str, source: str | None = None) -> TrialOrder:
    return TrialOrder(
        trial_id=name,
        session="s",
        task=task,
        source=task.editable_path.read_text() if source is None else source,
        tier="screen",
        budget=Budget(kind=BudgetKind.STEPS, amount=5),
        seed=0,
        slot=Slot(name="cpu-0", accelerator="cpu"),
        token=1,
    )


def workers() -> list[psutil.Process]:
    children = psutil.Process().children()
    return [p for p in children if p.status() != psutil.STATUS_ZOMBIE and "trainer.warm" in p.cmdline()]


async def test_two_trials_share_a_worker_and_a_third_gets_a_new_one(task: Task, executor: LocalExecutor) -> None:
    await executor.prepare(task, lambda _: None)
    await asyncio.gather(*(executor.submit(order(task, name)) for name in ("a", "b")))
    (worker,) = workers()
    first, second = await executor.result("a"), await executor.result("b")
    assert (first.outcome, first.steps) == (Outcome.COMPLETED, 5), first.message
    assert first.metric == second.metric
    worker.send_signal(signal.SIGKILL)
    psutil.wait_procs([worker])
    await executor.submit(order(task, "c"))
    assert (await executor.result("c")).metric == first.metric
    (another,) = workers()
    assert another.pid != worker.pid


async def test_a_trial_outlives_its_worker_and_can_be_cancelled_then(
    task: Task, executor: LocalExecutor, tmp_path: Path
) -> None:
    await executor.prepare(task, lambda _: None)
    source = task.editable_path.read_text()
    endless = source.replace("    step = 0\n", "    step = 0\n    runtime.report(0, 9.0)\n    while True: pass\n")
    await executor.submit(order(task, "a", endless))
    folder = tmp_path / "trials" / "a"
    async with asyncio.timeout(60):
        while not (folder / "curve.jsonl").exists() or not (folder / "curve.jsonl").read_text():
            await asyncio.sleep(0.02)
    os.kill(workers()[0].pid, signal.SIGKILL)
    assert harness_alive(folder)
    await executor.cancel("a")
    assert (await executor.result("a")).outcome is Outcome.PREEMPTED
    assert not harness_alive(folder)


async def test_a_worker_goes_with_its_executor_and_knows_no_secrets(
    task: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_KEY", "hunter2")
    spy = "print(open('/proc/self/environ').read().count('SECRET'), 'secrets')\n" + task.editable_path.read_text()
    executor = LocalExecutor(tmp_path / "trials", tmp_path / "data")
    await executor.prepare(task, lambda _: None)
    await executor.submit(order(task, "a", spy))
    assert (await executor.result("a")).outcome is Outcome.COMPLETED
    assert "0 secrets" in (tmp_path / "trials" / "a" / "log.txt").read_text()
    assert workers()
    executor.close()
    assert not workers()
