"""Who is served next: the tier's priority, then fair share among holders, then bid, then age.

Fair share is start-time fair queueing (Goyal, Vin and Cheng, 1996): each holder is charged the seconds its leases
take, the one charged least is served, and who comes back after a rest starts at the present, not with saved-up
credit. A lease is charged its tier's typical seconds when it is granted and what it really took when it ends.
One grant in ``AGED_TURN`` goes to the oldest request that has let ``PATIENCE`` grants pass it by, so that no tier,
holder or bid starves another; but a slot that has just served a lower tier goes to the higher one that waits, so that
a validation never waits for more than one screening trial. Age is counted in requests and grants: a clock that jumps
changes no order.

All of it is index look-ups: a grant costs the logarithm of the queue, times the few tiers there are.
"""

import json
import sqlite3
from dataclasses import dataclass, replace

PATIENCE = 256  # grants a request lets pass before it counts as aged
AGED_TURN = 8  # one grant in so many goes to the oldest aged request
SMOOTHING = 0.2  # weight of the newest lease in its tier's typical seconds


def last_token(db: sqlite3.Connection) -> int:
    """The token of the newest lease; 0 before the first."""
    token: int = db.execute("SELECT COALESCE(MAX(token), 0) FROM leases").fetchone()[0]
    return token


def match(db: sqlite3.Connection, now: float) -> tuple[sqlite3.Row, sqlite3.Row] | None:
    """The request to serve next and the slot it gets; None when no slot suits a waiting request.

    The slot is free, or is taken and was due before ``now`` (unix seconds) to have a lease in line.
    """
    servable = []
    for lane in db.execute(
        "SELECT lanes.name, priority, lanes.accelerators FROM lanes JOIN tiers ON tiers.name = lanes.tier"
    ).fetchall():
        line = db.execute(
            "SELECT * FROM lines WHERE lane = ? AND waiting > 0 ORDER BY charged LIMIT 1", (lane["name"],)
        ).fetchone()
        accelerators = json.loads(lane["accelerators"])
        if line and (slot := _free_slot(db, accelerators) or _due_slot(db, accelerators, now)):
            servable.append(_Choice(priority=lane["priority"], line=line, request=_first(db, line), slot=slot))
    if not servable:
        return None
    best = min(servable, key=lambda choice: choice.rank)
    aged = _aged(db, servable) if _aged_turn(db) else None
    if aged and (aged.priority >= best.priority or (aged.slot["last_priority"] or 0) >= best.priority):
        db.execute("UPDATE present SET aged_token = ?", (last_token(db) + 1,))
        return aged.request, aged.slot
    return best.request, best.slot


@dataclass(frozen=True, kw_only=True)
class _Choice:
    """What one lane would get."""

    priority: int
    line: sqlite3.Row
    request: sqlite3.Row
    slot: sqlite3.Row

    @property
    def rank(self) -> tuple[float, ...]:
        """The smallest is served: priority, what its holder was charged, bid, age."""
        return (-self.priority, self.line["charged"], -self.request["bid"], self.request["seq"])


def _first(db: sqlite3.Connection, line: sqlite3.Row) -> sqlite3.Row:
    row: sqlite3.Row = db.execute(
        "SELECT * FROM requests WHERE state = 'queued' AND lane = ? AND session = ? AND holder = ?"
        " ORDER BY bid DESC, seq LIMIT 1",
        (line["lane"], line["session"], line["holder"]),
    ).fetchone()
    return row


def lane_of(db: sqlite3.Connection, tier: str, accelerator: str | None) -> str:
    """The lane of a tier's requests, made when it is missing: the tier's own, or that of one kind of accelerator."""
    if accelerator is None:
        return tier
    lane = f"{tier}@{accelerator}"
    db.execute("INSERT OR IGNORE INTO lanes VALUES (?, ?, ?)", (lane, tier, json.dumps([accelerator])))
    return lane


def join_line(db: sqlite3.Connection, *, lane: str, session: str, holder: str) -> None:
    """Count a new request. A holder that waited for nothing starts at the present, unless it is charged more."""
    charged, waiting = db.execute(
        "SELECT COALESCE(MAX(charged), 0.0), COALESCE(SUM(waiting), 0) FROM lines WHERE session = ? AND holder = ?",
        (session, holder),
    ).fetchone()
    if not waiting:
        charged = max(charged, db.execute("SELECT charged FROM present").fetchone()[0])
        db.execute("UPDATE lines SET charged = ? WHERE session = ? AND holder = ?", (charged, session, holder))
    db.execute(
        "INSERT INTO lines VALUES (?, ?, ?, 1, ?)"
        " ON CONFLICT (session, holder, lane) DO UPDATE SET waiting = waiting + 1",
        (lane, session, holder, charged),
    )


def leave_line(db: sqlite3.Connection, request: sqlite3.Row) -> None:
    """Count a request that waits no more."""
    db.execute(
        "UPDATE lines SET waiting = waiting - 1 WHERE session = ? AND holder = ? AND lane = ?",
        (request["session"], request["holder"], request["lane"]),
    )


def charge(db: sqlite3.Connection, request: sqlite3.Row) -> float:
    """Charge a grant its tier's typical seconds, and return them; the present moves on with whom is served."""
    seconds = _typical(db, request["tier"])
    db.execute(
        "UPDATE present SET charged = MAX(charged, (SELECT charged FROM lines WHERE session = ? AND holder = ?"
        " AND lane = ?))",
        (request["session"], request["holder"], request["lane"]),
    )
    _add(db, request, seconds)
    return seconds


def settle(db: sqlite3.Connection, lease: sqlite3.Row, seconds: float | None) -> None:
    """Put what a lease took in place of what it was charged when granted; None: it never held its slot."""
    _add(db, lease, (seconds or 0.0) - lease["charged"])
    if seconds is None:
        return
    db.execute(
        "UPDATE tiers SET typical_seconds = typical_seconds + ? * (? - typical_seconds) WHERE name = ?",
        (SMOOTHING, seconds, lease["tier"]),
    )


def typical_seconds(db: sqlite3.Connection, token: int | None) -> float | None:
    """How long leases of this one's tier last; None when it is not usable any more."""
    row = db.execute("SELECT tier FROM leases WHERE token = ? AND state = 'granted'", (token,)).fetchone()
    return _typical(db, row["tier"]) if row else None


def _typical(db: sqlite3.Connection, tier: str) -> float:
    seconds: float = db.execute("SELECT typical_seconds FROM tiers WHERE name = ?", (tier,)).fetchone()[0]
    return seconds


def _add(db: sqlite3.Connection, row: sqlite3.Row, seconds: float) -> None:
    db.execute(
        "UPDATE lines SET charged = charged + ? WHERE session = ? AND holder = ?",
        (seconds, row["session"], row["holder"]),
    )


def _free_slot(db: sqlite3.Connection, accelerators: list[str]) -> sqlite3.Row | None:
    query = "SELECT * FROM slots WHERE offered = 1 AND token IS NULL"
    row: sqlite3.Row | None = None
    if not accelerators:
        return db.execute(f"{query} ORDER BY accelerator, name LIMIT 1").fetchone()  # type: ignore[no-any-return]  # sqlite3
    for accelerator in accelerators:
        row = db.execute(f"{query} AND accelerator = ? ORDER BY name LIMIT 1", (accelerator,)).fetchone()
        if row:
            break
    return row


def _due_slot(db: sqlite3.Connection, accelerators: list[str], now: float) -> sqlite3.Row | None:
    """The slot whose trial ends first, among those that are due to have a lease in line."""
    query = "SELECT * FROM slots WHERE offered = 1 AND token IS NOT NULL AND next IS NULL AND next_due <= ?"
    row: sqlite3.Row | None = None
    if not accelerators:
        return db.execute(f"{query} ORDER BY next_due LIMIT 1", (now,)).fetchone()  # type: ignore[no-any-return]  # sqlite3
    for accelerator in accelerators:
        row = db.execute(f"{query} AND accelerator = ? ORDER BY next_due LIMIT 1", (now, accelerator)).fetchone()
        if row:
            break
    return row


def _aged_turn(db: sqlite3.Connection) -> bool:
    """Whether the next grant may be an aged request's."""
    aged: int = db.execute("SELECT aged_token FROM present").fetchone()[0]
    return last_token(db) + 1 - aged >= AGED_TURN


def _aged(db: sqlite3.Connection, servable: "list[_Choice]") -> "_Choice | None":
    """The oldest request of these lanes, when it has let PATIENCE grants pass."""
    oldest = [
        replace(choice, request=row)
        for choice in servable
        if (
            row := db.execute(
                "SELECT * FROM requests WHERE state = 'queued' AND lane = ? ORDER BY seq LIMIT 1",
                (choice.line["lane"],),
            ).fetchone()
        )
    ]
    aged = min(oldest, key=lambda choice: int(choice.request["seq"]))
    return aged if last_token(db) - aged.request["born"] >= PATIENCE else None
