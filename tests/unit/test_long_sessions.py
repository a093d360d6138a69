"""What a session of weeks keeps in memory and on disk is bounded, and nothing that is asked for is missing."""

import asyncio

from swarm.bench.candidates import MemoryCandidates
from swarm.executors.simulated import SimulatedExecutor
from swarm.executors.virtual_time import VirtualClock
from swarm.housekeeping import KEPT, PACKED, Disk, Housekeeper
from swarm.ports import TrialOrder
from swarm.research.experiment import Status
from swarm.research.ledger import Kind
from swarm.research.state import SessionState
from swarm.status import Vitals, status_of
from tests.unit.test_status import Story

READY = 50  # experiments that are over and not packed


def long_story(experiments: int, *, remembered: int | None) -> SessionState:
    """A session of screened and pruned experiments, one of which was confirmed."""
    story = Story()
    story.state = SessionState("s-1", remembered=remembered)
    story.tell(Kind.SESSION_OPENED, "opened", {"task": "toy", "metric": "loss", "direction": "minimize"})
    story.run()
    story.propose("s-1-e000", "BASELINE")
    for number in range(1, experiments + 1):
        name = story.state.name_of(number)
        story.propose(name)
        story.move(name, "approve", "screen")
        story.trial(name, 1000, 1.0 + number % 7 / 100, tier="screen")
        if number == 3:
            story.move(name, "promote", "validate", "confirm")
        else:
            story.move(name, "prune")
    return story.state


def test_what_is_long_over_is_packed_and_still_found() -> None:
    short, whole = long_story(600, remembered=READY), long_story(600, remembered=None)
    assert dict(short.experiments) == dict(whole.experiments)
    packed = [name for name, kept in short.experiments._all.items() if isinstance(kept, bytes)]
    assert len(packed) == 600 + 1 - READY - 2  # the baseline and the incumbent stay ready
    assert status_of(short, Vitals(now=0.0)) == status_of(whole, Vitals(now=0.0))
    assert short.noise("screen", "cpu") == whole.noise("screen", "cpu")
    for kept in (short._by_candidate, *(floor._groups for floor in short._floors.values())):
        assert len(kept) <= READY + 2


def test_trials_of_the_newest_and_of_confirmed_experiments_keep_their_folders() -> None:
    class Remembering(SimulatedExecutor):
        def __init__(self) -> None:
            super().__init__(VirtualClock(), self.course)
            self.forgotten: list[str] = []

        def course(self, order: TrialOrder) -> None:
            raise AssertionError(order)

        async def forget(self, trial_id: str) -> None:
            self.forgotten.append(trial_id)

    executor, state = Remembering(), long_story(KEPT + 20, remembered=READY)
    keeper = Housekeeper(state, executor, MemoryCandidates("train.py"), None)
    asyncio.run(keeper.tidy())
    asyncio.run(keeper.tidy())
    old = [state.experiments[state.name_of(number)] for number in range(21)]
    expected = [t.id for one in old if one.status is Status.PRUNED for t in one.trials]
    assert executor.forgotten == expected
    assert len(expected) == 19  # all but the baseline and the confirmed one, each once


def test_candidates_are_packed_now_and_then_while_there_is_room() -> None:
    class Packing(MemoryCandidates):
        packed = 0

        def pack(self) -> None:
            self.packed += 1

    free, candidates = [1000.0], Packing("train.py")
    disk = Disk(place="/home/swarm", free_mb=lambda: free[0], reserve_mb=500.0)
    executor, state = SimulatedExecutor(VirtualClock(), lambda _: NotImplemented), SessionState("s-1")
    keeper = Housekeeper(state, executor, candidates, disk)
    told = []
    for megabytes, experiments in ((1000.0, PACKED - 2), (100.0, PACKED), (1000.0, PACKED), (1000.0, PACKED + 1)):
        free[0], state.experiments = megabytes, long_story(experiments, remembered=None).experiments
        keeper.shortage()
        asyncio.run(keeper.pack())
        told.append(candidates.packed)
    assert told == [0, 0, 1, 1]


def test_a_short_disk_is_short_until_there_is_somewhat_more_room() -> None:
    free = [1000.0]
    disk = Disk(place="/home/swarm", free_mb=lambda: free[0], reserve_mb=500.0)
    executor = SimulatedExecutor(VirtualClock(), lambda _: NotImplemented)
    keeper = Housekeeper(SessionState("s-1"), executor, MemoryCandidates("train.py"), disk)
    told = []
    for megabytes in (600.0, 499.0, 520.0, 560.0):
        free[0] = megabytes
        told.append(keeper.shortage())
    assert [one is None for one in told] == [True, False, False, True]
    assert told[1] is not None
    assert "less than 500 MB are free on the disk of /home/swarm" in told[1]
