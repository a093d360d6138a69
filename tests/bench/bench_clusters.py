"""How long a slot waits between two trials on a cluster, as root on Debian:

    python -m tests.bench.bench_clusters H100 H200 SECONDS

A session through SkyPilot on the Slurm bed of the tests, with so many H100 that screen and H200 that validate. Its
trials take so many seconds and hardly any of this machine's processor, as trials do whose work is on an accelerator.
"""

import os
import shutil
import sys
import tempfile
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil

from tests.bowl import TRAIN, bowl
from tests.slurm.bed import Bed
from tests.slurm.session import BedSession

ROUNDS = 4  # trials ended for each slot
EXPERIMENTS = 1000  # more than are made by then
MARGIN = 20  # seconds that a trial may take longer than it does
TASK = """\
editable = "train.py"
metric = "loss"
budget = {{ wall = {seconds} }}

[ranges]
X = {{ low = 0.0, high = 5.0 }}
Y = {{ low = 0.0, high = 5.0 }}
"""


def main(h100: int, h200: int, seconds: int) -> None:
    bed = Bed(folder=Path(tempfile.gettempdir()) / "nightswarm-bed")
    shutil.rmtree(bed.folder / "bench", ignore_errors=True)
    bed.up()
    try:
        with closing(BedSession(bed=bed, folder=bed.folder / "bench")) as session:
            session.configure(h100=h100, h200=h200, budget=seconds + MARGIN, crowded=False)
            train = f"import time\n\ntime.sleep({seconds})\n" + TRAIN
            task = bowl(session.folder / "bowl", train=train, task=TASK.format(seconds=seconds + MARGIN))
            wanted, busy = ROUNDS * (h100 + h200), _busy_seconds()
            running = session.start(EXPERIMENTS, task=str(task))
            longest = 600.0 + 3 * ROUNDS * seconds
            session.wait_until(lambda trials: _ended(trials) >= wanted, running, seconds=longest)
            busy = (_busy_seconds() - busy) / wanted
            session.swarm("stop", "--now").result()
            print(running.result())
            print(session.figures())
            print(f"processor time of {os.cpu_count()} cores, all programs: {busy:.1f} s a trial")
    finally:
        bed.down()


def _ended(trials: dict[str, dict[str, Any]]) -> int:
    return sum("outcome" in trial for trial in trials.values())


def _busy_seconds() -> float:
    """Of this machine's cores together, since it was started."""
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
