"""The library over a corpus of papers: how well the right one is found, and how long adding takes.

    python -m tests.bench.bench_papers [FOLDER]

First the starter corpus, laid out as BEIR does, and 54 questions that say in other words what its papers are about.
FOLDER holds one file of papers that `swarm papers add` reads, named papers.*, and queries.jsonl with a line
{"query": text, "paper": id} for each question. Prints, for words alone, for meaning alone, and for both, how often the
right paper came first (hit@1) and among the first ten (recall@10), over all questions and over every other one.

Weights that were chosen on those questions could suit them alone, so two more sets of questions are made from the same
papers: the title asks for its abstract among abstracts, and an abstract's last sentence for the rest of the paper.
"""

from __future__ import annotations

import json
import os
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from notebook_store.embed import MiniLM
from notebook_store.index import Match
from papers import formats
from papers.chunks import sentences
from papers.library import STARTER, Library
from papers.record import Record, one_line
from papers.results import Step
from papers.store import paper_of

QUESTIONS = Path(__file__).with_name("starter_queries.jsonl")
SPLIT = 1000  # papers that the made-up questions are about
Questions = Sequence[tuple[str, str]]  # text, id of the one right paper


def measure(name: str, search: Callable[[str], list[str]], questions: Questions) -> None:
    """Prints one line: quality over all questions and over each half of them, and the time of one search."""
    started = time.perf_counter()
    found = [(search(text), paper) for text, paper in questions]
    each = (time.perf_counter() - started) / len(questions)
    parts = [found, found[::2], found[1::2]]
    first = " ".join(f"{sum(ids[:1] == [paper] for ids, paper in part) / len(part):.3f}" for part in parts)
    among = " ".join(f"{sum(paper in ids[:10] for ids, paper in part) / len(part):.3f}" for part in parts)
    print(f"  {name:8}  hit@1 {first}   recall@10 {among}   {1000 * each:.0f} ms a search", flush=True)


def papers_of(matches: Sequence[Match]) -> list[str]:
    """The papers of ranked passages, each once."""
    return list(dict.fromkeys(paper_of(match.id) for match in matches))


def add(library: Library, file: Path, name: str) -> None:
    """Adds a file and prints what it took, reading and embedding apart."""
    started, cpu = time.perf_counter(), time.process_time()
    read_at = [started]

    def told(step: Step) -> None:
        if step.name == "reading":
            read_at[0] = time.perf_counter()

    report = library.add([file], progress=told)
    ended = time.perf_counter()
    print(
        f"{name}: {report.new} new, {report.known} known, {report.unreadable_count} unreadable "
        f"in {ended - started:.1f} s (read in {read_at[0] - started:.1f} s; {time.process_time() - cpu:.0f} CPU-s)",
        flush=True,
    )


def bench(file: Path, questions: Questions, *, again: bool) -> None:
    """Adds a file to a new library, and searches it in three ways."""
    with tempfile.TemporaryDirectory() as scratch:
        folder, embedder = Path(scratch), MiniLM(threads=os.cpu_count() or 1)
        with Library.open(folder, embedder=embedder) as library:
            add(library, file, "added")
            if again:
                add(library, file, "the same again")
            measure("both", lambda query: [hit.id for hit in library.search(query, 10)], questions)
        with Library.read(folder, embedder=None) as library:
            measure("words", lambda query: [hit.id for hit in library.search(query, 10)], questions)
        with Library.read(folder, embedder=embedder) as library:
            measure("meaning", lambda query: papers_of(library.nearest(query, 50))[:10], questions)


def split(records: Sequence[Record], file: Path, halve: Callable[[Record], tuple[str, str, str]]) -> Questions:
    """Writes papers made of records to a file, and returns the questions about them."""
    questions = []
    with file.open("w", encoding="utf-8") as lines:
        for number, record in enumerate(records):
            query, title, text = halve(record)
            lines.write(json.dumps({"_id": str(number), "title": title, "text": text}) + "\n")
            questions.append((query, str(number)))
    return questions


def title_asks(record: Record) -> tuple[str, str, str]:
    return record.title, "", record.pages[0].text


def last_sentence_asks(record: Record) -> tuple[str, str, str]:
    *rest, last = sentences(one_line(record.pages[0].text))
    return last, record.title, " ".join(rest)


def starter() -> None:
    """The starter corpus in BEIR's layout, and the questions beside this file."""
    records = [item for path in formats.find([STARTER]) if isinstance(path, Path) for item in formats.read(path)]
    asked = [json.loads(line) for line in QUESTIONS.read_text(encoding="utf-8").splitlines()]
    with tempfile.TemporaryDirectory() as scratch:
        file = Path(scratch, "corpus.jsonl")
        rows = [
            {"_id": f"arXiv:{item.arxiv_id}", "title": item.title, "text": item.pages[0].text}
            for item in records
            if isinstance(item, Record)
        ]
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        print(f"{len(asked)} questions about the starter corpus of {len(rows)}; figures: all, even, odd questions")
        bench(file, [(line["text"], line["_id"]) for line in asked], again=False)


def main() -> int:
    starter()
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    file = next(iter(sorted(folder.glob("papers.*"))), None) if folder else None
    if folder is None or file is None or not (folder / "queries.jsonl").exists():
        print(f"retrieval: skipped, since {folder or 'no folder was named, or it'} holds no papers.* and queries.jsonl")
        return 0
    lines = [json.loads(line) for line in (folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()]
    print(f"{len(lines)} questions about {file}; figures: all, even, odd questions")
    bench(file, [(line["query"], line["paper"]) for line in lines], again=True)
    records = [item for item in formats.read(file) if isinstance(item, Record) and item.pages]
    records = random.Random(0).sample(records, min(SPLIT, len(records)))
    for name, halve in (("a title asks for its abstract", title_asks), ("a last sentence asks", last_sentence_asks)):
        with tempfile.TemporaryDirectory() as scratch:
            made = Path(scratch, "papers.jsonl")
            questions = split(records, made, halve)
            print(f"{name}, {len(questions)} questions")
            bench(made, questions, again=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
