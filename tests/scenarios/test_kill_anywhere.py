"""A session killed with -9 at any event of its ledger and begun again comes to the very same end."""

import multiprocessing
import random
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from swarm.research.ledger import Kind
from tests.kill_lab import (
    DOLLARS_PER_SECOND,
    TICK_SECONDS,
    Death,
    end_state,
    events_of,
    fresh_home,
    life,
)

POINTS = 44  # at every kind of event, else by chance
SEED = 20


def lived(home: Path, death: Death | None) -> int:
    """One life in a process of its own; its exit code."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.kill_lab", "scipy.stats"])  # what every life would import again
    process = context.Process(target=life, args=(home, death))
    process.start()
    process.join()
    assert process.exitcode is not None
    return process.exitcode


def deaths(kinds: "Counter[Kind]") -> list[Death]:
    """Just before and just after an event of each kind, and at others by chance."""
    draw = random.Random(SEED)
    every = [
        Death(kind=kind, number=number, written=written)
        for kind, count in kinds.items()
        for number in range(1, count + 1)
        for written in (False, True)
    ]
    draw.shuffle(every)
    chosen = {(death.kind, death.written): death for death in every}
    rest = [death for death in every if death not in chosen.values()]
    return [*chosen.values(), *rest[: POINTS - len(chosen)]]


def assert_alike(found: dict[str, Any], expected: dict[str, Any], *, deaths: int) -> None:
    """The same end; a lease may last a tick longer at each death, until the next life looks at it."""
    assert {**found, "slot_seconds": 0, "dollars": 0} == {**expected, "slot_seconds": 0, "dollars": 0}
    assert found["slot_seconds"] == pytest.approx(expected["slot_seconds"], abs=TICK_SECONDS * deaths)
    assert found["dollars"] == pytest.approx(found["slot_seconds"] * DOLLARS_PER_SECOND, abs=0.001)


@pytest.mark.slow
def test_wherever_it_is_killed_a_session_comes_to_the_same_end(tmp_path: Path) -> None:
    twin = fresh_home(tmp_path / "twin")
    assert lived(twin, None) == 0
    undisturbed = end_state(twin)
    assert undisturbed["incumbents"] == ["bowl-1-e000", "bowl-1-e003"]
    chosen = deaths(Counter(event.kind for event in events_of(twin)))
    assert len(chosen) == POINTS
    for number, death in enumerate(chosen):
        home = fresh_home(tmp_path / str(number))
        assert lived(home, death) == -signal.SIGKILL, death
        assert lived(home, None) == 0, death
        assert_alike(end_state(home), undisturbed, deaths=1)


@pytest.mark.slow
def test_a_session_killed_again_and_again_comes_to_the_same_end(tmp_path: Path) -> None:
    twin, home = fresh_home(tmp_path / "twin"), fresh_home(tmp_path / "home")
    assert lived(twin, None) == 0
    for kind in (Kind.PROPOSED, Kind.TRIAL_ENDED, Kind.TRIAL_STARTED, Kind.MOVED, Kind.TRIAL_ENDED):
        assert lived(home, Death(kind=kind, number=2, written=True)) == -signal.SIGKILL
    assert lived(home, None) == 0
    assert_alike(end_state(home), end_state(twin), deaths=5)
