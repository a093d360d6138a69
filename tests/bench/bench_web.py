"""How fast the pages paint over a large home, and how much they send: `make bench-web`.

    python -m tests.bench.bench_web [EXPERIMENTS] [ENTRIES]

Makes a home with 5,000 experiments (each screened, some validated) and 50,000 notebook entries, serves it, and opens
every page in Chromium: milliseconds from the request to the first contentful paint, and the bytes of the page. First
looks are asked of a `swarm browse` of their own, the moment it says where it is.
"""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from playwright.sync_api import Browser, Page, sync_playwright

from notebook_store.entry import Citation, Entry, Kind, Link, Relation
from notebook_store.notebook import Notebook
from swarm.home import Home
from swarm.ports import Slot
from swarm.research.ledger import Kind as Event
from swarm.research.ledger import Ledger
from swarm.research.lineage import Lineage
from tests.browser.test_pages import FLAGS
from tests.fake_embedder import WordEmbedder
from tests.lab import TASK, TRAIN
from tests.site import library, served

Line = tuple[Event, str, float, dict[str, object], str | None]  # kind, key, at, data, experiment
SESSION = "large-1"
SLOTS = [Slot(name=f"h100-{n}", accelerator="H100") for n in range(16)]
_WORDS = ("learning", "rate", "warmup", "decay", "width", "depth", "batch", "loss", "noise", "gain", "screen", "layers")


def main(experiments: int, entries: int) -> None:
    with TemporaryDirectory() as folder:
        root = Path(folder) / "home"
        began = time.monotonic()
        make(root, experiments, entries)
        print(f"made {experiments} experiments and {entries} entries in {time.monotonic() - began:.0f} s")
        with sync_playwright() as playwright:
            chromium = shutil.which("chromium") or shutil.which("chromium-browser")
            browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS)
            print(f"{'page':<40}{'first paint':>12}{'page':>10}")
            for name, path in {"overview": f"/s/{SESSION}", "experiments": f"/s/{SESSION}/experiments"}.items():
                first_look(browser, root, name, path)
            with served(root) as url:
                measure(browser, url, f"{SESSION}-e{experiments // 2:03d}")
            browser.close()


def first_look(browser: Browser, root: Path, name: str, path: str) -> None:
    """The first request to a `swarm browse` of its own, the moment it says where it is; how long that took."""
    began = time.monotonic()
    command = [sys.executable, "-c", "from swarm.cli import main; main()", "browse", "--port", "0", "--home", str(root)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        print(f"`swarm browse` said where it is after {time.monotonic() - began:.1f} s")
        page = browser.new_page(base_url=next(word for word in said.split() if word.startswith("http")))
        paint(page, f"{name}, the first look", path)
        page.close()
        process.send_signal(signal.SIGINT)


def paint(page: Page, name: str, path: str) -> None:
    """Open a page and print what it took."""
    page.goto(path, wait_until="load")
    page.wait_for_timeout(300)
    shown = page.evaluate("performance.getEntriesByName('first-contentful-paint')[0].startTime")
    size = page.evaluate("performance.getEntriesByType('navigation')[0].encodedBodySize")
    print(f"{name:<40}{shown:>9.0f} ms{size / 1000:>7.0f} KB", flush=True)


def make(root: Path, experiments: int, entries: int) -> None:
    root.mkdir()
    (root / "version").write_text("1\n", encoding="ascii")
    task = root / "bowl"
    task.mkdir()
    (task / "task.toml").write_text(TASK, encoding="utf-8")
    (task / "train.py").write_text(TRAIN, encoding="utf-8")
    lineage = Lineage(root / "sessions" / SESSION / "repo.git", "train.py")
    base = lineage.commit("base", TRAIN, "base", parent=None, at=0.0)
    other = lineage.commit("other", TRAIN.replace("X = 1.0", "X = 2.0"), "other", parent=base, at=0.0)
    with closing(Ledger(root / "ledger.db")) as ledger:
        ledger._db.execute("BEGIN")  # one transaction: a ledger of years would take minutes otherwise
        for kind, key, at, data, experiment in history(experiments, str(task), base, other):
            ledger.append(SESSION, kind, key, at=at, data=data, experiment=experiment)
        ledger._db.execute("COMMIT")
    with library(Home(root, create=False)) as papers, Notebook.open(root / "notebook", embedder=WordEmbedder()) as book:
        known = [paper.id for paper in papers.papers(limit=40)]
        batch = list(pages(experiments, entries, known))
        for start in range(0, len(batch), 1000):
            book.extend(batch[start : start + 1000])
        book.flush()


def history(experiments: int, task: str, base: str, other: str) -> Iterator[Line]:
    """Events of a session of many hours on 16 slots."""
    draw, at = random.Random(0), time.time() - 48 * 3600
    opened = {"task": "bowl", "task_folder": task, "metric": "loss", "settings": "{}", "direction": "minimize"}
    yield Event.SESSION_OPENED, "opened", at, opened, None
    yield Event.RUN_STARTED, "1", at, {"pid": os.getpid()}, None
    ends = [at] * len(SLOTS)
    level = 3.0
    for number in range(experiments):
        name = f"{SESSION}-e{number:03d}"
        proposal = {
            "status": "PROPOSED" if number else "BASELINE",
            "author": "proposer",
            "hypothesis": f"X 1.0→{number} lowers loss",
            "parent": base,
            "candidate": other if number else base,
            "changes": {"X": float(number)},
            "expected_gain": 0.01,
            "citations": [f"claim-{number % 50}"],
            "wave": f"wave {number // 12}",
        }
        yield Event.PROPOSED, name, min(ends), proposal, name
        kept = number % 100 == 99
        level -= 0.004 if kept else 0.0
        moves = ["approve", "screen"] if number else []
        tiers = ["screen"] * (1 if number else 4) + ["validate"] * (4 if kept or not number else 0)
        for tier in tiers:
            slot = min(range(len(SLOTS)), key=lambda n: ends[n])
            start, ends[slot] = ends[slot], ends[slot] + draw.uniform(280, 330)
            for move in moves:
                yield moved(name, move, start)
            moves = ["promote", "validate"] if tier == "screen" and kept else []
            trial = f"{name}-{tier}-{len(SLOTS) * number + slot}-{ends[slot]:.0f}"
            begun = {"id": trial, "candidate": proposal["candidate"], "tier": tier, "slot": SLOTS[slot].name}
            begun |= {"accelerator": "H100", "seed": number, "token": number * 10 + slot}
            yield Event.TRIAL_STARTED, trial, start, begun, name
            value = level + abs(draw.gauss(0, 0.05)) - (0.0 if tier == "screen" else 0.1)
            ended = {"outcome": "COMPLETED", "value": value, "holdout": None, "train_seconds": 300.0}
            ended |= {"peak_memory_mb": 1.0, "steps": 100, "message": ""}
            yield Event.TRIAL_ENDED, trial, ends[slot], ended, name
        if number:
            yield moved(name, "confirm" if kept else "prune", max(ends))
    yield Event.RUN_ENDED, "1", max(ends), {"reason": "it is long enough"}, None


_COUNTS: dict[str, int] = {}


def moved(name: str, move: str, at: float) -> Line:
    _COUNTS[name] = _COUNTS.get(name, -1) + 1
    verdict = {"gain": 0.01, "se": 0.003, "n": 1, "tier": "screen", "against": f"{SESSION}-e000"}
    data = {"move": move, "reasons": ["as the figures say"], "verdict": verdict, "candidate": None, "parent": None}
    return Event.MOVED, f"{name}/{_COUNTS[name]}", at, data, name


def pages(experiments: int, entries: int, papers: list[str]) -> Iterator[Entry]:
    draw, now = random.Random(1), time.time()
    for number in range(entries):
        words = " ".join(draw.choices(_WORDS, k=60))
        name = f"{SESSION}-e{number % experiments:03d}"
        claim, first = number < 50, 50 <= number < experiments + 50
        kind = Kind.CLAIM if claim else draw.choice((Kind.REVIEW, Kind.RESULT, Kind.INSIGHT))
        named = f"{name}-hypothesis" if first else f"claim-{number}" if claim else f"entry-{number}"
        entry = Entry(
            id=named, kind=Kind.HYPOTHESIS if first else kind, title=words[:80], body=words,
            author="reader" if claim else "proposer", session=SESSION, task="bowl", created_at=now - entries + number,
            experiment=None if claim else name, factors=("X",),
            links=() if claim else (Link(kind=Relation.DERIVED_FROM, target=f"claim-{number % 50}"),),
        )  # fmt: skip
        cited = Citation(source=papers[number % len(papers)], title="a paper", quote=words[:60])
        yield replace(entry, citations=(cited,)) if claim else entry


def measure(browser: Browser, url: str, experiment: str) -> None:
    """Every page, the server and the browser at work already."""
    shown = {
        "overview": f"/s/{SESSION}",
        "overview by experiments": f"/s/{SESSION}?by=experiments",
        "experiments": f"/s/{SESSION}/experiments",
        "experiments, sorted by gain": f"/s/{SESSION}/experiments?sort=gain&page=50",
        "experiment": f"/e/{experiment}",
        "notebook": "/notebook",
        "notebook, first search": "/notebook?q=learning+rate+warmup",
        "notebook, search": "/notebook?q=width+of+layers",
        "entry with 1,000 links": "/notebook/claim-7",
        "influence": f"/s/{SESSION}/influence",
        "papers": "/papers",
        "leases": f"/s/{SESSION}/leases",
        "costs": f"/s/{SESSION}/costs",
        "compare": f"/compare?a={SESSION}&b={SESSION}",
    }
    page = browser.new_page(base_url=url)
    page.goto(f"/s/{SESSION}")
    for name, path in shown.items():
        paint(page, name, path)


if __name__ == "__main__":
    main(*(int(word) for word in [*sys.argv[1:], "5000", "50000"][:2]))
