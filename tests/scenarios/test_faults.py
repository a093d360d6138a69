"""What befalls a session that runs for days: it tells, waits or begins again, and loses nothing."""

import shutil
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

from notebook_store.notebook import Notebook
from swarm.bench.simulation import Scenario, simulated
from swarm.config import Limits, Settings
from swarm.executors.simulated import Machines, Score, world
from swarm.executors.virtual_time import VirtualClock
from swarm.ports import Brief, Slot
from swarm.research.experiment import Proposal
from swarm.research.ledger import Kind, Ledger
from tests.fake_embedder import WordEmbedder
from tests.lab import Script, bench, bowl
from tests.scenarios.test_disk_full import can_mount
from tests.small_home import bare_home
from trainer.contract import load_task

SWARM = Path(sys.executable).with_name("swarm")
LOCKED_SECONDS = 61.0


@pytest.mark.skipif(not can_mount(), reason="no user namespaces here, so nothing can be mounted read-only")
@pytest.mark.parametrize("command", ["status", "notebook list", "start tinytext"])
def test_a_home_that_cannot_be_written_is_refused_in_one_line(tmp_path: Path, command: str) -> None:
    home = bare_home(tmp_path / "home")
    script = f"mount --bind {home} {home} && mount -o remount,bind,ro {home} && {SWARM} --home {home} {command}"
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.startswith(f"swarm: the home {home} cannot be written")
    assert done.stderr.count("\n") == 1


@pytest.mark.slow
def test_files_that_another_program_locks_for_a_minute_are_waited_for(bowl_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    command = [str(SWARM), "--home", str(home), "start", str(bowl_task), "--experiments", "8", "--plain"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as session:
        assert session.stdout is not None
        for line in session.stdout:
            if "screen seed" in line:
                break
        held = [sqlite3.connect(home / name, timeout=30) for name in ("ledger.db", "leases.db")]
        for database in held:
            database.execute("BEGIN IMMEDIATE")
        assert threading.Event().wait(LOCKED_SECONDS) is False  # the fault itself: nothing is waited for
        assert session.poll() is None, "it waits"
        for database in held:
            database.close()
        rest = session.stdout.read()
    assert session.returncode == 0, rest
    ledger = Ledger(home / "ledger.db")
    events = list(ledger.events("bowl-1"))
    ledger.close()
    started = [event.key for event in events if event.kind is Kind.TRIAL_STARTED]
    ended = [event.key for event in events if event.kind is Kind.TRIAL_ENDED]
    assert sorted(started) == sorted(ended)


def test_a_clock_set_back_an_hour_ends_no_trial_and_no_session(tmp_path: Path) -> None:
    class SetBack(VirtualClock):
        behind = 0.0  # seconds

        def now(self) -> float:
            return super().now() - self.behind

    class Setting(Script):
        async def propose(self, brief: Brief) -> list[Proposal]:
            if len(brief.observations) > 6:
                clock.behind = 3600.0
            return await super().propose(brief)

    lab = bench(tmp_path, limits=Limits(hours=2.0, experiments=20))
    lab.clock = clock = SetBack()
    lab.script = Setting()
    reason, session = lab.worked()
    assert clock.behind
    assert reason == "all 20 experiments are done"
    outcomes = Counter(trial.outcome for e in session.state.experiments.values() for trial in e.trials)
    assert set(outcomes) == {"COMPLETED"}
    assert session.pace.budget.spent.seconds >= 0


def test_an_executor_that_loses_a_third_of_its_trials_only_costs_time(bowl_task: Path, tmp_path: Path) -> None:
    scenario = Scenario(
        task=load_task(bowl_task),
        settings=Settings(limits=Limits(hours=None, experiments=40)),
        slots=[Slot(name=f"cpu-{number}", accelerator="cpu") for number in range(4)],
        world=world(
            lambda order: Score(value=bowl(order.source)), Machines(overhead_seconds=1.0, preemptions_per_hour=240.0)
        ),
        team=lambda *_: Script(),
    )
    with simulated(scenario, tmp_path / "home") as simulation:
        reason = simulation.run()
        state = simulation.session.state
    outcomes = Counter(trial.outcome for e in state.experiments.values() for trial in e.trials)
    assert outcomes["PREEMPTED"] > outcomes.total() / 4
    assert reason == "all 40 experiments are done"
    assert not state.live_trials
    assert len(state.incumbents) > 1


def test_a_vector_index_deleted_under_a_session_is_told_and_made_again(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=20))
    folder = tmp_path / "notebook" / "chroma"

    class Deleting(Script):
        async def propose(self, brief: Brief) -> list[Proposal]:
            if len(brief.observations) > 6 and folder.exists():
                shutil.rmtree(folder)
            return await super().propose(brief)

    lab.script = Deleting()
    reason, _ = lab.worked()
    assert reason == "all 20 experiments are done"
    assert any("searched by words alone" in line for line in lab.said)
    with Notebook.open(tmp_path / "notebook", embedder=WordEmbedder()) as notebook:
        report = notebook.check()
    assert report.problems == ()
    assert report.indexed == report.entries > 20
