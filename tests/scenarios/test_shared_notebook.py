"""Two swarms and one notebook: a real session works in what another home owns, and leaves all there that it found."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import nbformat
import pytest
from typer.testing import CliRunner

from swarm.cli import app

TRAIN = """\
import os, random

X = 1.0
Y = 1.0

noise = random.Random(os.environ["NIGHTSWARM_SEED"]).gauss(0, 0.01)
print(f"loss: {1 + 0.1 * (X - 3) ** 2 + 0.1 * (Y - 2) ** 2 + noise:.6f}")
"""
TASK = """\
editable = "train.py"
metric = "loss"
budget = { wall = 5 }

[ranges]
X = { low = 0.0, high = 5.0 }
Y = { low = 0.0, high = 5.0 }
"""
SWARM = str(Path(sys.executable).with_name("swarm"))


def swarm(home: Path, *arguments: str, env: Mapping[str, str] | None = None) -> str:
    done = CliRunner().invoke(app, ["--home", str(home), *arguments], env=env)
    assert done.exit_code == 0, done.output
    return done.stdout


@pytest.fixture
def owner(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A home whose notebook a process owns and serves: the home and the address."""
    home = tmp_path / "owner"
    command = [SWARM, "--home", str(home), "notebook", "serve", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        yield home, server.stdout.readline().split()[4].rstrip(";")
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0


@pytest.mark.slow
def test_a_session_works_in_another_swarms_notebook_and_its_export_runs_again(
    owner: tuple[Path, str], tmp_path: Path
) -> None:
    from nbclient import NotebookClient

    theirs, url = owner
    ours, task, config = tmp_path / "ours", tmp_path / "bowl", tmp_path / "swarm.toml"
    task.mkdir()
    (task / "train.py").write_text(TRAIN)
    (task / "task.toml").write_text(TASK)
    config.write_text(f'[notebook]\nurl = "{url}"\n')
    token = {"SWARM_NOTEBOOK_TOKEN": (theirs / "notebook" / "token").read_text()}
    work = ["start", str(task), "--experiments", "9", "--config", str(config), "--plain", "--no-web"]
    environment = {**os.environ, **token}
    command = [SWARM, "--home", str(ours), *work]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=240, env=environment)
    assert "all 9 experiments are done" in done.stdout, done.stdout + done.stderr

    # All of it is in the owner's notebook, and none in a notebook of the session's own home.
    assert not (ours / "notebook").exists()
    listed = json.loads(swarm(theirs, "notebook", "list", "--session", "bowl-1", "-n", "999", "--json"))
    assert {"hypothesis", "review", "result", "insight"} <= {entry["kind"] for entry in listed}
    rows = json.loads(swarm(ours, "experiments", "--json"))
    experiments = {row["id"] for row in rows if row["status"] != "ABLATION"}
    assert experiments == {entry["experiment"] for entry in listed if entry["kind"] == "result"}
    found = json.loads(swarm(ours, "notebook", "search", "X", "--kind", "insight", "--url", url, "--json", env=token))
    assert found[0]["session"] == "bowl-1"
    assert json.loads(swarm(theirs, "notebook", "check", "--json"))["clean"]

    # What the owner exports of it runs again elsewhere, and gives the same.
    file = tmp_path / "elsewhere" / "bowl-1.ipynb"
    file.parent.mkdir()
    swarm(theirs, "notebook", "export", str(file), "--session", "bowl-1")
    book = nbformat.read(file, as_version=4)
    before = printed(book)
    assert any('"effects"' in text for text in before)
    NotebookClient(book, timeout=120, resources={"metadata": {"path": str(file.parent)}}).execute()
    assert printed(book) == before


def printed(book: nbformat.NotebookNode) -> list[str]:
    """What each code cell says in text."""
    cells = [cell for cell in book.cells if cell.cell_type == "code"]
    return ["".join(output.get("text", "") for output in cell.outputs) for cell in cells]
