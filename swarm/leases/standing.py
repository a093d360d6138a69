"""Who holds which slot and who waits: what `swarm leases` shows and a resumed session goes on from."""

import sqlite3
from collections.abc import Collection

from swarm.leases.lease import Lease, SlotState, Waiting, lease_of, slot_of

_LEASES = "SELECT l.*, s.device, s.memory_mb, s.lead_seconds FROM slots s JOIN leases l ON l.token"
_HOLDERS, _IN_LINE = f"{_LEASES} = s.token", f"{_LEASES} = s.next"
HELD = f"{_LEASES} IN (s.token, s.next)"  # leases that hold a slot or stand in line for one


def live(db: sqlite3.Connection, requests: Collection[str] | None = None) -> list[Lease]:
    """Leases that hold a slot or stand in line, expired ones included, oldest first: all, or those of some requests."""
    rows = db.execute(f"{HELD} ORDER BY l.token")
    return [lease_of(row) for row in rows if requests is None or row["request"] in requests]


def queue(db: sqlite3.Connection, now: float) -> list[Waiting]:
    """All waiting requests at ``now`` (unix seconds), oldest first."""
    rows = db.execute("SELECT * FROM requests WHERE state = 'queued' ORDER BY seq").fetchall()
    return [
        Waiting(
            request_id=row["id"],
            tier=row["tier"],
            session=row["session"],
            holder=row["holder"],
            bid=row["bid"],
            waited=max(0.0, now - row["requested_at"]),
        )
        for row in rows
    ]


def slots(db: sqlite3.Connection) -> list[SlotState]:
    """All slots that are registered or still taken, by name."""
    rows = db.execute(
        "SELECT * FROM slots WHERE offered = 1 OR token IS NOT NULL OR unavailable IS NOT NULL ORDER BY name"
    ).fetchall()
    holders = {row["slot"]: lease_of(row) for row in db.execute(_HOLDERS)}
    in_line = {row["slot"]: lease_of(row) for row in db.execute(_IN_LINE)}
    return [
        SlotState(
            slot=slot_of(row, row["name"]),
            offered=bool(row["offered"]),
            lease=holders.get(row["name"]),
            next=in_line.get(row["name"]),
            unavailable=row["unavailable"],
            steps_per_second=row["steps_per_second"],
        )
        for row in rows
    ]
