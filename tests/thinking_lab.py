"""Specialists that think, on a scripted endpoint: real sockets, a real notebook, a ledger of what was spent."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from notebook_store.local import LocalNotebook
from notebook_store.log import Log
from notebook_store.notebook import Notebook
from papers.library import Library
from swarm.agents.chat import Endpoint as Where
from swarm.agents.chat import OpenAIChat
from swarm.agents.kept import KeptReplies
from swarm.agents.mind import Books, Cap, Manner, Mind
from swarm.ports import Brief, Observation
from swarm.research.experiment import Json
from swarm.research.knobs import derive_ranges, read_knobs
from swarm.research.parts import parts
from swarm.research.state import Spending
from tests.fakes import FakeClock
from tests.fakes.endpoint import Endpoint
from trainer.contract import Task, load_task

KEY = "sk-scripted-0123456789"
TRAIN = '''\
"""A bowl."""

X = 1.0
RATE = 0.1


def loss(x: float) -> float:
    return (x - 3.0) ** 2


def step(x: float) -> float:
    return x - RATE * 2 * (x - 3.0)


print("loss:", loss(step(X)))
'''


@dataclass
class Ledgered:
    """What was put on record, by key; the same twice is one."""

    events: dict[str, Json] = field(default_factory=dict)

    async def record(self, key: str, data: Json) -> bool:
        self.events.setdefault(key, data)
        return True

    def spent(self, author: str | None) -> Spending:
        mine = [e for e in self.events.values() if author in (None, e["author"])]
        tokens = sum(e["prompt_tokens"] + e["completion_tokens"] for e in mine)
        return Spending(calls=len(mine), tokens=tokens, dollars=sum(e["dollars"] for e in mine))


@dataclass(kw_only=True)
class Lab:
    """One session's specialists, without the session."""

    task: Task
    notebook: Notebook
    kept: KeptReplies
    clock: FakeClock
    ledger: Ledgered = field(default_factory=Ledgered)
    heard: Callable[[str, str], None] = lambda author, text: None

    def mind(self, server: Endpoint, author: str, *, cap: Cap | None = None, session_cap: Cap | None = None) -> Mind:
        """A mind of the scripted model; a dollar a thousand tokens each way makes dollars easy to check."""
        where = Where(model="scripted", base_url=server.url, key=KEY, timeout_seconds=60.0)
        chat = OpenAIChat(where, clock=self.clock, gate=asyncio.Semaphore(2))
        manner = Manner(author=author, input_price=1000.0, output_price=1000.0, cap=cap or Cap())
        books = Books(
            record=self.ledger.record, spent=self.ledger.spent, hear=self.heard, cap=session_cap or Cap(tokens=10**9)
        )
        return Mind(manner, chat, self.kept, books, self.clock)

    def brief(self, *, wanted: int = 4, wave: str | None = None, observations: tuple[Observation, ...] = ()) -> Brief:
        knobs = read_knobs(TRAIN)
        return Brief(
            session="s",
            task=self.task,
            parent="base",
            source=TRAIN,
            knobs=knobs,
            ranges=derive_ranges(knobs, {}),
            observations=observations,
            parts=dict.fromkeys(parts(TRAIN), 0),
            noise=0.01,
            wanted=wanted,
            wave=wave,
            seed=1,
        )


@contextmanager
def thinking_lab(root: Path) -> Iterator[Lab]:
    """A lab in a folder; open it again after a death."""
    folder = root / "bowl"
    if not folder.exists():
        folder.mkdir(parents=True)
        (folder / "train.py").write_text(TRAIN)
        (folder / "task.toml").write_text(
            'editable = "train.py"\nmetric = "loss"\n[budgets]\nscreen = { wall = 5 }\nvalidate = { wall = 5 }\n'
        )
    kept = KeptReplies(root / "thoughts.db")
    with LocalNotebook(Log.open(root / "notebook", create=True), None, None) as notebook:
        yield Lab(task=load_task(folder), notebook=notebook, kept=kept, clock=FakeClock())
    kept.close()


def library(root: Path, papers: list[dict[str, str]]) -> Library:
    """A library of abstracts, searched by words."""
    import json

    root.mkdir(exist_ok=True)
    (root / "papers.jsonl").write_text("\n".join(json.dumps(paper) for paper in papers), encoding="utf-8")
    found = Library.open(root / "library", embedder=None)
    found.add([root / "papers.jsonl"], embed=False)
    return found
