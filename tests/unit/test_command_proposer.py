"""Any coding agent as a proposer: what it is told, what it may touch, and what becomes of what it leaves."""

import hashlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from swarm.agents.command import BRIEFING, Agent, CommandProposer, shut_in
from swarm.errors import ModelUnavailable, SwarmError
from tests.thinking_lab import TRAIN, Lab, thinking_lab

pytestmark = pytest.mark.skipif(shutil.which("bwrap") is None, reason="bubblewrap is not installed")

GOOD = """
import os, pathlib, socket, sys
briefing = pathlib.Path(sys.argv[1]).read_text()
assert "RATE = 0.1" in briefing and "loss: NEVER changed" in briefing, briefing
train = pathlib.Path("train.py")
train.write_text(train.read_text().replace("(x - 3.0) ** 2", "abs(x - 3.0)"))
seen = sorted(name for name in os.environ if name not in ("LC_CTYPE", "PWD"))
net = [name for _, name in socket.if_nameindex()]
outside = pathlib.Path(OUTSIDE)
outside.write_text("x")  # in a /tmp of its own
pathlib.Path("NOTE.md").write_text(f"# abs is gentler\\n\\n{seen} {net}, as [[n1]] says\\n")
"""


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with thinking_lab(tmp_path / "lab") as found:
        yield found


def checkout(_: str, folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "train.py").write_text(TRAIN)
    return folder / "train.py"


def proposer(lab: Lab, root: Path, source: str, *, timeout: float = 60.0) -> CommandProposer:
    program = source.replace("OUTSIDE", repr(str(root / "outside.txt")))
    python = str(Path(sys.executable).resolve())
    agent = Agent(
        author="proposer-coder",
        command=[python, "-c", program, "{briefing}"],
        timeout_seconds=timeout,
        pass_env=["MY_KEY"],
    )
    return CommandProposer(agent, lab.notebook, lab.kept, checkout, root / "worktrees", session="s")


async def test_it_edits_a_worktree_shut_in_and_is_not_run_twice(
    lab: Lab, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    monkeypatch.setenv("MY_KEY", "mine")
    (found,) = await proposer(lab, tmp_path, GOOD).propose(lab.brief())
    assert "return abs(x - 3.0)" in found.source
    assert (found.author, found.hypothesis, found.changes) == ("proposer-coder", "abs is gentler", {})
    assert found.citations == ("n1",)
    note = (tmp_path / "worktrees" / "s-proposer-coder-0" / "NOTE.md").read_text()
    assert "MY_KEY" in note
    assert "OPENAI_API_KEY" not in note
    assert "['lo']" in note
    assert not (tmp_path / "outside.txt").exists()
    again = proposer(lab, tmp_path, "raise SystemExit('run twice')")
    assert await again.propose(lab.brief()) == [found]
    await again.deliver()
    with pytest.raises(ModelUnavailable, match="exit status 1"):
        await again.propose(lab.brief())


async def test_an_agent_installed_anywhere_finds_what_it_came_with(lab: Lab, tmp_path: Path) -> None:
    """As package managers install them: a link in a bin/ to a script that another folder's interpreter runs."""
    package = tmp_path / "tools" / "lib" / "agent"
    package.mkdir(parents=True)
    (package / "words.txt").write_text("abs(x - 3.0)")
    script = package / "cli.py"
    script.write_text(
        f"#!{sys.executable}\nimport pathlib\nwords = pathlib.Path(__file__).resolve().with_name('words.txt')\n"
        "train = pathlib.Path('train.py')\n"
        "train.write_text(train.read_text().replace('(x - 3.0) ** 2', words.read_text()))\n"
    )
    script.chmod(0o755)
    program = tmp_path / "tools" / "bin" / "agent"
    program.parent.mkdir()
    program.symlink_to(script)
    agent = Agent(author="proposer-coder", command=[str(program)], timeout_seconds=60)
    thinker = CommandProposer(agent, lab.notebook, lab.kept, checkout, tmp_path / "worktrees", session="s")
    (found,) = await thinker.propose(lab.brief())
    assert "return abs(x - 3.0)" in found.source


def test_what_is_private_is_not_shown_and_the_network_only_where_it_is_allowed(tmp_path: Path) -> None:
    told = shut_in(["python3"], tmp_path, network=False)
    assert "--share-net" not in told
    assert "--share-net" in shut_in(["python3"], tmp_path, network=True)
    shown = {Path(told[n + 1]) for n, word in enumerate(told) if word == "--ro-bind-try"}
    assert not any(Path.home().is_relative_to(place) for place in shown)


@pytest.mark.parametrize(
    ("program", "fault"),
    [
        ("pass", "changed nothing"),
        ("open('train.py', 'w').write('def (')", "does not compile"),
        ("import os; os.remove('train.py'); os.symlink('/etc/hostname', 'train.py')", "link out of the worktree"),
    ],
)
async def test_what_cannot_be_tried_is_told(lab: Lab, tmp_path: Path, program: str, fault: str) -> None:
    with pytest.raises(SwarmError, match=fault):
        await proposer(lab, tmp_path, program).propose(lab.brief())


async def test_what_was_tried_is_no_proposal(lab: Lab, tmp_path: Path) -> None:
    tried = TRAIN.replace("RATE = 0.1", "RATE = 0.2")
    brief = replace(lab.brief(), files={hashlib.sha256(tried.encode()).hexdigest(): "s-e003"})
    with pytest.raises(SwarmError, match="left the same file as s-e003"):
        await proposer(lab, tmp_path, f"open('train.py', 'w').write({tried!r})").propose(brief)


async def test_it_has_its_time_and_no_more(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(ModelUnavailable, match="took longer than 1 s"):
        await proposer(lab, tmp_path, "import time; time.sleep(60)", timeout=1).propose(lab.brief())
    assert (tmp_path / "worktrees" / "s-proposer-coder-0" / BRIEFING).exists()
