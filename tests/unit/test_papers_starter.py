"""The starter corpus: complete, well-formed, and found by the words an experimenter would use."""

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_store.embed import MiniLM
from papers import formats
from papers.library import STARTER, Library
from papers.record import Record

# For each phrase, what a passage that is plainly about it says.
PHRASES = {
    "learning rate warmup": "warmup",
    "batch size": "batch size",
    "weight decay": "weight decay",
    "beta2 adam": "beta2",
    "sequence length": "sequence",
    "width": "width",
    "depth": "depth",
    "gradient clipping": "clipping",
    "dropout": "dropout",
    "cosine decay": "cosine",
    "final learning rate": "decay",
    "Muon": "muon",
    "attention heads": "heads",
    "label smoothing": "label smoothing",
    "weight tying": "tying",
    "activation function": "activation",
    "z-loss": "z-loss",
    "vocabulary size": "vocabulary",
    "initialization": "initialization",
    "normalization": "normali",
    "muP width transfer": "transfer",
    "position embedding": "position",
}


@pytest.fixture(scope="module")
def records() -> list[Record]:
    found = [item for path in formats.find([STARTER]) if isinstance(path, Path) for item in formats.read(path)]
    assert all(isinstance(item, Record) for item in found)
    return [item for item in found if isinstance(item, Record)]


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Library]:
    with Library.open(tmp_path_factory.mktemp("starter"), embedder=MiniLM()) as opened:
        opened.add([STARTER])
        yield opened


def test_every_paper_is_complete(records: list[Record]) -> None:
    assert len(records) >= 80
    for record in records:
        words = len(record.pages[0].text.split())
        assert 80 <= words <= 150, f"{record.title}: {words} words"
        assert record.arxiv_id is not None and re.fullmatch(r"\d{4}\.\d{4,5}", record.arxiv_id), record.title
        assert record.year is not None and 2012 <= record.year <= 2026, record.title
        # The id says when the paper came to arXiv; it was not published before.
        assert record.year == 2000 + int(record.arxiv_id[:2]), record.title
        assert record.authors, record.title
        assert not re.search(r"[\\{}$]", record.title + record.pages[0].text), record.title


def test_a_paper_takes_the_place_of_our_note_on_it(tmp_path: Path) -> None:
    adam = {"id": "iclr:adam", "title": "Adam: A method for stochastic optimization", "abstract": "We introduce Adam."}
    (tmp_path / "mine.jsonl").write_text(json.dumps(adam) + "\n" + json.dumps(adam | {"id": "again"}))
    with Library.open(tmp_path / "library", embedder=None) as library:
        library.add([STARTER])
        before = library.status().papers
        report = library.add([tmp_path / "mine.jsonl"])
        assert (report.new, report.known) == (1, 1)
        assert library.status().papers == before
        found = [hit.id for hit in library.search("Adam method stochastic optimization", k=10)]
        assert found[0] == "iclr:adam"
        assert "arXiv:1412.6980" not in found
        assert library.get("iclr:adam").arxiv_id == "1412.6980"
        assert library.get("arXiv:1412.6980").title == "Adam: A Method for Stochastic Optimization"
        assert "arXiv:1412.6980" not in {paper.id for paper in library.papers()}
        library.add([STARTER])  # the notes again, as at every start
        assert library.status().papers == before


def test_no_paper_is_there_twice(records: list[Record]) -> None:
    assert len({record.arxiv_id for record in records}) == len(records)
    assert len({record.title.casefold() for record in records}) == len(records)


def test_all_of_it_is_added(library: Library, records: list[Record]) -> None:
    status = library.status()
    assert status.papers == status.passages == status.embedded == len(records)
    assert library.get("arXiv:1711.05101").title == "Decoupled Weight Decay Regularization"


@pytest.mark.parametrize("phrase", PHRASES)
def test_the_top_passage_is_about_the_phrase(library: Library, phrase: str) -> None:
    best = library.passages(phrase, k=1)[0]
    assert (best.title + " " + best.text).lower().count(PHRASES[phrase]) >= 2, best.title
