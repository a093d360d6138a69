"""README.md: its commands exist and run, its table leaves none out."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest
from typer.main import get_command
from typer.testing import CliRunner

from swarm.cli import app
from tests.small_home import finished_home, task_folder

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
SHOWN = re.findall(r"^    (\S.*?)(?:\s+#.*)?$", README, flags=re.MULTILINE)  # indented: what a reader types
TABLE = re.findall(r"^\| `swarm ([^`]+)`(.*?)\|", README, flags=re.MULTILINE)  # `swarm status` · `watch` · ...
LONG = {"start", "watch", "browse", "mcp"}  # they run until they are ended, or need minutes


def named() -> set[str]:
    """Every command the table names: `papers add\\|list` names two."""
    found: set[str] = set()
    for first, rest in TABLE:
        for call in (first, *re.findall(r"`([^`]+)`", rest)):
            words = call.removeprefix("swarm ").replace("\\|", "|").split()
            found |= {f"{words[0]} {sub}" for sub in words[1].split("|")} if "|" in call else {words[0]}
    return found


def commands() -> set[str]:
    """Every command there is."""
    found: set[str] = set()
    for name, command in get_command(app).commands.items():  # type: ignore[attr-defined]  # a group, typed as a command
        found |= {f"{name} {sub}" for sub in command.commands} if hasattr(command, "commands") else {name}
    return found


def test_the_table_names_every_command_and_no_other() -> None:
    assert named() == commands()


@pytest.mark.parametrize("line", [line for line in SHOWN if line.startswith("make ")])
def test_a_make_target_is_there(line: str) -> None:
    subprocess.run([*shlex.split(line), "--dry-run"], cwd=ROOT, check=True, capture_output=True)


@pytest.mark.parametrize("line", [line for line in SHOWN if line.startswith("swarm ")])
def test_a_command_runs_as_shown(line: str, tmp_path: Path) -> None:
    task = task_folder(tmp_path / "task")
    words = [str(task) if word == "path/to/task" else word for word in shlex.split(line)[1:]]
    if words[0] in LONG:
        words.append("--help")
    done = CliRunner().invoke(app, words, env={"SWARM_HOME": str(finished_home())})
    assert done.exit_code == 0, done.output


def test_two_commands_are_all_a_newcomer_needs() -> None:
    assert [line.split()[1] for line in SHOWN if line.startswith("make ")][:2] == ["start", "test"]
    assert README.count("\n") < 200
