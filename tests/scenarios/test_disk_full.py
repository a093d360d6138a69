"""A disk that fills up under a session: it waits for room while it can, else one line, exit 2, and nothing is lost."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.bowl import bowl

SWARM = Path(sys.executable).with_name("swarm")
SCRIPT = """\
set -e
mount -t tmpfs -o size={size} none {home}
set +e
{swarm} --home {home} start {task} --config {out}/swarm.toml --experiments 6 --plain >{out}/full.txt 2>{out}/full.err
echo $? >{out}/full.rc
set -e
mount -o remount,size=1g {home}
{swarm} --home {home} start {task} --experiments 6 --plain >{out}/after.txt
{swarm} --home {home} status --json >{out}/after.json
{swarm} --home {home} notebook check
"""


LOW = """\
set -e
mount -t tmpfs -o size=96m none {home}
{swarm} --home {home} start {task} --config {out}/swarm.toml --experiments 6 --plain --no-web >{out}/low.txt &
until grep -q "screen seed" {out}/low.txt; do sleep 0.2; done
head -c $(( $(df --output=avail -B1 {home} | tail -1) - 30000000 )) /dev/zero >{home}/filler
until grep -q "paused" {out}/low.txt; do sleep 0.2; done
{swarm} --home {home} status --json >{out}/low.json
rm {home}/filler
wait $!
{swarm} --home {home} status --json >{out}/after.json
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
    bowl(task)
    for folder in (home, out):
        folder.mkdir()
    (out / "swarm.toml").write_text("[disk]\nreserve_mb = 0\n")
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


@pytest.mark.slow
@pytest.mark.skipif(not can_mount(), reason="no user namespaces here, so no small disk can be made")
def test_a_disk_that_runs_short_is_waited_for_before_anything_is_lost(tmp_path: Path) -> None:
    task, home, out = tmp_path / "bowl", tmp_path / "home", tmp_path / "out"
    bowl(task)
    for folder in (home, out):
        folder.mkdir()
    (out / "swarm.toml").write_text("[disk]\nreserve_mb = 40\n")
    script = LOW.format(home=home, swarm=SWARM, task=task, out=out)
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "bash", "-c", script],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        env={**os.environ, "NO_COLOR": "1"},
    )
    told = (out / "low.txt").read_text()
    assert done.returncode == 0, done.stderr + told
    short = json.loads((out / "low.json").read_text())
    assert short["state"] == "paused"
    assert short["reason"].startswith(f"less than 40 MB are free on the disk of {home}")
    assert f"paused: {short['reason']}" in told
    after = json.loads((out / "after.json").read_text())
    assert (after["state"], after["reason"]) == ("ended", "all 6 experiments are done")
