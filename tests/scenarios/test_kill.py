"""A session killed with -9 in the middle and started again, as a person would: processes, files, trials are real."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from swarm.research.ledger import Event, Kind, Ledger


def swarm(home: Path, *arguments: str) -> "subprocess.Popen[str]":
    command = [str(Path(sys.executable).with_name("swarm")), "--home", str(home), *arguments]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )


def events(home: Path) -> list[Event]:
    ledger = Ledger(home / "ledger.db")
    try:
        return [event for session in ledger.sessions() for event in ledger.events(session)]
    finally:
        ledger.close()


def wait_for_trials(home: Path, count: int, process: "subprocess.Popen[str]") -> None:
    """Until ``count`` trials have ended and one runs."""
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        kinds = Counter(event.kind for event in events(home)) if (home / "ledger.db").exists() else Counter()
        if kinds[Kind.TRIAL_ENDED] >= count and kinds[Kind.TRIAL_STARTED] > kinds[Kind.TRIAL_ENDED]:
            return
        assert process.poll() is None, process.stdout and process.stdout.read()
        time.sleep(0.05)  # another process is watched: there is no event to await
    pytest.fail("the session did not get that far in two minutes")


@pytest.mark.slow
def test_killed_in_the_middle_no_trial_is_lost_or_run_twice(bowl_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    arguments = ("start", str(bowl_task), "--experiments", "14", "--plain")
    for trials in (6, 14):
        process = swarm(home, *arguments)
        wait_for_trials(home, trials, process)
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
    last = swarm(home, *arguments)
    told, _ = last.communicate(timeout=300)
    assert last.returncode == 0, told

    ledger = events(home)
    assert {event.session for event in ledger} == {"bowl-1"}
    started = [event.key for event in ledger if event.kind is Kind.TRIAL_STARTED]
    ended = {event.key: event.data for event in ledger if event.kind is Kind.TRIAL_ENDED}
    assert sorted(started) == sorted(ended)
    assert [data["outcome"] for data in ended.values() if data["outcome"] != "COMPLETED"] == []
    trials_folder = home / "sessions" / "bowl-1" / "trials"
    assert sorted(path.name for path in trials_folder.iterdir()) == sorted(started)
    for name, data in ended.items():
        result = json.loads((trials_folder / name / "result.json").read_text())
        assert result["metric"] == data["value"]
        assert (trials_folder / name / "log.txt").read_text().count("begun") == 1

    status = swarm(home, "status", "--json")
    said = json.loads(status.communicate(timeout=60)[0])
    assert said["state"] == "ended"
    assert said["counts"]["running"] == 0
    assert said["counts"]["proposed"] >= 14
