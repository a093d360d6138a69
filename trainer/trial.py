"""One trial in progress: its scratch folder, its limits, what it says, and how it ended."""

from __future__ import annotations

import fcntl
import math
import os
import select
import shutil
import signal
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from trainer import compiled, sandbox
from trainer.contract import CURVE, LOG, Outcome, Task, TaskError, TrialResult, TrialSpec
from trainer.data import file_hash, read_manifest
from trainer.process import Family
from trainer.watch import Curve, Ended, Log, Meter
from trainer.wire import Wire

POLL_SECONDS = 0.05  # between two looks at the clock and the memory
TERM_SECONDS = 0.3  # between SIGTERM and SIGKILL
LEFT_BEHIND = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.pyc", ".pytest_cache")
DEVICE_MEMORY_NAMES = ("peak_memory_mb", "peak_vram_mb")  # what tasks call their peak on a GPU
OUT_OF_MEMORY_WORDS = ("MemoryError", "OutOfMemoryError", "can't allocate memory", "out of memory")


class Trial:
    """One trial in progress; a subclass knows how its metric comes about."""

    def __init__(self, folder: Path, spec: TrialSpec, task: Task) -> None:
        self.folder, self.spec, self.task = folder, spec, task
        self.born = time.monotonic()
        self.cancelled = False
        self.work = folder / "work"
        shutil.rmtree(self.work, ignore_errors=True)
        self.scratch = self.new_scratch("train")
        self.probe = sandbox.probe()
        self.family = Family()
        self.meter = Meter(spec, task, self.family)
        self.log = Log(folder / LOG)
        self.curve = Curve(folder / CURVE, spec)
        self.log_read, self.log_write = os.pipe()
        os.set_blocking(self.log_read, False)
        self.data = Path(spec.data_dir) if spec.data_dir else None
        self.data_hash = self.read_data_hash()
        self.guarded = {name: file_hash(task.folder / name) for name in task.protected}
        self.extra: dict[str, float] = {}  # numbers for the result, by name
        self.waited = 0.0  # seconds, for its turn

    def cancel(self) -> None:
        """Have the trial end as PREEMPTED at the next look."""
        self.cancelled = True

    def read_data_hash(self) -> str:
        if self.data is None:
            return ""
        manifest = read_manifest(self.data)
        if manifest is None:
            raise TaskError(f"no prepared data in {self.data}; run: python -m trainer.harness prepare TASK {self.data}")
        return manifest["data_hash"]

    def new_scratch(self, name: str) -> Path:
        """A copy of the task with the candidate in it, and an empty folder for its root beside it."""
        scratch = (self.work / name).resolve()
        shutil.copytree(self.task.folder, scratch, ignore=LEFT_BEHIND)
        (self.work / f"{name}-root").mkdir()
        shutil.copyfile(self.folder / self.spec.candidate, scratch / self.task.editable)
        return scratch

    def layout(self, scratch: Path, extra: tuple[str, ...] = ()) -> sandbox.Layout:
        """What a process that works in `scratch` can see; `extra` paths are readable too."""
        readable = [str(Path(p).expanduser().resolve()) for p in self.task.readable]
        return sandbox.Layout(
            scratch=str(scratch),
            root=str(scratch.with_name(scratch.name + "-root")),
            readable=(*sandbox.python_paths(), *readable, *extra),
            hidden=tuple(path for package in self.task.hide for path in sandbox.package_paths(package)),
            gpu=self.spec.device_index is not None,
        )

    def environment(self, scratch: Path) -> dict[str, str]:
        """All that the candidate finds in its environment: an allow-list, so that no secret slips in."""
        device = self.spec.device_index
        values = {
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/local/bin", "/usr/bin", "/bin"]),
            "PYTHONPATH": str(Path(__file__).parent.parent),
            "HOME": str(scratch),
            "TMPDIR": str(scratch),
            "LANG": "C.UTF-8",
            "PYTHONHASHSEED": "0",  # a warm worker's forks cannot have another one; so nobody has
            "PYTHONDONTWRITEBYTECODE": "1",
            "PYTHONUNBUFFERED": "1",
            "CUDA_DEVICE_ORDER": "PCI_BUS_ID",  # as the driver numbers them, whatever their speed
            "CUDA_VISIBLE_DEVICES": "" if device is None else str(device),
            "TORCHINDUCTOR_CACHE_DIR": str(scratch / compiled.FOLDER),
            "NIGHTSWARM_BUDGET_KIND": str(self.spec.budget.kind),
            "NIGHTSWARM_BUDGET": repr(self.spec.budget.amount),
            "NIGHTSWARM_SEED": str(self.spec.seed),
            "NIGHTSWARM_TIER": self.spec.tier,
        }
        for library in ("OMP", "MKL", "OPENBLAS", "NUMEXPR"):
            values[f"{library}_NUM_THREADS"] = str(self.spec.threads)
        if "LD_LIBRARY_PATH" in os.environ:
            values["LD_LIBRARY_PATH"] = os.environ["LD_LIBRARY_PATH"]
        return values

    # -- waiting and watching -------------------------------------------------------------------------

    def await_turn(self) -> None:
        """Wait until the slot is this trial's alone, as it is until the harness ends, however it does. Raises Ended."""
        if self.spec.turn is None:
            return
        began = time.monotonic()
        Path(self.spec.turn).parent.mkdir(parents=True, exist_ok=True)
        turn = os.open(self.spec.turn, os.O_RDWR | os.O_CREAT, 0o644)  # open, and so locked, until this process ends
        while not _locked(turn):
            if self.cancelled:
                raise Ended(Outcome.PREEMPTED, "cancelled by SIGTERM while it waited for its turn")
            time.sleep(POLL_SECONDS)
        self.waited = time.monotonic() - began
        self.extra["waited_seconds"] = self.waited

    def watch(self, wires: Mapping[Wire, Callable[[dict[str, Any]], None]], done: Callable[[], bool]) -> None:
        """Handle what arrives, look at the meter, until `done`. Raises Ended at a limit or a cancel."""
        open_wires = dict(wires)
        next_look = 0.0
        while True:
            readable, _, _ = select.select([self.log_read, *map(Wire.fileno, open_wires)], [], [], POLL_SECONDS)
            if self.cancelled:
                raise Ended(Outcome.PREEMPTED, "cancelled by SIGTERM")
            if self.log_read in readable:
                self.drain_log()
            for wire in [w for w in open_wires if w.fileno() in readable]:
                if not wire.fill():
                    del open_wires[wire]
                wire.drop_files()
                try:
                    while (message := wire.next_buffered()) is not None:
                        wires[wire](message)
                except (ValueError, TypeError, KeyError):
                    raise Ended(Outcome.CRASHED, "sent the harness something it does not understand") from None
            if time.monotonic() >= next_look:
                self.meter.look()
                next_look = time.monotonic() + POLL_SECONDS
            if done():
                return
            if not open_wires and wires:
                raise ConnectionError("the other side hung up")

    def drain_log(self) -> None:
        """Take what is in the pipe now, without waiting, at most a little over 1 MiB at once."""
        for _ in range(16):
            try:
                data = os.read(self.log_read, 1 << 16)
            except BlockingIOError:
                return
            if not data:
                return
            self.log.add(data)

    def end_from_status(self, status: int) -> Ended:
        """The outcome of a process that ended by itself without a result."""
        self.drain_log()
        last = self.log.last_line()
        if status == -signal.SIGXCPU:
            return Ended(Outcome.TIMED_OUT, "used all the CPU-seconds a process may")
        if status in (-signal.SIGKILL, 128 + signal.SIGKILL):
            return Ended(Outcome.OUT_OF_MEMORY, "killed by signal 9, most likely for lack of memory")
        if any(word in last for word in OUT_OF_MEMORY_WORDS):
            return Ended(Outcome.OUT_OF_MEMORY, last)
        if status < 0:
            return Ended(Outcome.CRASHED, f"killed by signal {-status}" + (f": {last}" if last else ""))
        return Ended(Outcome.CRASHED, last or f"ended with exit status {status} and no word")

    def report(self, step: int, loss: float) -> None:
        """Take a step and its training loss, as the candidate tells them. Raises Ended where it is hopeless."""
        self.curve.add(step, loss, seconds=self.meter.charged(), share=self.meter.share())

    def check_protected(self) -> None:
        """Raise Ended where a protected file is not what it was, in the scratch folder or the task's."""
        for name, before in self.guarded.items():
            for folder in (self.scratch, self.task.folder):
                path = folder / name
                if path.is_symlink() or not path.is_file() or file_hash(path) != before:
                    raise Ended(Outcome.REJECTED_BY_JUDGE, f"changed the protected file {name}")

    def peak_memory(self) -> float:
        """MiB: on a GPU what the candidate says it used of the device's, where it says so; else resident."""
        if self.spec.device_index is not None:
            for name in DEVICE_MEMORY_NAMES:
                if self.extra.get(name, 0.0) > 0:
                    return self.extra[name]
        return self.family.peak_mb

    def finish(self, ended: Ended | None, metric: float | None, holdout: float | None) -> TrialResult:
        wall = time.monotonic() - self.born - self.waited
        training = self.meter.training_wall()
        return TrialResult(
            trial_id=self.spec.trial_id,
            outcome=ended.outcome if ended else Outcome.COMPLETED,
            metric=metric,
            holdout=holdout,
            seed=self.spec.seed,
            steps=self.meter.steps,
            train_seconds=round(self.meter.charged(), 3),
            wall_seconds=round(wall, 3),
            overhead_seconds=round(wall - training, 3),
            peak_memory_mb=round(self.peak_memory(), 1),
            curve=self.curve.means(finished=ended is None),
            data_hash=self.data_hash,
            sandbox=self.probe.kind,
            trust=self.task.trust,
            message=ended.message if ended else "",
            extra={k: round(v, 6) for k, v in self.extra.items() if math.isfinite(v)},
        )

    def measure(self) -> tuple[float, float | None]:
        """Run the candidate; returns the metric and the holdout's. Raises Ended for any other end."""
        raise NotImplementedError

    def run(self) -> TrialResult:
        """Run it to its end, whatever that is, and leave no process and no scratch behind."""
        ended, metric, holdout = None, None, None
        try:
            metric, holdout = self.measure()
        except Ended as end:
            ended = end
        finally:
            self.family.excluded.clear()
            self.family.kill(TERM_SECONDS)
            if not self.log.file.closed:
                self.drain_log()
                self.log.close()
            self.curve.file.close()
            shutil.rmtree(self.work, ignore_errors=True)
        return self.finish(ended, metric, holdout)


def _locked(file: int) -> bool:
    """Lock an open file, where nobody else has."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
