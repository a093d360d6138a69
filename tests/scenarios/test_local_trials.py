"""Trials of this machine as real processes: whom a cancel reaches, what a kill leaves, a disk that is full."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from swarm.errors import InputError
from tests.executor_lab import ENDLESS, LocalBench, make_task, order, ready
from trainer.contract import Outcome, Task, read_result


@pytest.fixture
def task(tmp_path: Path) -> Task:
    return make_task(tmp_path / "task")


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
        from tests.executor_lab import load_task, order
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
        from tests.executor_lab import load_task, order
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
