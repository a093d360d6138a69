"""kill -9 before any node of any role's graph: the run is done again, and nothing is asked, paid or written twice."""

import asyncio
import os
import signal
import subprocess
import sys
import traceback
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from swarm.agents.analyst_llm import ModelAnalyst
from swarm.agents.kernel import JupyterKernel
from swarm.agents.llm import ModelProposer
from swarm.agents.reader_llm import ModelReader, Topic
from swarm.agents.reviewer import ReviewContext
from swarm.agents.reviewer_llm import ModelReviewer
from swarm.agents.roles import ROLES
from swarm.agents.tools import searching
from swarm.ports import WaveReport
from swarm.research.experiment import Proposal, ReviewVerdict
from tests.fakes.endpoint import Endpoint, Reply, Request, endpoint, prompt_of, says
from tests.thinking_lab import TRAIN, Lab, library, thinking_lab

PAPER = {
    "id": "2001.00001",
    "title": "On rates",
    "abstract": "A higher learning rate is better when batches are small.",
}
EDIT = {"search": "** 2", "replace": "** 4"}


def brain(request: Request) -> Reply:
    """Every role uses a tool where it has one, answers badly once, then well: four questions at most."""
    system, turns = request["messages"][0]["content"], request["messages"][2:]
    used = any(turn["role"] == "tool" for turn in turns)
    scolded = any(turn["role"] == "user" for turn in turns)
    tools = [tool["function"]["name"] for tool in request.get("tools", [])]
    if tools and not used:
        return Reply(calls=[(tools[0], {"source": "print(6 * 7)"} if tools[0] == "run_cell" else {"query": "rate"})])
    if not scolded:
        return Reply(text="let me think")
    if system.startswith("You think of changes"):
        idea = {"hypothesis": "h", "settings": [], "edits": [EDIT], "expected_gain": None, "why_new": "", "cites": []}
        return says({"wave": None, "experiments": [idea]})
    if system.startswith("You stop proposals"):
        told = {"plausible": "yes", "redundant_with": None, "confounded": False, "reasons": ["sound"]}
        return says({"verdict": "APPROVED", **told})
    if system.startswith("You find what"):
        quote = "A higher learning rate is better when batches are small."
        claim = {"passage": 1, "quote": quote, "factor": "RATE", "scope": "small batches", "suggestion": "raise it"}
        return says({"claims": [claim], "answers": [], "directions": ["step()"]})
    assert system.startswith("You find out")
    assert "42" in prompt_of(request)
    return says({"title": "it is 42", "body": "computed", "factors": ["X"], "questions": ["Why is it 42?"]})


async def propose(lab: Lab, server: Endpoint, root: Path) -> None:
    skills = searching(lab.notebook, library(root / "papers", [PAPER]))
    thinker = ModelProposer(lab.mind(server, "proposer-llm"), lab.notebook, skills, session="s")
    assert len(await thinker.propose(lab.brief())) == 1


async def review(lab: Lab, server: Endpoint, root: Path) -> None:
    reviewer = ModelReviewer(lab.mind(server, "reviewer-llm"), lab.notebook, session="s", task=lab.task, seed=0)
    proposal = Proposal(author="p", hypothesis="h", parent="base", source=TRAIN.replace("** 2", "** 4"))
    said = await reviewer.judge("s-e001", proposal, ReviewContext(parent_source=TRAIN, ranges={}))
    assert said.verdict is ReviewVerdict.APPROVED


async def read(lab: Lab, server: Endpoint, root: Path) -> None:
    mind = lab.mind(server, "reader-llm")
    papers = library(root / "papers", [PAPER])
    reader = ModelReader(mind, lab.notebook, papers, session="s", task=lab.task, clock=lab.clock)
    await reader.read(Topic(occasion="start", factors=["LEARNING_RATE"], stuck="at the start", parts={"step": 0}))


async def analyse(lab: Lab, server: Endpoint, root: Path) -> None:
    kernel = JupyterKernel(root / "kernel")
    analyst = ModelAnalyst(lab.mind(server, "analyst-llm"), lab.notebook, kernel, clock=lab.clock)
    report = WaveReport(
        session="s", task=lab.task, wave="wave 1", design="search", baseline={"X": 1.0}, observations=(), noise=0.01
    )
    try:
        await analyst.look(report)
    finally:
        await kernel.close()


RUNS: dict[str, Callable[[Lab, Endpoint, Path], Awaitable[None]]] = {
    "proposer": propose,
    "reviewer": review,
    "reader": read,
    "analyst": analyse,
}
WRITTEN = {"proposer": 0, "reviewer": 0, "reader": 2, "analyst": 2}  # entries of one run


def run_and_die(role: str, root: Path, url: str, node: int) -> None:
    """Run the role, and die before its ``node``-th node begins."""
    begun = 0

    def heard(_: str, text: str) -> None:
        nonlocal begun
        if text.startswith("\f") and text != "\f":  # a node begins; the bare mark ends the run
            if begun == node:
                os.kill(os.getpid(), signal.SIGKILL)
            begun += 1

    class Far:
        """The endpoint of the process that started this one."""

        def __init__(self) -> None:
            self.url = url

    with thinking_lab(root) as lab:
        lab.heard = heard
        asyncio.run(RUNS[role](lab, Far(), root))  # type: ignore[arg-type] # only its url is used
        print(f"nodes {begun}, {lab.notebook.count()} entries, charged {sorted(lab.ledger.events)}", flush=True)


def die_everywhere(role: str, root: Path, url: str) -> None:
    """Run it again and again, killed one node later each time, until it comes through; on stdout how it ended."""
    import langgraph.graph  # noqa: F401 - imported once, before the forks
    import openai  # noqa: F401

    for node in range(50):
        child = os.fork()
        if child == 0:
            try:
                run_and_die(role, root, url, node)
            except BaseException:  # noqa: BLE001 - a forked child must never return into the test
                traceback.print_exc()
                os._exit(3)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        if not os.WIFSIGNALED(status):
            print(f"killed {node} times, then exit {os.waitstatus_to_exitcode(status)}", flush=True)
            return


@pytest.mark.parametrize("role", RUNS)
def test_killed_before_every_node_nothing_is_asked_or_written_twice(role: str, tmp_path: Path) -> None:
    source = (
        f"from tests.unit.test_killed_thoughts import *\ndie_everywhere({role!r}, Path({str(tmp_path)!r}), {{url!r}})"
    )
    with endpoint(brain) as server:
        command = [sys.executable, "-c", source.format(url=server.url)]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    uses_tools = bool(ROLES[role].tools)
    questions, nodes = (3, 8) if uses_tools else (2, 6)
    assert f"killed {nodes} times, then exit 0" in done.stdout, done.stdout + done.stderr
    assert len(server.requests) == questions
    assert f"nodes {nodes}, {WRITTEN[role]} entries" in done.stdout
    assert done.stdout.count("/") == questions  # each answer charged once, under its own key
