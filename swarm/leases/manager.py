"""Who may use which accelerator: one queue, one table of slots, one SQLite file, any number of processes.

What the words mean is said in ``lease.py``, in which order requests are served in ``order.py``.
"""

import json
import math
import sqlite3
import threading
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from swarm.errors import DiskFull, HomeTooNew, InputError, StaleToken, SwarmError
from swarm.leases import order, picking, preemption, schema, standing, usage
from swarm.leases.lease import Lease, SlotState, SlotUse, Span, State, Tier, Waiting, lease_of, slot_of
from swarm.ports import Clock, Slot

LEASE_SECONDS = 120.0  # a lease lives this long after its last heartbeat
_BUSY_SECONDS = 300.0  # wait this long for another process's transaction
_CHECKPOINT_PAGES = 8000  # 32 MB of journal between checkpoints: each costs milliseconds, and falls on a grant


class LeaseManager:
    """The queue, the slots and the leases of one home. Safe to share between threads and between processes.

    All methods are short transactions on ``path``; an event loop uses them through ``LeaseDesk``. Any of them
    raises DiskFull when the disk is full and SwarmError when another process holds the file for too long.
    """

    def __init__(self, path: Path, clock: Clock, *, lease_seconds: float = LEASE_SECONDS) -> None:
        """Open ``path``, making it when it is missing. Raises HomeTooNew."""
        self._clock = clock
        self.ttl = lease_seconds  # seconds that a lease lives after its last heartbeat
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
            self._db.row_factory = sqlite3.Row
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")  # a power cut may forget the last grants, not corrupt them
            self._db.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        except sqlite3.DatabaseError as error:
            raise _explain(error) from error
        with self._transaction() as db:
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version > len(schema.UPGRADES):
                raise HomeTooNew(f"{path} was written by a newer version; upgrade nightswarm or use another --home")
            for statement in schema.statements(since=version):
                db.execute(statement)

    def close(self) -> None:
        """Close the file. Leases and the queue stay."""
        with self._lock:
            self._db.close()

    # ── the table of slots ──────────────────────────────────────────────────────────────────────────────

    def register(self, slots: Iterable[Slot], tiers: Iterable[Tier], *, beside: bool = False) -> None:
        """Make these the slots and tiers of the home; may be called again at any time.

        A slot left out gets no new lease; one it has runs on. A tier that names no accelerator gets those that
        ``picking`` chooses. ``beside`` others who work: theirs stay, and must be the same. Raises InputError when
        they are not, when two slots share a name or a tier names an accelerator that no slot has.
        """
        slots, tiers = tuple(slots), tuple(tiers)
        picking.check(slots, tiers)
        with self._transaction() as db:
            if beside and picking.settled(db, slots, tiers):
                return
            db.execute("UPDATE slots SET offered = 0, unavailable = NULL")
            db.executemany(
                "INSERT INTO slots (name, accelerator, device, memory_mb, price_per_hour, lead_seconds, offered)"
                " VALUES (?, ?, ?, ?, ?, ?, 1) ON CONFLICT (name) DO UPDATE SET"
                " accelerator = excluded.accelerator, device = excluded.device, memory_mb = excluded.memory_mb,"
                " price_per_hour = excluded.price_per_hour, lead_seconds = excluded.lead_seconds, offered = 1",
                [(s.name, s.accelerator, s.device, s.memory_mb, s.price_per_hour, s.lead_seconds) for s in slots],
            )
            for tier in picking.resolve(db, tiers):
                kinds = json.dumps(tier.accelerators)
                db.execute(
                    "INSERT INTO tiers VALUES (?, ?, ?, 1.0, ?) ON CONFLICT (name) DO UPDATE SET"
                    " priority = excluded.priority, accelerators = excluded.accelerators, preempt = excluded.preempt",
                    (tier.name, tier.priority, kinds, tier.preempt),
                )
                db.execute("INSERT OR REPLACE INTO lanes VALUES (?, ?, ?)", (tier.name, tier.name, kinds))

    def kinds(self, tier: str) -> tuple[str, ...]:
        """The kinds of accelerator a tier may use, best first; those with no slot to be had now come last."""
        with self._lock:
            return picking.kinds(self._db, tier)

    def note_speed(self, slot: str, steps_per_second: float) -> None:
        """Remember how fast a trial went on a slot: a running mean that forgets."""
        with self._transaction() as db:
            db.execute(
                "UPDATE slots SET steps_per_second = COALESCE(steps_per_second + ? * (? - steps_per_second), ?)"
                " WHERE name = ?",
                (order.SMOOTHING, steps_per_second, steps_per_second, slot),
            )

    def set_unavailable(self, slot: str, why: str | None) -> None:
        """Grant no lease on a registered slot for the time being; ``None`` makes it available again.

        What runs there runs on.
        """
        with self._transaction() as db:
            db.execute("UPDATE slots SET offered = ?, unavailable = ? WHERE name = ?", (why is None, why, slot))

    # ── the life of a request ───────────────────────────────────────────────────────────────────────────

    def request(
        self,
        request_id: str,
        *,
        tier: str,
        session: str,
        holder: str,
        bid: float = 0.0,
        accelerator: str | None = None,
    ) -> Lease | None:
        """Queue a request; None while it waits, its lease when it was granted earlier.

        ``accelerator`` names the one kind of slot it needs; None: any that its tier may use.

        A queued or granted request is left as it is; one that has ended is queued anew. Raises InputError for an
        unknown tier or a bid that is no number, StaleToken when its earlier lease expired and waits to be reclaimed.
        """
        if not math.isfinite(bid):
            raise InputError(f"bid of request {request_id} is {bid}; it must be a finite number")
        with self._transaction() as db:
            known = db.execute("SELECT state, token FROM requests WHERE id = ?", (request_id,)).fetchone()
            if known and known["state"] == State.GRANTED:
                return lease_of(db.execute(f"{standing.HELD} WHERE l.token = ?", (known["token"],)).fetchone())
            if known and known["state"] == State.EXPIRED:
                raise StaleToken(
                    f"lease {known['token']} of request {request_id} expired; cancel its trial and reclaim it first"
                )
            if known and known["state"] == State.QUEUED:
                return None
            if not db.execute("SELECT 1 FROM tiers WHERE name = ?", (tier,)).fetchone():
                raise InputError(f"request {request_id} names tier '{tier}', which is not registered")
            lane = order.lane_of(db, tier, accelerator)
            db.execute(
                "INSERT OR REPLACE INTO requests (id, session, holder, tier, lane, bid, requested_at, born, state)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, 'queued')",
                (request_id, session, holder, tier, lane, bid, self._clock.now(), order.last_token(db)),
            )
            order.join_line(db, lane=lane, session=session, holder=holder)
        return None

    def withdraw(self, request_id: str) -> bool:
        """Take a request out of the queue; False when it is not in it (any more)."""
        with self._transaction() as db:
            row = db.execute(
                "UPDATE requests SET state = 'withdrawn' WHERE id = ? AND state = 'queued' RETURNING *",
                (request_id,),
            ).fetchone()
            if row:
                order.leave_line(db, row)
            return row is not None

    def grant(self) -> list[Lease]:
        """Give slots to waiting requests until one of the two runs out; the leases just made.

        Free slots first, then places in line on slots that are about to be.
        """
        made = []
        with self._transaction() as db:
            while match := order.match(db, self._clock.now()):
                made.append(self._make_lease(db, *match))
        return made

    def make_way(self) -> list[Lease]:
        """Leases whose trials are to end now, because a request of a tier that preempts waits for their slots.

        They hold until they are released or reclaimed, like any other, and are told until then.
        """
        with self._transaction() as db:
            return preemption.giving_way(db)

    def heartbeat(self, tokens: Iterable[int]) -> set[int]:
        """Move the deadlines of these leases; those of them that are still valid.

        A heartbeat that comes late, but before ``expire``, keeps the lease: one transaction decides, not a clock.
        """
        now = self._clock.now()
        with self._transaction() as db:
            return {
                token
                for token in tokens
                if db.execute(
                    "UPDATE leases SET expires_at = ? + ttl WHERE token = ? AND state = 'granted'",
                    (now, token),
                ).rowcount
            }

    def validate(self, token: int) -> None:
        """Return when ``token`` owns its slot now. Raises StaleToken."""
        with self._lock:
            row = self._db.execute("SELECT state FROM leases WHERE token = ?", (token,)).fetchone()
        if row is None or row["state"] != State.GRANTED:
            raise _stale(token, row)

    def release(self, token: int) -> None:
        """Give the slot back, as its holder. Raises StaleToken when the lease has ended or expired."""
        self._end(token, {State.GRANTED}, State.RELEASED)

    def expire(self) -> list[Lease]:
        """End the use of leases whose deadline has passed; all that wait to be reclaimed, of whatever session.

        Their slots stay taken. A deadline that a clock set back has moved too far off is brought near again.
        """
        now = self._clock.now()
        with self._transaction() as db:
            db.execute(
                "UPDATE leases SET expires_at = ? + ttl WHERE state = 'granted' AND expires_at > ? + ttl",
                (now, now),
            )
            overdue = db.execute(
                "UPDATE leases SET state = 'expired' WHERE state = 'granted' AND expires_at <= ?"
                " RETURNING request, token",
                (now,),
            ).fetchall()
            db.executemany("UPDATE requests SET state = 'expired' WHERE id = ?", [(r["request"],) for r in overdue])
            db.executemany("UPDATE slots SET next_due = NULL WHERE token = ?", [(r["token"],) for r in overdue])
            rows = db.execute(f"{standing.HELD} WHERE l.state = 'expired' ORDER BY l.token").fetchall()
        return [lease_of(row) for row in rows]

    def reclaim(self, token: int) -> None:
        """Free the slot of a lease, expired or not, once it is certain that nothing of its trial runs any more.

        A second call changes nothing. Raises StaleToken when the lease was released.
        """
        self._end(token, {State.GRANTED, State.EXPIRED}, State.RECLAIMED)

    # ── what `swarm leases` and a resumed session see ───────────────────────────────────────────────────

    def live(self, requests: Collection[str] | None = None) -> list[Lease]:
        """Leases that hold a slot, expired ones included, oldest first: all, or those of some requests."""
        with self._lock:
            return standing.live(self._db, requests)

    def held_by(self, session: str) -> list[Lease]:
        """Those of ``live`` that belong to one session: what it re-attaches to after a restart."""
        return [lease for lease in self.live() if lease.session == session]

    def queue(self) -> list[Waiting]:
        """All waiting requests, oldest first."""
        with self._lock:
            return standing.queue(self._db, self._clock.now())

    def slots(self) -> list[SlotState]:
        """All slots that are registered or still taken, by name."""
        with self._lock:
            return standing.slots(self._db)

    def lease_seconds(
        self, *, session: str | None = None, since: float = 0.0, until: float | None = None
    ) -> list[SlotUse]:
        """What leases took of each slot between two unix seconds (None: now), of one session or of all."""
        with self._lock:
            return usage.between(self._db, session, since, self._clock.now() if until is None else until)

    def used(self, session: str) -> list[SlotUse]:
        """What a session's leases took of each slot so far; costs no more when the session is long."""
        with self._lock:
            return usage.so_far(self._db, session, self._clock.now())

    def spans(self, session: str) -> list[Span]:
        """A session's leases that have ended, oldest first."""
        with self._lock:
            return usage.spans(self._db, session)

    def waits(self, session: str) -> list[tuple[str, float]]:
        """(tier, seconds from request to grant) of a session's leases, oldest first."""
        with self._lock:
            return usage.waits(self._db, session)

    # ── inside ──────────────────────────────────────────────────────────────────────────────────────────

    def _make_lease(self, db: sqlite3.Connection, request: sqlite3.Row, slot: sqlite3.Row) -> Lease:
        now = self._clock.now()
        charged = order.charge(db, request)
        token = db.execute(
            "INSERT INTO leases (request, session, holder, tier, slot, accelerator, price_per_hour, granted_at, ttl,"
            " expires_at, charged, state) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 'granted')",
            (
                *(request[column] for column in ("id", "session", "holder", "tier")),
                *(slot[column] for column in ("name", "accelerator", "price_per_hour")),
                *(now, self.ttl, now + self.ttl, charged),
            ),
        ).lastrowid
        if slot["token"] is None:
            self._hold(db, token, slot)
        else:
            db.execute("UPDATE slots SET next = ? WHERE name = ?", (token, slot["name"]))
        db.execute("UPDATE requests SET state = 'granted', token = ? WHERE seq = ?", (token, request["seq"]))
        order.leave_line(db, request)
        assert token is not None
        return Lease(
            token=token,
            slot=slot_of(slot, slot["name"]),
            tier=request["tier"],
            session=request["session"],
            holder=request["holder"],
            request_id=request["id"],
            granted_at=now,
            expires_at=now + self.ttl,
        )

    def _hold(self, db: sqlite3.Connection, token: int | None, slot: sqlite3.Row) -> None:
        """Make a lease the holder of its slot: from now on it is paid for, and later another may stand in line."""
        now = self._clock.now()
        db.execute("UPDATE leases SET held_from = ? WHERE token = ?", (now, token))
        due = None
        if slot["lead_seconds"] and (typical := order.typical_seconds(db, token)) is not None:
            due = now + typical - slot["lead_seconds"]
        db.execute(
            "UPDATE slots SET token = ?, next = NULL, next_due = ?, last_priority = (SELECT priority FROM tiers JOIN"
            " leases ON leases.tier = tiers.name WHERE token = ?) WHERE name = ?",
            (token, due, token, slot["name"]),
        )

    def _end(self, token: int, allowed: set[State], final: State) -> None:
        """Close a lease and free its slot, or hand it to the lease in line.

        The estimate its holder was charged becomes what it took.
        """
        now = self._clock.now()
        with self._transaction() as db:
            row = db.execute("SELECT * FROM leases WHERE token = ?", (token,)).fetchone()
            if row is not None and row["state"] == State.RECLAIMED == final:
                return
            if row is None or row["state"] not in allowed:
                raise _stale(token, row)
            db.execute("UPDATE leases SET state = ?, ended_at = ? WHERE token = ?", (final, now, token))
            db.execute("UPDATE requests SET state = ? WHERE id = ?", (final, row["request"]))
            slot = db.execute("SELECT * FROM slots WHERE name = ?", (row["slot"],)).fetchone()
            if slot["next"] == token:
                db.execute("UPDATE slots SET next = NULL WHERE name = ?", (slot["name"],))
            elif slot["next"] is not None:
                self._hold(db, slot["next"], slot)
            else:
                db.execute("UPDATE slots SET token = NULL WHERE name = ?", (slot["name"],))
            seconds = None if row["held_from"] is None else max(0.0, now - row["held_from"])
            if seconds is not None:
                usage.add(db, row, seconds)
            order.settle(db, row, seconds)

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except sqlite3.OperationalError as error:
                raise _explain(error) from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")


def _stale(token: int, row: sqlite3.Row | None) -> StaleToken:
    if row is None:
        return StaleToken(f"token {token} belongs to no lease; ask for one first")
    return StaleToken(f"lease {token} is {row['state']}: what comes under it is refused")


def _explain(error: sqlite3.DatabaseError) -> SwarmError:
    if error.sqlite_errorcode == sqlite3.SQLITE_FULL:
        return DiskFull("the disk is full: no lease can be written; free some space, then start again")
    return SwarmError(f"the table of leases cannot be used: {error}; see whether another process hangs on it")
