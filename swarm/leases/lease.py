"""What a lease is, and the words around it.

A request is queued, then granted a lease on one slot. A lease ends in one of two ways: its holder releases it, or
its deadline passes and somebody who has made sure that nothing runs there any more reclaims the slot. An expired
lease frees nothing by itself. Tokens only grow, so a late result is told from a current one.

    queued ──> granted ──> released
      │           ├──────> expired ──┐
      │           └──────────────────┴──> reclaimed
      └──> withdrawn

A slot that takes long to start a trial (``Slot.lead_seconds``) is granted once more shortly before its trial's
expected end: the second lease is *in line*. It is a lease like any other, with its token and its deadline, but it
costs nothing until the first one ends and makes it the slot's holder.
"""

import sqlite3
from dataclasses import dataclass, replace
from enum import StrEnum

from swarm.ports import Slot


class State(StrEnum):
    """Where a request, and the lease it was granted, stands."""

    QUEUED = "queued"
    GRANTED = "granted"
    RELEASED = "released"
    EXPIRED = "expired"  # not usable any more; the slot stays taken until it is reclaimed
    RECLAIMED = "reclaimed"
    WITHDRAWN = "withdrawn"


@dataclass(frozen=True, kw_only=True)
class Tier:
    """One row of the ladder, as far as slots are concerned."""

    name: str
    accelerators: tuple[str, ...] = ()  # kinds of slot it may use, best first; empty: any
    priority: int = 0  # higher is served first
    preempt: bool = False  # whether a waiting request ends a trial of a lower tier instead of waiting for its end


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to use one slot until a deadline."""

    token: int  # fencing token: every lease has a larger one than all before it
    slot: Slot
    tier: str
    session: str
    holder: str
    request_id: str
    granted_at: float  # unix seconds
    expires_at: float  # unix seconds; each heartbeat moves it
    state: State = State.GRANTED  # GRANTED or EXPIRED


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A request in the queue."""

    request_id: str
    tier: str
    session: str
    holder: str
    bid: float
    waited: float  # seconds so far


@dataclass(frozen=True, kw_only=True)
class SlotState:
    """A slot and who has it."""

    slot: Slot
    offered: bool  # False: no longer registered; it gets no new lease
    lease: Lease | None  # None: free
    next: Lease | None = None  # in line behind it
    unavailable: str | None = None  # why it gets no lease for the time being; None: it does
    steps_per_second: float | None = None  # of the trials it ran, a running mean; None: not measured yet


@dataclass(frozen=True, kw_only=True)
class SlotUse:
    """What leases took of one slot."""

    slot: str
    accelerator: str
    seconds: float  # under lease, not counting the time in line
    dollars: float  # at the slot's price when each lease was granted


@dataclass(frozen=True, kw_only=True)
class Span:
    """A lease as it held its slot."""

    slot: str
    accelerator: str
    tier: str
    start: float  # unix seconds
    end: float  # unix seconds

    def since(self, begun: float) -> "Span":
        """The same, counted from ``begun``."""
        return replace(self, start=self.start - begun, end=self.end - begun)


def slot_of(row: sqlite3.Row, name: str) -> Slot:
    """A Slot from the columns of its row; ``name``, because a lease's row calls it otherwise."""
    return Slot(
        name=name,
        accelerator=row["accelerator"],
        device=row["device"],
        memory_mb=row["memory_mb"],
        price_per_hour=row["price_per_hour"],
        lead_seconds=row["lead_seconds"],
    )


def lease_of(row: sqlite3.Row) -> Lease:
    """A Lease from its row, joined with its slot's."""
    return Lease(
        token=row["token"],
        slot=slot_of(row, row["slot"]),
        tier=row["tier"],
        session=row["session"],
        holder=row["holder"],
        request_id=row["request"],
        granted_at=row["granted_at"],
        expires_at=row["expires_at"],
        state=State(row["state"]),
    )
