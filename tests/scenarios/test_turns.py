"""On a slot whose next trial is put in line: its process is ready beside the one before, and has its turn after it."""

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from swarm.executors.local import LocalExecutor
from swarm.ports import Slot, TrialOrder
from tests.trainer_lab import documented_task
from trainer.contract import WARM_POSSIBLE, Budget, BudgetKind, Outcome, Task, load_task

pytestmark = pytest.mark.skipif(not WARM_POSSIBLE, reason="is tried from a warm worker, on Linux")

UNTIL_TOLD = """\
    import os, time
    runtime.report(0, 9.0)
    while not os.path.exists("go"):
        time.sleep(0.01)
"""
CACHE = """\
    import os
    from pathlib import Path
    made = Path(os.environ["TORCHINDUCTOR_CACHE_DIR"], "kernels")
    print("found", sorted(p.name for p in made.glob("*")))
    made.mkdir(parents=True, exist_ok=True)
    (made / "before").write_text("ready")
"""


@pytest.fixture(scope="module")
def task(tmp_path_factory: pytest.TempPathFactory) -> Task:
    return load_task(documented_task("bigram", tmp_path_factory.mktemp("turns")))


@pytest.fixture
def executor(task: Task, tmp_path: Path) -> Iterator[LocalExecutor]:
    executor = LocalExecutor(tmp_path / "trials", task.folder.parent / "data")
    yield executor
    executor.close()


def order(task: Task, name: str, source: str) -> TrialOrder:
    return TrialOrder(
        trial_id=name,
        session="s",
        task=task,
        source=source,
        tier="screen",
        budget=Budget(kind=BudgetKind.STEPS, amount=5),
        seed=0,
        slot=Slot(name="cpu-0", accelerator="cpu", lead_seconds=15.0),
        token=1,
    )


def edited(task: Task, *, before_ready: str = "", after_ready: str = "") -> str:
    ready = "    tokens = runtime.ready()  # the clock starts; 1-d uint16 tensor\n"
    source = task.editable_path.read_text()
    assert ready in source
    return source.replace(ready, before_ready + ready + after_ready)


def processes(folder: Path) -> list[psutil.Process]:
    """The harness of a trial and all that descend from it."""
    harness = psutil.Process(json.loads((folder / "harness.pid").read_text())["pid"])
    return [harness, *harness.children(recursive=True)]


async def in_line(folder: Path) -> int:
    """Wait until a trial waits for its turn; how many processes it has."""
    async with asyncio.timeout(60):
        while not (folder / "harness.pid").exists() or not any(
            file.path.endswith(".turn") for file in processes(folder)[0].open_files()
        ):
            await asyncio.sleep(0.02)
    return len(processes(folder))


async def begun(folder: Path) -> int:
    """Wait until the candidate trains; how many processes it has."""
    async with asyncio.timeout(60):
        while not (folder / "curve.jsonl").exists() or not (folder / "curve.jsonl").read_text():
            await asyncio.sleep(0.02)
    return len(processes(folder))


async def test_the_next_trial_is_ready_and_starts_when_the_one_before_has_ended(
    task: Task, executor: LocalExecutor, tmp_path: Path
) -> None:
    first, second = tmp_path / "trials" / "first", tmp_path / "trials" / "second"
    await executor.prepare(task, lambda _: None)
    await executor.submit(order(task, "first", edited(task, after_ready=UNTIL_TOLD)))
    running = await begun(first)
    asked = asyncio.get_running_loop().time()
    started = edited(task, before_ready="    import time; print(time.time())\n")
    await executor.submit(order(task, "second", started))
    assert await in_line(second) == running  # all that it will need are there
    assert (second / "log.txt").read_text() == ""
    (first / "work" / "train" / "go").touch()
    results = [await executor.result(name) for name in ("first", "second")]
    assert [result.outcome for result in results] == [Outcome.COMPLETED] * 2, results
    assert float((second / "log.txt").read_text()) >= (first / "result.json").stat().st_mtime
    waited = results[1].extra["waited_seconds"]
    assert waited > 0
    assert results[1].wall_seconds + waited <= asyncio.get_running_loop().time() - asked


async def test_a_trial_in_line_can_be_cancelled_and_outlives_the_one_before(
    task: Task, executor: LocalExecutor, tmp_path: Path
) -> None:
    await executor.prepare(task, lambda _: None)
    trials = tmp_path / "trials"
    await executor.submit(order(task, "first", edited(task, after_ready=UNTIL_TOLD)))
    await begun(trials / "first")
    for name in ("cancelled", "next"):
        await executor.submit(order(task, name, task.editable_path.read_text()))
        await in_line(trials / name)
        if name == "cancelled":
            await executor.cancel(name)
    cancelled = await executor.result("cancelled")
    assert (cancelled.outcome, cancelled.steps) == (Outcome.PREEMPTED, 0)
    assert cancelled.message == "cancelled by SIGTERM while it waited for its turn"
    os.kill(processes(trials / "first")[0].pid, signal.SIGKILL)
    assert (await executor.result("next")).outcome is Outcome.COMPLETED
    assert (await executor.result("first")).outcome is Outcome.PREEMPTED


async def test_what_was_compiled_before_ready_comes_back_to_the_same_file_alone(
    task: Task, executor: LocalExecutor, tmp_path: Path
) -> None:
    await executor.prepare(task, lambda _: None)
    learnt = '    (made / "after").write_text("learnt")\n'
    trap = f'    (made / "link").symlink_to({str(task.folder.parent / "data" / "secret")!r})\n'
    honest = edited(task, before_ready=CACHE, after_ready=learnt)
    hostile = edited(task, before_ready=CACHE + trap)
    (task.folder.parent / "data" / "secret").write_text("held out")
    found = {}
    for name, source in (("a", honest), ("b", honest), ("c", honest), ("d", hostile), ("e", hostile)):
        await executor.submit(order(task, name, source))
        assert (await executor.result(name)).outcome is Outcome.COMPLETED
        found[name] = (tmp_path / "trials" / name / "log.txt").read_text().strip()
    assert found == {
        "a": "found []", "b": "found ['before']", "c": "found ['before']", "d": "found []", "e": "found []",
    }  # fmt: skip
    (kept,) = (tmp_path / "compiled").iterdir()
    assert [path.name for path in kept.rglob("*")] == ["kernels", "before"]
