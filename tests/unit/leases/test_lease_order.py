"""Who is served next: priority, fair share, bid, age; nobody starves."""

import heapq
import random
import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swarm.leases.manager import LeaseManager
from swarm.leases.order import AGED_TURN, PATIENCE
from tests.fakes import FakeClock
from tests.lease_lab import SCREEN, VALIDATE, ask, cores, granted, serve


def test_priority_then_bid_then_age(manager: LeaseManager, clock: FakeClock) -> None:
    ask(manager, "old")
    ask(manager, "young")
    ask(manager, "eager", bid=0.5)
    ask(manager, "validation", tier="validate")
    assert granted(serve(manager, 4, clock)) == ["validation", "eager", "old", "young"]


def test_holders_share_time_not_turns(manager: LeaseManager, clock: FakeClock) -> None:
    for number in range(300):
        ask(manager, f"slow-{number}", holder="slow", bid=9.0)
        ask(manager, f"quick-{number}", holder="quick")
    used: Counter[str] = Counter()
    for _ in range(200):
        (lease,) = manager.grant()
        seconds = 30.0 if lease.holder == "slow" else 10.0
        clock.advance(seconds)
        manager.release(lease.token)
        used[lease.holder] += int(seconds)
    assert used["slow"] == pytest.approx(used["quick"], rel=0.1)


def test_four_agents_share_sixteen_slots_evenly(path: Path, clock: FakeClock) -> None:
    """Over 1,000 grants, whatever they bid, and though one of them asks for far more than the others."""
    manager = LeaseManager(path, clock)
    manager.register(cores(16), [SCREEN])
    chance = random.Random(0)
    for agent, requests in enumerate((1000, 300, 300, 300)):
        for number in range(requests):
            ask(manager, f"{agent}-{number}", holder=f"agent-{agent}", bid=chance.random() * (4 - agent))
    grants: Counter[str] = Counter()
    running: list[tuple[float, int]] = []  # (when it ends, its token)
    while grants.total() < 1000:
        for lease in manager.grant():
            grants[lease.holder] += 1
            heapq.heappush(running, (clock.now() + chance.uniform(250, 400), lease.token))
        ends, token = heapq.heappop(running)
        clock.advance(ends - clock.now())
        manager.release(token)
    assert len(grants) == 4
    assert all(share == pytest.approx(250, rel=0.1) for share in grants.values()), grants
    manager.close()


def test_rest_saves_no_credit(manager: LeaseManager, clock: FakeClock) -> None:
    for number in range(60):
        ask(manager, f"busy-{number}", holder="busy")
    serve(manager, 30, clock)
    for number in range(20):
        ask(manager, f"late-{number}", holder="late")
    turns = Counter(lease.holder for lease in serve(manager, 20, clock))
    assert turns["busy"] == pytest.approx(10, abs=1)


@settings(max_examples=4, deadline=None, derandomize=True)
@given(
    patient=st.lists(st.tuples(st.sampled_from("abc"), st.floats(-1, 1)), min_size=1, max_size=12),
    jumps=st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=5),
)
def test_nobody_starves(patient: list[tuple[str, float]], jumps: list[float]) -> None:
    """Whoever is pushed aside by a flood of better requests is served all the same, whatever the clock does."""
    clock = FakeClock()
    with tempfile.TemporaryDirectory() as folder:
        manager = LeaseManager(Path(folder) / "leases.db", clock)
        manager.register(cores(1), [SCREEN, VALIDATE])
        for number, (holder, bid) in enumerate(patient):
            ask(manager, f"patient-{number}", holder=holder, bid=bid)
        served = []
        for number in range(PATIENCE + AGED_TURN * len(patient)):
            ask(manager, f"pushy-{number}", tier="validate", holder="abc"[number % 3], bid=9.0)
            clock.jump(jumps[number % len(jumps)])
            (lease,) = manager.grant()
            served.append(lease.request_id)
            manager.release(lease.token)
        manager.close()
    assert {name for name in served if name.startswith("patient")} == {f"patient-{n}" for n in range(len(patient))}
    assert not any(name.startswith("patient") for name in served[:PATIENCE])  # until then, priority is strict
