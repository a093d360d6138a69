"""Runs one trial from outside: owns the clock, the seed, the limits, and writes the result.

    python -m trainer.harness prepare TASK DATA_DIR     make the task's data, once
    python -m trainer.harness run TRIAL_FOLDER          run the trial that spec.json describes; SIGTERM cancels it

Started in a session of its own it outlives whoever started it. Running a finished trial again does nothing. The
candidate's processes die with the harness, however it dies (Linux). Standard library only.

Exit status: 0 once the data or result.json is there, whatever the outcome; 2 where task or trial cannot be used.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from trainer.contract import (
    PID,
    RESULT,
    SPEC,
    TaskError,
    TrialResult,
    TrialSpec,
    Trust,
    find_task,
    load_task,
    process_start,
    write_atomically,
)
from trainer.data import prepare
from trainer.foreign import ForeignTrial
from trainer.judged import JudgedTrial


def run_trial(folder: Path) -> TrialResult | None:
    """Run the trial in `folder` and write its result; None where it had one already. Raises TaskError.

    A second harness on the same folder waits for the first, and then has nothing to do.
    """
    handle = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if (folder / RESULT).exists():
            return None
        noted = {"pid": os.getpid(), "started": process_start(os.getpid())}
        write_atomically(folder / PID, json.dumps(noted) + "\n")
        spec = TrialSpec.from_json((folder / SPEC).read_text(encoding="utf-8"))
        task = load_task(Path(spec.task_folder))
        trial = (JudgedTrial if task.trust is Trust.JUDGED else ForeignTrial)(folder, spec, task)
        signal.signal(signal.SIGTERM, lambda *_: trial.cancel())
        result = trial.run()
        write_atomically(folder / RESULT, result.to_json())
        return result
    finally:
        os.close(handle)


def done(command: Callable[[], object]) -> int:
    """Do it; returns the exit status, and says in one line on stderr where task or trial cannot be used."""
    try:
        command()
    except (TaskError, FileNotFoundError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def misused(usage: str) -> int:
    """Say on stderr how it is used; returns the exit status."""
    print(f"usage: {usage}", file=sys.stderr)
    return 2


def main(argv: Sequence[str]) -> int:
    """Parse, call, print."""
    match argv:
        case ["prepare", task, data_dir]:
            return done(lambda: prepare(find_task(task), Path(data_dir), lambda line: print(line, flush=True)))
        case ["run", folder]:
            return done(lambda: _run_and_tell(Path(folder).resolve()))
    return misused("python -m trainer.harness prepare TASK DATA_DIR | run TRIAL_FOLDER")


def _run_and_tell(folder: Path) -> None:
    result = run_trial(folder)
    print(f"{result.trial_id} {result.outcome} {result.message}".strip() if result else "done before")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
