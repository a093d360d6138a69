"""A session that thinks, killed with -9 in the middle of thoughts and of trials: no answer is paid for twice."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from notebook_store.local import LocalNotebook
from notebook_store.log import Log
from swarm.home import Home
from swarm.research.ledger import Event, Kind, Ledger
from swarm.view import View
from tests.fakes.endpoint import Reply, Request, endpoint, prompt_of, tokens

TRAIN = """\
import os
import random
import time

LEARNING_RATE = 1.0
BATCH_SIZE = 1.0


def loss(rate: float, batch: float) -> float:
    return 1 + 0.1 * (rate - 3) ** 2 + 0.1 * (batch - 2) ** 2


print("begun", flush=True)
time.sleep(0.4)
noise = random.Random(os.environ["NIGHTSWARM_SEED"]).gauss(0, 0.01)
print(f"loss: {loss(LEARNING_RATE, BATCH_SIZE) + noise:.6f}")
"""
TASK = """\
editable = "train.py"
metric = "loss"

[budgets]
screen = { wall = 5 }
validate = { wall = 5 }

[ranges]
LEARNING_RATE = { low = 0.0, high = 5.0 }
BATCH_SIZE = { low = 0.0, high = 5.0 }
"""
CONFIG = """\
[waves]
size = 4
[promotion]
replicates = 2
min_pairs = 2
[[slots]]
accelerator = "cpu"
count = 2
"""
SESSION = "bowl-1"
DEATHS = 3


class Model:
    """Answers every role; each answer bears a number of its own. Three answers are the death of whoever asked."""

    def __init__(self, kept: Path) -> None:
        self.kept = kept  # the session's thoughts.db
        self.pid = 0  # of the session
        self.life = 1
        self.cost: dict[str, int] = {}  # number of an answer -> its tokens
        self.proposed: set[str] = set()  # answers that were proposals
        self.sent: set[str] = set()  # answers that were sent whole
        self.under_way: set[str] = set()  # answers not sent whole at a death
        self._lock = threading.Lock()

    def __call__(self, request: Request) -> Reply:
        with self._lock:
            number = f"answer-{len(self.cost) + 1}."
            role, told = self._told(request, number)
            asked = prompt_of(request)
            used = any(message["role"] == "tool" for message in request["messages"])
            wants_tools = role in ("proposer", "analyst") and not used
            calls = self._calls(role, number) if wants_tools else ()
            text = "" if calls else json.dumps(told)
            said = text + "".join(json.dumps(arguments) for _, arguments in calls)
            self.cost[number] = tokens(asked) + tokens(said)
            deadly = (self.life, role, bool(calls))
        after: Callable[[], None] = lambda: self._sent(number)  # noqa: E731 - one of two
        if deadly == (1, "proposer", False):
            return Reply(text=text, midway=self._kill)
        if deadly in ((2, "reviewer", False), (3, "proposer", True)):
            after = lambda: self._kill_once_kept(number)  # noqa: E731 - the other
        return Reply(text=text, calls=calls, after=after)

    # ---- what it says ---------------------------------------------------------------------------------------

    def _calls(self, role: str, number: str) -> list[tuple[str, Any]]:
        if role == "analyst":
            return [("run_cell", {"source": f"print('{number}')"})]
        return [("search_notebook", {"query": f"rate {number}"})]

    def _told(self, request: Request, number: str) -> tuple[str, Any]:
        system, asked = request["messages"][0]["content"], prompt_of(request)
        if system.startswith("You think of changes"):
            known = {"settings": [], "expected_gain": 0.1, "why_new": "", "cites": []}
            ideas = [
                known
                | {"hypothesis": f"idea {n} of {number}"}
                | {"edits": [{"search": "def loss(", "replace": f"BIAS = {n}  # {number}\n\n\ndef loss("}]}
                for n in (1, 2)
            ]
            self.proposed |= {number} if any(m["role"] == "tool" for m in request["messages"]) else set()
            return "proposer", {"wave": "is it the bias?", "experiments": ideas}
        if system.startswith("You stop proposals"):
            known = {"plausible": number, "redundant_with": None, "confounded": False, "reasons": ["sound"]}
            return "reviewer", {"verdict": "APPROVED", **known}
        if system.startswith("You find what"):
            claims = [
                {"passage": int(n), "quote": " ".join(text.split()[:8]), "factor": "LEARNING_RATE", "scope": number}
                | {"suggestion": "try it"}
                for n, text in re.findall(r"<<<passage (\d+): [^\n]*\n([^\n]+)", asked)[:2]
            ]
            answers = [
                {"question": name, "answer": number, "cites": []} for name in re.findall(r"<<<question (\S+)", asked)
            ]
            return "reader", {"claims": claims, "answers": answers, "directions": [number]}
        finding = {"title": f"finding of {number}", "body": "seen", "factors": [], "questions": [f"Why {number}?"]}
        return "analyst", finding

    # ---- how it kills ---------------------------------------------------------------------------------------

    def _sent(self, number: str) -> None:
        with self._lock:
            self.sent.add(number)

    def _kill(self) -> None:
        """End the session's process as soon as all that was sent to it whole is kept."""
        with self._lock:
            self.life += 1
            while not self.sent <= numbers_kept(self.kept):
                time.sleep(0.005)  # another process is watched: there is no event to await
            os.kill(self.pid, signal.SIGKILL)
            self.under_way |= self.cost.keys() - self.sent

    def _kill_once_kept(self, number: str) -> None:
        self._sent(number)
        self._kill()


def numbers_kept(path: Path) -> set[str]:
    if not path.exists():
        return set()
    with closing(sqlite3.connect(path)) as db:
        return {found for (answer,) in db.execute("SELECT answer FROM replies") for found in named(answer)}


def named(text: str) -> set[str]:
    return set(re.findall(r"answer-\d+\.", text))


def start(home: Path, task: Path, url: str, model: Model, *, dies: bool) -> None:
    """One life."""
    config = task.with_name("swarm.toml")
    config.write_text(CONFIG)
    arguments = ["--home", str(home), "start", str(task), "--experiments", "6", "--config", str(config)]
    process = subprocess.Popen(
        [str(Path(sys.executable).with_name("swarm")), *arguments, "--proposer", "llm", "--plain", "--no-web"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        env={**os.environ, "OPENAI_BASE_URL": url},
    )
    model.pid = process.pid
    told, _ = process.communicate(timeout=120)
    assert process.returncode == (-signal.SIGKILL if dies else 0), told
    assert ("run ended: all 6 experiments are done" in told) is not dies


def events_of(home: Path) -> list[Event]:
    with closing(Ledger(home / "ledger.db")) as ledger:
        return list(ledger.events(SESSION))


@pytest.mark.slow
def test_killed_in_the_middle_of_thoughts_nothing_is_paid_for_twice(tmp_path: Path) -> None:
    home, task = tmp_path / "home", tmp_path / "bowl"
    task.mkdir()
    (task / "train.py").write_text(TRAIN)
    (task / "task.toml").write_text(TASK)
    thoughts = home / "sessions" / SESSION / "thoughts.db"
    model, lost, running = Model(thoughts), set[str](), 0
    before = set[str]()  # answers kept when the last life began
    with endpoint(model) as server:
        for life in range(1, DEATHS + 1):
            start(home, task, server.url, model, dies=True)
            assert model.life == life + 1
            lost |= model.cost.keys() - numbers_kept(thoughts)
            assert lost <= model.under_way
            running += sum((e.kind is Kind.TRIAL_STARTED) - (e.kind is Kind.TRIAL_ENDED) for e in events_of(home))
        before = numbers_kept(thoughts)
        start(home, task, server.url, model, dies=False)
    assert lost  # the first death came in the middle of an answer
    assert running > 0  # and trials ran meanwhile

    assert numbers_kept(thoughts) == model.cost.keys() - lost  # no answer was given to a question that had one
    events = events_of(home)
    with closing(sqlite3.connect(thoughts)) as db:
        kept = [f"{run}/{number}" for run, number in db.execute("SELECT run, number FROM replies")]
    charged = {event.key: event.data for event in events if event.kind is Kind.MODEL_ASKED}
    assert charged.keys() == set(kept)
    assert sum(model.cost.values()) == sum(server.billed)
    with View(Home(home, create=False)) as view:
        status = view.refresh().status()
    assert status["tokens"] == sum(cost for number, cost in model.cost.items() if number not in lost)
    assert {author: one["calls"] for author, one in status["models"].items()} == Counter(
        data["author"] for data in charged.values()
    )

    ran = {event.key: event.data for event in events if event.kind is Kind.TRIAL_ENDED}
    assert sorted(ran) == sorted(event.key for event in events if event.kind is Kind.TRIAL_STARTED)
    for name in ran:
        assert (thoughts.parent / "trials" / name / "log.txt").read_text().count("begun") == 1

    ideas = Counter(event.data["hypothesis"] for event in events if event.kind is Kind.PROPOSED)
    assert set(ideas.values()) == {1}
    assert {f"idea {n} of {number}" for n in (1, 2) for number in model.proposed & before} <= ideas.keys()
    with LocalNotebook(Log.open(home / "notebook", create=False), None, None) as notebook:
        entries = notebook.entries()
    assert set(Counter((entry.kind, entry.author, entry.title, entry.body) for entry in entries).values()) == {1}
    reviews = [entry.experiment for entry in entries if entry.author == "reviewer-llm"]
    assert sorted(reviews) == sorted({event.experiment for event in events if event.kind is Kind.REVIEWED})
    assert {entry.author for entry in entries} > {"proposer-llm", "reviewer-llm", "reader-llm"}
