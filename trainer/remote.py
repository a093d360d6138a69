"""Runs trials on a machine that has this package and a task, and no more of the swarm.

    python -m trainer.remote prepare     make the data of the task in the folder `task` beside this package
    python -m trainer.remote run         run the trial that NIGHTSWARM_TRIAL carries, and print its result

A trial has a folder on this machine: asked for twice, it runs once and its result is printed twice. Both commands
keep what they make in NIGHTSWARM_ROOT (default ~/nightswarm). Standard library only.

Exit status: 0 once the data or the result is there, whatever the outcome; 2 where task or trial cannot be used.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from trainer import parcel
from trainer.contract import CURVE, LOG, RESULT, SPEC, Device, Task, TaskError, TrialSpec, create_trial, load_task
from trainer.data import is_there, prepare, recipe_hash
from trainer.harness import done, misused, run_trial

TASK = Path(__file__).resolve().parent.parent / "task"
LOG_BYTES, CURVE_BYTES = 32_000, 128_000  # of each, the end of it travels back


def root() -> Path:
    """Where trials and data are kept on this machine."""
    return Path(os.environ.get("NIGHTSWARM_ROOT") or "~/nightswarm").expanduser().resolve()


def prepared(task: Task, *, checked: bool) -> Path | None:
    """Make the task's data, or find it; None for a task without. Raises TaskError.

    ``checked``: what is found is read through, and made anew where it is not what was made.
    """
    if not task.prepare_command:
        return None
    data = root() / "data" / f"{task.name}-{recipe_hash(task)[:12]}"
    if checked or not is_there(task, data):
        prepare(task, data, lambda line: print(line, flush=True))
    return data


def device_of(task: Task) -> int | None:
    """The CUDA device the scheduler gave this job; None on CPU. Raises TaskError where the task needs one."""
    given = os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",")[0].strip()
    if task.device is not Device.CPU and given.isdigit():
        return int(given)
    if task.device is Device.CUDA:
        raise TaskError(f"task '{task.name}' needs a CUDA device, and this job was given none")
    return None


def run(packed: str) -> None:
    """Run a trial, or find it done, and print what came out. Raises TaskError."""
    carried = parcel.unpack(packed)
    task = load_task(TASK)
    spec = replace(
        TrialSpec.from_json(carried[SPEC]),
        task_folder=str(TASK),
        data_dir=str(data) if (data := prepared(task, checked=False)) else None,
        device_index=device_of(task),
        compiled=str(root() / "compiled"),
    )
    folder = root() / "trials" / carried[parcel.FOLDER]
    create_trial(folder, spec, carried[spec.candidate])
    run_trial(folder)
    kept = {RESULT: (folder / RESULT).read_text(encoding="utf-8")}
    kept |= {name: _end_of(folder / name, most) for name, most in ((LOG, LOG_BYTES), (CURVE, CURVE_BYTES))}
    for line in parcel.printed(kept):
        print(line, flush=True)


def _end_of(path: Path, most: int) -> str:
    """The last whole lines of a text, ``most`` bytes of it; empty where there is none."""
    if not path.exists():
        return ""
    data = path.read_bytes()
    if len(data) > most:
        data = data[-most:].partition(b"\n")[2]
    return data.decode("utf-8", errors="replace")


def main(argv: Sequence[str]) -> int:
    """Parse, call, print."""
    match argv:
        case ["prepare"]:
            return done(lambda: prepared(load_task(TASK), checked=True))
        case ["run"]:
            return done(lambda: run(os.environ[parcel.VARIABLE]))
    return misused("python -m trainer.remote prepare | run")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
