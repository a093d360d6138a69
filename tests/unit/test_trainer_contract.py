"""Tasks and specs: what is read, and the one line that a mistake gets."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.trainer_lab import documented_task
from trainer.contract import (
    Budget,
    BudgetKind,
    Direction,
    Outcome,
    Range,
    Sandbox,
    Task,
    TaskError,
    TrialResult,
    TrialSpec,
    Trust,
    builtin_tasks,
    create_trial,
    find_task,
    harness_alive,
    load_task,
    new_task,
    read_curve,
    read_result,
)

GOOD = 'editable = "train.py"\nmetric = "loss"\nbudget = { wall = 5 }\n'


def written(folder: Path, settings: str = GOOD, source: str = "print('loss: 1')\n") -> Path:
    (folder / "task.toml").write_text(settings, encoding="utf-8")
    (folder / "train.py").write_text(source, encoding="utf-8")
    return folder


def test_a_few_lines_make_a_task(tmp_path: Path) -> None:
    task = load_task(written(tmp_path))
    assert (task.name, task.command, task.direction) == (tmp_path.name, ("python", "train.py"), Direction.MINIMIZE)
    assert task.trust is Trust.SELF_REPORTED
    assert dict(task.budgets) == dict.fromkeys(("screen", "validate"), Budget(kind=BudgetKind.WALL, amount=5.0))
    assert (task.threads, task.memory_mb, task.program) == (1, None, "")


def test_the_documented_judged_task_is_read(tmp_path: Path) -> None:
    task = load_task(documented_task("bigram", tmp_path))
    assert task.trust is Trust.JUDGED
    assert task.budget("screen") == Budget(kind=BudgetKind.CPU, amount=0.5)
    assert task.ranges["LEARNING_RATE"] == Range(low=0.01, high=3.0, log=True)
    assert task.ranges["BATCH_SIZE"].choices == (64, 256, 1024)


def test_tinytext_is_built_in() -> None:
    task = find_task("tinytext")
    assert "tinytext" in builtin_tasks()
    assert task.budget("screen").amount == 6
    assert task.budget("validate").amount == 20
    constants = set(re.findall(r"^([A-Z][A-Z0-9_]*) = ", task.editable_path.read_text(), re.MULTILINE))
    assert set(task.ranges) == constants
    assert task.ranges["DEPTH"].integer
    assert not task.ranges["BETA2"].integer
    assert "val_bpb" in task.program


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ('metric = "loss"\nbudget = { wall = 5 }\n', "'editable' is missing"),
        ('editable = "train.py"\nbudget = { wall = 5 }\n', "'metric' is missing"),
        ('editable = "train.py"\nmetric = "loss"\n', "give either `budget"),
        (GOOD + "[budgets]\nscreen = { cpu = 1 }\n", "give either `budget"),
        (GOOD + "colour = 1\n", "unknown key 'colour'; the keys are name, editable"),
        (GOOD.replace("wall = 5", "wall = 0"), "bad budget for tier 'screen'"),
        (GOOD.replace("wall = 5", "hours = 5"), "bad budget for tier 'screen'"),
        (GOOD.replace("wall = 5", "steps = 1.5"), "steps: a whole one"),
        (GOOD.replace("{ wall = 5 }", "5"), "bad budget for tier 'screen'"),
        (GOOD + 'protected = ["prepare.py"]\n', "protected file prepare.py is not there"),
        (GOOD + 'protected = ["train.py"]\n', "both editable and protected"),
        (GOOD + 'protected = ["../x"]\n', "must be inside the task folder"),
        (GOOD.replace("train.py", "model.py"), "no editable file model.py"),
        (GOOD + 'trust = "blind"\n', "'trust' must be one of judged, self-reported"),
        (GOOD + "threads = 0\n", "'threads' must be a whole number above 0"),
        (GOOD + "[ranges]\nWIDTH = { low = 4, high = 2 }\n", "bad range for WIDTH"),
        (GOOD + "[ranges]\nWIDTH = { low = 0, high = 2, log = true }\n", "log range needs low above 0"),
        (GOOD + "[ranges]\nWIDTH = { choices = [1] }\n", "bad choices for WIDTH"),
        ("editable = train.py\n", "is not valid TOML"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path: Path, settings: str, words: str) -> None:
    with pytest.raises(TaskError) as caught:
        load_task(written(tmp_path, settings))
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_does_not_compile_is_named_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"train\.py does not compile: line 2: "):
        load_task(written(tmp_path, source="x = 1\ndef f(:\n"))


def test_an_unknown_task_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no task 'tinytxt'.*tinytext"):
        find_task("tinytxt")
    with pytest.raises(TaskError, match=r"no task\.toml in"):
        find_task(tmp_path)


def test_an_unknown_tier_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(TaskError, match=r"no budget for tier 'night'.*screen, validate.*add"):
        load_task(written(tmp_path)).budget("night")


def test_a_folder_of_autoresearch_is_recognised(tmp_path: Path) -> None:
    for name in ("train.py", "prepare.py", "pyproject.toml"):
        (tmp_path / name).write_text("")
    (tmp_path / "program.md").write_text("Lower val_bpb.")
    task: Task = load_task(tmp_path)
    assert (task.command, task.metric, task.program) == (("uv", "run", "train.py"), "val_bpb", "Lower val_bpb.")
    assert "prepare.py" in task.protected
    assert (task.timeout_seconds, task.trust) == (600.0, Trust.SELF_REPORTED)


def autoresearch(folder: Path, experiment: str) -> Path:
    for name in ("train.py", "prepare.py", "pyproject.toml"):
        (folder / name).write_text("")
    (folder / "experiment.yaml").write_text(experiment)
    return folder


def test_the_run_and_envs_of_an_experiment_yaml_are_honoured(tmp_path: Path) -> None:
    task = load_task(autoresearch(tmp_path, "envs:\n  N: 3\n  ID: a b\nrun: |\n  uv run train.py\n  echo $N\n"))
    assert task.command == ("bash", "-c", "uv run train.py\necho $N\n")
    assert {"N": "3", "ID": "a b"}.items() <= task.environment.items()
    assert "experiment.yaml" in task.protected


@pytest.mark.parametrize(
    ("experiment", "words"),
    [
        ("envs: {A: 1}\n", "has no `run` section"),
        ("- run\n", "has no `run` section"),
        ("run: 'x\n", "is not valid YAML"),
        ("envs:\n  ID:\nrun: x\n", "every one of `envs` needs a value"),
    ],
)
def test_an_experiment_yaml_that_cannot_be_used_is_told(tmp_path: Path, experiment: str, words: str) -> None:
    with pytest.raises(TaskError, match=words) as told:
        load_task(autoresearch(tmp_path, experiment))
    assert "\n" not in str(told.value)


def test_a_new_task_is_the_documented_one_and_nothing_is_overwritten(tmp_path: Path) -> None:
    new_task(tmp_path / "mine")
    documented = documented_task("curve", tmp_path)
    for name in ("task.toml", "train.py"):
        assert (tmp_path / "mine" / name).read_text() == (documented / name).read_text()
    assert load_task(tmp_path / "mine").program.startswith("#")
    with pytest.raises(TaskError, match="not empty; give the path of a new folder"):
        new_task(tmp_path / "mine")


NUMBERS = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@given(seed=st.integers(0, 2**63), amount=st.floats(0.1, 1e6), name=st.text(min_size=1), holdout=st.booleans())
def test_a_spec_survives_json(seed: int, amount: float, name: str, holdout: bool) -> None:
    spec = TrialSpec(
        trial_id=name,
        task_folder="t",
        candidate="c.py",
        tier="screen",
        budget=Budget(kind=BudgetKind.WALL, amount=amount),
        seed=seed,
        holdout=holdout,
    )
    assert TrialSpec.from_json(spec.to_json()) == spec


@given(holdout=NUMBERS, message=st.text(), extra=st.dictionaries(st.text(), st.floats(-1e9, 1e9)))
def test_a_result_survives_json(holdout: float | None, message: str, extra: dict[str, float]) -> None:
    result = TrialResult(
        trial_id="t",
        outcome=Outcome.COMPLETED,
        metric=1.5,
        holdout=holdout,
        sandbox=Sandbox.FULL,
        trust=Trust.JUDGED,
        message=message,
        extra=extra,
    )
    assert TrialResult.from_json(result.to_json()) == result


@pytest.mark.parametrize("outcome", [o for o in Outcome if o is not Outcome.COMPLETED])
def test_absence_is_never_a_number(outcome: Outcome) -> None:
    with pytest.raises(ValueError, match="has no metric"):
        TrialResult(trial_id="t", outcome=outcome, metric=1.0)
    with pytest.raises(ValueError, match="needs a metric"):
        TrialResult(trial_id="t", outcome=Outcome.COMPLETED)


def test_a_trial_is_created_once(tmp_path: Path) -> None:
    spec = TrialSpec(
        trial_id="t",
        task_folder="x",
        candidate="candidate.py",
        tier="screen",
        budget=Budget(kind=BudgetKind.CPU, amount=1.0),
        seed=1,
    )
    create_trial(tmp_path / "t", spec, "first")
    create_trial(tmp_path / "t", spec, "second")
    assert (tmp_path / "t" / "candidate.py").read_text() == "first"
    assert read_result(tmp_path / "t") is None
    assert not harness_alive(tmp_path / "t")


def test_a_pid_that_was_given_out_again_is_not_alive(tmp_path: Path) -> None:
    (tmp_path / "harness.pid").write_text(f'{{"pid": {os.getpid()}, "started": "another life"}}')
    assert not harness_alive(tmp_path)


def test_a_half_written_curve_line_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "curve.jsonl").write_text('{"step": 1, "seconds": 0.1, "loss": 3.0}\n{"step": 2, "sec')
    assert [point["step"] for point in read_curve(tmp_path)] == [1]


def test_the_contract_needs_the_standard_library_alone() -> None:
    code = (
        "import sys, trainer.contract\n"
        "names = {name.split('.')[0] for name in sys.modules}\n"
        "print(sorted(n for n in names if n not in sys.stdlib_module_names and n not in ('trainer', '__main__')))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
