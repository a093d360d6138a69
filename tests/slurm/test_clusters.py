"""SkyPilot's clusters on a real Slurm, from start to teardown: the Executor's promises, then a whole session."""

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from swarm.executors.sky.registry import Registry
from tests.slurm.bed import Bed
from tests.slurm.session import BedSession, Trials, write_experiment

EXPERIMENTS = 26  # each is at least one trial
LEAST = EXPERIMENTS + 2 + 2  # every experiment screened, the baseline on both tiers
RUN_AGAIN = {"PREEMPTED", "CONTENDED"}  # outcomes of an attempt that another follows

pytestmark = [pytest.mark.slurm, pytest.mark.slow]


def fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


def test_the_promises_are_kept_on_16_devices(bed: Bed) -> None:
    folder = fresh(bed.folder / "promises")
    write_experiment(bed, folder, crowded=False)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(Path(__file__).with_name("promises.py"))],
        env={**os.environ, **bed.env, "NIGHTSWARM_BED_TEST": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=1200,
    )
    assert done.returncode == 0, done.stdout[-4000:] + done.stderr[-2000:]
    assert bed.jobs() == []


def next_attempt(trial: str) -> str:
    stem, _, attempt = trial.rpartition("-")
    return f"{stem}-{int(attempt) + 1}"


def all_ran_again(trials: Trials) -> bool:
    """Whether there are enough of them, and what was lost has run again, if need be more than once."""
    outcomes = {name: trial["outcome"] for name, trial in trials.items() if "outcome" in trial}
    waiting = [
        name for name, outcome in outcomes.items() if outcome in RUN_AGAIN and next_attempt(name) not in outcomes
    ]
    return "PREEMPTED" in outcomes.values() and not waiting and list(outcomes.values()).count("COMPLETED") >= LEAST


@pytest.fixture
def session(bed: Bed) -> Iterator[BedSession]:
    with closing(BedSession(bed=bed, folder=fresh(bed.folder / "session"))) as session:
        yield session


def test_a_session_survives_a_kill_and_a_dying_node_and_leaves_no_cluster(bed: Bed, session: BedSession) -> None:
    """Screening on 13 devices of one partition, validation on 3 of the other, 30 trials and more; killed with -9 and
    started again; a node goes down under it."""
    session.configure(h100=13, h200=3, budget=0.5, crowded=True)

    first = session.start(experiments=EXPERIMENTS)
    session.wait_for_trials(4, first)
    clusters = Registry(session.home / "clusters")
    bed.wait_for(lambda: [cluster.ready for cluster in clusters.all()] == [True, True], "clusters", seconds=300)
    os.kill(first.process.pid, signal.SIGKILL)
    first.process.wait()
    places = session.places()  # a trial that was granted a slot a moment ago may not have been placed yet
    ended = {name for name, trial in session.trials().items() if "outcome" in trial}
    running = {name: place for name, place in places.items() if name not in ended}
    assert any(place["job"] is not None for place in running.values())
    examined = json.loads(session.swarm("doctor", "--json").result(timeout=300))
    (found,) = [finding["found"] for finding in examined if finding["what"] == "clusters"]
    assert found.startswith("orphaned: ")

    last = session.start(experiments=EXPERIMENTS)
    session.wait_for_trials(22, last)
    ((kind, _),) = Counter(slot.partition("-")[0] for slot in session.running_slots()).most_common(1)
    node = f"{kind}-0"
    bed.set_node(node, "DOWN")
    bed.set_node(node, "RESUME")
    session.wait_until(all_ran_again, last, seconds=1500)
    session.swarm("stop").result(timeout=60)
    told = last.result(timeout=600)
    assert last.process.returncode == 0, told

    trials, after = session.trials(), session.places()
    kept = [name for name, place in running.items() if place["job"] is not None and after[name] == place]
    outcomes = {name: trial["outcome"] for name, trial in trials.items()}
    lost = [name for name, outcome in outcomes.items() if outcome == "PREEMPTED"]
    completed = [trial for trial in trials.values() if trial["outcome"] == "COMPLETED"]
    print(session.figures())
    print(f"killed with {len(running)} trials on the clusters: {len(kept)} jobs were taken over, none queued again")
    print(f"node {node} went down: {len(lost)} trials were preempted, and ran again")

    assert told.count("is taken over from an earlier run") == 2
    for name, place in running.items():  # not queued again, unless the node took it
        assert name in lost or after[name]["life"] == place["life"]
        assert place["job"] is None or name in kept
    assert lost, told
    for name in lost:  # each is on record once, and so is its next attempt
        assert next_attempt(name) in outcomes
    assert len(completed) >= LEAST
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
    print("no cluster is left: `sky status` and `squeue` are empty")
