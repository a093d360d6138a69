"""How long a slot waits between two trials on a cluster: `python -m tests.bench.bench_clusters`, as root on Debian.

A session of the built-in task through SkyPilot on the Slurm bed of the tests: one H100 that screens and one H200 that
validates, so that the trials' own work leaves a machine of two cores room for SkyPilot's.
"""

import tempfile
from contextlib import closing
from pathlib import Path

from tests.slurm.bed import Bed
from tests.slurm.session import BedSession

EXPERIMENTS = 6
TRIALS = 16  # ended: then there are enough gaps
BUDGET = 12.0  # CPU-seconds of training a trial


def main() -> None:
    bed = Bed(folder=Path(tempfile.gettempdir()) / "nightswarm-bed")
    bed.up()
    try:
        with tempfile.TemporaryDirectory() as folder, closing(BedSession(bed=bed, folder=Path(folder))) as session:
            session.configure(h100=1, h200=1, budget=BUDGET, crowded=False)
            process = session.start(experiments=EXPERIMENTS)
            session.wait_until(lambda trials: sum("outcome" in trial for trial in trials.values()) >= TRIALS, process)
            session.swarm("stop").communicate()
            told, _ = process.communicate()
            print(told)
            print(session.figures())
    finally:
        bed.down()


if __name__ == "__main__":
    main()
