"""A writer that is cancelled while it writes: the write is done, or its failure is told."""

import asyncio
from pathlib import Path

import pytest

from swarm.errors import DiskFull
from swarm.journal import Journal
from swarm.research.experiment import Json
from swarm.research.ledger import Event, Kind, Ledger
from tests.fakes import FakeClock


class FullLedger(Ledger):
    """A ledger on a disk without room."""

    def append(
        self, session: str, kind: Kind, key: str, *, at: float, data: Json, experiment: str | None = None
    ) -> Event | None:
        raise DiskFull("the disk is full")


async def _cancelled_while_it_writes(journal: Journal) -> bool:
    writing = asyncio.create_task(journal.record(Kind.RUN_STARTED, "1", {"pid": 1, "limits": {}}))
    await asyncio.sleep(0)
    writing.cancel()
    return await writing


async def test_what_was_begun_is_written_and_applied(tmp_path: Path) -> None:
    journal = Journal(Ledger(tmp_path / "ledger.db"), "s", FakeClock())
    with pytest.raises(asyncio.CancelledError):
        await _cancelled_while_it_writes(journal)
    (event,) = journal.ledger.events("s")
    assert journal.state.seq == event.seq


async def test_a_failed_write_is_told_to_the_cancelled_writer(tmp_path: Path) -> None:
    loose: list[str] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: loose.append(str(context["message"])))
    with pytest.raises(DiskFull):
        await _cancelled_while_it_writes(Journal(FullLedger(tmp_path / "ledger.db"), "s", FakeClock()))
    assert loose == []
