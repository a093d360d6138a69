"""Simulated sessions: the same code as ever, on machines that do what real ones do."""

import statistics
from collections import Counter
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.bench.simulation import Scenario, simulated
from swarm.config import Limits, Settings, TierSettings
from swarm.executors.simulated import Course, Machines, Objective, Score, lost, world
from swarm.ports import Slot, TrialOrder
from swarm.research.experiment import Status, Trial
from swarm.research.speeds import speed_of
from swarm.research.state import SessionState, seeds
from swarm.trials import ATTEMPTS, GAVE_WAY
from tests.lab import TASK, TRAIN, Script, bowl
from trainer.contract import Outcome, Task, load_task


@pytest.fixture
def task(tmp_path: Path) -> Task:
    folder = tmp_path / "bowl"
    folder.mkdir()
    (folder / "train.py").write_text(TRAIN)
    (folder / "task.toml").write_text(TASK)
    return load_task(folder)


def still_bowl(order: TrialOrder) -> Score:
    """The bowl with a noise that follows from the seed alone."""
    return Score(value=bowl(order.source) + 0.001 * (order.seed * 7919 % 13 - 6), holdout=bowl(order.source))


def scenario(
    task: Task, machines: Machines, *, objective: Objective = still_bowl, limits: Limits | None = None
) -> Scenario:
    return Scenario(
        task=task,
        settings=Settings(limits=limits or Limits(hours=None, experiments=30)),
        slots=[Slot(name=f"H100-{number}", accelerator="H100") for number in range(4)],
        world=world(objective, machines),
        team=lambda _: Script(),
    )


def played(given: Scenario, folder: Path) -> SessionState:
    with simulated(given, folder) as simulation:
        simulation.run()
        return simulation.session.state


def trials(state: SessionState) -> list[Trial]:
    return [trial for experiment in state.experiments.values() for trial in experiment.trials]


def test_a_scenario_always_takes_the_same_course(task: Task, tmp_path: Path) -> None:
    given = scenario(task, Machines(overhead_seconds=2.0, overhead_sd=1.0, preemptions_per_hour=10.0))
    first, second = (played(given, tmp_path / name) for name in ("a", "b"))
    assert trials(first) == trials(second)
    assert len(trials(first)) > 30


def test_a_trial_takes_its_budget_and_what_its_machine_adds(task: Task, tmp_path: Path) -> None:
    state = played(scenario(task, Machines(overhead_seconds=2.5)), tmp_path / "a")
    lasted = {(t.tier, round((t.ended_at or 0.0) - t.started_at, 6)) for t in trials(state)}
    assert lasted == {("screen", 8.5), ("validate", 22.5)}


def test_what_is_taken_away_runs_again(task: Task, tmp_path: Path) -> None:
    machines = Machines(overhead_seconds=1.0, preemptions_per_hour=60.0)
    state = played(scenario(task, machines), tmp_path / "a")
    outcomes = Counter(trial.outcome for trial in trials(state))
    assert outcomes["PREEMPTED"] > 0
    for trial in trials(state):
        if trial.outcome == "PREEMPTED":
            attempt = int(trial.id.rsplit("-", 1)[1])
            again = f"{trial.id.rsplit('-', 1)[0]}-{attempt + 1}"
            assert any(other.id == again for other in trials(state)), "a preempted trial is run again"


def test_a_failing_candidate_ends_when_it_fails(task: Task, tmp_path: Path) -> None:
    def fragile(order: TrialOrder) -> Score:
        if "X = 1.0\n" in order.source:
            return still_bowl(order)
        return Score(value=None, outcome=Outcome.CRASHED, seconds=1.0)

    state = played(scenario(task, Machines(overhead_seconds=1.0), objective=fragile), tmp_path / "a")
    crashed = [trial for trial in trials(state) if trial.outcome == "CRASHED"]
    assert crashed
    assert all((t.ended_at or 0.0) - t.started_at == pytest.approx(2.0) for t in crashed)


def test_hours_are_virtual(task: Task, tmp_path: Path) -> None:
    given = scenario(task, Machines(), limits=Limits(hours=0.1))
    with simulated(given, tmp_path / "a") as simulation:
        assert "hours are over" in simulation.run()
        assert simulation.clock.elapsed == pytest.approx(360, abs=30)


def test_a_tier_that_preempts_has_screening_end_and_run_again(task: Task, tmp_path: Path) -> None:
    limits = Limits(hours=None, experiments=40)
    given = scenario(task, Machines(overhead_seconds=2.0), limits=limits)
    waits = {}
    for preempt in (False, True):
        tiers = {**given.settings.tiers, "validate": TierSettings(priority=10, preempt=preempt)}
        told = replace(given, settings=given.settings.model_copy(update={"tiers": tiers}))
        with simulated(told, tmp_path / str(preempt)) as simulation:
            simulation.run()
            state = simulation.session.state
            waits[preempt] = [seconds for tier, seconds in simulation.leases.waits(state.session) if tier == "validate"]
    assert statistics.median(waits[True]) < statistics.median(waits[False])
    ran = {trial.id: trial for trial in trials(state)}
    ended = [trial for trial in ran.values() if trial.message == GAVE_WAY]
    assert ended
    for trial in ended:
        assert (trial.tier, trial.outcome, trial.value) == ("screen", "PREEMPTED", None)
        name, attempt = trial.id.rsplit("-", 1)
        assert f"{name}-{int(attempt) + 1}" in ran, "it is run again"
    assert state.begun() == 40, "each is counted once"
    assert not any(experiment.status is Status.CRASHED for experiment in state.experiments.values())


def test_what_ran_on_a_shared_slot_has_no_score_and_runs_again(task: Task, tmp_path: Path) -> None:
    machines = Machines(steps_per_second={"H100": 20.0}, straggler_share=0.1, straggler_speed=0.4, seed=1)
    state = played(scenario(task, machines, limits=Limits(hours=None, experiments=60)), tmp_path / "a")
    ran = {trial.id: trial for trial in trials(state)}
    contended = [trial for trial in ran.values() if trial.outcome == Outcome.CONTENDED]
    assert len(contended) > 3
    for trial in contended:
        assert trial.value is None
        assert speed_of(trial) == pytest.approx(8.0, rel=0.05)
        assert "the slot was shared" in trial.message
        name, attempt = trial.id.rsplit("-", 1)
        assert f"{name}-{int(attempt) + 1}" in ran, "it is run again"
    scored = sorted((trial for trial in ran.values() if trial.completed), key=lambda trial: trial.ended_at or 0.0)
    there: Counter[tuple[str, str]] = Counter()
    for trial in scored:
        assert (speed_of(trial) or 0.0) > 10.0 or there[trial.tier, trial.slot] < 5, "its slot's norm was known"
        there[trial.tier, trial.slot] += 1


def test_a_baseline_run_that_the_machine_spoils_is_run_again(task: Task, tmp_path: Path) -> None:
    """Lost more often than another trial may be, or failed where its twins did not: the session goes on."""
    calm = world(still_bowl, Machines())
    lost_seed, failed_seed = seeds(0, "reference", 2)

    def unlucky(order: TrialOrder) -> Course:
        attempt = int(order.trial_id.rsplit("-", 1)[1])
        if order.tier == "screen" and order.seed == lost_seed and attempt < ATTEMPTS + 2:
            return Course(seconds=1.0, result=lost(order, Outcome.PREEMPTED, "its machine was taken away"))
        if order.tier == "screen" and order.seed == failed_seed and attempt == 0:
            return Course(seconds=1.0, result=lost(order, Outcome.CRASHED, "CUDA error: uncorrectable ECC error"))
        return calm(order)

    given = replace(scenario(task, Machines(), limits=Limits(hours=None, experiments=5)), world=unlucky)
    with simulated(given, tmp_path / "a") as simulation:
        assert simulation.run() == "all 5 experiments are done"
        baseline = simulation.session.state.baseline
    assert len(baseline.completed("screen")) == 4
    assert Counter(trial.outcome for trial in baseline.trials if trial.tier == "screen") == {
        "COMPLETED": 4,
        "PREEMPTED": ATTEMPTS + 2,
        "CRASHED": 1,
    }
