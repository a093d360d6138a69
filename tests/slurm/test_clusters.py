"""SkyPilot's clusters on a real Slurm, from start to teardown: the Executor's promises, then a whole session."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.slurm.bed import Bed
from tests.slurm.session import BedSession, write_experiment

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def test_the_promises_are_kept_on_16_devices(bed: Bed) -> None:
    folder = fresh(bed.folder / "promises")
    write_experiment(bed, folder)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("promises.py"))],
        env={**os.environ, **bed.env, "NIGHTSWARM_BED_TEST": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert bed.jobs() == []


def test_a_session_survives_a_kill_and_a_dying_node_and_leaves_no_cluster(bed: Bed) -> None:
    """Screening on one partition, validation on the other; killed with -9, resumed; a node goes down under it."""
    session = BedSession(bed=bed, folder=fresh(bed.folder / "session"))
    session.configure(h100=2, h200=1, budget=0.5)

    first = session.start(experiments=12)
    session.wait_for_trials(6, first)
    os.kill(first.pid, signal.SIGKILL)
    first.wait()
    places = session.places()  # a trial that was granted a slot a moment ago may not have been placed yet
    running = {
        name: places[name] for name, trial in session.trials().items() if "outcome" not in trial and name in places
    }
    assert running
    examined = json.loads(session.swarm("doctor", "--json").communicate(timeout=300)[0])
    (clusters,) = [finding for finding in examined if finding["what"] == "clusters"]
    assert "orphaned" in clusters["found"]

    last = session.start(experiments=12)
    session.wait_for_trials(12, last)
    node = f"{next(slot for slot in session.running_slots()).partition('-')[0]}-0"
    bed.set_node(node, "DOWN")
    bed.set_node(node, "RESUME")
    told, _ = last.communicate(timeout=900)
    print(told)  # shown when something below does not hold, and with -s
    print(f"seconds between two trials on one slot: {sorted(round(gap, 1) for gap in session.gaps())}")
    assert last.returncode == 0, told

    trials = session.trials()
    assert "is taken over from an earlier run" in told
    for name, place in running.items():  # not queued again, not run again
        assert session.places()[name]["cluster"] == place["cluster"]
        assert trials[name]["outcome"] == "COMPLETED"
        if place["job"] is not None:
            assert session.places()[name]["job"] == place["job"]

    outcomes = {name: trial["outcome"] for name, trial in trials.items()}
    lost = [name for name, outcome in outcomes.items() if outcome == "PREEMPTED"]
    assert lost, told
    for name in lost:  # each is on record once, and so is its next attempt
        stem, _, attempt = name.rpartition("-")
        assert f"{stem}-{int(attempt) + 1}" in outcomes
    completed = [trial for trial in trials.values() if trial["outcome"] == "COMPLETED"]
    assert len(completed) >= 12 + 2 + 2  # every experiment screened, the baseline on both tiers
    assert {(trial["tier"], trial["accelerator"]) for trial in trials.values()} == {
        ("screen", "H100"),
        ("validate", "H200"),
    }

    assert bed.jobs() == []
    code = "from swarm.executors.sky.sdk import SkySdk; print(SkySdk().known())"
    known = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **bed.env}, capture_output=True, text=True, check=False
    )
    assert known.stdout.strip() == "[]", known.stderr
