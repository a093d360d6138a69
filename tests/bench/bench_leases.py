"""What a grant costs with 1,000 slots under lease and 10,000 requests waiting: `make bench-leases`.

One grant is one transaction that matches a slot that has just been released; the release is not in the figure. Beside
the time on the wall stands that on the processor, which other programs on the machine do not lengthen.
"""

import random
import statistics
import tempfile
import time
from pathlib import Path

from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.ports import Slot, SystemClock

GRANTS = 2_000
AGENTS = 16
TIERS = (Tier(name="screen"), Tier(name="validate", accelerators=("H200", "H100"), priority=10))


def measure(folder: Path, *, slots: int, waiting: int) -> tuple[list[float], list[float]]:
    """Milliseconds of each grant, on the wall and on the processor."""
    manager = LeaseManager(folder / f"{slots}-{waiting}.db", SystemClock())
    manager.register([Slot(name=f"gpu-{n}", accelerator="H200" if n % 5 == 0 else "H100") for n in range(slots)], TIERS)
    chance = random.Random(0)

    def ask(number: int) -> None:
        manager.request(
            f"request-{number}",
            tier="validate" if chance.random() < 0.2 else "screen",
            session="bench",
            holder=f"agent-{chance.randrange(AGENTS)}",
            bid=chance.random(),
        )

    for number in range(slots + waiting):
        ask(number)
    live = [lease.token for lease in manager.grant()]
    took: list[float] = []
    worked: list[float] = []
    for number in range(GRANTS):
        manager.release(live.pop(chance.randrange(len(live))))
        ask(slots + waiting + number)
        started, busy = time.perf_counter(), time.process_time()
        granted = manager.grant()
        worked.append(1000 * (time.process_time() - busy))
        took.append(1000 * (time.perf_counter() - started))
        live += [lease.token for lease in granted]
    assert len(live) == slots
    assert len(manager.queue()) == waiting
    manager.close()
    return took, worked


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print("slots  waiting  p50 ms  p99 ms  on the processor: p50 ms  p99 ms")
        for waiting in (100, 1_000, 10_000):
            figures = [
                figure
                for took in measure(Path(folder), slots=1_000, waiting=waiting)
                for figure in (statistics.median(took), statistics.quantiles(took, n=100)[98])
            ]
            print(f"{1_000:5d} {waiting:8d} {figures[0]:7.3f} {figures[1]:7.3f} {figures[2]:24.3f} {figures[3]:7.3f}")
