"""The built-in task end to end: its data, one honest trial, and what the judge makes of a good model."""

import json
import os
from pathlib import Path

import pytest

from tests.trainer_lab import finish, prepared, write_trial
from trainer.contract import BudgetKind, Outcome, Trust, find_task, read_curve

TASK = find_task("tinytext")
pytestmark = pytest.mark.slow


@pytest.fixture(scope="session")
def data(pytestconfig: pytest.Config) -> Path:
    """The prepared data, kept between runs: preparing takes half a minute, checking that it is right does not."""
    place = os.environ.get("NIGHTSWARM_TEST_CACHE")
    assert pytestconfig.cache is not None
    folder = Path(place) if place else Path(pytestconfig.cache.mkdir("nightswarm"))
    return prepared(TASK.folder, folder / "tinytext")


def test_preparing_again_does_nothing(data: Path) -> None:
    before = (data / "train.bin").stat().st_mtime_ns
    prepared(TASK.folder, data)
    assert (data / "train.bin").stat().st_mtime_ns == before


def test_data_that_was_touched_is_made_anew(tmp_path: Path) -> None:
    task = tmp_path / "task"
    task.mkdir()
    (task / "task.toml").write_text(
        'editable = "train.py"\nmetric = "loss"\nbudget = { wall = 5 }\nprepare = "python prepare.py"\n'
    )
    (task / "train.py").write_text("")
    (task / "prepare.py").write_text("import sys\nfrom pathlib import Path\nPath(sys.argv[1], 'x').write_text('1')\n")
    folder = prepared(task, tmp_path / "data")
    (folder / "x").write_text("2")
    prepared(task, folder)
    assert (folder / "x").read_text() == "1"


def test_the_data_is_text_of_the_stated_shape(data: Path) -> None:
    meta = json.loads((data / "meta.json").read_text())
    assert meta == {"vocab_size": 2048, "window": 256}
    assert (data / "train.bin").stat().st_size > 2 * 4_000_000
    assert (data / "judge" / "val.bin").stat().st_size == (data / "judge" / "holdout.bin").stat().st_size


def test_a_short_training_is_scored(data: Path, tmp_path: Path) -> None:
    folder = write_trial(
        tmp_path / "trial", TASK.folder, data_dir=data, budget=12, kind=BudgetKind.STEPS, seed=3, holdout=True
    )
    result = finish(folder)
    assert (result.outcome, result.trust, result.steps) == (Outcome.COMPLETED, Trust.JUDGED, 12), result.message
    assert result.metric is not None
    assert result.holdout is not None
    assert 2.5 < result.metric < 4.5
    assert 2.5 < result.holdout < 4.5
    losses = [point["loss"] for point in read_curve(folder)]
    assert len(losses) == 12
    assert losses[-1] < losses[0]


def test_a_model_of_shorter_context_and_other_choices_is_scored(data: Path, tmp_path: Path) -> None:
    source = TASK.editable_path.read_text()
    for name, value in (("SEQ_LEN", "96"), ("ACTIVATION", '"relu2"'), ("TIED_EMBEDDINGS", "False"), ("DROPOUT", "0.1")):
        line = next(line for line in source.splitlines() if line.startswith(f"{name} = "))
        source = source.replace(line, f"{name} = {value}")
    result = finish(write_trial(tmp_path / "trial", TASK.folder, source=source, data_dir=data, budget=1.0))
    assert result.outcome is Outcome.COMPLETED, result.message
    assert result.steps > 1
    assert 0.4 < result.train_seconds < 1.3
