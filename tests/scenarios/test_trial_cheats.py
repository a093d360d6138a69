"""Every cheating candidate is rejected, stopped, or honestly scored; none is scored better than an honest one."""

import socket
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from swarm.research.ledger import Ledger
from tests import honest
from tests.trainer_lab import CHEATS, documented_task, finish, finish_warm, prepared, warm_worker, write_trial
from trainer.contract import (
    WARM_POSSIBLE,
    BudgetKind,
    Outcome,
    Sandbox,
    TrialResult,
    Trust,
    WarmWorker,
    read_curve,
    sandbox_kind,
)

REJECTED, CRASHED, TIMED_OUT = Outcome.REJECTED_BY_JUDGE, Outcome.CRASHED, Outcome.TIMED_OUT
UNTRAINED = 6.0  # bits a byte: more than any training leaves, less than an untrained table has

NEED_A_SANDBOX = (
    "opens_a_socket",
    "reads_the_val_file",
    "writes_into_other_folders",
    "carries_weights_between_trials",
)
PASTED = 'b"PASTED"'  # in quotes_the_val_text
ENDS = {  # file, and how it differs -> (outcome, what its message must say)
    "answers_nan": (REJECTED, "not all finite"),
    "answers_the_wrong_shape": (REJECTED, "logits have shape"),
    "carries_weights_between_trials": (Outcome.COMPLETED, ""),
    "edits_prepare": (REJECTED, "changed the protected file prepare.py"),
    "helper_outlives_the_budget": (TIMED_OUT, "cpu seconds"),
    "leaks_across_the_batch": (REJECTED, "logits change"),
    "lies_about_its_steps": (TIMED_OUT, "cpu seconds"),
    "opens_a_socket": (CRASHED, "Network is unreachable"),
    "packs_rows_together": (REJECTED, "logits change"),
    "patches_time": (TIMED_OUT, "cpu seconds"),
    "peeks_ahead": (REJECTED, "logits change"),
    "pickle_bomb": (CRASHED, "safetensors"),
    "prints_a_fake_score": (Outcome.COMPLETED, ""),
    "quotes_the_val_text": (REJECTED, "quotes held-out text"),
    "quotes_the_val_text in hexadecimal": (REJECTED, "KiB of data"),
    "reads_the_val_file": (CRASHED, "no data to be seen anywhere"),
    "remembers_while_peeking": (REJECTED, "logits change"),
    "returns_fake_losses": (Outcome.COMPLETED, ""),
    "trains_on_after_saving": (Outcome.COMPLETED, ""),
    "weights_by_symlink": (CRASHED, "said that it saved"),
    "writes_into_other_folders": (Outcome.COMPLETED, ""),
}


@dataclass(frozen=True, kw_only=True)
class Course:
    """Where the candidates run."""

    task: Path
    data: Path
    folder: Path
    worker: WarmWorker | None

    def run(self, name: str, source: str | None = None, **more: Any) -> TrialResult:
        """Run one trial, from the warm worker where there can be one."""
        more |= {"data_dir": self.data, "compiled": self.folder / "compiled"}
        folder = write_trial(self.folder / name, self.task, source=source, **more)
        return finish_warm(self.worker, folder) if self.worker else finish(folder)


@pytest.fixture(scope="module")
def course(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Course]:
    folder = tmp_path_factory.mktemp("cheats")
    task = documented_task("bigram", folder)
    data = prepared(task, folder / "data")
    with warm_worker() if WARM_POSSIBLE else nullcontext() as worker:
        yield Course(task=task, data=data, folder=folder, worker=worker)


def test_every_cheat_is_listed() -> None:
    assert {name.split()[0] for name in ENDS} == {p.stem for p in CHEATS.glob("*.py")}


def test_an_honest_candidate_is_scored_by_the_judge(course: Course) -> None:
    result = course.run("honest", budget=1.0, holdout=True)
    assert (result.outcome, result.trust, result.sandbox) == (Outcome.COMPLETED, Trust.JUDGED, sandbox_kind())
    assert result.metric is not None
    assert result.holdout is not None
    assert 2.0 < result.metric < 7.5
    assert 2.0 < result.holdout < 7.5
    assert result.data_hash
    curve = read_curve(course.folder / "honest")
    assert len(curve) == result.steps > 3
    assert curve[-1]["loss"] < curve[0]["loss"]
    assert 0.4 < result.train_seconds < 1.0 + 0.3


@pytest.mark.parametrize("name", sorted(ENDS))
def test_a_cheat_gains_nothing(course: Course, name: str) -> None:
    outcome, words = ENDS[name]
    if sandbox_kind() is not Sandbox.FULL and name in NEED_A_SANDBOX:
        pytest.skip("needs a sandbox")
    victim, ledger = course.folder / "another-trial", course.folder / "ledger.db"
    val = (course.data / "judge" / "val.txt").read_bytes()
    source = (CHEATS / f"{name.split(maxsplit=1)[0]}.py").read_text(encoding="utf-8")
    source = source.replace(PASTED, f'bytes.fromhex("{val.hex()}")' if "hexadecimal" in name else repr(val))
    source = source.replace('"FOLDER", "LEDGER"', f"{str(victim)!r}, {str(ledger)!r}")
    victim.mkdir(exist_ok=True)
    Ledger(ledger).close()
    before = ledger.read_bytes()
    with socket.create_server(("127.0.0.1", 0)) as server:
        result = course.run(name.replace(" ", "-"), source.replace("PORT = 9", f"PORT = {server.getsockname()[1]}"))
        server.setblocking(False)
        with pytest.raises(BlockingIOError):
            server.accept()
    assert result.outcome is outcome, result.message
    assert words in result.message
    assert result.metric is None or result.metric > UNTRAINED
    assert not any(course.folder.glob("*/work"))
    assert list(victim.iterdir()) == []
    assert ledger.read_bytes() == before


def test_nothing_is_carried_to_the_next_trial(course: Course) -> None:
    source = (CHEATS / "carries_weights_between_trials.py").read_text(encoding="utf-8")
    scores = [course.run(f"carrier{number}", source).metric for number in range(2)]
    assert all(score is not None and score > UNTRAINED for score in scores)


@pytest.mark.parametrize("name", honest.VARIANTS)
def test_an_honest_variant_is_not_accused(course: Course, name: str) -> None:
    result = course.run(name.replace(" ", "-"), honest.source(name), budget=12, kind=BudgetKind.STEPS)
    assert result.outcome is Outcome.COMPLETED, result.message
    assert result.steps == 12
    assert result.metric is not None


def test_a_loss_that_is_no_number_ends_the_trial(course: Course) -> None:
    source = (course.task / "train.py").read_text().replace("LEARNING_RATE = 0.3", "LEARNING_RATE = float('inf')")
    result = course.run("nan", source)
    assert result.outcome is Outcome.DIVERGED
    assert "at step" in result.message


def test_the_same_seed_and_steps_give_the_same_score_cold_and_warm(course: Course) -> None:
    same: dict[str, Any] = {"data_dir": course.data, "budget": 30, "kind": BudgetKind.STEPS, "seed": 5}
    cold = finish(write_trial(course.folder / "cold", course.task, **same))
    warm = course.run("warm", budget=30, kind=BudgetKind.STEPS, seed=5)
    assert cold.steps == warm.steps == 30
    assert cold.metric is not None
    assert cold.metric == warm.metric
