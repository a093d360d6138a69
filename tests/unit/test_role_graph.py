"""The graph every role runs through: a fault sends the thought back once, and nothing faulty is written."""

import asyncio

import pytest

from swarm.agents.graph import run_role
from swarm.agents.roles import ANALYST, READER
from swarm.errors import SwarmError


class Counting:
    """Thinks of one number more each time; wants at least ``least``."""

    def __init__(self, least: int) -> None:
        self.least = least
        self.faults: list[str | None] = []
        self.written: list[int] = []

    async def recall(self) -> int:
        return 40

    async def think(self, recalled: int, fault: str | None) -> int:
        self.faults.append(fault)
        return recalled + len(self.faults)

    async def check(self, reply: int) -> str | None:
        return None if reply >= self.least else f"{reply} is too small"

    async def write(self, reply: int) -> str:
        self.written.append(reply)
        return f"wrote {reply}"


async def test_a_sound_thought_is_written_at_once() -> None:
    work = Counting(least=41)
    assert await run_role(READER, work) == "wrote 41"
    assert work.faults == [None]


async def test_a_fault_sends_the_thought_back_once() -> None:
    work = Counting(least=42)
    assert await run_role(READER, work) == "wrote 42"
    assert work.faults == [None, "41 is too small"]


async def test_a_second_fault_ends_the_run_unwritten() -> None:
    work = Counting(least=43)
    with pytest.raises(SwarmError, match="the reader's answer was refused twice: 42 is too small"):
        await run_role(READER, work)
    assert work.written == []


async def test_runs_of_one_role_do_not_mix() -> None:
    works = [Counting(least=41 + number % 2) for number in range(8)]
    answers = await asyncio.gather(*(run_role(ANALYST, work) for work in works))
    assert answers == [f"wrote {41 + number % 2}" for number in range(8)]
