"""What `swarm doctor` finds of what dead processes left, and what --fix does about it."""

import json
import os
from contextlib import closing
from pathlib import Path

import pytest

from notebook_store.embed import MiniLM
from notebook_store.notebook import Notebook
from swarm.doctor import State, examine
from swarm.home import Home
from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.mending import mend, scratch, stale_notes
from swarm.ports import Slot, SystemClock
from tests.small_home import SESSION, bare_home
from tests.unit.test_notebook import entry


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """A home whose session died in the middle of a trial."""
    home = Home(bare_home(tmp_path / "home"), create=False)
    folder = home.session(SESSION)
    for place in (folder / "trials" / "t1" / "work", folder / "preflight" / "abc"):
        place.mkdir(parents=True)
        os.utime(place.parent, (0, 0))  # a young folder may still become a trial
    for noted in (home.root / "owner.json", folder / "work.json"):
        noted.write_text(json.dumps({"pid": 999_999_999}))
    with closing(LeaseManager(home.leases, SystemClock())) as manager:
        manager.register([Slot(name="cpu-0", accelerator="cpu")], [Tier(name="screen")])
        manager.request("t1", tier="screen", session=SESSION, holder="proposer")
        assert manager.grant()
    return home


def found(home: Home, what: str) -> tuple[State, str]:
    return next((finding.state, finding.found) for finding in examine(home.root) if finding.what == what)


def test_what_dead_processes_left_is_found_and_put_in_order(home: Home) -> None:
    state, told = found(home, "sessions")
    assert state is State.LACK
    assert told == "2 stale notes, 2 scratch folders, 1 slots held by dead sessions"
    lines = list(mend(home))
    assert any(line.startswith("removed owner.json") for line in lines)
    assert any("scratch sessions/bowl-1/trials/t1/work" in line for line in lines)
    assert any("ended trial t1 of session bowl-1" in line for line in lines)
    assert found(home, "sessions") == (State.OK, "at work: none")
    assert list(mend(home)) == []


def test_what_the_living_use_is_left_alone(home: Home) -> None:
    with home.owned(), home.working(SESSION):
        assert stale_notes(home) == []
        assert [path.parent.name for path in scratch(home)] == ["t1"]
        assert not any("ended trial" in line for line in mend(home))
        assert found(home, "sessions")[1] == "1 scratch folders" if scratch(home) else f"at work: {SESSION}"


@pytest.mark.slow
def test_a_broken_index_is_made_anew(home: Home) -> None:
    with Notebook.open(home.notebook, embedder=MiniLM()) as notebook:
        notebook.extend([entry("one"), entry("two")])
        notebook.flush()
    (home.notebook / "chroma" / "data" / "chroma.sqlite3").write_bytes(b"garbage" * 1000)
    assert "made the notebook's indexes anew" in list(mend(home))
    with Notebook.open(home.notebook, embedder=MiniLM()) as notebook:
        assert notebook.check().clean
