"""A trial is cut at its limits, and only there; a session prunes what was cut, and never cuts a design."""

from pathlib import Path

import pytest

from swarm.config import Limits, PromotionSettings
from swarm.executors.simulated import Course, SimulatedExecutor, lost
from swarm.ports import TrialOrder
from swarm.research.experiment import Status
from tests import lab
from tests.trainer_lab import finish, foreign_task, write_trial
from trainer.contract import Outcome, TrialResult, read_curve

SOURCE = """\
import time
for step in range(1, 11):
    print(f"\\rstep {step:05d} | loss: {LOSSES[step - 1]:.6f} | lr: 0.1", end="", flush=True)
    time.sleep(0.1)
print()
print("loss:", 1.0)
"""


def run(folder: Path, losses: list[float], limits: tuple[tuple[float, float], ...] = ()) -> TrialResult:
    task = foreign_task(folder / "task", f"LOSSES = {losses}\n{SOURCE}", "budget = { steps = 10 }")
    return finish(write_trial(folder / "trial", task, limits=limits))


def test_a_loss_above_the_limit_ends_the_trial_without_a_score(tmp_path: Path) -> None:
    result = run(tmp_path, [9.0] * 10, ((0.4, 5.0), (0.6, 4.0)))
    assert (result.outcome, result.metric) == (Outcome.CUT, None)
    assert result.message.startswith("cut at 40% of its budget: loss 9.0000 is above 5.0000, the limit that")
    assert result.steps < 10
    assert result.curve == (9.0,) * 4


def test_a_loss_below_the_limits_is_left_alone(tmp_path: Path) -> None:
    losses = [9.0, 8.0, 6.0, 4.9, 4.5, 3.9, 3.0, 2.5, 2.0, 1.5]
    result = run(tmp_path, losses, ((0.4, 6.0), (0.6, 4.5)))
    assert (result.outcome, result.metric) == (Outcome.COMPLETED, 1.0)
    assert [point["loss"] for point in read_curve(tmp_path / "trial")] == losses


@pytest.mark.parametrize("on", [True, False])
def test_a_session_prunes_what_was_cut(tmp_path: Path, on: bool) -> None:
    """A candidate's curve is flat, at its score; where that is above a limit, its trial is cut, as a harness would."""
    bench = lab.bench(tmp_path, limits=Limits(hours=None, experiments=40), promotion=PromotionSettings(cut_hopeless=on))
    orders: list[TrialOrder] = []

    def world(order: TrialOrder) -> Course:
        orders.append(order)
        loss = lab.bowl(order.source) + 0.001 * order.seed % 0.01
        if any(loss > highest for _, highest in order.limits):
            return Course(seconds=3, result=lost(order, Outcome.CUT, "cut at 40% of its budget"))
        result = TrialResult(
            trial_id=order.trial_id, outcome=Outcome.COMPLETED, metric=loss, curve=(loss,) * 10, seed=order.seed
        )
        return Course(seconds=7, result=result)

    bench.executor = SimulatedExecutor(bench.clock, world)
    _, session = bench.worked()
    assert any(order.limits for order in orders) == on
    assert {order.tier for order in orders if order.limits} <= {"screen"}
    cut = [e for e in session.state.experiments.values() if any(t.outcome == Outcome.CUT for t in e.trials)]
    assert bool(cut) == on
    assert {e.status for e in cut} <= {Status.PRUNED}
    assert all(e.reasons == ("CUT: cut at 40% of its budget",) for e in cut)
