"""The table of leases: one rule a test, and a model that random histories are held against."""

import asyncio
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from swarm.errors import HomeTooNew, InputError, StaleToken, SwarmError
from swarm.leases.desk import LeaseDesk
from swarm.leases.lease import Lease, State, Tier
from swarm.leases.manager import LEASE_SECONDS, LeaseManager
from swarm.leases.order import AGED_TURN, PATIENCE
from swarm.leases.schema import UPGRADES
from swarm.ports import Slot
from tests.fakes import FakeClock

SCREEN, VALIDATE = Tier(name="screen"), Tier(name="validate", priority=10)


def cores(count: int) -> list[Slot]:
    return [Slot(name=f"cpu-{number}", accelerator="cpu", price_per_hour=3.6) for number in range(count)]


def ask(manager: LeaseManager, name: str, *, tier: str = "screen", holder: str = "a", bid: float = 0.0) -> None:
    assert manager.request(name, tier=tier, session="s", holder=holder, bid=bid) is None


def granted(leases: list[Lease]) -> list[str]:
    return [lease.request_id for lease in leases]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "leases.db"


@pytest.fixture
def manager(path: Path, clock: FakeClock) -> Iterator[LeaseManager]:
    manager = LeaseManager(path, clock)
    manager.register(cores(1), [SCREEN, VALIDATE])
    yield manager
    manager.close()


# ── slots and tiers ─────────────────────────────────────────────────────────────────────────────────────


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


# ── the life of a request ───────────────────────────────────────────────────────────────────────────────


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


# ── order of service ────────────────────────────────────────────────────────────────────────────────────


def serve(manager: LeaseManager, count: int, clock: FakeClock, seconds: float = 10.0) -> list[Lease]:
    """Grant and release one after another on the manager's one slot."""
    served = []
    for _ in range(count):
        (lease,) = manager.grant()
        served.append(lease)
        clock.advance(seconds)
        manager.heartbeat([lease.token])
        manager.release(lease.token)
    return served


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


def test_sixteen_slots_are_shared_evenly_by_four_agents(path: Path, clock: FakeClock) -> None:
    manager = LeaseManager(path, clock)
    manager.register(cores(16), [SCREEN])
    grants: Counter[str] = Counter()
    for number in range(200 * 4):
        ask(manager, f"{number}", holder=f"agent-{number % 4}", bid=float(number % 4))
    running = manager.grant()
    for number in range(800, 1800):
        grants.update(lease.holder for lease in running[-1:])
        clock.advance(300 / 16)
        manager.release(running.pop(0).token)
        ask(manager, f"{number}", holder=f"agent-{number % 4}", bid=float(number % 4))
        running += manager.grant()
        manager.heartbeat([lease.token for lease in running])
    assert len(grants) == 4
    assert all(share == pytest.approx(250, rel=0.1) for share in grants.values())
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


# ── places in line ──────────────────────────────────────────────────────────────────────────────────────


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


# ── what was used ───────────────────────────────────────────────────────────────────────────────────────


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


# ── waiting in an event loop ────────────────────────────────────────────────────────────────────────────


async def test_a_release_serves_the_next_at_once(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    first = await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting = asyncio.create_task(desk.acquire("two", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    await desk.release(first.token)
    async with asyncio.timeout(0.8):  # less than the poll for other processes
        second = await waiting
    assert second.slot == first.slot
    assert second.token > first.token
    await desk.close()


async def test_a_slot_freed_by_another_process_is_noticed(manager: LeaseManager, path: Path, clock: FakeClock) -> None:
    desk, other = LeaseDesk(manager), LeaseManager(path, clock)
    first = await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting = asyncio.create_task(desk.acquire("two", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    other.release(first.token)
    (lease,) = other.grant()  # even the grant may be another's
    async with asyncio.timeout(5):
        assert await waiting == lease
    other.close()
    await desk.close()


async def test_a_cancelled_wait_leaves_the_queue(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting = asyncio.create_task(desk.acquire("two", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert manager.queue() == []
    await desk.close()


@pytest.mark.parametrize("turns", range(12))
async def test_a_wait_cancelled_at_any_moment_leaks_no_slot(manager: LeaseManager, turns: int) -> None:
    desk = LeaseDesk(manager)
    waiting = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    for _ in range(turns):
        await asyncio.sleep(0)
    waiting.cancel()
    try:
        lease = await waiting
    except asyncio.CancelledError:
        pass
    else:
        await desk.release(lease.token)
    await desk.call(manager.grant)
    assert manager.live() == []
    await desk.close()


async def test_a_resumed_wait_gets_the_lease_it_had_and_cancelling_it_does_not_end_it(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    lease = await desk.acquire("one", tier="screen", session="s", holder="a")
    assert await desk.acquire("one", tier="screen", session="s", holder="a") == lease
    again = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    await asyncio.sleep(0)
    again.cancel()
    with pytest.raises(asyncio.CancelledError):
        await again
    assert manager.live() == [lease]
    await desk.close()


async def test_closed_doors_grant_nothing(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    desk.close_doors()
    waiting = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    assert manager.live() == []
    desk.open_doors()
    assert (await waiting).request_id == "one"
    await desk.close()


async def test_two_tasks_cannot_wait_for_one_request(manager: LeaseManager) -> None:
    desk = LeaseDesk(manager)
    desk.close_doors()
    waiting = asyncio.create_task(desk.acquire("one", tier="screen", session="s", holder="a"))
    await _queued(manager, 1)
    with pytest.raises(SwarmError, match="already waited for"):
        await desk.acquire("one", tier="screen", session="s", holder="a")
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    await desk.close()


async def _queued(manager: LeaseManager, count: int) -> None:
    async with asyncio.timeout(5):
        while len(manager.queue()) < count:
            await asyncio.sleep(0)


# ── any history ─────────────────────────────────────────────────────────────────────────────────────────


class LeaseHistory(RuleBasedStateMachine):
    """Random histories beside a model that knows only: who waits, who holds what, which token was last.

    Some slots take a second lease in line at once: their lead is longer than any trial.
    """

    @initialize(slots=st.integers(1, 4), ahead=st.integers(0, 4))
    def open(self, slots: int, ahead: int) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.clock = FakeClock()
        self.slots = [replace(s, lead_seconds=1e12 if n < ahead else 0.0) for n, s in enumerate(cores(slots))]
        self.waiting: set[str] = set()
        self.live: dict[int, Lease] = {}
        self.expired: dict[int, Lease] = {}
        self.places: dict[str, list[int]] = {slot.name: [] for slot in self.slots}  # tokens: holder, then in line
        self.last = 0
        self.asked = 0
        self.manager = self._open()

    def _open(self) -> LeaseManager:
        manager = LeaseManager(Path(self.folder.name) / "leases.db", self.clock)
        manager.register(self.slots, [SCREEN, VALIDATE])
        return manager

    @rule(
        requests=st.lists(st.tuples(st.sampled_from(["screen", "validate"]), st.sampled_from("abc"), st.floats(0, 1))),
        grant=st.booleans(),
    )
    def request(self, requests: list[tuple[str, str, float]], grant: bool) -> None:
        for tier, holder, bid in requests:
            self.asked += 1
            ask(self.manager, f"r{self.asked}", tier=tier, holder=holder, bid=bid)
            self.waiting.add(f"r{self.asked}")
        if grant:
            self.grant()

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def withdraw(self, data: st.DataObject) -> None:
        name = data.draw(st.sampled_from(sorted(self.waiting)))
        assert self.manager.withdraw(name)
        self.waiting.remove(name)

    @rule()
    def grant(self) -> None:
        free = sum(map(self.free_places, self.slots))
        leases = self.manager.grant()
        assert len(leases) == min(free, len(self.waiting)), "a slot stayed idle beside a waiting request"
        for lease in leases:
            assert lease.token > self.last
            self.last = lease.token
            self.waiting.remove(lease.request_id)
            self.live[lease.token] = lease
            self.places[lease.slot.name].append(lease.token)

    def free_places(self, slot: Slot) -> int:
        """Nobody stands in line behind a lease that expired."""
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
        assert {waiting.request_id for waiting in self.manager.queue()} == self.waiting
        states = self.manager.slots()
        assert [state.slot for state in states] == self.slots
        assert {s.slot.name: [lease.token for lease in (s.lease, s.next) if lease] for s in states} == self.places
        assert all(use.seconds >= 0 for use in self.manager.lease_seconds())

    def teardown(self) -> None:
        if hasattr(self, "manager"):
            self.manager.close()
            self.folder.cleanup()


TestLeaseHistory = LeaseHistory.TestCase
TestLeaseHistory.settings = settings(max_examples=40, stateful_step_count=40, deadline=None, derandomize=True)
