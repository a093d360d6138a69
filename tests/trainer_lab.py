"""True trials for the trainer's tests: tasks out of docs/tasks.md, harnesses started as a swarm starts them."""

import os
import re
import select
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from trainer.contract import (
    Budget,
    BudgetKind,
    TrialResult,
    TrialSpec,
    WarmWorker,
    create_trial,
    load_task,
    prepare_argv,
    read_result,
    run_argv,
)

T = TypeVar("T")
ROOT = Path(__file__).parent.parent
CHEATS = Path(__file__).parent / "cheats"
BLOCK = re.compile(r"^`(?P<name>[\w./]+)`:\n\n```\w+\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)


def documented_task(name: str, folder: Path) -> Path:
    """Write the task `name` of docs/tasks.md into `folder`; returns its folder."""
    for block in BLOCK.finditer((ROOT / "docs" / "tasks.md").read_text(encoding="utf-8")):
        if block["name"].startswith(name + "/"):
            path = folder / block["name"]
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(block["text"], encoding="utf-8")
    return folder / name


def foreign_task(folder: Path, source: str, settings: str = "budget = { wall = 20 }") -> Path:
    """A self-reported task of one file; returns its folder."""
    folder.mkdir(parents=True)
    (folder / "task.toml").write_text(f'editable = "train.py"\nmetric = "loss"\n{settings}\n', encoding="utf-8")
    (folder / "train.py").write_text(source, encoding="utf-8")
    return folder


def prepared(task_folder: Path, data_dir: Path) -> Path:
    """Prepare a task's data as a swarm does; returns the folder."""
    argv = prepare_argv(sys.executable, load_task(task_folder), data_dir)
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return data_dir


def write_trial(
    folder: Path,
    task_folder: Path,
    *,
    source: str | None = None,
    data_dir: Path | None = None,
    budget: float | None = None,
    kind: BudgetKind | None = None,
    seed: int = 0,
    holdout: bool = False,
    limits: tuple[tuple[float, float], ...] = (),
    quick: bool = False,
    device: int | None = None,
    compiled: Path | None = None,
) -> Path:
    """The folder of one trial of `source` (default: the task's own file) on the screening tier."""
    task = load_task(task_folder)
    tier = task.budget("screen")
    spec = TrialSpec(
        trial_id=folder.name,
        task_folder=str(task_folder),
        candidate="candidate.py",
        tier="screen",
        budget=Budget(kind=kind or tier.kind, amount=budget or tier.amount),
        seed=seed,
        threads=task.threads,
        memory_mb=task.memory_mb,
        data_dir=str(data_dir) if data_dir else None,
        holdout=holdout,
        limits=limits,
        quick=quick,
        device_index=device,
        compiled=str(compiled) if compiled else None,
    )
    create_trial(folder, spec, task.editable_path.read_text(encoding="utf-8") if source is None else source)
    return folder


def start(folder: Path) -> "subprocess.Popen[str]":
    """Start the harness on a trial, in a session of its own."""
    return subprocess.Popen(
        run_argv(sys.executable, folder),
        cwd=ROOT,
        start_new_session=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )


def finish(folder: Path) -> TrialResult:
    """Run a trial to its end and read its result."""
    with start(folder) as process:
        said, _ = process.communicate(timeout=240)
    result = read_result(folder)
    assert result is not None, said
    return result


@contextmanager
def warm_worker() -> Iterator[WarmWorker]:
    """A worker of this test's own."""
    worker = WarmWorker(sys.executable)
    yield worker
    worker.close()


def finish_warm(worker: WarmWorker, folder: Path) -> TrialResult:
    """Run a trial to its end from a warm worker and read its result."""
    wait_for_file(worker.run(folder).file)
    result = read_result(folder)
    assert result is not None, (folder / "harness.log").read_text(encoding="utf-8")
    return result


def two_at_a_time(jobs: list[T], act: Callable[[WarmWorker, T], None]) -> None:
    """Work off a list with two warm workers, as a session on two cores does."""

    def work(worker: WarmWorker) -> None:
        while jobs:
            act(worker, jobs.pop(0))

    with warm_worker() as first, warm_worker() as second, ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(work, worker) for worker in (first, second)]:
            done.result()


def wait_for_file(number: int, seconds: float = 240.0) -> None:
    """Wait until an open file has something to read."""
    poll = select.poll()
    poll.register(number, select.POLLIN)
    assert poll.poll(1000 * seconds), "waited in vain"
    os.close(number)
