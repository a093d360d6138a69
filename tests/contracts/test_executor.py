"""What every Executor promises, proved on each of them; at the end what only real processes can show."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Awaitable, Sequence
from pathlib import Path
from typing import Any, Protocol, TypeVar

import psutil
import pytest

from swarm.config import PoolSettings
from swarm.errors import InputError
from swarm.executors.local import LocalExecutor
from swarm.executors.simulated import Course, SimulatedExecutor, lost
from swarm.executors.sky.cloud import Cloud
from swarm.executors.sky.executor import SkyExecutor
from swarm.executors.sky.fleet import Patience, Tell
from swarm.ports import Executor, Slot, SystemClock, TrialOrder
from tests.fake_cloud import FakeCloud
from tests.fakes import completed
from trainer.contract import Outcome, Task, load_task, read_result

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
    pass


def sky_executor(
    cloud: Cloud, folder: Path, *, pool: PoolSettings | None = None, tell: Tell = nobody_told
) -> SkyExecutor:
    """An executor of session "s" for one cluster with three slots, cpu-0 to cpu-2."""
    experiment = folder / "experiment.yaml"
    experiment.write_text(f"run: |\n  PYTHONPATH=. {sys.executable} -m trainer.remote $NIGHTSWARM_DO\n")
    return SkyExecutor(
        cloud,
        folder / "home",
        "s",
        [pool or PoolSettings(accelerators="cpu:3")],
        experiment=experiment,
        tell=tell,
        patience=Patience(first_retry=0.05, last_retry=0.2, watch=0.2, again=0.02),
    )


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


# ── promises of every adapter ───────────────────────────────────────────────────────────────────────────


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


# ── what only real processes show ───────────────────────────────────────────────────────────────────────


@pytest.fixture
async def local(tmp_path: Path, task: Task) -> AsyncIterator[LocalBench]:
    bench = LocalBench(tmp_path)
    await ready(bench, task)
    yield bench
    for folder in (tmp_path / "trials").glob("*"):
        await bench.executor.cancel(folder.name)


async def running(bench: LocalBench, trial_id: str) -> Path:
    """Wait until the candidate itself runs; its folder."""
    folder = bench.folder / "trials" / trial_id
    async with asyncio.timeout(30):
        while not (folder / "log.txt").exists() or "started" not in (folder / "log.txt").read_text():
            await asyncio.sleep(0.02)
    return folder


def processes_of(folder: Path) -> list[Any]:
    """Living processes that mention the trial's folder, or work in it."""
    found = []
    for process in psutil.process_iter():
        try:
            told = " ".join([*process.cmdline(), process.cwd()])
            if str(folder) in told and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


async def test_cancel_leaves_no_process(local: LocalBench, task: Task) -> None:
    """Neither children that ignore SIGTERM nor those that start a session of their own."""
    stubborn = textwrap.dedent("""
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        sleeper = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
        subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
        print('started', flush=True)
        time.sleep(600)
    """)
    await local.executor.submit(order(task, "t1", stubborn))
    folder = await running(local, "t1")
    assert processes_of(folder)
    await local.run(local.executor.cancel("t1"))
    assert processes_of(folder) == []


async def test_a_harness_that_will_not_listen_is_killed(local: LocalBench, task: Task) -> None:
    await local.executor.submit(order(task, "t1", ENDLESS))
    folder = await running(local, "t1")
    harness = next(p for p in processes_of(folder) if "trainer.harness" in " ".join(p.cmdline()))
    harness.suspend()
    await local.run(local.executor.cancel("t1"))
    assert processes_of(folder) == []
    assert (await local.executor.result("t1")).outcome is Outcome.PREEMPTED


@pytest.mark.parametrize("resumed", [False, True])
async def test_a_trial_whose_harness_is_killed_is_preempted_for_good(
    local: LocalBench, task: Task, resumed: bool
) -> None:
    await local.executor.submit(order(task, "t1", ENDLESS))
    folder = await running(local, "t1")
    executor = local.reopen() if resumed else local.executor
    waiting = asyncio.create_task(executor.result("t1"))
    for process in processes_of(folder):
        process.kill()
    result = await local.run(waiting)
    assert result.outcome is Outcome.PREEMPTED
    assert read_result(folder) == result


async def test_a_trial_survives_kill_9_of_the_swarm(local: LocalBench, task: Task) -> None:
    """The swarm's process starts a trial and is gone the next moment, before the harness has noted its pid."""
    swarm = textwrap.dedent(f"""
        import asyncio, os, signal, sys
        from pathlib import Path
        from swarm.executors.local import LocalExecutor
        from tests.contracts.test_executor import GOOD, load_task, order
        executor = LocalExecutor(Path({str(local.folder / "trials")!r}), Path({str(local.folder / "data")!r}))
        async def main():
            await executor.submit(order(load_task(Path({str(task.folder)!r})), "t1"))
            os.kill(os.getpid(), signal.SIGKILL)
        asyncio.run(main())
    """)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = await asyncio.to_thread(subprocess.run, [sys.executable, "-c", swarm], env=env, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (await local.run(local.executor.result("t1"))).metric == 1.25


async def test_a_swarm_that_died_before_it_said_what_to_run_has_started_nothing(local: LocalBench, task: Task) -> None:
    (local.folder / "trials" / "t1").mkdir(parents=True)
    await local.executor.submit(order(task, "t1"))
    result = await local.run(local.executor.result("t1"))
    assert result.outcome is Outcome.COMPLETED


async def test_a_failing_preparation_says_why(tmp_path: Path) -> None:
    task = make_task(tmp_path / "task", prepare="raise SystemExit('no words here')")
    with pytest.raises(InputError, match="no words here"):
        await LocalBench(tmp_path).executor.prepare(task, lambda line: None)


@pytest.mark.parametrize("name", ["", "..", "a/b", "/etc"])
async def test_a_trial_id_cannot_leave_its_folder(local: LocalBench, task: Task, name: str) -> None:
    with pytest.raises(ValueError, match="cannot name a folder"):
        await local.executor.submit(order(task, name))


SMALL_DISK = [
    "unshare",
    "--map-root-user",
    "--mount",
    "sh",
    "-c",
    'mount -t tmpfs -o size=64k tmpfs /mnt && exec "$@"',
    "sh",
]


def can_mount() -> bool:
    return shutil.which("unshare") is not None and subprocess.run([*SMALL_DISK, "true"], check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="needs user namespaces to mount a small disk")
async def test_a_full_disk_is_said_and_the_trial_can_be_submitted_again(tmp_path: Path, task: Task) -> None:
    """On a disk of 64 KiB: a candidate too big for it is refused in one line and leaves nothing behind."""
    script = textwrap.dedent(f"""
        import asyncio
        from pathlib import Path
        from swarm.errors import DiskFull
        from swarm.executors.local import LocalExecutor
        from tests.contracts.test_executor import GOOD, load_task, order
        root = Path("/mnt/trials")
        executor, task = LocalExecutor(root, Path("/mnt/data")), load_task(Path({str(task.folder)!r}))
        try:
            asyncio.run(executor.submit(order(task, "t1", "#" * 200_000)))
        except DiskFull as error:
            print(error, list(root.iterdir()))
    """)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = await asyncio.to_thread(
        subprocess.run,
        [*SMALL_DISK, sys.executable, "-c", script],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout == ("the disk is full: cannot write under /mnt/trials; free some space and start again []\n"), (
        done.stderr
    )
