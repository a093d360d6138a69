"""Which kind of accelerator serves which tier, where swarm.toml leaves it open. Pure."""

import json
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass, replace

from swarm.errors import InputError
from swarm.leases.lease import Tier
from swarm.ports import Slot


@dataclass(frozen=True, kw_only=True)
class Accelerators:
    """All slots of one kind."""

    name: str  # "H100"
    slots: int
    price_per_hour: float  # dollars, the mean over its slots
    steps_per_second: float | None  # measured, the mean over its slots; None: not known yet


def picked(tiers: Sequence[Tier], kinds: Sequence[Accelerators]) -> list[Tier]:
    """The tiers, those that name no accelerator with the kinds they get, best first.

    A tier of the highest priority gets one kind alone, because its scores are compared in pairs: the fastest
    (by measured steps/s; before that is known the dearest, and at equal prices the scarcest). The other open tiers
    get all kinds: the cheapest a step first, then the most plentiful, and that one last.
    """
    if not kinds:
        return list(tiers)
    measured = all(kind.steps_per_second for kind in kinds)

    def speed(kind: Accelerators) -> float:
        return kind.steps_per_second or 1.0 if measured else 1.0

    best = max(kinds, key=lambda kind: (speed(kind), kind.price_per_hour, -kind.slots, kind.name))
    plain = sorted(kinds, key=lambda kind: (kind is best, kind.price_per_hour / speed(kind), -kind.slots, kind.name))
    top = max(tier.priority for tier in tiers)
    several = any(tier.priority < top for tier in tiers)
    return [
        tier
        if tier.accelerators
        else replace(
            tier,
            accelerators=(best.name,) if several and tier.priority == top else tuple(kind.name for kind in plain),
        )
        for tier in tiers
    ]


def resolve(db: sqlite3.Connection, tiers: Sequence[Tier]) -> list[Tier]:
    """``picked`` for the slots that are offered now, by what was measured on them."""
    rows = db.execute(
        "SELECT accelerator AS name, COUNT(*) AS slots, AVG(price_per_hour) AS price_per_hour,"
        " AVG(steps_per_second) AS steps_per_second FROM slots WHERE offered = 1 GROUP BY accelerator ORDER BY name"
    ).fetchall()
    return picked(tiers, [Accelerators(**dict(row)) for row in rows])


def kinds(db: sqlite3.Connection, tier: str) -> tuple[str, ...]:
    """What a registered tier may use, best first; kinds of which no slot is offered now come last."""
    row = db.execute("SELECT accelerators FROM tiers WHERE name = ?", (tier,)).fetchone()
    named: list[str] = json.loads(row["accelerators"])
    offered = {row[0] for row in db.execute("SELECT DISTINCT accelerator FROM slots WHERE offered = 1")}
    return tuple(sorted(named, key=lambda kind: kind not in offered))


def check(slots: Sequence[Slot], tiers: Sequence[Tier]) -> None:
    """Raise InputError when two slots share a name or a tier has no slot to run on."""
    names = [slot.name for slot in slots]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"two slots are named '{name}'; give each a name of its own")
    kinds = {slot.accelerator for slot in slots}
    for tier in tiers:
        if not slots:
            raise InputError(f"tier '{tier.name}' has no slot to run on; see `swarm leases`")
        for accelerator in tier.accelerators:
            if accelerator not in kinds:
                raise InputError(
                    f"tier '{tier.name}' names accelerator {accelerator}, but no slot has one; see `swarm leases`"
                )


def settled(db: sqlite3.Connection, slots: Sequence[Slot], tiers: Sequence[Tier]) -> bool:
    """Whether these are registered already; False where none are. Raises InputError where others are."""
    rows = db.execute("SELECT name, accelerator, device FROM slots WHERE offered = 1 OR unavailable IS NOT NULL")
    there = {tuple(row) for row in rows}
    if not there:
        return False
    known = {
        row["name"]: (row["priority"], json.loads(row["accelerators"])) for row in db.execute("SELECT * FROM tiers")
    }
    alike = all(
        tier.name in known
        and known[tier.name][0] == tier.priority
        and (not tier.accelerators or known[tier.name][1] == list(tier.accelerators))
        for tier in tiers
    )
    if there != {(slot.name, slot.accelerator, slot.device) for slot in slots} or not alike:
        names = ", ".join(sorted(name for name, _, _ in there))
        raise InputError(
            f"another session of this home works on {names}; give this one the same slots and tiers, or another --home"
        )
    return True
