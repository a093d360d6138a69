"""A disk that fills up under a session: one line, exit 2, and with more room it goes on where it was."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.scenarios.test_kill import TASK, TRAIN

SWARM = Path(sys.executable).with_name("swarm")
SCRIPT = """\
set -e
mount -t tmpfs -o size={size} none {home}
set +e
{swarm} --home {home} start {task} --experiments 6 --plain >{out}/full.txt 2>{out}/full.err
echo $? >{out}/full.rc
set -e
mount -o remount,size=1g {home}
{swarm} --home {home} start {task} --experiments 6 --plain >{out}/after.txt
{swarm} --home {home} status --json >{out}/after.json
{swarm} --home {home} notebook check
"""


def can_mount() -> bool:
    command = ["unshare", "--user", "--map-root-user", "--mount", "mount", "-t", "tmpfs", "none", "/mnt"]
    return (
        shutil.which("unshare") is not None
        and subprocess.run(command, check=False, capture_output=True).returncode == 0
    )


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="no user namespaces here, so no small disk can be made")
@pytest.mark.parametrize("megabytes", [1, 7])
def test_a_full_disk_is_told_in_one_line_and_loses_nothing(tmp_path: Path, megabytes: int) -> None:
    task, home, out = tmp_path / "bowl", tmp_path / "home", tmp_path / "out"
    for folder in (task, home, out):
        folder.mkdir()
    (task / "train.py").write_text(TRAIN)
    (task / "task.toml").write_text(TASK)
    script = SCRIPT.format(size=f"{megabytes}m", home=home, swarm=SWARM, task=task, out=out)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "NO_COLOR": "1"},
    )
    told = (out / "full.err").read_text()
    assert (out / "full.rc").read_text().strip() == "2", told
    *warnings, last = told.splitlines()
    assert last.startswith("swarm: the disk is full")
    assert all(line.startswith("the notebook's indexing stopped") for line in warnings), told
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "after.json").read_text())["counts"]["running"] == 0
