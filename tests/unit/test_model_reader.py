"""The reader that thinks: quotes are checked against their page, questions of others answered, the untouched named."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from notebook_store.entry import Entry, Kind, Relation
from papers.library import Library
from swarm.agents.reader_llm import ModelReader, Topic, open_questions
from tests.fakes.endpoint import Endpoint, Reply, Request, endpoint, prompt_of, says
from tests.paper_files import pdf
from tests.thinking_lab import Lab, thinking_lab

FIRST = "A small batch leaves room for more steps in the same time."
SECOND = "The learning rate should grow with the square root of the batch size."
PARTS = {"loss": 3, "step": 0, "RATE": 1}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Lab]:
    with thinking_lab(tmp_path / "lab") as found:
        yield found


def shelf(root: Path) -> Library:
    """A library with one paper of two pages."""
    root.mkdir(exist_ok=True)
    (root / "rates.pdf").write_bytes(pdf([[("On rates and batches", 18.0), (FIRST, 10.0)], [(SECOND, 10.0)]]))
    found = Library.open(root / "library", embedder=None)
    found.add([root / "rates.pdf"], embed=False)
    return found


def reader(lab: Lab, server: Endpoint, papers: Library) -> ModelReader:
    mind = lab.mind(server, "reader-llm")
    return ModelReader(mind, lab.notebook, papers, session="s", task=lab.task, clock=lab.clock)


def topic(occasion: str = "start") -> Topic:
    return Topic(occasion=occasion, factors=["BATCH_SIZE", "LEARNING_RATE"], stuck="at the start", parts=PARTS)


def claim(passage: int, quote: str) -> dict[str, Any]:
    return {"passage": passage, "quote": quote, "factor": "RATE", "scope": "short runs", "suggestion": "raise it"}


def reading(*claims: dict[str, Any], **more: Any) -> Reply:
    return says({"claims": list(claims), "answers": [], "directions": []} | more)


def number_of(request: Request, words: str) -> int:
    """The number of the passage that holds these words."""
    return next(
        int(number)
        for number, text in re.findall(r"<<<passage (\d+): (.*?)>>>", prompt_of(request), flags=re.DOTALL)
        if words in text
    )


async def test_a_quote_stands_on_its_page_word_for_word_or_is_no_claim(lab: Lab, tmp_path: Path) -> None:
    def brain(request: Request) -> Reply:
        at = number_of(request, SECOND)
        invented = claim(at, "The learning rate should grow with the batch size itself.")
        return reading(claim(at, SECOND), invented, claim(99, SECOND), claim(at, "The learning rate"))

    with endpoint(brain) as server:
        written = await reader(lab, server, shelf(tmp_path / "papers")).read(topic())
        told = prompt_of(server.requests[1])
    assert len(server.requests) == 2  # the fault is told once, then what is sound is kept
    assert re.search(r"this is not in passage \d+: 'The learning rate should grow with the batch size", told)
    assert "there is no passage 99" in told
    assert "too short to claim anything" in told
    (entry,) = [lab.notebook.get(name) for name in written]
    (cited,) = entry.citations
    assert (entry.kind, entry.author, cited.quote, cited.page) == (Kind.CLAIM, "reader-llm", SECOND, 2)
    assert "short runs" in entry.body
    assert entry.factors == ("RATE",)


async def test_questions_of_others_are_answered_once_and_what_is_untouched_is_named(lab: Lab, tmp_path: Path) -> None:
    asked = Entry(
        id="q1", kind=Kind.NOTE, title="Why do small batches win?", body="Why do small batches win?",
        author="analyst-llm", session="s", task="bowl", created_at=0.0,
    )  # fmt: skip
    lab.notebook.append(asked)

    def brain(request: Request) -> Reply:
        names = re.findall(r"<<<question (\S+)", prompt_of(request))
        answers = [{"question": q, "answer": "More steps.", "cites": [number_of(request, FIRST)]} for q in names]
        return reading(
            answers=[*answers, {"question": "e0", "answer": "!", "cites": []}], directions=["step(): momentum"]
        )

    with endpoint(brain) as server:
        one = reader(lab, server, shelf(tmp_path / "papers"))
        written = [lab.notebook.get(name) for name in await one.read(topic())]
        assert open_questions(lab.notebook) == []
        assert not [name for name in await one.read(topic("wave-1")) if "answer" in name]
    answer, directions = written
    assert (answer.id, answer.author, answer.body) == ("q1-answer", "reader-llm", "More steps.")
    assert [(link.kind, link.target) for link in answer.links] == [(Relation.DERIVED_FROM, "q1")]
    assert answer.citations[0].page == 1
    assert directions.title == "untouched so far: step"
    assert "step: NEVER changed" in directions.body
    assert "loss: changed by 3" in directions.body
    assert "step: NEVER changed" in prompt_of(server.requests[0])


async def test_a_reading_that_died_finds_the_passages_its_answer_speaks_of(lab: Lab, tmp_path: Path) -> None:
    papers = shelf(tmp_path / "papers")
    with endpoint(lambda request: reading(claim(number_of(request, SECOND), SECOND))) as server:
        one = reader(lab, server, papers)
        await one.read(topic())
        (tmp_path / "more.txt").write_text(
            f"# Learning rate and batch size\n\nBatch size. {FIRST} Learning rate.\n" * 3
        )
        papers.add([tmp_path / "more.txt"], embed=False)
        found = one._passages(topic(), [])
        now = next(number for number, passage in enumerate(found, 1) if SECOND in passage.text)
        assert now != number_of(server.requests[0], SECOND)  # another search would number them otherwise
        assert await one.read(topic()) == []  # as after a death: nothing new, and nobody is asked
    assert len(server.requests) == 1
