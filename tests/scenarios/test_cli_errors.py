"""Bad input: one line that says what to do, exit 2, no traceback, and nothing is lost."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

from swarm.cli import app
from swarm.home import Home
from tests.small_home import SESSION, bare_home, task_folder


def swarm(home: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """The command as a user runs it."""
    command = [sys.executable, "-c", "from swarm.cli import main; main()", *arguments]
    environment = {**os.environ, "SWARM_HOME": str(home)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=120)


def refused(home: Path, *arguments: str) -> str:
    """The one line with which a command is refused, run in this process to save its start."""
    done = CliRunner().invoke(app, arguments, env={"SWARM_HOME": str(home)})
    assert done.exit_code == 2, done.stderr
    assert done.stderr.startswith("swarm: ")
    assert done.stderr.count("\n") == 1
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return bare_home(tmp_path / "home")


def test_a_mistake_is_one_line_and_exit_2_in_a_shell_too(home: Path) -> None:
    done = swarm(home, "status", "nosuch")
    assert done.returncode == 2
    assert done.stderr.startswith("swarm: no session 'nosuch'")
    assert done.stderr.count("\n") == 1


def test_an_unknown_task_names_those_there_are_and_makes_no_home(tmp_path: Path) -> None:
    line = refused(tmp_path / "home", "start", "tinytxt")
    assert "no task 'tinytxt'" in line
    assert "tinytext" in line
    assert not (tmp_path / "home").exists()


def test_no_task_and_nothing_to_resume_asks_which(tmp_path: Path) -> None:
    assert "which task?" in refused(tmp_path / "home", "start")


def test_a_task_without_its_editable_file(home: Path, tmp_path: Path) -> None:
    task = task_folder(tmp_path / "task")
    (task / "train.py").unlink()
    assert "no editable file train.py" in refused(home, "start", str(task))


def test_a_train_py_that_does_not_compile_is_named_with_its_line(home: Path, tmp_path: Path) -> None:
    task = task_folder(tmp_path / "task")
    (task / "train.py").write_text("X = 1.0\nif X:\n")
    line = refused(home, "start", str(task))
    assert "does not compile" in line
    assert "line 2" in line
    assert "does not compile" in refused(home, "task", "check", str(task))


def test_an_unknown_key_of_swarm_toml_is_named(home: Path, tmp_path: Path) -> None:
    config = tmp_path / "swarm.toml"
    config.write_text("[limits]\nhuors = 1\n")
    line = refused(home, "start", str(task_folder(tmp_path / "task")), "--config", str(config))
    assert "unknown key 'limits.huors'" in line
    assert "docs/configuration.md" in line


def test_a_tier_without_slots_is_named(home: Path, tmp_path: Path) -> None:
    config = tmp_path / "swarm.toml"
    config.write_text('[tiers.screen]\n[tiers.validate]\naccelerators = ["H200"]\n')
    line = refused(home, "start", str(task_folder(tmp_path / "task")), "--config", str(config))
    assert "tier 'validate' names accelerator H200" in line


def test_a_config_that_is_not_there(home: Path, tmp_path: Path) -> None:
    line = refused(home, "start", str(task_folder(tmp_path / "task")), "--config", str(tmp_path / "no.toml"))
    assert "cannot read" in line


def test_a_limit_that_makes_no_sense(home: Path, tmp_path: Path) -> None:
    assert "--hours is -1" in refused(home, "start", str(task_folder(tmp_path / "task")), "--hours", "-1")


@pytest.mark.parametrize("command", ["status", "best", "experiments", "watch", "stop", "pause", "resume"])
def test_an_unknown_session_names_those_there_are(home: Path, command: str) -> None:
    line = refused(home, command, "nosuch")
    assert "no session 'nosuch'" in line
    assert SESSION in line


def test_an_unknown_experiment(home: Path) -> None:
    assert "no experiment 'e999'" in refused(home, "experiment", "e999")
    assert f"no experiment '{SESSION}-e999'" in refused(home, "experiment", f"{SESSION}-e999")
    assert "no session 'other'" in refused(home, "experiment", "other-e001")


def test_no_home_yet_says_how_to_begin(tmp_path: Path) -> None:
    for command in (["status"], ["leases"], ["notebook", "list"]):
        assert "begin with `swarm start`" in refused(tmp_path / "none", *command)
    assert not (tmp_path / "none").exists()


def test_a_home_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    home = bare_home(tmp_path / "home", version="99")
    for command in (["status"], ["start", "tinytext"], ["papers", "list"]):
        assert "newer nightswarm" in refused(home, *command)
    assert (home / "version").read_text() == "99\n"


def test_a_home_that_another_process_owns(home: Path) -> None:
    with Home(home, create=False).owned():
        line = refused(home, "start", "tinytext")
    assert f"in use by process {os.getpid()}" in line


def test_an_unknown_entry_and_an_empty_notebook(home: Path) -> None:
    assert "notebook" in refused(home, "notebook", "show", "x")


def test_an_unknown_paper_and_a_path_that_is_not_there(home: Path) -> None:
    assert "no file or folder" in refused(home, "papers", "add", "/no/such/file.pdf")
    assert "no-such-paper" in refused(home, "papers", "show", "no-such-paper")


def test_wrong_usage_is_exit_2_with_a_hint() -> None:
    for arguments in (["nosuch"], ["status", "--nosuch"], ["start", "--hours", "many"]):
        done = swarm(Path("none"), *arguments)
        assert done.returncode == 2
        assert "--help" in done.stderr
        assert "Traceback" not in done.stderr
