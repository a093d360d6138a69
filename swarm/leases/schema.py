"""The tables of leases.db, and what was changed in them since the first version."""

from collections.abc import Iterator

_TABLES = """
CREATE TABLE slots (
    name TEXT PRIMARY KEY, accelerator TEXT NOT NULL, device INTEGER, memory_mb INTEGER,
    price_per_hour REAL NOT NULL, offered INTEGER NOT NULL, token INTEGER
) STRICT;
CREATE TABLE tiers (
    name TEXT PRIMARY KEY, priority INTEGER NOT NULL, accelerators TEXT NOT NULL, typical_seconds REAL NOT NULL
) STRICT;
CREATE TABLE requests (
    seq INTEGER PRIMARY KEY AUTOINCREMENT, id TEXT NOT NULL UNIQUE, session TEXT NOT NULL, holder TEXT NOT NULL,
    tier TEXT NOT NULL, bid REAL NOT NULL, requested_at REAL NOT NULL, born INTEGER NOT NULL,
    state TEXT NOT NULL, token INTEGER
) STRICT;
CREATE TABLE leases (
    token INTEGER PRIMARY KEY AUTOINCREMENT, request TEXT NOT NULL, session TEXT NOT NULL, holder TEXT NOT NULL,
    tier TEXT NOT NULL, slot TEXT NOT NULL, accelerator TEXT NOT NULL, price_per_hour REAL NOT NULL,
    granted_at REAL NOT NULL, ttl REAL NOT NULL, expires_at REAL NOT NULL, ended_at REAL, charged REAL NOT NULL,
    state TEXT NOT NULL
) STRICT;
CREATE INDEX leases_granted ON leases (expires_at) WHERE state = 'granted';
CREATE INDEX leases_session ON leases (session, granted_at);
"""

# A line is one holder's requests for one tier; `charged` is the holder's and equal in all its lines.
_ORDER = """
CREATE TABLE lines (
    tier TEXT NOT NULL, session TEXT NOT NULL, holder TEXT NOT NULL, waiting INTEGER NOT NULL,
    charged REAL NOT NULL, PRIMARY KEY (session, holder, tier)
) STRICT, WITHOUT ROWID;
CREATE INDEX lines_next ON lines (tier, charged) WHERE waiting > 0;
CREATE TABLE present (charged REAL NOT NULL) STRICT;
INSERT INTO present VALUES (0.0);
CREATE INDEX requests_line ON requests (tier, session, holder, bid DESC, seq) WHERE state = 'queued';
CREATE INDEX requests_age ON requests (tier, seq) WHERE state = 'queued';
CREATE INDEX slots_free ON slots (accelerator, name) WHERE offered = 1 AND token IS NULL;
"""

# Slots take a second lease in line, and may be unavailable; a lease is paid from when it holds its slot.
_IN_LINE = """
ALTER TABLE slots ADD COLUMN lead_seconds REAL NOT NULL DEFAULT 0.0;
ALTER TABLE slots ADD COLUMN next INTEGER;
ALTER TABLE slots ADD COLUMN next_due REAL;
ALTER TABLE slots ADD COLUMN unavailable TEXT;
ALTER TABLE leases ADD COLUMN held_from REAL;
UPDATE leases SET held_from = granted_at;
CREATE INDEX slots_due ON slots (accelerator, next_due) WHERE offered = 1 AND token IS NOT NULL AND next IS NULL
    AND next_due IS NOT NULL;
"""

# A request that needs one kind of accelerator queues in a lane of its own; a line is a holder's requests in one lane.
# What a session used is kept summed up; slots know how fast they are and for what they were last leased.
_LANES = """
CREATE TABLE lanes (name TEXT PRIMARY KEY, tier TEXT NOT NULL, accelerators TEXT NOT NULL) STRICT;
INSERT INTO lanes SELECT name, name, accelerators FROM tiers;
ALTER TABLE requests ADD COLUMN lane TEXT NOT NULL DEFAULT '';
UPDATE requests SET lane = tier;
DROP INDEX requests_line;
DROP INDEX requests_age;
CREATE INDEX requests_line ON requests (lane, session, holder, bid DESC, seq) WHERE state = 'queued';
CREATE INDEX requests_age ON requests (lane, seq) WHERE state = 'queued';
ALTER TABLE lines RENAME COLUMN tier TO lane;
ALTER TABLE present ADD COLUMN aged_token INTEGER NOT NULL DEFAULT 0;
ALTER TABLE slots ADD COLUMN last_priority INTEGER;
ALTER TABLE slots ADD COLUMN steps_per_second REAL;
CREATE TABLE used (
    session TEXT NOT NULL, slot TEXT NOT NULL, accelerator TEXT NOT NULL, seconds REAL NOT NULL,
    dollars REAL NOT NULL, PRIMARY KEY (session, slot, accelerator)
) STRICT, WITHOUT ROWID;
INSERT INTO used SELECT session, slot, accelerator, SUM(MAX(0.0, ended_at - held_from)),
    SUM(MAX(0.0, ended_at - held_from) * price_per_hour) / 3600 FROM leases
    WHERE ended_at IS NOT NULL AND held_from IS NOT NULL GROUP BY session, slot, accelerator;
"""

# A tier may have the trials of lower tiers end; a lease knows when its trial is to.
_PREEMPTION = """
ALTER TABLE tiers ADD COLUMN preempt INTEGER NOT NULL DEFAULT 0;
ALTER TABLE leases ADD COLUMN gives_way INTEGER NOT NULL DEFAULT 0;
"""

UPGRADES = (_TABLES + _ORDER, _IN_LINE, _LANES, _PREEMPTION)  # from each version to the next


def statements(*, since: int) -> Iterator[str]:
    """The SQL that brings a file of version ``since`` up to date; it notes the new version last."""
    for upgrade in UPGRADES[since:]:
        yield from filter(str.strip, upgrade.split(";"))
    yield f"PRAGMA user_version = {len(UPGRADES)}"
