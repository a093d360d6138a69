"""What leases took: seconds and dollars of each slot."""

import sqlite3

from swarm.leases.lease import SlotUse, Span

_BETWEEN = """
SELECT slot, accelerator, SUM(seconds) AS seconds, SUM(seconds * price_per_hour) / 3600 AS dollars FROM (
    SELECT *, MAX(0.0, MIN(COALESCE(ended_at, :until), :until) - MAX(held_from, :since)) AS seconds
    FROM leases WHERE held_from < :until
) GROUP BY slot, accelerator ORDER BY slot
"""
_SO_FAR = """
SELECT slot, accelerator, SUM(seconds) AS seconds, SUM(dollars) AS dollars FROM (
    SELECT slot, accelerator, seconds, dollars FROM used WHERE session = :session
    UNION ALL
    SELECT l.slot, l.accelerator, MAX(0.0, :now - held_from), MAX(0.0, :now - held_from) * l.price_per_hour / 3600
    FROM slots s JOIN leases l ON l.token = s.token WHERE l.session = :session
) GROUP BY slot, accelerator ORDER BY slot
"""


def between(db: sqlite3.Connection, session: str | None, since: float, until: float) -> list[SlotUse]:
    """What leases took between two unix seconds, of one session or of all; looks at all leases there were."""
    query = _BETWEEN if session is None else _BETWEEN.replace("WHERE", "WHERE session = :session AND")
    return _read(db, query, {"session": session, "since": since, "until": until})


def so_far(db: sqlite3.Connection, session: str, now: float) -> list[SlotUse]:
    """What a session's leases took until now; costs no more when the session is long."""
    return _read(db, _SO_FAR, {"session": session, "now": now})


def spans(db: sqlite3.Connection, session: str) -> list[Span]:
    """The leases of a session that have ended, oldest first."""
    rows = db.execute(
        "SELECT slot, accelerator, tier, held_from AS start, ended_at AS end FROM leases"
        " WHERE session = ? AND ended_at IS NOT NULL AND held_from IS NOT NULL ORDER BY token",
        (session,),
    ).fetchall()
    return [Span(**dict(row)) for row in rows]


def waits(db: sqlite3.Connection, session: str) -> list[tuple[str, float]]:
    """(tier, seconds from request to grant) of all leases of a session whose request has not been made anew."""
    rows = db.execute(
        "SELECT l.tier, MAX(0.0, l.granted_at - r.requested_at) FROM leases l JOIN requests r ON r.token = l.token"
        " WHERE l.session = ? ORDER BY l.token",
        (session,),
    ).fetchall()
    return [(str(tier), float(seconds)) for tier, seconds in rows]


def add(db: sqlite3.Connection, lease: sqlite3.Row, seconds: float) -> None:
    """Count a lease that ended, after it held its slot for so long."""
    db.execute(
        "INSERT INTO used VALUES (?, ?, ?, ?, ?) ON CONFLICT (session, slot, accelerator) DO UPDATE SET"
        " seconds = seconds + excluded.seconds, dollars = dollars + excluded.dollars",
        (lease["session"], lease["slot"], lease["accelerator"], seconds, seconds * lease["price_per_hour"] / 3600),
    )


def _read(db: sqlite3.Connection, query: str, parameters: dict[str, float | str | None]) -> list[SlotUse]:
    return [SlotUse(**dict(row)) for row in db.execute(query, parameters).fetchall()]
