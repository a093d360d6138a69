"""Real pages for the tests: homes worth looking at, a server on a port of its own, a session that runs in real time."""

import asyncio
import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

from notebook_store.entry import Attachment, Citation, Entry, Kind
from notebook_store.notebook import Notebook
from papers.library import STARTER, Library
from swarm.config import Limits
from swarm.executors.simulated import SimulatedExecutor
from swarm.home import Home
from swarm.ports import Brief, SystemClock, WaveReport
from swarm.research.experiment import Proposal
from swarm.web.reading import Doors
from swarm.web.serving import Place, bind, serve
from tests.fake_embedder import WordEmbedder
from tests.lab import Bench, Script, bench

SESSION = "bowl-1"
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000001000000010802000000907753de0000000c49444154789c63f8cfc0000003010100c9fe92ef0000"
    "000049454e44ae426082"
)
HOSTILE = """<script>document.body.dataset.owned = "1"</script>
<svg onload="document.body.dataset.owned='2'"><circle r="9"/></svg>
[press me](javascript:document.body.dataset.owned='3') and [me](data:text/html,<script>1</script>)
![](http://example.com/track.png) <img src=x onerror="document.body.dataset.owned='4'">
evil\u202etxt.exe
"""


@dataclass
class Citing(Script):
    """The script's specialists, who cite a claim and write what they find."""

    notebook: Path = field(default_factory=Path)

    async def propose(self, brief: Brief) -> list[Proposal]:
        return [replace(proposal, citations=("claim-x",)) for proposal in await super().propose(brief)]

    async def analyse(self, report: WaveReport) -> str:
        name = await super().analyse(report)
        entry = _entry(name, Kind.INSIGHT, f"{report.wave}: X matters", "X **matters**.", author="analyst")
        with Notebook.read(self.notebook) as notebook:
            notebook.append(replace(entry, attachments=(Attachment(name="x.png", media_type="image/png", data=PNG),)))
        return name


def _entry(name: str, kind: Kind, title: str, body: str, *, author: str) -> Entry:
    return Entry(
        id=name, kind=kind, title=title, body=body, author=author, session=SESSION, task="bowl", created_at=1_000_000.0
    )


def library(home: Home) -> Library:
    """The starter corpus, searched by words alone."""
    made = Library.read(home.papers) if home.papers.exists() else Library.open(home.papers, embedder=None)
    made.add([STARTER], embed=False)
    return made


def claim(paper: str) -> Entry:
    """A claim that a paper makes on X."""
    cited = Citation(source=paper, title="A paper on X", quote="Larger X lowers the loss.", page=3)
    entry = _entry("claim-x", Kind.CLAIM, "X: larger X lowers the loss", "> Larger X lowers the loss.", author="reader")
    return replace(entry, factors=("X",), citations=(cited,))


def lab(root: Path, **settings: object) -> Bench:
    """A lab whose specialists cite and find, in a home of the usual shape."""
    made = bench(root, limits=Limits(hours=None, experiments=14))
    (root / "version").write_text("1\n", encoding="ascii")
    made.script = Citing(notebook=root / "notebook")
    made.settings = made.settings.model_copy(update=settings)
    with library(Home(root, create=False)) as papers, Notebook.open(root / "notebook", embedder=WordEmbedder()) as book:
        book.append(claim(papers.papers(limit=1)[0].id))
    return made


@cache
def finished() -> Path:
    """A home whose one session ended with kept gains; made once a test run, only to be read."""
    made = lab(Path(mkdtemp(prefix="swarm-site-")))

    thread = threading.Thread(target=made.worked)  # a browser may hold this thread's loop
    thread.start()
    thread.join()
    place = made.root / "sessions" / SESSION
    place.parent.mkdir()
    (made.root / SESSION).rename(place)
    for number, trial in enumerate(made.executor.orders):
        folder = place / "trials" / trial
        folder.mkdir(parents=True)
        lines = [{"step": s, "seconds": s / 10, "loss": 5.0 / (1 + s / 20) + 0.01 * number} for s in range(1, 60)]
        (folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="ascii")
    return made.root


def copy_of(home: Path, root: Path) -> Path:
    """A home of one's own to write in; the task's folder stays where it was."""
    return Path(shutil.copytree(home, root / "home"))


def doors(home: Home) -> Doors:
    return Doors(notebook=lambda: Notebook.read(home.notebook, embedder=WordEmbedder()), library=lambda: library(home))


@contextmanager
def served(root: Path, *, place: Place | None = None) -> Iterator[str]:
    """The pages of a home on a free port; their address."""
    home, place = Home(root, create=False), place or bind("127.0.0.1", 0)
    ready, over = threading.Event(), threading.Event()
    server = threading.Thread(target=serve, args=(home, doors(home), place), kwargs={"ready": ready.set, "over": over})
    server.start()
    ready.wait()
    try:
        yield place.url.rstrip("/")
    finally:
        over.set()
        server.join()


@contextmanager
def running(made: Bench, trial_seconds: float) -> Iterator[None]:
    """A session that works in real time, in a thread of its own, for as long as the block runs."""
    clock, world = SystemClock(), made.executor._world
    made.clock = clock  # type: ignore[assignment]  # the lab needs no more of a clock than its time and its sleep
    made.executor = SimulatedExecutor(clock, lambda order: replace(world(order), seconds=trial_seconds))
    begun, over = threading.Event(), threading.Event()
    place = made.root / "sessions" / SESSION  # where a home has what the lab keeps beside it
    place.parent.mkdir()
    place.symlink_to(made.root / SESSION)

    async def work() -> None:
        with made.session(SESSION) as session:
            begun.set()
            working = asyncio.create_task(session.run())
            while not over.is_set() and not working.done():
                await asyncio.sleep(0.05)
            session.drain("the test is over")
            await working

    thread = threading.Thread(target=asyncio.run, args=(work(),))
    thread.start()
    begun.wait()
    try:
        yield
    finally:
        over.set()
        thread.join()
