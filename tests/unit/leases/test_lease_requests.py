"""The table of leases: slots and tiers, the life of a request, what was used. One rule a test."""

import sqlite3
from pathlib import Path

import pytest

from swarm.errors import HomeTooNew, InputError, StaleToken, SwarmError
from swarm.leases.lease import State, Tier
from swarm.leases.manager import LEASE_SECONDS, LeaseManager
from swarm.ports import Slot
from tests.fakes import FakeClock
from tests.lease_lab import SCREEN, ask, cores, granted, serve


def test_a_tier_without_slots_is_named(manager: LeaseManager) -> None:
    with pytest.raises(
        InputError, match="tier 'validate' names accelerator H200, but no slot has one; see `swarm leases`"
    ):
        manager.register(cores(2), [SCREEN, Tier(name="validate", accelerators=("cpu", "H200"))])
    with pytest.raises(InputError, match="tier 'screen' has no slot"):
        manager.register([], [SCREEN])
    with pytest.raises(InputError, match="two slots are named 'cpu-0'"):
        manager.register(cores(1) * 2, [SCREEN])


def test_registering_again_keeps_leases_and_retires_slots_left_out(manager: LeaseManager) -> None:
    ask(manager, "one")
    (lease,) = manager.grant()
    manager.register([Slot(name="gpu-0", accelerator="H100")], [SCREEN])
    retired, new = manager.slots()
    assert (retired.offered, retired.lease) == (False, lease)
    assert (new.offered, new.lease) == (True, None)
    manager.release(lease.token)
    ask(manager, "two")
    assert [lease.slot.name for lease in manager.grant()] == ["gpu-0"]
    assert [state.slot.name for state in manager.slots()] == ["gpu-0"]


def test_a_tier_gets_its_first_choice_of_accelerators(manager: LeaseManager) -> None:
    slots = [Slot(name="a", accelerator="H100", device=0, memory_mb=7), Slot(name="b", accelerator="H200", device=1)]
    manager.register(slots, [Tier(name="screen", accelerators=("H200", "H100"))])
    ask(manager, "one")
    ask(manager, "two")
    ask(manager, "three")
    assert [lease.slot for lease in manager.grant()] == slots[::-1]
    assert granted(manager.live()) == ["one", "two"]


def test_a_request_is_made_once(manager: LeaseManager) -> None:
    ask(manager, "one")
    ask(manager, "one")
    assert len(manager.queue()) == 1
    (lease,) = manager.grant()
    assert manager.request("one", tier="screen", session="s", holder="a") == lease
    manager.release(lease.token)
    ask(manager, "one")  # it has ended: this is a new one
    (again,) = manager.grant()
    assert again.token > lease.token


def test_what_cannot_be_asked_for(manager: LeaseManager) -> None:
    with pytest.raises(InputError, match="tier 'final', which is not registered"):
        ask(manager, "one", tier="final")
    with pytest.raises(InputError, match="finite"):
        ask(manager, "one", bid=float("nan"))
    assert manager.queue() == []


def test_a_withdrawn_request_is_granted_to_nobody(manager: LeaseManager) -> None:
    ask(manager, "one")
    assert manager.withdraw("one")
    assert not manager.withdraw("one")
    assert not manager.withdraw("never asked")
    assert manager.grant() == []
    ask(manager, "one")
    assert granted(manager.grant()) == ["one"]
    assert not manager.withdraw("one")


def test_a_release_is_final(manager: LeaseManager) -> None:
    ask(manager, "one")
    (lease,) = manager.grant()
    manager.validate(lease.token)
    manager.release(lease.token)
    for use in (manager.validate, manager.release, manager.reclaim):
        with pytest.raises(StaleToken, match="released"):
            use(lease.token)
    with pytest.raises(StaleToken, match="no lease"):
        manager.validate(lease.token + 1)


def test_an_expired_lease_frees_its_slot_only_when_reclaimed(manager: LeaseManager, clock: FakeClock) -> None:
    ask(manager, "one")
    (lease,) = manager.grant()
    clock.advance(LEASE_SECONDS - 1)
    assert manager.expire() == []
    clock.advance(1)
    (expired,) = manager.expire()
    assert (expired.token, expired.state) == (lease.token, State.EXPIRED)
    assert manager.expire() == [expired]  # until somebody reclaims it
    ask(manager, "two")
    assert manager.grant() == []
    for use in (manager.validate, manager.release):
        with pytest.raises(StaleToken, match="expired"):
            use(lease.token)
    with pytest.raises(StaleToken, match="reclaim it first"):
        ask(manager, "one")
    assert manager.heartbeat([lease.token]) == set()
    manager.reclaim(lease.token)
    manager.reclaim(lease.token)
    assert manager.expire() == []
    assert granted(manager.grant()) == ["two"]


def test_whoever_is_sure_the_trial_is_dead_need_not_wait_for_the_deadline(manager: LeaseManager) -> None:
    ask(manager, "one")
    (lease,) = manager.grant()
    manager.reclaim(lease.token)
    with pytest.raises(StaleToken, match="reclaimed"):
        manager.release(lease.token)
    ask(manager, "two")
    assert granted(manager.grant()) == ["two"]


def test_heartbeats_keep_a_lease_even_late(manager: LeaseManager, clock: FakeClock) -> None:
    ask(manager, "one")
    (lease,) = manager.grant()
    clock.advance(10 * LEASE_SECONDS)  # a laptop that slept
    assert manager.heartbeat([lease.token, 99]) == {lease.token}
    assert manager.expire() == []
    assert manager.live()[0].expires_at == clock.now() + LEASE_SECONDS


def test_a_clock_set_back_does_not_keep_a_dead_lease_for_ever(manager: LeaseManager, clock: FakeClock) -> None:
    ask(manager, "one")
    manager.grant()
    clock.jump(-1e6)
    assert manager.expire() == []
    clock.advance(LEASE_SECONDS)
    assert granted(manager.expire()) == ["one"]


def test_a_restart_finds_its_leases_and_tokens_grow_on(manager: LeaseManager, path: Path, clock: FakeClock) -> None:
    ask(manager, "one")
    (lease,) = manager.grant()
    manager.close()
    reopened = LeaseManager(path, clock)
    assert reopened.held_by("s") == [lease]
    assert reopened.held_by("another") == []
    reopened.release(lease.token)
    ask(reopened, "two")
    assert reopened.grant()[0].token > lease.token
    reopened.close()


def test_a_newer_file_is_left_alone(path: Path, clock: FakeClock) -> None:
    LeaseManager(path, clock).close()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(HomeTooNew, match="newer version"):
        LeaseManager(path, clock)


def test_a_file_that_is_no_table_of_leases_is_said(path: Path, clock: FakeClock) -> None:
    path.write_text("these are my notes, and no database at all\n" * 50)
    with pytest.raises(SwarmError, match="the table of leases cannot be used: file is not a database"):
        LeaseManager(path, clock)


def test_use_is_counted_by_slot_window_and_session(manager: LeaseManager, clock: FakeClock) -> None:
    began = clock.now()
    ask(manager, "one")
    serve(manager, 1, clock, seconds=100.0)
    clock.advance(50.0)
    manager.request("two", tier="screen", session="other", holder="a")
    manager.grant()
    clock.advance(1000.0)
    (mine,) = manager.lease_seconds(session="s")
    assert (mine.slot, mine.accelerator, mine.seconds) == ("cpu-0", "cpu", 100.0)
    assert mine.dollars == pytest.approx(0.1)  # 100 s at 3.6 dollars an hour
    (both,) = manager.lease_seconds()
    assert both.seconds == 1100.0
    (window,) = manager.lease_seconds(since=began + 90, until=began + 170)
    assert window.seconds == 30.0
    assert manager.lease_seconds(session="nobody") == []


def test_the_queue_shows_how_long_each_waits(manager: LeaseManager, clock: FakeClock) -> None:
    ask(manager, "one", bid=2.0)
    clock.advance(5.0)
    ask(manager, "two", tier="validate", holder="b")
    assert [(w.request_id, w.tier, w.holder, w.bid, w.waited) for w in manager.queue()] == [
        ("one", "screen", "a", 2.0, 5.0),
        ("two", "validate", "b", 0.0, 0.0),
    ]
