"""Any history of requests, deaths, clocks and restarts, held against a model."""

import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swarm.errors import StaleToken
from swarm.leases.lease import Lease
from swarm.leases.manager import LEASE_SECONDS, LeaseManager
from swarm.ports import Slot
from tests.fakes import FakeClock
from tests.lease_lab import SCREEN, VALIDATE, ask, cores

KINDS = ("H100", "H200")


class LeaseHistory(RuleBasedStateMachine):
    """Random histories beside a model that knows only: who waits for which kind, who holds what, which token was last.

    Slots are of two kinds, and some requests need one of them. Some slots take a second lease in line at once: their
    lead is longer than any trial. A validation may have screening trials end.
    """

    @initialize(slots=st.integers(1, 5), ahead=st.integers(0, 5))
    def open(self, slots: int, ahead: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.slots = [
            replace(slot, accelerator=KINDS[number % 3 // 2], lead_seconds=1e12 if number < ahead else 0.0)
            for number, slot in enumerate(cores(slots))
        ]
        self.unavailable: set[str] = set()
        self.waiting: dict[str, str | None] = {}  # request -> the kind it needs
        self.live: dict[int, Lease] = {}
        self.expired: dict[int, Lease] = {}
        self.places: dict[str, list[int]] = {slot.name: [] for slot in self.slots}  # tokens: holder, then in line
        self.yielding: set[int] = set()  # tokens of those that gave way
        self.last = 0
        self.asked = 0
        self.manager = self._open()

    def _open(self) -> LeaseManager:
        manager = LeaseManager(Path(self.folder.name) / "leases.db", self.clock)
        kinds = tuple(dict.fromkeys(slot.accelerator for slot in self.slots))
        manager.register(
            self.slots,
            [replace(SCREEN, accelerators=kinds), replace(VALIDATE, accelerators=kinds, preempt=True)],
        )
        self.unavailable.clear()
        return manager

    @rule(
        requests=st.lists(
            st.tuples(
                st.sampled_from(["screen", "validate"]),
                st.sampled_from("abc"),
                st.floats(0, 1),
                st.sampled_from([None, *KINDS]),
            )
        ),
        grant=st.booleans(),
    )
    def request(self, requests: list[tuple[str, str, float, str | None]], grant: bool) -> None:
        for tier, holder, bid, kind in requests:
            self.asked += 1
            ask(self.manager, f"r{self.asked}", tier=tier, holder=holder, bid=bid, accelerator=kind)
            self.waiting[f"r{self.asked}"] = kind
        if grant:
            self.grant()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.manager.withdraw(name)
        del self.waiting[name]

    @rule()
    def grant(self) -> None:
        for lease in self.manager.grant():
            assert lease.token > self.last
            self.last = lease.token
            assert self.waiting.pop(lease.request_id) in (None, lease.slot.accelerator)
            assert self.free_places(lease.slot) > 0
            self.live[lease.token] = lease
            self.places[lease.slot.name].append(lease.token)
        for slot in self.slots:
            idle = self.free_places(slot) and {None, slot.accelerator} & set(self.waiting.values())
            assert not idle, "a slot stayed idle beside a waiting request"

    @rule(slot=st.integers(0, 4), gone=st.booleans())
    def come_and_go(self, slot: int, gone: bool) -> None:
        name = self.slots[slot % len(self.slots)].name
        self.manager.set_unavailable(name, "no capacity" if gone else None)
        (self.unavailable.add if gone else self.unavailable.discard)(name)

    @rule(validations=st.lists(st.tuples(st.just("validate"), st.just("v"), st.just(0.0), st.sampled_from(KINDS))))
    def make_way(self, validations: list[tuple[str, str, float, str]]) -> None:
        """No more slots are cleared than validations wait, and none for nobody."""
        self.request([("screen", "a", 0.0, None)] * 5, True)
        self.request(list(validations), True)
        yielding = self.manager.make_way()
        assert {lease.token for lease in yielding} <= self.live.keys()
        assert {lease.tier for lease in yielding} <= {"screen"}
        cleared = {lease.slot.name for lease in yielding if lease.token not in self.yielding}
        assert len(cleared) <= sum(waiting.tier == "validate" for waiting in self.manager.queue())
        assert not cleared & self.unavailable
        self.yielding |= {lease.token for lease in yielding}
        assert self.yielding & self.live.keys() == {lease.token for lease in yielding}, "it is told until it has ended"

    def free_places(self, slot: Slot) -> int:
        """Nobody stands in line behind a lease that expired."""
        if slot.name in self.unavailable:
            return 0
        taken = self.places[slot.name]
        ahead = slot.lead_seconds > 0 and not self.expired.keys() & set(taken[:1])
        return max(0, 1 + ahead - len(taken))

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def release(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.live)))
        self.manager.release(token)
        self.leave(self.live.pop(token))

    def leave(self, lease: Lease) -> None:
        self.places[lease.slot.name].remove(lease.token)

    @rule(seconds=st.one_of(st.floats(0, 2 * LEASE_SECONDS), st.floats(-1e6, 1e6)))
    def jump(self, seconds: float) -> None:
        self.clock.jump(seconds)

    @rule(data=st.data())
    def heartbeat(self, data: st.DataObject) -> None:
        tokens = set(data.draw(st.lists(st.integers(0, self.last + 1), max_size=4)))
        assert self.manager.heartbeat(tokens) == tokens & self.live.keys()

    @rule(seconds=st.sampled_from([0.0, 0.5 * LEASE_SECONDS, LEASE_SECONDS]))
    def expire(self, seconds: float) -> None:
        self.clock.jump(seconds)
        for lease in self.manager.expire():
            if lease.token in self.live:
                assert lease.expires_at <= self.clock.now()
                self.expired[lease.token] = self.live.pop(lease.token)
            assert lease.token in self.expired
        for token in self.expired:
            with pytest.raises(StaleToken):
                self.manager.release(token)

    @precondition(lambda self: self.live or self.expired)
    @rule(data=st.data())
    def reclaim(self, data: st.DataObject) -> None:
        token = data.draw(st.sampled_from(sorted(self.live.keys() | self.expired.keys())))
        self.manager.reclaim(token)
        self.leave(self.live.pop(token, None) or self.expired.pop(token))

    @rule(data=st.data())
    def use_an_old_token(self, data: st.DataObject) -> None:
        token = data.draw(st.integers(0, self.last + 1))
        if token in self.live:
            self.manager.validate(token)
        else:
            with pytest.raises(StaleToken):
                self.manager.release(token)

    @rule()
    def restart(self) -> None:
        self.manager.close()
        self.manager = self._open()

    @invariant()
    def agrees(self) -> None:
        if not hasattr(self, "manager"):
            return
        held = self.manager.live()
        assert {lease.token for lease in held} == self.live.keys() | self.expired.keys()
        assert {waiting.request_id for waiting in self.manager.queue()} == self.waiting.keys()
        states = self.manager.slots()
        assert [state.slot for state in states] == self.slots
        assert {s.slot.name: [lease.token for lease in (s.lease, s.next) if lease] for s in states} == self.places
        assert all(use.seconds >= 0 for use in self.manager.lease_seconds())

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            self.manager.close()
            self.folder.cleanup()


TestLeaseHistory = LeaseHistory.TestCase
TestLeaseHistory.settings = settings(max_examples=60, stateful_step_count=40, deadline=None, derandomize=True)
