"""What a swarm and a trainer agree on: tasks, specs, results, and the folder of one trial.

One trial is one folder. Whoever starts it writes the first two files, the harness the others:

    spec.json      TrialSpec
    candidate.py   the candidate's version of the task's editable file (any name; the spec says which)
    harness.pid    pid and start time of the harness, so that another process can tell if it still lives
    log.txt        what the candidate printed, capped
    weights.safetensors    what a judged trial saved, where the spec says to keep it
    curve.jsonl    {"step", "seconds", "loss"} lines, streamed while it trains
    result.json    TrialResult, written last and atomically: once it is there, the trial is over

This is the one module of `trainer` that `swarm` imports: standard library only, imported in milliseconds.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from trainer import parcel
from trainer.runtime import WEIGHTS
from trainer.task import (
    Budget,
    BudgetKind,
    Device,
    Direction,
    Range,
    Task,
    TaskError,
    Trust,
    builtin_tasks,
    check_python,
    find_task,
    load_task,
    new_task,
)
from trainer.warm import HARNESS_LOG, WarmWorker
from trainer.warm import POSSIBLE as WARM_POSSIBLE

__all__ = [
    "HARNESS_LOG",
    "WARM_POSSIBLE",
    "WEIGHTS",
    "Budget",
    "BudgetKind",
    "Device",
    "Direction",
    "Outcome",
    "Range",
    "Sandbox",
    "Task",
    "TaskError",
    "TrialResult",
    "TrialSpec",
    "Trust",
    "WarmWorker",
    "builtin_tasks",
    "check_python",
    "create_trial",
    "find_task",
    "harness_alive",
    "load_task",
    "new_task",
    "parcel",
    "prepare_argv",
    "read_curve",
    "read_result",
    "run_argv",
    "sandbox_kind",
    "write_atomically",
]

SPEC, RESULT, LOG, CURVE, PID = "spec.json", "result.json", "log.txt", "curve.jsonl", "harness.pid"


class Outcome(StrEnum):
    """How a trial ended. Only COMPLETED carries a metric: absence is never a number."""

    COMPLETED = "COMPLETED"
    CRASHED = "CRASHED"
    OUT_OF_MEMORY = "OUT_OF_MEMORY"
    TIMED_OUT = "TIMED_OUT"
    DIVERGED = "DIVERGED"
    PREEMPTED = "PREEMPTED"
    CONTENDED = "CONTENDED"
    CUT = "CUT"  # hopeless by the spec's limits: stopped early, so never scored
    REJECTED_BY_JUDGE = "REJECTED_BY_JUDGE"


class Sandbox(StrEnum):
    """How far the candidate was shut in."""

    FULL = "full"  # no network, own root, only scratch writable, judge's data out of sight
    PARTIAL = "partial"  # some of that
    NONE = "none"  # only limits and a clean environment


@dataclass(frozen=True, kw_only=True)
class TrialSpec:
    """One run of one candidate: everything the harness needs to know."""

    trial_id: str  # unique in a home; running it twice gives one result
    task_folder: str  # absolute path of the task
    candidate: str  # path of the candidate's editable file; relative: to the trial's folder
    tier: str  # a row of config, such as screen
    budget: Budget  # what it may use
    seed: int  # of everything random in it, chosen by the swarm
    threads: int = 1  # CPU threads
    memory_mb: int | None = None  # MiB resident over all its processes; None: no limit
    data_dir: str | None = None  # where `prepare` put the data; None for a task without
    device_index: int | None = None  # CUDA device; None: CPU
    fencing_token: int = 0  # of the lease, copied by whoever files the result
    holdout: bool = False  # score the hidden shard too
    quick: bool = False  # judge a few windows only: to see whether it runs, not how good it is
    keep: bool = False  # leave the weights of a judged trial in its folder
    limits: tuple[tuple[float, float], ...] = ()  # (share of the budget, highest loss in the tenth before it)
    turn: str | None = None  # path of a file that one trial of the slot has locked while it runs; None: it is alone
    compiled: str | None = None  # folder where what candidates compile is kept for their next trials; None: nowhere

    def to_json(self) -> str:
        """The spec as JSON text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what to_json wrote; fields of a newer version are ignored."""
        values = _known(cls, json.loads(text))
        budget = values["budget"]
        values["budget"] = Budget(kind=BudgetKind(budget["kind"]), amount=budget["amount"])
        values["limits"] = tuple((share, loss) for share, loss in values.get("limits", ()))
        return cls(**values)


@dataclass(frozen=True, kw_only=True)
class TrialResult:
    """What came out of one trial."""

    trial_id: str  # the spec's
    outcome: Outcome  # how it ended
    metric: float | None = None  # in the task's metric; None unless COMPLETED
    holdout: float | None = None  # same metric on the hidden shard; None unless asked for
    seed: int = 0  # the spec's
    steps: int = 0  # optimiser steps reported
    train_seconds: float = 0.0  # charged: CPU or wall seconds, by the budget's kind (steps: CPU)
    wall_seconds: float = 0.0  # from the harness's start to this result, less what it waited for its turn
    overhead_seconds: float = 0.0  # wall seconds of that outside training: start, warm-up, judge
    peak_memory_mb: float = 0.0  # MiB resident over all its processes; on a GPU of the device's, where it says so
    curve: tuple[float, ...] = ()  # mean training loss of each whole tenth of the budget, as reported
    data_hash: str = ""  # of the prepared data; empty for a task without
    sandbox: Sandbox = Sandbox.NONE  # how far the candidate was shut in
    trust: Trust = Trust.SELF_REPORTED  # who computed the metric
    message: str = ""  # one line: why it did not complete
    extra: Mapping[str, float] = field(default_factory=dict)  # numbers a foreign task printed; phases

    def __post_init__(self) -> None:
        if self.metric is not None and self.outcome is not Outcome.COMPLETED:
            raise ValueError(f"a {self.outcome} trial has no metric; leave it None")
        if self.metric is None and self.outcome is Outcome.COMPLETED:
            raise ValueError("a COMPLETED trial needs a metric")

    def to_json(self) -> str:
        """The result as JSON text."""
        return json.dumps(asdict(self), indent=1, sort_keys=True, allow_nan=False) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read back what to_json wrote; fields of a newer version are ignored."""
        values = _known(cls, json.loads(text))
        values["outcome"] = Outcome(values["outcome"])
        values["sandbox"] = Sandbox(values["sandbox"])
        values["trust"] = Trust(values["trust"])
        values["curve"] = tuple(values.get("curve", ()))
        return cls(**values)


def _known(cls: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    names = {f.name for f in fields(cls)}
    return {name: value for name, value in values.items() if name in names}


# ---------------------------------------------------------------------------------------------------------
# The folder of one trial
# ---------------------------------------------------------------------------------------------------------


def create_trial(folder: Path, spec: TrialSpec, source: str) -> None:
    """Write the candidate and then the spec; doing it again with the same spec changes nothing.

    `spec.candidate` must be relative: a file of the trial's own, so that later edits elsewhere cannot reach it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / SPEC).exists():
        write_atomically(folder / spec.candidate, source)
        write_atomically(folder / SPEC, spec.to_json())


def read_result(folder: Path) -> TrialResult | None:
    """The trial's result, or None while there is none."""
    try:
        return TrialResult.from_json((folder / RESULT).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def read_curve(folder: Path) -> list[dict[str, float]]:
    """The loss curve so far: {"step", "seconds", "loss"} in order; a half-written last line is left out."""
    try:
        text = (folder / CURVE).read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def harness_alive(folder: Path) -> bool:
    """Whether the harness that runs this trial still lives; safe against a pid that was given out again."""
    try:
        noted = json.loads((folder / PID).read_text(encoding="utf-8"))
    except (FileNotFoundError, json.JSONDecodeError):
        return False
    started = process_start(noted["pid"])
    return started is not None and started == noted["started"]


def process_start(pid: int) -> str | None:
    """A text that names this life of a pid; None where it is dead or a zombie."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        if Path("/proc/self/stat").exists():
            return None
        command = ["ps", "-o", "stat=,lstart=", "-p", str(pid)]  # macOS has no /proc
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
        return None if not shown or shown.startswith("Z") else shown.split(None, 1)[1]
    after_name = stat.rpartition(")")[2].split()
    return None if after_name[0] in "ZX" else f"{_boot_id()}:{after_name[19]}"


def _boot_id() -> str:
    return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()


def write_atomically(path: Path, text: str) -> None:
    """Write `text` so that a reader sees the old file or the whole new one, also after a power cut."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{threading.get_ident()}")
    with temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


# ---------------------------------------------------------------------------------------------------------
# How to start the trainer
# ---------------------------------------------------------------------------------------------------------


def prepare_argv(python: str, task: Task, data_dir: Path) -> list[str]:
    """Command line that prepares a task's data: progress on stdout, exit 0 once the cache is complete."""
    return [python, "-m", "trainer.harness", "prepare", str(task.folder), str(data_dir)]


def run_argv(python: str, folder: Path) -> list[str]:
    """Command line that runs one trial; start it in a session of its own. SIGTERM cancels it (PREEMPTED)."""
    return [python, "-m", "trainer.harness", "run", str(folder)]


def sandbox_kind() -> Sandbox:
    """How far this machine lets a candidate be shut in."""
    from trainer.sandbox import probe

    return probe().kind
