"""docs/extending.md adds a role with one prompt and one row: done as it is written there, in a copy of the tree."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from tests.fakes.endpoint import Reply, Request, endpoint, prompt_of, says

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
USE = """
import asyncio, json, sys
from pathlib import Path
from notebook_store.entry import Entry, Kind
from swarm.agents.pages import PageWriter
from swarm.agents.roles import ROLES
from swarm.agents.tools import searching
from swarm.assemble.minds import wanted_agents
from swarm.config import Settings
from tests.thinking_lab import library, thinking_lab

class Far:
    url = sys.argv[2]

root = Path(sys.argv[1])
assert "skeptic" in [agent.role for agent in wanted_agents(Settings(), {"OPENAI_API_KEY": "k"})]
with thinking_lab(root) as lab:
    entry = Entry(id="i1", kind=Kind.INSIGHT, title="RATE matters", body="RATE +0.3", author="analyst", session="s",
                  task="bowl", created_at=0.0)
    lab.notebook.append(entry)
    role = ROLES["skeptic"]
    skills = searching(lab.notebook, library(root / "papers", []))
    writer = PageWriter(role, lab.mind(Far(), "skeptic-llm"), lab.notebook, skills, task=lab.task, clock=lab.clock)
    written = asyncio.run(writer.think("s", "wave-1"))
    pages = [lab.notebook.get(name) for name in written]
    print(json.dumps([[page.kind, page.author, page.title, [link.target for link in page.links]] for page in pages]))
"""


def answer(request: Request) -> Reply:
    """First a page it may not write, then one it may."""
    scolded = any("you may write only: note" in str(message["content"]) for message in request["messages"])
    kind = "note" if scolded else "decision"
    page = {"kind": kind, "title": "it may be the warm-up", "body": "Run RATE without it.", "cites": ["i1"]}
    return says({"pages": [page]})


def test_a_role_is_one_prompt_and_one_row(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    for package in ("swarm", "notebook_store", "papers", "trainer", "prompts", "tests"):
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", "starter"))
    prompt = re.search(r"`(prompts/\w+\.md)`:\n\n```markdown\n(.*?)```", DOCS, flags=re.DOTALL)
    row = re.search(r"```python\n(.*?)```", DOCS, flags=re.DOTALL)
    assert prompt and row
    (tree / prompt.group(1)).write_text(prompt.group(2), encoding="utf-8")
    roles = tree / "swarm" / "agents" / "roles.py"
    text = roles.read_text(encoding="utf-8")
    roles.write_text(text.replace("ROLES = {", f"{row.group(1)}ROLES = {{", 1), encoding="utf-8")

    with endpoint(answer) as server:
        command = [sys.executable, "-c", USE, str(tmp_path / "home"), server.url]
        done = subprocess.run(
            command, cwd=tree, capture_output=True, text=True, check=False, timeout=120, env={"PYTHONPATH": str(tree)}
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == [["note", "skeptic-llm", "it may be the warm-up", ["i1"]]]
    asked = prompt_of(server.requests[0])
    assert "RATE matters" in asked
    assert "wave-1 of task bowl" in asked
    assert len(server.requests) == 2
