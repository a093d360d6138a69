"""A task as an objective: what is measured is trained, each time it is asked for."""

from pathlib import Path

import pytest

from swarm.bench.race import Measurement
from swarm.bench.real import TaskObjective
from swarm.hardware import local_slots
from tests.executor_lab import make_task

TRAIN = "RATE = 0.1\nprint('loss: 1.25')\n"


@pytest.mark.parametrize("broken", [False, True])
def test_a_measurement_leaves_no_trial_that_a_later_one_could_take_for_its_own(tmp_path: Path, broken: bool) -> None:
    task = make_task(tmp_path / "task")
    task.editable_path.write_text(TRAIN + ("raise RuntimeError('no such layer')\n" if broken else ""))
    objective = TaskObjective(task, local_slots((), task)[:1], tmp_path / "trials", tmp_path / "data")
    for _ in range(2):
        found = objective.measure(Measurement(config=objective.start, seed=1))
        assert found.value == (None if broken else 1.25)
        assert found.seconds > 0
        assert list((tmp_path / "trials").glob("*")) == []
