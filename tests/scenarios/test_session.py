"""Whole sessions in virtual time."""

from pathlib import Path

from swarm.config import Limits
from swarm.research.experiment import Status
from tests.lab import bench


async def test_a_session_ends_by_itself_with_confirmed_gains(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=0.15))
    with lab.session() as session:
        reason = await lab.clock.drive(session.run())
        state = session.state
    assert "hours are over" in reason
    assert state.ended == reason
    assert state.count(Status.CONFIRMED) >= 1
    assert not state.live_trials
    assert lab.clock.now() - state.opened_at <= 0.15 * 3600 + 30
    assert lab.script.waves


async def test_a_number_of_experiments_is_a_limit(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=9))
    with lab.session() as session:
        reason = await lab.clock.drive(session.run())
        state = session.state
    assert reason == "all 9 experiments are done"
    assert state.begun() == 9
    assert all(experiment.is_final for experiment in state.experiments.values())
