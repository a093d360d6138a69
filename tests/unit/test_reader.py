"""The reader writes what papers say, word for word, once; and no role writes what is not its own."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_store.entry import Entry, Kind
from notebook_store.notebook import Notebook
from papers.library import Library
from swarm.agents.reader import LiteratureReader, best_quote, query_of
from swarm.agents.roles import ANALYST, READER, ROLES, may_write, write_as
from swarm.errors import SwarmError
from tests.fake_embedder import WordEmbedder
from tests.fakes import FakeClock
from trainer.contract import find_task

PAPERS = {
    "On warmup": "We study Adam. Learning rate warmup over 0.1 of the steps lowers the loss. Why does warmup help?",
    "On rates": "A higher learning rate is better when the batch is small.",
    "On whales": "Whales sing at night.",
}


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "notebook", embedder=WordEmbedder()) as notebook:
        yield notebook


@pytest.fixture
def reader(tmp_path: Path, notebook: Notebook) -> Iterator[LiteratureReader]:
    lines = [
        json.dumps({"id": f"2001.0000{number}", "title": title, "abstract": text, "authors": "A. One, B. Two"})
        for number, (title, text) in enumerate(PAPERS.items(), 1)
    ]
    (tmp_path / "papers.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with Library.open(tmp_path / "library", embedder=WordEmbedder()) as library:
        assert library.add([tmp_path / "papers.jsonl"]).new == 3
        yield LiteratureReader(notebook, library, session="s", task=find_task("tinytext"), clock=FakeClock())


async def test_claims_are_verbatim_and_cited(reader: LiteratureReader, notebook: Notebook) -> None:
    written = await reader.read(["WARMUP_FRACTION", "LEARNING_RATE", "GRAD_CLIP"])
    entries = [notebook.get(name) for name in written]
    warmup = [entry for entry in entries if entry.factors == ("WARMUP_FRACTION",)]
    assert [entry.citations[0].quote for entry in warmup] == [
        "Learning rate warmup over 0.1 of the steps lowers the loss."
    ]
    assert warmup[0].citations[0].title == "On warmup"
    assert "2001.00001" in warmup[0].citations[0].source
    assert all(entry.kind is Kind.CLAIM for entry in entries)
    assert {entry.factors[0] for entry in entries} == {"WARMUP_FRACTION", "LEARNING_RATE"}
    assert not any("whales" in entry.body.lower() for entry in entries)


async def test_reading_twice_writes_once(reader: LiteratureReader, notebook: Notebook) -> None:
    written = await reader.read(["LEARNING_RATE"])
    assert written
    assert await reader.read(["LEARNING_RATE"]) == []
    assert notebook.count(kinds=[Kind.CLAIM]) == len(written)


def test_names_become_the_words_of_papers() -> None:
    assert query_of("WARMUP_FRACTION") == "learning rate warmup"
    assert query_of("FINAL_LR_FRACTION") == "decay learning rate"
    assert query_of("DROPOUT") == "dropout"


def test_a_quote_is_a_part_of_the_text() -> None:
    text = "Nothing here. We set beta to 0.95 and the weight decay to 0.1! More."
    quote = best_quote(text, "weight decay")
    assert quote == "We set beta to 0.95 and the weight decay to 0.1!"
    assert quote in text
    assert best_quote(text, "dropout") is None


def test_every_role_has_a_prompt_whose_first_line_says_what_it_is_for() -> None:
    for role in ROLES.values():
        assert 20 < len(role.summary) < 160
        assert role.summary.endswith(".")


def test_a_role_writes_only_what_is_its_own(notebook: Notebook) -> None:
    entry = Entry(id="e", kind=Kind.CLAIM, title="t", body="b", author="reader", session="s", task="t", created_at=0.0)
    assert may_write(READER, Kind.CLAIM)
    assert write_as(READER, notebook, entry)
    with pytest.raises(SwarmError, match="may not write a claim"):
        write_as(ANALYST, notebook, replace(entry, id="f", author="analyst"))
    with pytest.raises(SwarmError, match="signed an entry as 'referee'"):
        write_as(READER, notebook, replace(entry, id="g", author="referee"))
    assert notebook.count() == 1
