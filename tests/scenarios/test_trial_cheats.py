"""Every cheating candidate is rejected, stopped, or honestly scored; none is scored better than an honest one."""

import socket
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.trainer_lab import CHEATS, documented_task, finish, prepared, start, write_trial
from trainer.contract import Outcome, Sandbox, Trust, read_curve, read_result, sandbox_kind

REJECTED, CRASHED, TIMED_OUT = Outcome.REJECTED_BY_JUDGE, Outcome.CRASHED, Outcome.TIMED_OUT
UNTRAINED = 6.0  # bits a byte: more than any training leaves, less than an untrained table has

ENDS = {  # file -> (outcome, what its message must say)
    "answers_nan": (REJECTED, "not all finite"),
    "answers_the_wrong_shape": (REJECTED, "logits have shape"),
    "edits_prepare": (REJECTED, "changed the protected file prepare.py"),
    "leaks_across_the_batch": (REJECTED, "logits change"),
    "lies_about_its_steps": (TIMED_OUT, "cpu seconds"),
    "opens_a_socket": (CRASHED, "Network is unreachable"),
    "patches_time": (TIMED_OUT, "cpu seconds"),
    "peeks_ahead": (REJECTED, "logits change"),
    "pickle_bomb": (CRASHED, "safetensors"),
    "prints_a_fake_score": (Outcome.COMPLETED, ""),
    "reads_the_val_file": (CRASHED, "no data to be seen anywhere"),
    "remembers_while_peeking": (REJECTED, "logits change"),
    "trains_on_after_saving": (Outcome.COMPLETED, ""),
    "weights_by_symlink": (CRASHED, "said that it saved"),
}


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where the candidates run."""

    task: Path
    data: Path
    folder: Path


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Course:
    folder = tmp_path_factory.mktemp("cheats")
    task = documented_task("bigram", folder)
    return Course(task=task, data=prepared(task, folder / "data"), folder=folder)


def test_every_cheat_is_listed() -> None:
    assert sorted(ENDS) == sorted(p.stem for p in CHEATS.glob("*.py"))


def test_an_honest_candidate_is_scored_by_the_judge(course: Course) -> None:
    folder = write_trial(course.folder / "honest", course.task, data_dir=course.data, budget=1.0, holdout=True)
    result = finish(folder)
    assert (result.outcome, result.trust, result.sandbox) == (Outcome.COMPLETED, Trust.JUDGED, sandbox_kind())
    assert result.metric is not None
    assert result.holdout is not None
    assert 2.0 < result.metric < 5.5
    assert 2.0 < result.holdout < 6.5
    assert result.data_hash
    curve = read_curve(folder)
    assert len(curve) == result.steps > 10
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert 0.4 < result.train_seconds < 1.0 + 0.3


@pytest.mark.parametrize("name", sorted(ENDS))
def test_a_cheat_gains_nothing(course: Course, name: str) -> None:
    outcome, words = ENDS[name]
    if sandbox_kind() is not Sandbox.FULL and name in ("opens_a_socket", "reads_the_val_file"):
        pytest.skip("needs a sandbox")
    source = (CHEATS / f"{name}.py").read_text(encoding="utf-8")
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = source.replace("PORT = 9", f"PORT = {server.getsockname()[1]}")
        folder = write_trial(course.folder / name, course.task, source=source, data_dir=course.data)
        result = finish(folder)
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert result.outcome is outcome, result.message
    assert words in result.message
    assert result.metric is None or result.metric > UNTRAINED
    assert not (folder / "work").exists()


def test_a_loss_that_is_no_number_ends_the_trial(course: Course) -> None:
    source = (course.task / "train.py").read_text().replace("LEARNING_RATE = 0.3", "LEARNING_RATE = float('inf')")
    result = finish(write_trial(course.folder / "nan", course.task, source=source, data_dir=course.data))
    assert result.outcome is Outcome.DIVERGED
    assert "at step" in result.message


def test_the_same_seed_and_steps_give_the_same_score(course: Course) -> None:
    from trainer.contract import BudgetKind

    folders = [
        write_trial(course.folder / name, course.task, data_dir=course.data, budget=30, kind=BudgetKind.STEPS, seed=5)
        for name in ("twin1", "twin2")
    ]
    processes: list[subprocess.Popen[str]] = [start(folder) for folder in folders]
    for process in processes:
        process.communicate(timeout=240)
    first, second = (read_result(folder) for folder in folders)
    assert first is not None
    assert second is not None
    assert first.steps == second.steps == 30
    assert first.metric == pytest.approx(second.metric, abs=1e-9)
