"""Whose trial ends where a request of a tier that preempts would have to wait for a lower tier's."""

import sqlite3

from swarm.leases.lease import Lease, lease_of
from swarm.leases.standing import HELD

_WAITING = """
SELECT lanes.accelerators, priority, SUM(waiting) AS waiting
FROM lanes JOIN tiers ON tiers.name = lanes.tier JOIN lines ON lines.lane = lanes.name
WHERE preempt AND waiting > 0 GROUP BY lanes.name ORDER BY priority DESC
"""
_FREE = """
SELECT COUNT(*) FROM slots
WHERE offered = 1 AND token IS NULL AND accelerator IN (SELECT value FROM json_each(?))
"""
_LOWER = """
SELECT s.token, s.next, MIN(l.gives_way) AS yields
FROM slots s JOIN leases l ON l.token IN (s.token, s.next) JOIN tiers ON tiers.name = l.tier
WHERE offered = 1 AND s.accelerator IN (SELECT value FROM json_each(?))
GROUP BY s.name HAVING MAX(priority) < ? AND MIN(l.state = 'granted') ORDER BY s.token DESC
"""


def giving_way(db: sqlite3.Connection) -> list[Lease]:
    """All leases that give way, after marking as many more as requests wait that will find no free slot.

    Of the slots that a request may use and lower tiers have, that goes first whose trial was begun last: with it
    least is lost. Who stands in line for it goes along.
    """
    for lane in db.execute(_WAITING).fetchall():
        taken = db.execute(_LOWER, (lane["accelerators"], lane["priority"])).fetchall()
        free: int = db.execute(_FREE, (lane["accelerators"],)).fetchone()[0]
        missing = lane["waiting"] - free - sum(row["yields"] for row in taken)
        for row in [row for row in taken if not row["yields"]][: max(0, missing)]:
            db.execute("UPDATE leases SET gives_way = 1 WHERE token IN (?, ?)", (row["token"], row["next"]))
    return [lease_of(row) for row in db.execute(f"{HELD} WHERE l.gives_way AND l.state = 'granted' ORDER BY l.token")]
