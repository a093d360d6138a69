"""A session without a terminal, as a person who logs out would have it."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from swarm.cli.background import LOG, LOG_BYTES, LOGS_KEPT, log_in

SWARM = Path(sys.executable).with_name("swarm")


def swarm(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [str(SWARM), "--home", str(home), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


@pytest.mark.slow
def test_a_detached_session_works_on_its_own_and_heeds_stop(bowl_task: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    started = swarm(home, "start", str(bowl_task), "--detach", "--log-json")
    assert started.returncode == 0, started.stderr
    assert "goes on in the background as process" in started.stdout
    status = json.loads(swarm(home, "status", "--json").stdout)
    assert status["state"] == "running"
    assert swarm(home, "start", str(bowl_task), "--detach").returncode == 2  # its home is taken, which is told here
    assert swarm(home, "stop", "--now").returncode == 0
    watched = swarm(home, "watch", "--plain")  # until it has ended
    assert "run ended: stopped by `swarm stop --now`" in watched.stdout
    pid = int(started.stdout.split("process ")[1].split(";")[0])
    deadline = time.monotonic() + 60
    while _lives(pid) and time.monotonic() < deadline:
        time.sleep(0.1)  # another process's end: there is no event to await
    log = home / "sessions" / "bowl-1" / "session.log"
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert {"session-opened", "run-started", "trial-started"} <= {line["kind"] for line in lines}
    assert lines[-1]["kind"] == "summary"
    assert lines[-1]["reason"] == "stopped by `swarm stop --now`"
    assert (log.with_name("stderr.log")).read_text() == ""


@pytest.mark.slow
def test_a_log_for_programs_is_json_from_its_first_line_to_its_last(bowl_task: Path, tmp_path: Path) -> None:
    done = swarm(tmp_path / "home", "start", str(bowl_task), "--experiments", "1", "--log-json", "--no-web")
    assert done.returncode == 0, done.stderr
    first, *_, last = [json.loads(line) for line in done.stdout.splitlines()]
    assert (first["kind"], first["text"]) == ("notice", "session bowl-1: task bowl")
    assert last["kind"] == "summary"


def test_the_log_rolls_over_and_the_oldest_lines_go(tmp_path: Path) -> None:
    log = log_in(tmp_path)
    for number in range(80):
        log.write(f"{number} {'x' * 1_000_000}\n")
    sizes = {path.name: path.stat().st_size for path in tmp_path.iterdir()}
    assert set(sizes) == {LOG, *(f"{LOG}.{number}" for number in range(1, LOGS_KEPT + 1))}
    assert max(sizes.values()) <= LOG_BYTES
    assert (tmp_path / LOG).read_text().splitlines()[-1].startswith("79 ")
    assert int((tmp_path / f"{LOG}.{LOGS_KEPT}").read_text().split()[0]) > 10, "the first ones are gone"


def test_a_mistake_is_told_on_the_terminal(tmp_path: Path) -> None:
    done = swarm(tmp_path / "home", "start", "tinytext", "--detach", "--config", str(tmp_path / "none.toml"))
    assert done.returncode == 2
    assert "cannot read" in done.stderr


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text().split(")")[1].split()[0] != "Z" if Path("/proc").exists() else True
