"""A session in which a coding agent of the user's proposes, without any model: from its worktree to a trial's end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from swarm.home import Home
from swarm.view import View
from tests.bowl import bowl

CODER = """
import os, pathlib, sys
briefing = pathlib.Path(sys.argv[1]).read_text()
assert "X = 1.0" in briefing and "keep it small" in briefing, briefing
train = pathlib.Path("train.py")
train.write_text(train.read_text().replace("Y = 1.0", "Y = 2.0\\nBY_HAND = True"))
pathlib.Path("NOTE.md").write_text(f"Y belongs at 2\\n\\n{sorted(os.environ)}")
"""
CONFIG = """
[promotion]
replicates = 2
[[agents]]
role = "proposer"
kind = "command"
name = "coder"
instructions = "keep it small"
command = {command}
"""


@pytest.mark.slow
def test_a_coding_agent_proposes_and_its_edit_is_run(tmp_path: Path) -> None:
    home, task, config = tmp_path / "home", tmp_path / "bowl", tmp_path / "swarm.toml"
    bowl(task)
    config.write_text(CONFIG.format(command=json.dumps([sys.executable, "-c", CODER, "{briefing}"])))
    arguments = ["--home", str(home), "start", str(task), "--experiments", "1", "--config", str(config)]
    done = subprocess.run(
        [str(Path(sys.executable).with_name("swarm")), *arguments, "--proposer", "command", "--plain", "--no-web"],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "MY_SECRET": "s"},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert f"proposer-coder runs {sys.executable}" in done.stdout
    with View(Home(home, create=False)) as view:
        (found,) = [one for one in view.refresh().state.experiments.values() if one.author == "proposer-coder"]
    assert found.hypothesis == "Y belongs at 2"
    assert found.status == "CONFIRMED"  # the bowl is deepest there
    (note,) = home.glob("sessions/bowl-1/worktrees/*-0/NOTE.md")
    assert "PATH" in note.read_text(encoding="utf-8")
    assert "MY_SECRET" not in note.read_text(encoding="utf-8")
