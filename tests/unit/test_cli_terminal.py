"""The commands at a real terminal: long output goes to a pager, colour shows there alone, the shell completes."""

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from tests.small_home import SESSION, finished_home

pytestmark = pytest.mark.slow  # each command is a process
RUN = [sys.executable, "-c", "import sys; sys.argv[0] = 'swarm'; from swarm.cli import main; main()"]


def at_terminal(*words: str, pager: Path, **more: str) -> str:
    """What a command shows on a terminal of 24 lines; ``pager`` is a file that gets what is paged."""
    ours, theirs = pty.openpty()
    script = pager.with_suffix(".sh")
    script.write_text(f"#!/bin/sh\ncat > {shlex.quote(str(pager))}\n", encoding="ascii")
    script.chmod(0o755)
    env = {**os.environ, "PAGER": str(script), "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "24", **more}
    if "NO_COLOR" not in more:
        env.pop("NO_COLOR", None)
    running = subprocess.Popen(
        [*RUN, "--home", str(finished_home()), *words], stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=env
    )
    os.close(theirs)
    shown = b""
    while True:
        try:
            part = os.read(ours, 65536)
        except OSError:  # its end is closed
            break
        shown += part
    assert running.wait() == 0, shown
    os.close(ours)
    return shown.decode()


def piped(*words: str) -> str:
    done = subprocess.run([*RUN, "--home", str(finished_home()), *words], capture_output=True, text=True, check=True)
    return done.stdout


@pytest.mark.parametrize("words", [("experiment", "e001"), ("notebook", "search", "X lowers loss")])
def test_long_output_goes_to_the_pager(tmp_path: Path, words: tuple[str, ...]) -> None:
    pager = tmp_path / "paged"
    assert at_terminal(*words, pager=pager).strip() == ""
    assert "e001" in pager.read_text(encoding="utf-8")


def test_what_fits_and_what_programs_read_is_printed(tmp_path: Path) -> None:
    pager = tmp_path / "paged"
    assert SESSION in at_terminal("status", pager=pager)
    assert "no such entries" in at_terminal("notebook", "list", "--author", "nobody", pager=pager)
    assert '"status"' in at_terminal("experiment", "e001", "--json", pager=pager)
    assert not pager.exists()


def test_colour_is_for_terminals(tmp_path: Path) -> None:
    pager = tmp_path / "paged"
    assert "\x1b[32m+" in at_terminal("best", "--diff", pager=pager)
    assert "\x1b[32m" not in at_terminal("best", "--diff", pager=pager, NO_COLOR="1")
    assert "\x1b" not in piped("best", "--diff")
    assert "\x1b" not in piped("experiment", "e001")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("swarm sta", {"start", "status"}),
        ("swarm notebook s", {"search", "show", "serve"}),
        ("swarm --home {home} status bo", {SESSION}),
        ("swarm --home {home} experiment e00", {f"e00{n}" for n in range(10)}),
        ("swarm --home {home}/none status ", set()),
        ("swarm start --de", {"--detach"}),
    ],
)
def test_the_shell_completes(line: str, offered: set[str]) -> None:
    words = line.format(home=finished_home())
    env = {**os.environ, "_SWARM_COMPLETE": "complete_bash", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    done = subprocess.run(RUN, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == offered


def test_the_script_for_the_shell_is_printed() -> None:
    env = {**os.environ, "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = subprocess.run([*RUN, "--show-completion", "bash"], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "_SWARM_COMPLETE=complete_bash" in done.stdout
