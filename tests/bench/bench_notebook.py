"""The notebook at N entries of made-up text, with an embedder that costs nothing.

    python -m tests.bench.bench_notebook [N]

Words fall off as in English (few are everywhere, most are rare). Meanings are mixtures of 40 topics with noise of their
own, in 384 dimensions.
"""

import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from itertools import accumulate
from pathlib import Path

import numpy as np

from notebook_store.chroma import ChromaFolder
from notebook_store.database import Database
from notebook_store.embed import Vectors
from notebook_store.entry import Entry, Kind
from notebook_store.exact import ExactIndex
from notebook_store.local import CHROMA_FOLDER, COLLECTION, LocalNotebook
from notebook_store.log import FILE, MIGRATIONS
from notebook_store.notebook import Notebook

WORDS_A_PAGE = 100
QUERIES = 300
DIMENSION = 384


class TopicEmbedder:
    """A new direction at every call: a few of 40 topics, and noise as strong as they are together."""

    name, revision, dimension = "topics", "1", DIMENSION

    def __init__(self, seed: int = 0) -> None:
        self._random = np.random.default_rng(seed)
        self._topics = np.random.default_rng(99).normal(size=(40, DIMENSION)) / np.sqrt(DIMENSION)

    def embed(self, texts: Sequence[str]) -> Vectors:
        weights = self._random.dirichlet(np.full(len(self._topics), 0.1), size=len(texts))
        weights /= np.linalg.norm(weights, axis=1, keepdims=True)
        vectors = weights @ self._topics + self._random.normal(size=(len(texts), DIMENSION)) / np.sqrt(DIMENSION)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def pages(n: int) -> list[Entry]:
    source = random.Random(0)
    vocabulary = [f"word{number}" for number in range(20_000)]
    weights = list(accumulate(1 / (rank + 1) for rank in range(len(vocabulary))))
    return [
        Entry(
            id=f"e{number:06}",
            kind=source.choice(list(Kind)),
            title=" ".join(source.choices(vocabulary, cum_weights=weights, k=8)),
            body=" ".join(source.choices(vocabulary, cum_weights=weights, k=WORDS_A_PAGE)),
            author=source.choice(["optimizer", "analyst", "reader"]),
            session=f"s{number // 1000}",
            task="t",
            created_at=float(number),
            factors=(f"FACTOR_{number % 50}",),
        )
        for number in range(n)
    ]


def latency(name: str, act: Callable[[str], object], queries: list[str]) -> None:
    times = []
    cpu = time.process_time()
    for query in queries:
        start = time.perf_counter()
        act(query)
        times.append(1000 * (time.perf_counter() - start))
    cpu = 1000 * (time.process_time() - cpu) / len(queries)
    p50, p99 = np.percentile(times, [50, 99])
    print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms; {cpu:.1f} ms of CPU each", flush=True)


def recall(folder: Path) -> float:
    """Of the ten nearest by exact search, the share that the vector index finds too, over 200 questions."""
    embedder = TopicEmbedder(seed=2)
    with ChromaFolder.open(folder / CHROMA_FOLDER) as chroma, closing(Database.open(folder / FILE, MIGRATIONS)) as log:
        exact = ExactIndex(log, name="embeddings", embedder=embedder)
        index = chroma.collection(COLLECTION, embedder)
        found = 0
        for question in (questions := embedder.embed([""] * 200)):
            nearest = {match.id for match in exact.query(question, 10)}
            found += len(nearest & {match.id for match in index.query(question, 10)})
    return found / (10 * len(questions))


def memory_mb() -> float:
    """Resident memory of this process, now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


def fill(folder: Path, entries: list[Entry]) -> None:
    with Notebook.read(folder) as beside:
        start = time.perf_counter()
        for entry in entries[: len(entries) // 2]:
            beside.append(entry)
        print(f"append, nobody embeds: {len(entries) // 2 / (time.perf_counter() - start):.0f} entries/s")
    with Notebook.open(folder, embedder=TopicEmbedder()) as notebook:
        start, cpu = time.perf_counter(), time.process_time()
        for entry in entries[len(entries) // 2 :]:
            notebook.append(entry)
        appended = time.perf_counter()
        print(f"append, indexing behind it: {len(entries) // 2 / (appended - start):.0f} entries/s")
        notebook.flush()
        print(
            f"indexed after {time.perf_counter() - appended:.1f} s more; "
            f"{1000 * (time.process_time() - cpu) / len(entries):.2f} ms of CPU an entry in all",
            flush=True,
        )


def searches(notebook: LocalNotebook, entries: list[Entry]) -> None:
    step = max(1, len(entries) // QUERIES)
    queries = [" ".join(entry.title.split()[:5]) for entry in entries[::step]]
    latency("search", notebook.search, queries)
    latency("search, a third of the entries pass", lambda query: notebook.search(query, author="analyst"), queries)
    latency("search, one in fifty passes", lambda query: notebook.search(query, factor="FACTOR_7"), queries)
    latency("search, one session", lambda query: notebook.search(query, session="s3"), queries)
    ids = [entry.id for entry in entries[::step]]
    latency("like an entry", notebook.like, ids)


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 100_000
    entries = pages(n)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        Notebook.open(folder, embedder=TopicEmbedder()).close()
        fill(folder, entries)
        empty = memory_mb()
        start = time.perf_counter()
        with Notebook.open(folder, embedder=TopicEmbedder(seed=1)) as notebook:
            opened = time.perf_counter()
            print(f"open: {opened - start:.2f} s", end="; ")
            notebook.search("word1 word2")
            print(f"first search after {time.perf_counter() - opened:.2f} s more")
            notebook.flush()
            print(f"all in memory after {time.perf_counter() - start:.2f} s", flush=True)
            searches(notebook, entries)
            print(f"memory: {memory_mb() - empty:.0f} MB more than before opening")
            start = time.perf_counter()
            report = notebook.check()
            print(f"check: {report.problems or 'clean'}, {time.perf_counter() - start:.1f} s", flush=True)
        for part in ("notebook.sqlite3", "chroma"):
            files = [file for file in (folder / part, *(folder / part).rglob("*")) if file.is_file()]
            print(f"{part}: {sum(file.stat().st_size for file in files) / 1e6:.0f} MB on disk")
        with Notebook.read(folder, embedder=TopicEmbedder()) as reader:
            start = time.perf_counter()
            reader.search("word1 word2")
            print(f"a reader's first search: {time.perf_counter() - start:.2f} s")
            latency("a reader's search", reader.search, [entry.title for entry in entries[:50]])
        print(f"recall@10 of the vectors, against exact search: {recall(folder):.4f}")


if __name__ == "__main__":
    main()
