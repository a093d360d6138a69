"""What a trial of tinytext costs beside its training: warm, from a worker that forks, and cold.

    make bench-trainer, or python -m tests.bench.bench_trainer [--trials N] [--data DIR]

Trains for one CPU-second each. Prints the median and the longest overhead, in wall seconds from the wish to the result
less the training, for trials one at a time and two at a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.trainer_lab import finish, finish_warm, prepared, warm_worker, write_trial
from trainer.contract import TrialResult, find_task

TASK = find_task("tinytext")


def overhead(run: Callable[[Path], TrialResult], folder: Path, data: Path) -> tuple[float, float]:
    """Run one trial: wall seconds beside its training, and those of them in which it was judged."""
    write_trial(folder, TASK.folder, data_dir=data, budget=1.0)
    started = time.monotonic()
    result = run(folder)
    wall = time.monotonic() - started
    assert result.metric is not None, result.message
    return wall - (result.wall_seconds - result.overhead_seconds), result.extra["judge_seconds"]


def measure(name: str, run: Callable[[Path], TrialResult], data: Path, trials: int, at_once: int) -> None:
    """Print one line."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(at_once) as pool:
        places = [Path(folder) / str(number) for number in range(trials)]
        seen = list(pool.map(lambda place: overhead(run, place, data), places))
    whole, judged = [a for a, _ in seen], [b for _, b in seen]
    print(
        f"{name:5} {at_once} at once n={trials:2} median {statistics.median(whole):.2f} s  longest {max(whole):.2f} s "
        f"(judging {statistics.median(judged):.2f} s)"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=10)
    parser.add_argument("--data", type=Path, help="where the task's data is, or will be kept")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        data = prepared(TASK.folder, arguments.data or Path(folder) / "data")
        print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f} over the last minute")
        with warm_worker() as worker:
            finish_warm(worker, write_trial(Path(folder) / "first", TASK.folder, data_dir=data, budget=0.5))
            measure("warm", lambda place: finish_warm(worker, place), data, arguments.trials, 1)
        with warm_worker() as one, warm_worker() as two:
            for number, worker in enumerate((one, two)):
                place = write_trial(Path(folder) / f"first{number}", TASK.folder, data_dir=data, budget=0.5)
                finish_warm(worker, place)
            free = [one, two]

            def either(place: Path) -> TrialResult:
                worker = free.pop()
                try:
                    return finish_warm(worker, place)
                finally:
                    free.append(worker)

            measure("warm", either, data, arguments.trials, 2)
        measure("cold", finish, data, max(3, arguments.trials // 3), 1)
    return 0


if __name__ == "__main__":
    sys.exit(main())
