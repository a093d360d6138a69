"""Places in line on slots that take long to start a trial; slots that are unavailable for a while."""

import sqlite3
from pathlib import Path

import pytest

from swarm.errors import StaleToken
from swarm.leases.manager import LEASE_SECONDS, LeaseManager
from swarm.leases.schema import UPGRADES
from swarm.ports import Slot
from tests.fakes import FakeClock
from tests.lease_lab import SCREEN, VALIDATE, ask, granted, serve


def slow_starter(manager: LeaseManager, *, count: int = 1, lead: float = 5.0) -> None:
    """Slots that take their next trial ``lead`` seconds before the running one is expected to end."""
    manager.register(
        [Slot(name=f"h100-{n}", accelerator="H100", price_per_hour=3.6, lead_seconds=lead) for n in range(count)],
        [SCREEN, VALIDATE],
    )


def learn_typical_seconds(manager: LeaseManager, clock: FakeClock, seconds: float) -> None:
    for number in range(60):
        ask(manager, f"learn-{number}")
    serve(manager, 60, clock, seconds)


def test_a_place_in_line_is_given_when_the_trial_is_about_to_end(manager: LeaseManager, clock: FakeClock) -> None:
    learn_typical_seconds(manager, clock, 30.0)
    slow_starter(manager)
    for name in ("one", "two", "three"):
        ask(manager, name)
    (first,) = manager.grant()
    clock.advance(24.0)
    assert manager.grant() == []
    clock.advance(2.0)
    (second,) = manager.grant()
    assert (second.request_id, second.slot) == ("two", first.slot)
    assert second.token > first.token
    assert manager.grant() == []  # one stands in line, not a queue
    (state,) = manager.slots()
    assert (state.lease, state.next) == (first, second)
    manager.validate(second.token)
    manager.release(first.token)
    (state,) = manager.slots()
    assert (state.lease and state.lease.token, state.next) == (second.token, None)


def test_standing_in_line_costs_nothing(manager: LeaseManager, clock: FakeClock) -> None:
    slow_starter(manager)
    ask(manager, "one")
    ask(manager, "two")
    first, second = manager.grant()
    clock.advance(100.0)
    assert [use.seconds for use in manager.lease_seconds()] == [100.0]
    manager.release(first.token)
    clock.advance(10.0)
    assert [(use.seconds, use.dollars) for use in manager.lease_seconds()] == [(110.0, pytest.approx(0.11))]
    manager.release(second.token)
    assert [use.seconds for use in manager.lease_seconds()] == [110.0]


def test_a_free_slot_goes_before_a_place_in_line(manager: LeaseManager) -> None:
    slow_starter(manager, count=2)
    for name in ("one", "two", "three"):
        ask(manager, name)
    assert [lease.slot.name for lease in manager.grant()] == ["h100-0", "h100-1", "h100-0"]


def test_who_leaves_the_line_never_held_the_slot(manager: LeaseManager, clock: FakeClock) -> None:
    slow_starter(manager)
    ask(manager, "one")
    ask(manager, "two")
    first, second = manager.grant()
    clock.advance(LEASE_SECONDS)
    manager.heartbeat([first.token])
    assert manager.expire()[0].token == second.token
    ask(manager, "three")
    assert manager.grant() == []  # its place is taken until it is reclaimed
    manager.reclaim(second.token)
    assert granted(manager.grant()) == ["three"]
    assert [use.seconds for use in manager.lease_seconds()] == [LEASE_SECONDS]


def test_an_expired_lease_in_line_inherits_the_slot_and_keeps_it_taken(manager: LeaseManager, clock: FakeClock) -> None:
    slow_starter(manager)
    ask(manager, "one")
    ask(manager, "two")
    first, second = manager.grant()
    clock.advance(LEASE_SECONDS)
    manager.heartbeat([first.token])
    manager.expire()
    manager.release(first.token)
    ask(manager, "three")
    assert manager.grant() == []  # not even a place in line
    with pytest.raises(StaleToken):
        manager.release(second.token)
    manager.reclaim(second.token)
    assert granted(manager.grant()) == ["three"]


def test_an_unavailable_slot_gets_no_lease_until_it_is_back(manager: LeaseManager) -> None:
    manager.set_unavailable("cpu-0", "no capacity")
    ask(manager, "one")
    assert manager.grant() == []
    assert [(s.slot.name, s.offered, s.unavailable) for s in manager.slots()] == [("cpu-0", False, "no capacity")]
    manager.set_unavailable("cpu-0", None)
    assert granted(manager.grant()) == ["one"]
    assert [(s.offered, s.unavailable) for s in manager.slots()] == [(True, None)]


def test_an_older_file_is_brought_up_to_date(path: Path, clock: FakeClock) -> None:
    """A table of leases from before places in line: what it held is held, and paid from its grant on."""
    with sqlite3.connect(path) as db:
        for statement in filter(str.strip, UPGRADES[0].split(";")):
            db.execute(statement)
        db.execute("PRAGMA user_version = 1")
        db.execute("INSERT INTO slots VALUES ('cpu-0', 'cpu', NULL, NULL, 3.6, 1, 1)")
        db.execute("INSERT INTO requests VALUES (1, 'one', 's', 'a', 'screen', 0.0, 0.0, 0, 'granted', 1)")
        at = clock.now()
        db.execute(
            "INSERT INTO leases VALUES (1, 'one', 's', 'a', 'screen', 'cpu-0', 'cpu', 3.6, ?, 120.0, ?, NULL, 1.0,"
            " 'granted')",
            (at, at + 120.0),
        )
    db.close()
    manager = LeaseManager(path, clock)
    assert granted(manager.held_by("s")) == ["one"]
    clock.advance(60.0)
    assert [use.seconds for use in manager.lease_seconds()] == [60.0]
    manager.close()
