"""Speed of the notebook at N entries of random text, with an embedder that costs nothing.

python -m tests.bench.bench_notebook [N]
"""

import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import numpy as np

from notebook_store.embed import Vectors
from notebook_store.entry import Entry, Kind
from notebook_store.notebook import Notebook

WORDS_A_PAGE = 100


class RandomEmbedder:
    """A random direction for each text, a new one at every call."""

    name, revision, dimension = "random", "1", 384

    def __init__(self) -> None:
        self._random = np.random.default_rng(0)

    def embed(self, texts: Sequence[str]) -> Vectors:
        vectors = self._random.normal(size=(len(texts), self.dimension)).astype(np.float32)
        return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


def pages(n: int) -> list[Entry]:
    source = random.Random(0)
    # Words fall off as in English: few are everywhere, most are rare.
    vocabulary = [f"word{number}" for number in range(20_000)]
    weights = list(accumulate(1 / (rank + 1) for rank in range(len(vocabulary))))
    return [
        Entry(
            id=f"e{number:06}",
            kind=source.choice(list(Kind)),
            title=" ".join(source.choices(vocabulary, cum_weights=weights, k=8)),
            body=" ".join(source.choices(vocabulary, cum_weights=weights, k=WORDS_A_PAGE)),
            author=source.choice(["optimizer", "analyst", "reader"]),
            session="s",
            task="t",
            created_at=float(number),
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
    print(f"{name}: p50 {p50:.1f} ms, p99 {p99:.1f} ms; {cpu:.1f} ms of CPU each")


def main() -> None:
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    entries = pages(n)
    queries = [" ".join(entry.title.split()[:5]) for entry in entries[:: n // 200]]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with Notebook.open(folder, embedder=RandomEmbedder()) as notebook:
            start, cpu = time.perf_counter(), time.process_time()
            for entry in entries:
                notebook.append(entry)
            appended = time.perf_counter()
            notebook.flush()
            cpu = 1000 * (time.process_time() - cpu) / n
            print(f"append: {n / (appended - start):.0f} entries/s, {cpu:.2f} ms of CPU each with the indexing")
            print(f"indexed after {time.perf_counter() - appended:.1f} s more")
            latency("search", notebook.search, queries)
            latency("search, one author", lambda query: notebook.search(query, author="analyst"), queries)
            start = time.perf_counter()
            report = notebook.check()
            print(f"check: {report.problems or 'clean'}, {time.perf_counter() - start:.1f} s")
            start = time.perf_counter()
            notebook.reindex()
            print(f"reindex without embedding: {time.perf_counter() - start:.1f} s")
        for part in ("notebook.sqlite3", "chroma"):
            files = (
                [folder / part] if (folder / part).is_file() else [f for f in (folder / part).rglob("*") if f.is_file()]
            )
            print(f"{part}: {sum(file.stat().st_size for file in files) / 1e6:.1f} MB")
        start = time.perf_counter()
        with Notebook.open(folder, embedder=RandomEmbedder()):
            print(f"open: {time.perf_counter() - start:.2f} s")
        with Notebook.read(folder, embedder=RandomEmbedder()) as reader:
            start = time.perf_counter()
            reader.search(queries[0])
            print(f"a reader's first search: {time.perf_counter() - start:.2f} s")
            latency("a reader's search", reader.search, queries)


if __name__ == "__main__":
    main()
