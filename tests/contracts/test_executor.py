"""What every Executor promises, proved on each of them."""

import asyncio
from pathlib import Path

import pytest

from tests.executor_lab import (
    BETTER,
    BROKEN,
    ENDLESS,
    GOOD,
    Bench,
    LocalBench,
    SimulatedBench,
    SkyBench,
    make_task,
    order,
    ready,
)
from trainer.contract import Outcome, Task


@pytest.fixture(params=["local", "simulated", "sky"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Bench:
    match request.param:
        case "local":
            return LocalBench(tmp_path)
        case "sky":
            return SkyBench(tmp_path)
        case _:
            return SimulatedBench()


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_task(tmp_path / "task")


async def test_a_trial_ends_in_its_result(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await executor.submit(order(task, "t1"))
    result = await bench.run(executor.result("t1"))
    assert (result.trial_id, result.outcome, result.metric, result.seed) == ("t1", Outcome.COMPLETED, 1.25, 7)
    assert await bench.run(executor.result("t1")) == result


async def test_a_known_trial_is_not_started_anew(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await asyncio.gather(*(executor.submit(order(task, "t1", source)) for source in (GOOD, BETTER)))
    first = await bench.run(executor.result("t1"))
    await executor.submit(order(task, "t1", BETTER))
    assert await bench.run(executor.result("t1")) == first
    assert first.metric == 1.25


async def test_a_crash_has_no_value(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await executor.submit(order(task, "t1", BROKEN))
    result = await bench.run(executor.result("t1"))
    assert (result.outcome, result.metric) == (Outcome.CRASHED, None)
    assert "no such layer" in result.message


async def test_trials_run_side_by_side(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await executor.submit(order(task, "endless", ENDLESS))
    await executor.submit(order(task, "good"))
    await executor.submit(order(task, "better", BETTER))
    results = await bench.run(asyncio.gather(executor.result("good"), executor.result("better")))
    assert [result.metric for result in results] == [1.25, 0.75]
    await bench.run(executor.cancel("endless"))


async def test_a_cancelled_trial_is_preempted(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await executor.submit(order(task, "t1", ENDLESS))
    waiting = asyncio.create_task(executor.result("t1"))
    await bench.run(executor.cancel("t1"))
    result = await bench.run(waiting)
    assert (result.outcome, result.metric) == (Outcome.PREEMPTED, None)
    assert await bench.run(executor.result("t1")) == result
    await bench.run(executor.cancel("t1"))


async def test_giving_up_waiting_does_not_end_the_trial(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await executor.submit(order(task, "t1"))
    waiting = asyncio.create_task(executor.result("t1"))
    await asyncio.sleep(0)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert (await bench.run(executor.result("t1"))).metric == 1.25


async def test_a_result_outlives_a_late_cancel(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await executor.submit(order(task, "t1"))
    result = await bench.run(executor.result("t1"))
    await bench.run(executor.cancel("t1"))
    assert await bench.run(executor.result("t1")) == result


async def test_a_trial_never_submitted_is_preempted(bench: Bench, task: Task) -> None:
    await bench.run(bench.executor.cancel("t1"))
    result = await bench.run(bench.executor.result("t1"))
    assert (result.trial_id, result.outcome) == ("t1", Outcome.PREEMPTED)


async def test_a_resumed_swarm_finds_its_trials(bench: Bench, task: Task) -> None:
    executor = await ready(bench, task)
    await executor.submit(order(task, "ends"))
    await executor.submit(order(task, "endless", ENDLESS))
    resumed = bench.reopen()
    await resumed.submit(order(task, "ends", BETTER))
    assert (await bench.run(resumed.result("ends"))).metric == 1.25
    await bench.run(resumed.cancel("endless"))
    assert (await bench.run(executor.result("endless"))).outcome is Outcome.PREEMPTED


async def test_preparing_tells_its_progress_and_may_be_repeated(bench: Bench, task: Task) -> None:
    lines: list[str] = []
    await bench.run(bench.executor.prepare(task, lines.append))
    assert any("words" in line for line in lines)
    await bench.run(bench.executor.prepare(task, lines.append))
