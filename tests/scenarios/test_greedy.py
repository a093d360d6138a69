"""Candidates that fill the memory and the log, and an analyst's kernel that is killed: the session goes on."""

import threading
from pathlib import Path

import psutil
import pytest

from notebook_store.entry import Kind as EntryKind
from notebook_store.notebook import Notebook
from swarm.research.ledger import Kind
from tests.bowl import TASK, TRAIN, bowl
from tests.scenarios.test_kill import events, swarm

GREED = """\
import os

GREED = "none"

if GREED == "memory":
    hoard = []
    while True:
        hoard.append(b"x" * 50_000_000)
if GREED == "log":
    line = b"x" * 999_999 + b"\\n"
    for _ in range(10_000):
        os.write(1, line)
"""
LIMITS = "memory_mb = 400\n"


@pytest.mark.slow
def test_a_session_outlives_greedy_candidates_and_a_killed_kernel(tmp_path: Path) -> None:
    task, home = tmp_path / "bowl", tmp_path / "home"
    bowl(task, train=GREED + TRAIN, task=LIMITS + TASK.replace("wall = 5", "wall = 120"))
    (tmp_path / "swarm.toml").write_text("[waves]\nsize = 4\n")
    # twenty, so that there is room for what is asked for once the session works
    arguments = ("--config", str(tmp_path / "swarm.toml"), "--experiments", "20", "--plain", "--no-web")
    session = swarm(home, "start", str(task), *arguments)
    assert session.stdout is not None
    while "screen seed" not in session.stdout.readline():
        assert session.poll() is None
    asked = swarm(home, "notebook", "note", 'GREED = "memory"\nGREED = "log"')
    assert asked.wait(timeout=60) == 0
    killed: list[int] = []
    killer = threading.Thread(target=kill_the_first_kernel, args=(session.pid, killed))
    killer.start()
    told, _ = session.communicate(timeout=300)
    killer.join()
    assert session.returncode == 0, told
    assert killed
    ended = {event.experiment: event.data for event in events(home) if event.kind is Kind.TRIAL_ENDED}
    changes = {e.experiment: e.data["changes"].get("GREED") for e in events(home) if e.kind is Kind.PROPOSED}
    outcomes = {changes[name]: data["outcome"] for name, data in ended.items() if changes[name]}
    assert outcomes == {"memory": "OUT_OF_MEMORY", "log": "COMPLETED"}
    logs = {path.parent.name: path.stat().st_size for path in home.glob("sessions/*/trials/*/log.txt")}
    assert 1 << 20 < max(logs.values()) < 2 << 20
    with Notebook.read(home / "notebook") as notebook:
        assert notebook.entries(kinds=[EntryKind.INSIGHT], author="analyst"), "the wave was analysed all the same"


def kill_the_first_kernel(session: int, killed: list[int]) -> None:
    """Kill the analyst's kernel while it works, once."""
    process = psutil.Process(session)
    while process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
        for child in process.children(recursive=True):
            try:
                busy = "kernelapp" in " ".join(child.cmdline()) and child.cpu_times().user > 0.8
            except psutil.NoSuchProcess:
                continue
            if busy:
                child.kill()
                killed.append(child.pid)
                return
        threading.Event().wait(0.02)  # another process is watched: there is no event to await
