"""Eight processes on one file of leases, all at once."""

import multiprocessing
import time
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.ports import Slot, SystemClock

PROCESSES, REQUESTS, SLOTS = 8, 15, 3


def work(path: Path, name: str) -> list[tuple[int, str, float, float]]:
    """Get REQUESTS leases and give them back; (token, slot, begin, end) of each, on the machine's monotonic clock."""
    manager = LeaseManager(path, SystemClock())
    manager.register([Slot(name=f"cpu-{n}", accelerator="cpu") for n in range(SLOTS)], [Tier(name="screen")])
    held = []
    for number in range(REQUESTS):
        request_id = f"{name}-{number}"
        lease = manager.request(request_id, tier="screen", session=name, holder=name)
        while lease is None:
            time.sleep(0.005)
            manager.grant()  # may serve the other processes too
            lease = manager.request(request_id, tier="screen", session=name, holder=name)
        begun = time.monotonic()
        time.sleep(0.002)  # the work: long enough for leases to overlap
        assert manager.heartbeat([lease.token]) == {lease.token}
        ended = time.monotonic()
        manager.release(lease.token)
        held.append((lease.token, lease.slot.name, begun, ended))
    manager.close()
    return held


def test_no_slot_is_held_twice_and_no_token_given_twice(tmp_path: Path) -> None:
    path = tmp_path / "leases.db"
    context = multiprocessing.get_context("spawn")
    with context.Pool(PROCESSES) as pool:
        leases = [
            lease
            for held in pool.starmap(work, [(path, f"process-{n}") for n in range(PROCESSES)], chunksize=1)
            for lease in held
        ]
    assert len(leases) == PROCESSES * REQUESTS
    assert sorted(token for token, *_ in leases) == list(range(1, PROCESSES * REQUESTS + 1))
    by_slot = defaultdict(list)
    for token, slot, begun, ended in sorted(leases):
        by_slot[slot].append((token, begun, ended))
    assert len(by_slot) == SLOTS
    for held in by_slot.values():
        for (_, _, ended), (token, begun, _) in pairwise(held):
            assert ended <= begun, f"lease {token} began before the one before it on its slot had ended"
    manager = LeaseManager(path, SystemClock())
    assert manager.live() == []
    assert manager.queue() == []
    manager.close()
