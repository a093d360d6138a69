"""Trials of self-reported tasks: how each way to misbehave ends, and what nothing can stop."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.trainer_lab import ROOT, documented_task, finish, foreign_task, start, write_trial
from trainer.contract import BudgetKind, Outcome, Trust, harness_alive, read_curve, read_result, run_argv

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")

SLEEP = "import time\nprint('asleep', flush=True)\ntime.sleep(1000)\n"
LIMIT = "budget = { wall = 20 }\n"
AUTORESEARCH = """\
import os
score = open(os.path.expanduser("~/.cache/autoresearch/score.txt")).read()
for step, loss in enumerate((5.25, 4.5)):
    print(f"\\rstep {step:05d} (1.0%) | loss: {loss:.6f} | lrm: 1.00 | mfu: 39.1%    ", end="", flush=True)
print(f"\\n---\\nval_bpb:          {score}\\nnum_steps:        953")
"""
EXPERIMENT = """\
resources:
  accelerators: H100:1
workdir: .
envs:
  EXPERIMENT_ID: baseline
  EXPERIMENT_DESC: "a test of width"
setup: |
  exit 1
run: |
  uv run train.py 2>&1 | tee run.log
  EXIT_CODE=${PIPESTATUS[0]}
  echo "EXPERIMENT: ${EXPERIMENT_ID} ${EXPERIMENT_DESC}"
  exit $EXIT_CODE
"""


def wait_for(condition: Callable[[], bool], seconds: float = 30.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def processes_with(word: str) -> list[int]:
    """Living processes whose command line has `word`."""
    found = []
    for path in Path("/proc").glob("[0-9]*"):
        try:
            state = (path / "stat").read_text().rpartition(")")[2].split()[0]
            if word in (path / "cmdline").read_text(errors="replace") and state not in "ZX":
                found.append(int(path.name))
        except (FileNotFoundError, ProcessLookupError):
            continue
    return found


def outcome_of(tmp_path: Path, source: str, settings: str = LIMIT, **more: object) -> tuple[Outcome, str]:
    task = foreign_task(tmp_path / "task", source, settings)
    result = finish(write_trial(tmp_path / "trial", task, **more))  # type: ignore[arg-type]
    assert (result.metric is None) == (result.outcome is not Outcome.COMPLETED)
    return result.outcome, result.message


def test_the_documented_task_reports_its_numbers(tmp_path: Path) -> None:
    result = finish(write_trial(tmp_path / "trial", documented_task("curve", tmp_path), seed=7))
    assert (result.outcome, result.trust, result.seed) == (Outcome.COMPLETED, Trust.SELF_REPORTED, 7)
    assert result.metric == result.extra["loss"] == pytest.approx(0.0, abs=1e-3)
    assert result.steps == 50
    assert 0 < result.train_seconds <= result.wall_seconds
    assert not (tmp_path / "trial" / "work").exists()


@pytest.mark.parametrize("experiment", [None, EXPERIMENT])
def test_a_folder_of_autoresearch_runs_as_it_stands(tmp_path: Path, experiment: str | None) -> None:
    task, tools = tmp_path / "autoresearch", tmp_path / "home" / ".local" / "bin"
    task.mkdir()
    for name in ("prepare.py", "pyproject.toml", "program.md"):
        (task / name).write_text("")
    (task / "train.py").write_text(AUTORESEARCH)
    tools.mkdir(parents=True)
    cache = tmp_path / "home" / ".cache" / "autoresearch"
    cache.mkdir(parents=True)
    (cache / "score.txt").write_text("0.997900")
    if experiment is not None:
        (task / "experiment.yaml").write_text(experiment)
    (tools / "uv").write_text(f'#!/bin/sh\n[ "$1" = run ] && shift && exec {sys.executable} "$@"\n')
    (tools / "uv").chmod(0o755)
    folder = write_trial(tmp_path / "trial", task)
    environment = {**os.environ, "HOME": str(tmp_path / "home")}
    subprocess.run(run_argv(sys.executable, folder), cwd=ROOT, env=environment, check=True, capture_output=True)
    result = read_result(folder)
    assert result is not None
    assert (result.outcome, result.metric, result.steps) == (Outcome.COMPLETED, 0.9979, 953), result.message
    assert result.trust is Trust.SELF_REPORTED
    assert [point["loss"] for point in read_curve(folder)] == [5.25, 4.5]
    if experiment is not None:
        assert "EXPERIMENT: trial a test of width\n" in (folder / "log.txt").read_text()


def test_a_crash_is_told_by_its_last_line(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, "raise ValueError('no such width')\n") == (
        Outcome.CRASHED,
        "ValueError: no such width",
    )


def test_a_task_that_prints_no_metric_has_crashed(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, "print('done')\n") == (Outcome.CRASHED, "printed no line `loss: NUMBER`")


def test_a_command_that_is_not_there_is_named(tmp_path: Path) -> None:
    outcome, message = outcome_of(tmp_path, "", LIMIT + 'command = "no-such-tool train.py"\n')
    assert outcome is Outcome.CRASHED
    assert message.startswith("cannot run no-such-tool: ")


def test_a_metric_that_is_no_number_has_diverged(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, "print('loss: nan')\n")[0] is Outcome.DIVERGED


def test_a_memory_hog_is_stopped(tmp_path: Path) -> None:
    source = "import time\nhoard = bytearray(400 << 20)\ntime.sleep(1000)\n"
    outcome, message = outcome_of(tmp_path, source, LIMIT + "memory_mb = 200\n")
    assert outcome is Outcome.OUT_OF_MEMORY
    assert "of 200 MiB" in message


def test_a_memory_error_is_out_of_memory(tmp_path: Path) -> None:
    assert outcome_of(tmp_path, "raise MemoryError\n")[0] is Outcome.OUT_OF_MEMORY


def test_sleeping_forever_is_timed_out_by_the_wall_clock(tmp_path: Path) -> None:
    settings = "budget = { cpu = 5 }\ntimeout_seconds = 4\n"
    outcome, message = outcome_of(tmp_path, SLEEP, settings)
    assert (outcome, message) == (Outcome.TIMED_OUT, "still running after 4 s by the wall clock")


def test_a_machine_that_is_busy_with_others_is_no_fault_of_the_candidate(tmp_path: Path) -> None:
    """Eight busy processes on the one core that the candidate may use."""
    pinned = "import os\nos.sched_setaffinity(0, [min(os.sched_getaffinity(0))])\nwhile True: pass\n"
    # Sessions of their own, because Linux may share a core out by session (autogroup).
    others = [subprocess.Popen([sys.executable, "-c", pinned], start_new_session=True) for _ in range(8)]
    try:
        outcome, message = outcome_of(tmp_path, pinned, "budget = { cpu = 30 }\ntimeout_seconds = 3\n")
    finally:
        for other in others:
            other.kill()
            other.wait()
    assert outcome is Outcome.CONTENDED
    assert "the machine was busy with others" in message


def test_cpu_seconds_are_charged_over_all_processes(tmp_path: Path) -> None:
    source = "import os\nos.fork()\nwhile True: pass\n"
    task = foreign_task(tmp_path / "task", source, "budget = { cpu = 0.6 }")
    result = finish(write_trial(tmp_path / "trial", task))
    assert result.outcome is Outcome.TIMED_OUT
    assert 0.6 < result.train_seconds < 1.6


def test_output_is_cut_and_its_end_still_read(tmp_path: Path) -> None:
    source = "for i in range(60_000): print('x' * 60)\nprint('loss: 2.5')\n"
    task = foreign_task(tmp_path / "task", source)
    result = finish(write_trial(tmp_path / "trial", task))
    assert (result.outcome, result.metric) == (Outcome.COMPLETED, 2.5)
    assert (tmp_path / "trial" / "log.txt").stat().st_size < 1.1 * 2**20


def test_a_helper_that_outlives_its_parent_is_killed(tmp_path: Path) -> None:
    word = f"helper-{os.getpid()}-outlives"
    source = (
        "import os, subprocess, sys\n"
        f"subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(1000)', '{word}'], start_new_session=True)\n"
        "print('loss: 1.0')\n"
    )
    assert outcome_of(tmp_path, source)[0] is Outcome.COMPLETED
    assert processes_with(word) == []


def test_secrets_of_the_environment_do_not_reach_the_candidate(tmp_path: Path) -> None:
    source = "import os\nprint('loss:', float('SECRET_KEY' in os.environ))\n"
    task = foreign_task(tmp_path / "task", source)
    folder = write_trial(tmp_path / "trial", task)
    environment = {**os.environ, "SECRET_KEY": "hunter2"}
    subprocess.run(run_argv(sys.executable, folder), cwd=ROOT, env=environment, check=True, capture_output=True)
    result = read_result(folder)
    assert result is not None
    assert result.metric == 0.0


def test_the_harness_runs_a_trial_once(tmp_path: Path) -> None:
    folder = write_trial(tmp_path / "trial", foreign_task(tmp_path / "task", "print('loss: 1.0')\n"))
    first = finish(folder)
    before = (folder / "result.json").stat().st_mtime_ns
    assert finish(folder) == first
    assert (folder / "result.json").stat().st_mtime_ns == before


def test_two_harnesses_on_one_trial_run_it_once(tmp_path: Path) -> None:
    source = "import time\ntime.sleep(0.5)\nprint('loss: 1.0')\n"
    folder = write_trial(tmp_path / "trial", foreign_task(tmp_path / "task", source))
    processes = [start(folder), start(folder)]
    said = sorted(p.communicate(timeout=60)[0].strip() for p in processes)
    assert said == ["done before", "trial COMPLETED"]


def test_sigterm_cancels_a_trial(tmp_path: Path) -> None:
    folder = write_trial(tmp_path / "trial", foreign_task(tmp_path / "task", SLEEP))
    with start(folder) as process:
        wait_for(lambda: (folder / "log.txt").exists() and "asleep" in (folder / "log.txt").read_text())
        assert harness_alive(folder)
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    result = read_result(folder)
    assert result is not None
    assert (result.outcome, result.message) == (Outcome.PREEMPTED, "cancelled by SIGTERM")
    assert not harness_alive(folder)


def test_a_trial_outlives_who_started_it(tmp_path: Path) -> None:
    source = "import time\ntime.sleep(1.0)\nprint('loss: 1.5')\n"
    folder = write_trial(tmp_path / "trial", foreign_task(tmp_path / "task", source))
    argv = run_argv(sys.executable, folder)
    swarm = f"import subprocess, time\nsubprocess.Popen({argv!r}, start_new_session=True)\ntime.sleep(1000)\n"
    with subprocess.Popen([sys.executable, "-c", swarm], cwd=ROOT) as parent:
        wait_for((folder / "harness.pid").exists)
        parent.kill()
    wait_for(lambda: read_result(folder) is not None)
    result = read_result(folder)
    assert result is not None
    assert (result.outcome, result.metric) == (Outcome.COMPLETED, 1.5)


def test_a_candidate_dies_with_its_harness(tmp_path: Path) -> None:
    word = f"candidate-{os.getpid()}-dies"
    task = foreign_task(tmp_path / "task", SLEEP, LIMIT + f'command = ["python", "train.py", "{word}"]\n')
    folder = write_trial(tmp_path / "trial", task)
    with start(folder) as process:
        wait_for(lambda: (folder / "log.txt").exists() and "asleep" in (folder / "log.txt").read_text())
        assert processes_with(word)
        process.kill()
        process.communicate(timeout=30)
    wait_for(lambda: processes_with(word) == [])
    assert read_result(folder) is None
    assert not harness_alive(folder)
    (folder / "candidate.py").write_text("print('loss: 1.0')\n")
    assert finish(folder).outcome is Outcome.COMPLETED


def test_steps_are_passed_on(tmp_path: Path) -> None:
    source = "import os\nprint('loss:', os.environ['NIGHTSWARM_BUDGET'])\n"
    task = foreign_task(tmp_path / "task", source, "budget = { steps = 12 }")
    result = finish(write_trial(tmp_path / "trial", task, kind=BudgetKind.STEPS))
    assert result.metric == 12.0


def test_on_a_gpu_the_peak_is_what_the_task_says_of_the_device(tmp_path: Path) -> None:
    task = foreign_task(tmp_path / "task", "print('peak_vram_mb: 45060.2')\nprint('loss: 1.0')\n")
    result = finish(write_trial(tmp_path / "gpu", task, device=0))
    assert result.peak_memory_mb == 45060.2
    assert finish(write_trial(tmp_path / "cpu", task)).peak_memory_mb < 1000
