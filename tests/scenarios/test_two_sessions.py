"""Two sessions at once on one home and one notebook, as two terminals would have them."""

import json
import os
import signal
import subprocess
from contextlib import closing
from itertools import pairwise
from pathlib import Path

import pytest

from notebook_store.entry import Kind as EntryKind
from notebook_store.notebook import Notebook
from swarm.leases.manager import LeaseManager
from swarm.ports import SystemClock
from swarm.research.ledger import Kind
from tests.scenarios.test_kill import events, swarm


def begun(session: "subprocess.Popen[str]") -> str:
    """What it said until its first trial ended."""
    said = ""
    assert session.stdout is not None
    for line in session.stdout:
        said += line
        if "screen seed" in line:
            break
    return said


def spans_by_slot(home: Path) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {}
    with closing(LeaseManager(home / "leases.db", SystemClock())) as manager:
        assert manager.live() == []
        assert manager.queue() == []
        for name in ("bowl-1", "second"):
            for span in manager.spans(name):
                found.setdefault(span.slot, []).append((span.start, span.end))
    return {slot: sorted(spans) for slot, spans in found.items()}


@pytest.mark.slow
def test_two_sessions_share_what_they_find_and_never_a_slot(bowl_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = swarm(home, "start", str(bowl_task), "--experiments", "12", "--plain", "--no-web")
    begun(first)
    taken = swarm(home, "start", str(bowl_task), "--plain", "--no-web")
    told, _ = taken.communicate(timeout=60)
    assert taken.returncode == 2
    assert "session bowl-1 is in use by process" in told
    second = swarm(home, "start", str(bowl_task), "--session", "second", "--experiments", "8", "--plain", "--no-web")
    said = begun(second)
    assert "beside bowl-1: slots and notebook are shared" in said
    for session in (first, second):
        rest, _ = session.communicate(timeout=120)
        assert session.returncode == 0, rest
    for slot, spans in spans_by_slot(home).items():
        for (_, end), (start, _) in pairwise(spans):
            assert start >= end, slot
    with Notebook.read(home / "notebook") as notebook:
        reviews = notebook.entries(kinds=[EntryKind.REVIEW], session="second")
        near = {one["experiment"] for review in reviews for one in review.data.get("near", [])}
    assert any(name.startswith("bowl-1") for name in near), "the second one's reviewer saw what the first one tried"
    checked, _ = swarm(home, "notebook", "check", "--json").communicate(timeout=120)
    report = json.loads(checked)
    assert report["clean"]
    assert report["embedded"] == report["indexed"] == report["entries"]
    assert not list(home.glob("**/owner.json")) + list(home.glob("sessions/*/work.json"))


@pytest.mark.slow
def test_the_second_session_works_on_when_the_first_is_killed(bowl_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = swarm(home, "start", str(bowl_task), "--plain", "--no-web")
    begun(first)
    second = swarm(home, "start", str(bowl_task), "--session", "second", "--experiments", "4", "--plain", "--no-web")
    begun(second)
    os.kill(first.pid, signal.SIGKILL)
    rest, _ = second.communicate(timeout=120)
    assert second.returncode == 0, rest
    assert "session bowl-1 died: taking" in rest
    again = swarm(home, "start", str(bowl_task), "--experiments", "4", "--plain", "--no-web")
    rest, _ = again.communicate(timeout=120)
    assert again.returncode == 0, rest
    assert "bowl-1 goes on" in rest
    assert "recovered: 0 trials re-attached, 0 leases given back" in rest, "the second one took its slots"
    assert "bowl-1 begins" not in rest, "what was shown in an earlier run is not shown again"
    started = [event.key for event in events(home) if event.kind is Kind.TRIAL_STARTED]
    assert sorted(started) == sorted(event.key for event in events(home) if event.kind is Kind.TRIAL_ENDED)
