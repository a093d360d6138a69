"""A tier that preempts has trials of lower tiers end where its requests would wait for them."""

from dataclasses import replace

import pytest

from swarm.leases.manager import LeaseManager
from swarm.ports import Slot
from tests.fakes import FakeClock
from tests.lease_lab import SCREEN, VALIDATE, ask, cores, granted

PREEMPTS = replace(VALIDATE, preempt=True)


def test_nobody_gives_way_unless_the_tier_says_so(manager: LeaseManager) -> None:
    ask(manager, "screening")
    manager.grant()
    ask(manager, "validation", tier="validate")
    assert manager.make_way() == []


def test_what_began_last_gives_way_and_no_more_than_needed(manager: LeaseManager, clock: FakeClock) -> None:
    manager.register(cores(3), [SCREEN, PREEMPTS])
    for name in ("one", "two", "three"):
        ask(manager, name)
        clock.advance(10.0)
        manager.grant()
    ask(manager, "validation", tier="validate")
    assert granted(manager.make_way()) == ["three"]
    assert granted(manager.make_way()) == ["three"], "it is told until it has ended"
    ask(manager, "another", tier="validate")
    two, three = manager.make_way()
    assert granted([two, three]) == ["two", "three"]
    manager.reclaim(three.token)
    assert granted(manager.grant()) == ["validation"]
    assert granted(manager.make_way()) == ["two"]


def test_a_free_slot_spares_the_others(manager: LeaseManager) -> None:
    manager.register(cores(2), [SCREEN, PREEMPTS])
    ask(manager, "screening")
    manager.grant()
    ask(manager, "validation", tier="validate")
    assert manager.make_way() == []


def test_only_slots_that_the_request_may_use_are_cleared(manager: LeaseManager) -> None:
    slots = [Slot(name="a", accelerator="H100"), Slot(name="b", accelerator="H200")]
    manager.register(slots, [replace(SCREEN, accelerators=("H100", "H200")), replace(PREEMPTS, accelerators=("H200",))])
    ask(manager, "one")
    ask(manager, "two")
    manager.grant()
    ask(manager, "validation", tier="validate", accelerator="H200")
    assert [lease.slot.name for lease in manager.make_way()] == ["b"]


@pytest.mark.parametrize("expired", [False, True])
def test_equals_and_the_dead_are_left_alone(manager: LeaseManager, clock: FakeClock, expired: bool) -> None:
    manager.register(cores(1), [SCREEN, PREEMPTS])
    ask(manager, "first", tier="screen" if expired else "validate")
    manager.grant()
    if expired:
        clock.advance(1e6)
        manager.expire()
    ask(manager, "second", tier="validate")
    assert manager.make_way() == []


def test_who_stands_in_line_goes_along(manager: LeaseManager) -> None:
    manager.register([replace(cores(1)[0], lead_seconds=1e6)], [SCREEN, PREEMPTS])
    ask(manager, "running")
    ask(manager, "in line")
    manager.grant()
    ask(manager, "validation", tier="validate")
    assert granted(manager.make_way()) == ["running", "in line"]
