"""How long a slot waits between two trials on a cluster: `python -m tests.bench.bench_clusters`, as root on Debian.

A session of the built-in task through SkyPilot on the Slurm bed of the tests: one H100 that screens and one H200 that
validates, so that the trials' own work leaves a machine of two cores room for SkyPilot's.
"""

import statistics
import tempfile
from collections import Counter
from pathlib import Path

from tests.slurm.bed import Bed
from tests.slurm.session import BedSession

EXPERIMENTS = 14
BUDGET = 4.0  # CPU-seconds of training a trial


def main() -> None:
    bed = Bed(folder=Path(tempfile.gettempdir()) / "nightswarm-bed")
    bed.up()
    try:
        with tempfile.TemporaryDirectory() as folder:
            session = BedSession(bed=bed, folder=Path(folder))
            session.configure(h100=1, h200=1, budget=BUDGET)
            told, _ = session.start(experiments=EXPERIMENTS).communicate()
            print(told)
            trials = session.trials().values()
            print(Counter((trial["tier"], trial["accelerator"], trial.get("outcome")) for trial in trials))
            gaps = sorted(session.gaps())
            print(f"{len(gaps)} gaps: median {statistics.median(gaps):.1f} s, {gaps[0]:.1f} to {gaps[-1]:.1f} s")
            print(" ".join(f"{gap:.1f}" for gap in gaps))
    finally:
        bed.down()


if __name__ == "__main__":
    main()
