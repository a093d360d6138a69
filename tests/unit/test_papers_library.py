"""The library: what is added is found, once, whatever it came in, and whatever happened meanwhile."""

import gzip
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_store.errors import FolderOwned
from papers.library import Library
from papers.record import Extent, Page, Record
from papers.results import Step
from papers.store import UnknownPaperError
from tests.fake_embedder import WordEmbedder
from tests.paper_files import WARMUP_PDF


@pytest.fixture
def library(tmp_path: Path) -> Iterator[Library]:
    with Library.open(tmp_path / "library", embedder=WordEmbedder()) as opened:
        yield opened


def jsonl(path: Path, *items: dict[str, object]) -> Path:
    path.write_text("".join(json.dumps(item) + "\n" for item in items))
    return path


WARMUP = {"id": "w1", "title": "Warmup matters", "abstract": "Longer learning rate warmup is safer.", "year": 2024}
BATCH = {"id": "b1", "title": "Batch size", "abstract": "Small batches make more updates.", "authors": ["A. Doe"]}


def test_what_was_added_is_found_by_words_and_by_meaning(library: Library, tmp_path: Path) -> None:
    report = library.add([jsonl(tmp_path / "a.jsonl", WARMUP, BATCH)])
    assert (report.new, report.known, report.unreadable) == (2, 0, ())
    first = library.search("learning rate warmup", k=2)[0]
    assert (first.id, first.title, first.year, first.page) == ("w1", "Warmup matters", 2024, None)
    assert 0 < first.score <= 1
    assert {first.snippet[start:end].lower() for start, end in first.spans} >= {"learning", "warmup"}
    status = library.status()
    assert (status.papers, status.passages, status.embedded, status.by_meaning) == (2, 2, 2, True)


def test_passages_are_verbatim_with_their_page(library: Library, tmp_path: Path) -> None:
    (tmp_path / "paper.pdf").write_bytes(WARMUP_PDF)
    library.add([tmp_path / "paper.pdf"])
    best = library.passages("dropout harmful", k=1)[0]
    assert best.text == "Dropout of 0.1 was harmful in every run of the second experiment."
    assert (best.paper_id, best.page, best.year) == ("arXiv:2309.01234", 2, 2023)
    assert [chunk.page for chunk in library.text("arXiv:2309.01234")] == [1, 2]


def test_one_hit_a_paper(library: Library, tmp_path: Path) -> None:
    text = " ".join(f"Sentence {number} speaks of warmup." for number in range(300))
    library.add([jsonl(tmp_path / "a.jsonl", {"id": "long", "title": "Long", "abstract": text}, BATCH)])
    assert library.status().passages > 3
    assert [hit.id for hit in library.search("warmup", k=10)].count("long") == 1


def test_a_paper_is_found_behind_hundreds_of_passages_of_another(tmp_path: Path) -> None:
    many = {"id": "long", "title": "Warmup", "abstract": "Warmup warmup warmup, once more warmup. " * 20_000}
    weak = {"id": "weak", "title": "Other", "abstract": "Filler words of no account. " * 30 + "Warmup."}
    with Library.open(tmp_path / "library", embedder=None) as library:
        library.add([jsonl(tmp_path / "a.jsonl", many, weak)])
        assert library.status().passages > 500
        assert [hit.id for hit in library.search("warmup", k=2)] == ["long", "weak"]


def test_the_same_again_adds_nothing(library: Library, tmp_path: Path) -> None:
    path = jsonl(tmp_path / "a.jsonl", WARMUP, BATCH)
    library.add([path])
    again = library.add([path])
    renamed = library.add([path.rename(tmp_path / "b.jsonl")])
    assert [(report.new, report.known) for report in (again, renamed)] == [(0, 2), (0, 2)]


def test_a_file_with_faults_is_read_again_and_reported_again(library: Library, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(json.dumps(WARMUP) + "\nnot json\n")
    reports = [library.add([path]), library.add([path])]
    assert [(report.new, report.known, report.unreadable_count) for report in reports] == [(1, 0, 1), (0, 1, 1)]
    assert reports[1].unreadable[0].where == f"{path} line 2"


@pytest.mark.parametrize(
    ("other", "same"),
    [
        ({"title": "WARMUP: matters!"}, True),
        ({"title": "Another title", "doi": "10.1000/abc"}, True),
        ({"title": "Another title", "arxiv_id": "2401.00001v3"}, True),
        ({"title": "Another title"}, False),
        ({"title": "Warmup matters", "doi": "10.1000/other"}, False),
        ({"title": "Warmup matters", "authors": ["Someone Else"]}, False),
        ({"title": "Warmup matters", "authors": ["I. Roe", "Someone Else"]}, True),
    ],
)
def test_duplicates_by_doi_arxiv_id_and_title(
    library: Library, tmp_path: Path, other: dict[str, object], same: bool
) -> None:
    first = WARMUP | {"doi": "10.1000/ABC", "arxiv_id": "2401.00001", "authors": ["Ina Roe"]}
    report = library.add([jsonl(tmp_path / "a.jsonl", first, {"id": "w1", **other})])
    assert (report.new, report.known) == ((1, 1) if same else (2, 0))
    assert len({paper.id for paper in library.papers()}) == report.new


def test_full_text_completes_a_known_abstract(library: Library, tmp_path: Path) -> None:
    known = {"id": "s2309", "title": "A study of warmup in tiny models", "abstract": "We study warmup."}
    (tmp_path / "paper.pdf").write_bytes(WARMUP_PDF)
    library.add([jsonl(tmp_path / "a.jsonl", known)])
    report = library.add([tmp_path / "paper.pdf"])
    assert (report.new, report.known, report.completed) == (0, 0, 1)
    paper = library.get("s2309")
    assert (paper.extent, paper.arxiv_id, paper.year) == (Extent.FULL_TEXT, "2309.01234", 2023)
    assert [chunk.page for chunk in library.text("s2309")] == [None, 1, 2]


def test_a_title_alone_is_found(library: Library, tmp_path: Path) -> None:
    library.add([jsonl(tmp_path / "a.jsonl", {"title": "Cautious Muon"}, WARMUP)])
    assert library.search("muon")[0].title == "Cautious Muon"


def test_unknown_ids_and_empty_queries(library: Library) -> None:
    with pytest.raises(UnknownPaperError, match="papers list"):
        library.get("nobody")
    assert library.search("  ") == []
    assert library.search('"unbalanced AND ( * NEAR') == []


def test_unreadable_paths_are_reported_and_the_rest_is_added(library: Library, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "photo.pdf").write_bytes(b"\xff\xd8\xff\xe0")
    jsonl(tmp_path / "folder" / "ok.jsonl", WARMUP)
    report = library.add([tmp_path / "missing", tmp_path / "folder"])
    assert report.new == 1
    assert [refusal.reason for refusal in report.unreadable] == [
        "does not exist",
        "not a format of papers: a JPEG image",
    ]


def test_progress_tells_reading_then_embedding(library: Library, tmp_path: Path) -> None:
    seen: list[Step] = []
    library.add([jsonl(tmp_path / "a.jsonl", WARMUP, BATCH)], progress=seen.append)
    assert seen[-1] == Step(name="embedding", done=2, share=1.0)
    assert Step(name="reading", done=2, share=1.0) in seen


def test_words_find_before_vectors_are_there(library: Library, tmp_path: Path) -> None:
    library.add([jsonl(tmp_path / "a.jsonl", WARMUP)], embed=False)
    assert library.status().embedded == 0
    assert library.search("warmup")[0].id == "w1"
    assert library.embed() == 1
    assert library.embed() == 0


def test_first_passages_are_embedded_first(tmp_path: Path) -> None:
    text = " ".join(f"Sentence {number} speaks of warmup." for number in range(300))
    with Library.open(tmp_path / "library", embedder=WordEmbedder()) as library:
        items = [{"title": f"Title {name}", "abstract": f"{name}. {text}"} for name in "abc"]
        library.add([jsonl(tmp_path / "a.jsonl", *items)], embed=False)
        order = list(library._store.chunk_ids())
        assert all(chunk_id.endswith("#0") for chunk_id in order[:3])
        assert not any(chunk_id.endswith("#0") for chunk_id in order[3:])


def test_a_second_owner_is_refused_and_may_read_and_add(library: Library, tmp_path: Path) -> None:
    library.add([jsonl(tmp_path / "a.jsonl", WARMUP)])
    with pytest.raises(FolderOwned):
        Library.open(tmp_path / "library", embedder=WordEmbedder())
    with Library.read(tmp_path / "library", embedder=WordEmbedder()) as reader:
        assert reader.search("warmup")[0].id == "w1"
        reader.add([jsonl(tmp_path / "b.jsonl", BATCH)])
    assert library.nearest("small batches updates", 1)[0].id == "b1#0"


def test_the_vector_index_is_rebuilt_from_the_database(tmp_path: Path) -> None:
    embedder = WordEmbedder()
    with Library.open(tmp_path / "library", embedder=embedder) as library:
        library.add([jsonl(tmp_path / "a.jsonl", WARMUP, BATCH)])
    seen = embedder.texts_seen
    with Library.open(tmp_path / "library", embedder=embedder, rebuild=True) as library:
        assert embedder.texts_seen == seen  # nothing was computed again
        assert library.nearest("small batches", 1)[0].id == "b1#0"


def test_an_index_left_over_from_another_database_is_emptied(tmp_path: Path) -> None:
    folder = tmp_path / "library"
    with Library.open(folder, embedder=WordEmbedder()) as library:
        library.add([jsonl(tmp_path / "a.jsonl", WARMUP, BATCH)])
    for path in folder.glob("papers.sqlite3*"):
        path.unlink()
    with Library.open(folder, embedder=WordEmbedder()) as library:
        assert library.search("warmup") == []


def test_a_change_of_embedder_needs_a_rebuild_and_new_vectors(tmp_path: Path) -> None:
    with Library.open(tmp_path / "library", embedder=WordEmbedder()) as library:
        library.add([jsonl(tmp_path / "a.jsonl", WARMUP)])
    other = WordEmbedder(name="other", dimension=32)
    with Library.open(tmp_path / "library", embedder=other, rebuild=True) as library:
        assert library.status().embedded == 0
        assert library.embed() == 1
        assert library.nearest("warmup", 1)[0].id == "w1#0"


KILLED = """
import sys
from pathlib import Path
from papers.library import Library
from tests.fake_embedder import WordEmbedder

library = Library.open(Path(sys.argv[1]), embedder=WordEmbedder())
library.add([Path(sys.argv[2])], progress=lambda step: print(step.name, step.done, flush=True))
"""


@pytest.mark.parametrize(("stage", "at_least"), [("reading", 256), ("embedding", 64)])
def test_killed_and_run_again_nothing_is_lost_or_twice(stage: str, at_least: int, tmp_path: Path) -> None:
    items = [{"id": f"p{n}", "title": f"Paper number {n}", "abstract": f"On topic {n}."} for n in range(500)]
    corpus = tmp_path / "corpus.jsonl.gz"
    corpus.write_bytes(gzip.compress("".join(json.dumps(item) + "\n" for item in items).encode()))
    command = [sys.executable, "-c", KILLED, str(tmp_path / "library"), str(corpus)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            where, done = line.split()
            if where == stage and int(done) >= at_least:
                process.send_signal(signal.SIGKILL)
                break
        process.wait()
    assert process.returncode == -signal.SIGKILL
    with Library.open(tmp_path / "library", embedder=WordEmbedder()) as library:
        before = library.status().papers
        assert before >= at_least if stage == "reading" else before == 500
        report = library.add([corpus])
        assert (report.new, report.known) == (500 - before, before)
        status = library.status()
        assert (status.papers, status.passages, status.embedded) == (500, 500, 500)
        assert len(library.nearest("topic", 500)) == 500
        assert library.search("paper number 477", k=1)[0].id == "p477"


def test_hostile_text_is_stored_and_found(library: Library) -> None:
    nasty = Record(title="Nul\x00 title", pages=(Page(number=None, text="quote \" ' -- \ud800 \x00 drop table"),))
    library._store.add([nasty])
    assert library.search("drop table")[0].snippet
