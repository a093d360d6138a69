"""Retrieval over a corpus of papers: words alone, meaning alone, and both; and how long adding takes.

    python tests/bench/bench_papers.py PAPERS QUERIES

PAPERS is anything `swarm papers add` reads; QUERIES has a line {"query": text, "paper": id} for each question.
Prints, for each way of searching, how often the right paper came first (hit@1) and among the first ten (recall@10).
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from notebook_store.embed import MiniLM
from notebook_store.index import Match
from papers.library import Library
from papers.store import paper_of


def measure(name: str, search: Callable[[str], list[str]], questions: Sequence[dict[str, str]]) -> None:
    """Prints one line: quality over all questions and the time of one search."""
    first = among = 0
    started = time.perf_counter()
    for question in questions:
        found = search(question["query"])
        first += found[:1] == [question["paper"]]
        among += question["paper"] in found[:10]
    each = (time.perf_counter() - started) / len(questions)
    print(
        f"{name:8}  hit@1 {first / len(questions):.3f}  recall@10 {among / len(questions):.3f}  "
        f"{1000 * each:.1f} ms a search"
    )


def papers_of(matches: Sequence[Match]) -> list[str]:
    """The papers of ranked passages, each once."""
    return list(dict.fromkeys(paper_of(match.id) for match in matches))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("papers", type=Path)
    parser.add_argument("queries", type=Path)
    parser.add_argument("--folder", type=Path, help="keep the library here, to measure again without embedding")
    arguments = parser.parse_args()
    if not arguments.papers.exists() or not arguments.queries.exists():
        print(f"skipped: {arguments.papers} or {arguments.queries} is not there")
        return 0
    questions = [json.loads(line) for line in arguments.queries.read_text().splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        embedder = MiniLM()
        with Library.open(arguments.folder or Path(scratch), embedder=embedder) as library:
            for attempt in ("added", "again"):
                started, cpu = time.perf_counter(), time.process_time()
                report = library.add([arguments.papers])
                print(
                    f"{attempt}: {report.new} new, {report.known} known, {report.unreadable_count} unreadable, "
                    f"{time.perf_counter() - started:.1f} s ({time.process_time() - cpu:.1f} CPU-s)"
                )
            print(library.status())
            measure("fused", lambda query: [hit.id for hit in library.search(query, 10)], questions)
        with Library.open(arguments.folder or Path(scratch), embedder=None) as library:
            measure("BM25", lambda query: [hit.id for hit in library.search(query, 10)], questions)
        with Library.read(arguments.folder or Path(scratch), embedder=embedder) as library:
            measure("vectors", lambda query: papers_of(library.nearest(query, 50))[:10], questions)
    return 0


if __name__ == "__main__":
    sys.exit(main())
