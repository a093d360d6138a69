"""What the harness watches while a candidate runs: its output, and what it is charged."""

from __future__ import annotations

import json
import math
import re
import time
from pathlib import Path

from trainer.contract import Outcome, Task, TrialSpec, Trust
from trainer.process import Family

GRACE_SECONDS, GRACE_SHARE = 0.25, 0.02  # overrun that is let pass: saving the weights, and the poll's own delay
STEPS_WALL_SECONDS = 600.0  # hard wall limit of a budget in steps, where the task names none
PROGRESS = re.compile(rb"\bstep[ :=/]*0*([0-9]+).*?\bloss[ :=]*([0-9.]+(?:e[-+]?[0-9]+)?|nan|inf)", re.I)
CONTENDED_SHARE = 0.75  # of the wall limit spent waiting for a CPU: then the machine, not the candidate, is to blame
LOG_BYTES = 1 << 20  # log.txt is cut here
CURVE_LINES = 100_000  # curve.jsonl is cut here
TAIL_BYTES = 8192  # of the output's end, kept to find the error
SUMMARY = re.compile(
    rb"^\s*([A-Za-z_][\w./-]{0,63}):\s+([-+]?(?:[0-9][0-9_,]*(?:\.[0-9]*)?(?:e[-+]?[0-9]+)?|nan|inf))(?:\s|%|$)", re.I
)


class Ended(Exception):
    """The trial is over: the outcome and one line of why."""

    def __init__(self, outcome: Outcome, message: str = "") -> None:
        super().__init__(message)
        self.outcome = outcome
        self.message = message


class Log:
    """The candidate's output: written up to the cap, searched for numbers and the last error."""

    def __init__(self, path: Path) -> None:
        self.file = path.open("wb")
        self.progress: list[tuple[int, float]] = []  # (step, loss) lines that nobody has taken yet
        self.left = LOG_BYTES
        self.tail = b""
        self.numbers: dict[str, float] = {}
        self._line = b""

    def add(self, data: bytes) -> None:
        """Take what the candidate wrote."""
        if self.left > 0:
            self.file.write(data[: self.left])
            self.left -= len(data)
            if self.left <= 0:
                self.file.write(b"\n[output cut here: over 1 MiB]\n")
            self.file.flush()
        self.tail = (self.tail + data)[-TAIL_BYTES:]
        *lines, self._line = (self._line + data).replace(b"\r", b"\n").split(b"\n")
        self._line = self._line[-TAIL_BYTES:]
        for line in lines:
            self._find_number(line)

    def close(self) -> None:
        """Look at the unfinished last line too, and close the file."""
        self._find_number(self._line)
        self._line = b""
        self.file.close()

    def _find_number(self, line: bytes) -> None:
        if match := SUMMARY.match(line[:200]):
            value = match[2].decode().replace("_", "").replace(",", "")
            self.numbers[match[1].decode()] = float(value)
        elif (match := PROGRESS.search(line[:200])) and len(self.progress) < CURVE_LINES:
            self.progress.append((int(match[1]), float(match[2])))

    def last_line(self) -> str:
        """The last line with something on it: of a traceback, the error."""
        lines = [line.strip() for line in self.tail.decode("utf-8", "replace").splitlines() if line.strip()]
        return "".join(c if c.isprintable() else " " for c in lines[-1][:300]) if lines else ""


class Curve:
    """The training loss as it is reported: streamed to a file, averaged over tenths, held against the limits."""

    def __init__(self, path: Path, spec: TrialSpec) -> None:
        self.file = path.open("w", encoding="utf-8", buffering=1)
        self.left = CURVE_LINES
        self.limits = list(spec.limits)
        self.sums: dict[int, tuple[float, int]] = {}  # tenth -> sum and count of its losses
        self.reached = 0  # tenths that are over

    def add(self, step: int, loss: float, *, seconds: float, share: float) -> None:
        """Take one report at a share of the budget. Raises Ended where the loss is no number, or hopeless."""
        if not math.isfinite(loss):
            raise Ended(Outcome.DIVERGED, f"the training loss is {loss} at step {step}")
        if self.left > 0:
            self.left -= 1
            self.file.write(json.dumps({"step": step, "seconds": round(seconds, 3), "loss": loss}) + "\n")
        tenth = max(0, math.ceil(10 * share - 1e-9) - 1)  # the one that this step ended in
        total, count = self.sums.get(tenth, (0.0, 0))
        self.sums[tenth] = (total + loss, count + 1)
        self.reached = min(10, int(10 * share + 1e-9))
        while self.limits and self.reached >= round(10 * self.limits[0][0]):
            at, highest = self.limits.pop(0)
            total, count = self.sums.get(round(10 * at) - 1, (0.0, 0))
            if count and total / count > highest:
                told = f"loss {total / count:.4f} is above {highest:.4f}, the limit that earlier candidates set"
                raise Ended(Outcome.CUT, f"cut at {at:.0%} of its budget: {told}")

    def means(self, *, finished: bool) -> tuple[float, ...]:
        """Mean loss of each tenth that is over, up to the first without a report; of all ten once `finished`."""
        found = []
        for tenth in range(10 if finished else self.reached):
            if tenth not in self.sums:
                break
            total, count = self.sums[tenth]
            found.append(round(total / count, 6))
        return tuple(found)


class Meter:
    """What the candidate is charged, by the harness's clock; raises Ended where a limit is crossed."""

    def __init__(self, spec: TrialSpec, task: Task, family: Family) -> None:
        self.family = family
        self.allowance = task.warm_up_seconds if task.trust is Trust.JUDGED else 0.0
        self.kind, self.amount = str(spec.budget.kind), spec.budget.amount
        self.born = time.monotonic()  # when the candidate started
        self.cpu = 0.0
        self.steps = 0
        self.threads = spec.threads
        self.ready_at: tuple[float, float] | None = None  # CPU-seconds and wall seconds at `ready`
        self.done_at: float | None = None  # charged seconds when the weights were taken
        self.done_wall = 0.0  # wall seconds then
        derived = {"steps": STEPS_WALL_SECONDS, "cpu": 30.0 + 4.0 * self.amount, "wall": 30.0 + 2.0 * self.amount}
        self.wall_limit = task.timeout_seconds or derived[self.kind]
        self.memory_mb = spec.memory_mb or math.inf

    def start(self) -> None:
        """The candidate starts now."""
        self.born = time.monotonic()

    def cpu_limit(self) -> int:
        """CPU-seconds after which the kernel stops any one process, should the harness have failed to."""
        wanted = self.amount if self.kind == "cpu" else self.wall_limit * self.threads
        return 10 + int(self.allowance + 2 * min(wanted, 1e6))

    def look(self) -> None:
        """Measure and compare with the limits."""
        usage = self.family.sample()
        self.cpu = usage.cpu_seconds
        if usage.rss_mb > self.memory_mb:
            raise Ended(Outcome.OUT_OF_MEMORY, f"used {usage.rss_mb:.0f} MiB of {self.memory_mb:.0f} MiB")
        if self.done_at is not None:
            return
        grace = GRACE_SECONDS + GRACE_SHARE * self.amount
        if self.kind == "steps" and self.steps > self.amount:
            raise Ended(Outcome.TIMED_OUT, f"took {self.steps} steps of {self.amount:.0f}")
        if self.kind != "steps" and self.charged() > self.amount + grace:
            raise Ended(Outcome.TIMED_OUT, f"used {self.charged():.2f} of {self.amount:g} {self.kind} seconds")
        if time.monotonic() - self.born > self.wall_limit:
            queued = self.family.queued_seconds()
            if self.kind == "cpu" and queued > CONTENDED_SHARE * self.wall_limit:
                told = f"waited {queued:.0f} s for a CPU in {self.wall_limit:.0f} s: the machine was busy with others"
                raise Ended(Outcome.CONTENDED, told)
            raise Ended(Outcome.TIMED_OUT, f"still running after {self.wall_limit:.0f} s by the wall clock")

    def ready(self) -> None:
        """The candidate says that its warm-up is over."""
        if self.ready_at is None:
            self.cpu = self.family.sample().cpu_seconds
            self.ready_at = (self.cpu, time.monotonic() - self.born)

    def saved(self) -> None:
        """The weights are taken: what comes after is not charged."""
        self.cpu = self.family.sample().cpu_seconds
        self.done_at = self.charged()
        self.done_wall = time.monotonic() - self.born

    def training_wall(self) -> float:
        """Wall seconds between `ready` (or the start) and the end of training."""
        end = self.done_wall if self.done_at is not None else time.monotonic() - self.born
        return end - (self.ready_at[1] if self.ready_at else 0.0)

    def share(self) -> float:
        """Share of the budget that is spent."""
        return (self.steps if self.kind == "steps" else self.charged()) / self.amount

    def charged(self) -> float:
        """CPU or wall seconds since `ready`, and what the warm-up took over its allowance."""
        if self.done_at is not None:
            return self.done_at
        clock = 1 if self.kind == "wall" else 0
        now = time.monotonic() - self.born if clock else self.cpu
        warm_up = self.ready_at[clock] if self.ready_at else now
        return now - min(warm_up, self.allowance)
