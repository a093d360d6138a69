"""Whole sessions in virtual time."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.config import Limits
from swarm.errors import SwarmError
from swarm.executors.simulated import Course, SimulatedExecutor
from swarm.research.experiment import Status
from swarm.research.knobs import read_knobs
from swarm.session import Session
from tests.lab import Bench, bench, bowl, completed


async def until(session: Session, holds: Callable[[], bool]) -> None:
    while not holds():
        await session.changed()


def test_a_session_ends_by_itself_with_confirmed_gains(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=0.15))
    reason, session = lab.worked()
    state = session.state
    assert "hours are over" in reason
    assert state.ended == reason
    assert state.count(Status.CONFIRMED) >= 1
    assert not state.live_trials
    assert lab.clock.now() - state.opened_at <= 0.15 * 3600 + 30
    assert lab.script.waves
    examined = [trial for trial in state.incumbent.trials if trial.holdout is not None]
    assert [trial.holdout for trial in examined] == [pytest.approx(bowl(lab.sources[t.id])) for t in examined]
    assert examined


def test_a_number_of_experiments_is_a_limit(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=9))
    reason, session = lab.worked()
    assert reason == "all 9 experiments are done"
    assert session.state.begun() == 9
    assert all(experiment.is_final for experiment in session.state.experiments.values())


def test_a_session_whose_proposers_have_nothing_more_to_say_ends_once_all_is_decided(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None), proposals=9)
    reason, session = lab.worked()
    assert reason == "the proposers have nothing more to propose"
    assert session.state.begun() == 9
    assert all(experiment.is_final for experiment in session.state.experiments.values())
    assert not session.state.unread_waves


def test_who_rests_is_asked_again_although_nothing_happens_meanwhile(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=9))
    lab.script.silences = 50
    reason, session = lab.worked()
    assert reason == "all 9 experiments are done"
    first = min(one.created_at for one in session.state.experiments.values() if one is not session.state.baseline)
    assert first - session.state.opened_at > 300  # long after the noise floor was measured


def test_gpu_hours_are_a_limit(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, gpu_hours=0.1))
    reason, session = lab.worked()
    assert reason == "the 0.1 GPU-hours are used"
    assert session.pace.budget.spent.gpu_hours < 0.1 + 2 * 25 / 3600 + 4 * 25 / 3600  # running trials, examination


def test_what_crashes_never_wins_and_the_session_goes_on(tmp_path: Path) -> None:
    def treacherous(source: str) -> float | None:
        knobs = read_knobs(source)
        return None if float(knobs["X"]) > 1.2 else bowl(source)

    lab = bench(tmp_path, limits=Limits(hours=None, experiments=30), objective=treacherous)
    _, session = lab.worked()
    crashed = session.state.of_status(Status.CRASHED)
    assert crashed
    assert all(trial.value is None for experiment in crashed for trial in experiment.trials[-1:])
    assert session.state.incumbent.status in (Status.CONFIRMED, Status.BASELINE)


def test_a_baseline_that_does_not_run_ends_the_session_in_one_line(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=1), objective=lambda _: None)
    with pytest.raises(SwarmError, match=r"the task's own train.py ended CRASHED .* cannot be improved"):
        lab.worked()
    assert {order.tier for order in lab.executor.orders.values()} == {"screen"}  # it is not tried on dearer slots


def test_nothing_is_confirmed_where_nothing_is_better(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=60), objective=lambda _: 2.0, noise=0.02)
    _, session = lab.worked()
    assert session.state.count(Status.CONFIRMED) == 0


def test_a_drained_session_lets_trials_end_and_goes_on_when_started_again(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=20))

    async def drained(session: Session) -> None:
        run = asyncio.ensure_future(session.run())
        await until(session, lambda: session.state.begun() > 3 and len(session.state.live_trials) == 2)
        session.drain("stopped by Ctrl-C")
        assert await run == "stopped by Ctrl-C"
        assert session.state.ended is None
        assert not session.state.live_trials

    with lab.session() as session:
        lab.clock.run(drained(session))
    reason, session = lab.worked()
    assert reason == "all 20 experiments are done"
    assert_every_trial_once(lab, session)


def test_stopped_at_once_trials_are_preempted_and_run_again(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=12))

    async def stopped(session: Session) -> None:
        run = asyncio.ensure_future(session.run())
        await until(session, lambda: session.state.begun() > 3 and len(session.state.live_trials) == 2)
        await session.stop_now("stopped now")
        await run

    with lab.session() as session:
        lab.clock.run(stopped(session))
        lost = [t for e in session.state.experiments.values() for t in e.trials if t.outcome == "PREEMPTED"]
        assert len(lost) == 2
    reason, session = lab.worked()
    assert reason == "all 12 experiments are done"
    again = {t.id for e in session.state.experiments.values() for t in e.trials if t.completed}
    assert all(trial.id[:-1] + "1" in again for trial in lost)
    assert_every_trial_once(lab, session)


def test_a_session_that_is_long_in_ending_its_trials_is_seen_to_live(tmp_path: Path) -> None:
    class SlowToCancel(SimulatedExecutor):
        async def cancel(self, trial_id: str) -> None:
            await lab.clock.sleep(300.0)
            await super().cancel(trial_id)

    lab = bench(tmp_path, limits=Limits(hours=None, experiments=12))
    executor = SlowToCancel(lab.clock, lambda order: Course(seconds=1000.0, result=completed(order, 1.0)))
    lab = replace(lab, executor=executor)

    async def stopped(session: Session) -> float:
        run = asyncio.ensure_future(session.run())
        await until(session, lambda: len(session.state.live_trials) == 2)
        lab.wish("stop-now")
        await lab.clock.sleep(200.0)
        assert len(session.state.live_trials) == 2
        pulse = lab.last_pulse()
        await run
        return pulse

    with lab.session() as session:
        began = lab.clock.now()
        assert lab.clock.run(stopped(session)) - began > 199.0


def test_a_paused_session_starts_nothing_until_it_is_resumed(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=8))

    async def paused(session: Session) -> None:
        run = asyncio.ensure_future(session.run())
        await until(session, lambda: len(session.state.live_trials) == 2)
        lab.wish("pause")
        await until(session, lambda: not session.state.live_trials)
        started = len(lab.executor.orders)
        assert session.phase == "paused"
        paused_at = lab.clock.now()
        while lab.clock.now() < paused_at + 60:
            await session.changed()
        assert len(lab.executor.orders) == started
        assert lab.noted_phase() == "paused"  # what another process is told
        lab.wish("resume")
        assert await run == "all 8 experiments are done"

    with lab.session() as session:
        lab.clock.run(paused(session))


def assert_every_trial_once(lab: Bench, session: Session) -> None:
    """What the executor ran and what is on record are the same trials, each with one end."""
    trials = [trial for experiment in session.state.experiments.values() for trial in experiment.trials]
    assert sorted(trial.id for trial in trials) == sorted(lab.executor.orders)
    assert all(trial.outcome is not None for trial in trials)
    done = [(t.candidate, t.tier, t.seed) for t in trials if t.completed]
    assert len(done) == len(set(done))
