"""The notebook as one program uses it: appending, filters, search, links, claims, indexes that get lost."""

import gzip
import shutil
import sqlite3
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from notebook_store.embed import Vectors
from notebook_store.entry import Attachment, Entry, Kind, Link, Relation
from notebook_store.errors import (
    EmbedderChanged,
    EntryConflict,
    IndexBroken,
    LogBroken,
    NewerSchema,
    NoNotebook,
    UnknownEntry,
)
from notebook_store.notebook import Notebook
from tests.fake_embedder import WordEmbedder


def entry(name: str, title: str = "A note", body: str = "", **more: object) -> Entry:
    facts: dict[str, object] = {
        "kind": Kind.NOTE,
        "author": "human",
        "session": "s1",
        "task": "tinytext",
        "created_at": 100.0,
    }
    return Entry(id=name, title=title, body=body, **(facts | more))  # type: ignore[arg-type]  # one dict of all kinds


PAGES = [
    entry("muon", "Muon beats AdamW", "Orthogonalised updates lower the loss.", factors=("MUON_LR", "BETA2"),
          kind=Kind.INSIGHT, author="analyst", created_at=101.0),
    entry("warmup", "Longer warmup", "Warmup of the learning rate steadies training.", factors=("WARMUP",),
          kind=Kind.HYPOTHESIS, author="optimizer", experiment="e2", created_at=102.0),
    entry("warmup-result", "Longer warmup: no gain", "The loss stayed within noise.", factors=("WARMUP",),
          kind=Kind.RESULT, author="swarm", experiment="e2", created_at=103.0, data={"outcome": "COMPLETED"},
          links=(Link(kind=Relation.REFUTES, target="warmup"), Link(kind=Relation.CITES, target="muon"))),
    entry("crash", "Width 4096", "It ran out of memory.", kind=Kind.RESULT, author="swarm", session="s2",
          task="other", experiment="e3", created_at=104.0, data={"outcome": "OUT_OF_MEMORY"}),
]  # fmt: skip


@pytest.fixture
def notebook(tmp_path: Path) -> Iterator[Notebook]:
    with Notebook.open(tmp_path / "n", embedder=WordEmbedder()) as notebook:
        for page in PAGES:
            assert notebook.append(page)
        yield notebook


def found(notebook: Notebook, query: str, k: int = 10, **filters: object) -> list[str]:
    return [hit.entry.id for hit in notebook.search(query, k, **filters)]  # type: ignore[arg-type]  # any filter


def test_reading_back(notebook: Notebook) -> None:
    assert notebook.get("warmup-result") == PAGES[2]
    assert notebook.entries() == PAGES[::-1]
    assert notebook.recent(2) == PAGES[:1:-1]
    assert notebook.entries(limit=1, kinds=[Kind.RESULT]) == [PAGES[3]]
    with pytest.raises(UnknownEntry, match="no entry nowhere; list the entries"):
        notebook.get("nowhere")


def test_appending_again(notebook: Notebook) -> None:
    assert notebook.append(PAGES[0]) is False
    with pytest.raises(EntryConflict):
        notebook.append(entry("muon", "Something else"))
    assert notebook.count() == 4
    assert notebook.get("muon") == PAGES[0]


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        ({"kinds": [Kind.RESULT, Kind.HYPOTHESIS]}, {"warmup", "warmup-result", "crash"}),
        ({"kinds": []}, set()),
        ({"author": "swarm"}, {"warmup-result", "crash"}),
        ({"session": "s2"}, {"crash"}),
        ({"task": "tinytext"}, {"muon", "warmup", "warmup-result"}),
        ({"experiment": "e2"}, {"warmup", "warmup-result"}),
        ({"factor": "BETA2"}, {"muon"}),
        ({"outcome": "OUT_OF_MEMORY"}, {"crash"}),
        ({"since": 102.0, "until": 104.0}, {"warmup", "warmup-result"}),
        ({"author": "swarm", "task": "tinytext"}, {"warmup-result"}),
    ],
)
def test_filters_hold_everywhere(notebook: Notebook, filters: dict[str, object], ids: set[str]) -> None:
    notebook.flush()
    assert {page.id for page in notebook.entries(**filters)} == ids  # type: ignore[arg-type]  # any filter
    assert notebook.count(**filters) == len(ids)  # type: ignore[arg-type]  # any filter
    # By meaning every entry is an answer, so that what is missing was kept out by the filter.
    assert set(found(notebook, "loss memory warmup", **filters)) == ids


def test_what_was_just_written_is_found_by_its_words_at_once(tmp_path: Path) -> None:
    class StuckEmbedder(WordEmbedder):
        go = threading.Event()

        def embed(self, texts: list[str]) -> Vectors:  # type: ignore[override]  # lists alone here
            if "stuck" in texts[0]:
                self.go.wait()
            return super().embed(texts)

    embedder = StuckEmbedder()
    with Notebook.open(tmp_path, embedder=embedder) as notebook:
        notebook.append(entry("stuck", "stuck in the embedder"))
        assert notebook.count() == 1
        (hit,) = notebook.search("embedder")
        assert (hit.entry.id, hit.score) == ("stuck", 0.5)
        embedder.go.set()
        notebook.flush()
        assert notebook.search("embedder")[0].score > 0.5


def test_hits_carry_a_passage_with_the_words(notebook: Notebook) -> None:
    notebook.flush()
    by_words, *rest = notebook.search("lowering: orthogonalised update")
    assert by_words.entry.id == "muon"
    words = [by_words.snippet.text[start:end] for start, end in by_words.snippet.spans]
    assert words == ["Orthogonalised", "updates", "lower"]
    assert [hit.snippet.text for hit in rest if hit.entry.id == "crash"] == ["It ran out of memory."]


def test_a_notebook_of_one_page_is_found_by_a_word_of_it(tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        notebook.append(PAGES[0])
    with Notebook.read(tmp_path) as reader:
        assert [hit.score for hit in reader.search("muon")] == [1.0]


@pytest.mark.parametrize("query", ["", "   ", '"', "AND (", "zebra", "\x00\ud800", "loss " * 5000])
def test_any_query_is_answered(notebook: Notebook, query: str) -> None:
    assert len(notebook.search(query, 3)) <= 3


def test_ids_and_experiments_are_words_too(notebook: Notebook) -> None:
    notebook.flush()
    assert found(notebook, "warmup-result")[0] == "warmup-result"
    assert found(notebook, "e3")[0] == "crash"
    assert found(notebook, "MUON_LR")[0] == "muon"


def test_links_are_found_from_their_target(notebook: Notebook) -> None:
    assert notebook.links_to("warmup") == [(Relation.REFUTES, PAGES[2])]
    assert notebook.links_to("muon") == [(Relation.CITES, PAGES[2])]
    assert notebook.links_to("crash") == []


def test_the_first_claim_wins_for_ever(notebook: Notebook) -> None:
    first = notebook.claim("lr=0.1", "ann", at=1.0)
    again = notebook.claim("lr=0.1", "ann", at=2.0)
    late = notebook.claim("lr=0.1", "bob", at=3.0)
    assert first == again
    assert (first.won, late.won) == (True, False)
    assert (late.holder, late.claimed_at) == ("ann", 1.0)


def test_threads_append_and_search_together(notebook: Notebook) -> None:
    def work(worker: int) -> None:
        for number in range(20):
            name = f"thread{worker}page{number}"
            notebook.append(entry(name, f"thread {worker}", f"page {number}"))
            assert name in found(notebook, name, 1)

    with ThreadPoolExecutor(6) as threads:
        list(threads.map(work, range(6)))
    report = notebook.check()
    assert (report.entries, report.embedded, report.indexed, report.clean) == (124, 124, 124, True)


def test_opening_again_embeds_nothing_twice(tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        notebook.append(PAGES[0])
        notebook.flush()
    embedder = WordEmbedder()
    with Notebook.open(tmp_path, embedder=embedder) as notebook:
        assert notebook.check().clean
        assert embedder.texts_seen == 0


def test_a_deleted_vector_index_comes_back_from_the_stored_embeddings(tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        for page in PAGES:
            notebook.append(page)
        notebook.flush()
    shutil.rmtree(tmp_path / "chroma")
    embedder = WordEmbedder()
    with Notebook.open(tmp_path, embedder=embedder) as notebook:
        report = notebook.check()
        assert (report.indexed, report.problems) == (4, ())
        assert embedder.texts_seen == 0


def garble(path: Path) -> None:
    path.write_bytes(b"garbage" * 1000)


def lose_graph(path: Path) -> None:
    # What a crash of the disk may leave: the rows are there, the graph is not.
    connection = sqlite3.connect(path)
    connection.execute("DELETE FROM embeddings_queue")
    connection.commit()
    connection.close()


@pytest.mark.parametrize("damage", [garble, lose_graph])
def test_a_damaged_vector_index_is_refused_and_rebuilt(tmp_path: Path, damage: object) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        for page in PAGES:
            notebook.append(page)
        notebook.flush()
    damage(tmp_path / "chroma" / "data" / "chroma.sqlite3")  # type: ignore[operator]  # one of the two above
    with pytest.raises(IndexBroken, match="nothing is lost: run the notebook's reindex"):
        Notebook.open(tmp_path, embedder=WordEmbedder())
    embedder = WordEmbedder()
    with Notebook.open(tmp_path, embedder=embedder, rebuild=True) as notebook:
        assert notebook.check().clean
        assert embedder.texts_seen == 0
        assert found(notebook, "warmup")[0] in {"warmup", "warmup-result"}


def test_another_model_is_refused_until_the_index_is_rebuilt(tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        notebook.append(PAGES[0])
        notebook.flush()
    other = WordEmbedder(revision="2", dimension=32)
    with pytest.raises(EmbedderChanged, match=r"words 1 \(64 dimensions\), not words 2 \(32 dimensions\); run"):
        Notebook.open(tmp_path, embedder=other)
    with Notebook.open(tmp_path, embedder=other, rebuild=True) as notebook:
        report = notebook.check()
        assert (report.embedded, report.indexed, report.clean) == (1, 1, True)


def test_a_dropped_word_index_comes_back(tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        notebook.append(PAGES[0])
        with notebook._log.database.write() as connection:
            connection.execute("DROP TABLE entries_words")
    with Notebook.read(tmp_path) as reader:
        assert found(reader, "muon") == ["muon"]


def test_reindex_tells_its_progress_and_check_sees_what_is_wrong(notebook: Notebook) -> None:
    notebook.flush()
    with notebook._log.database.write() as connection:
        connection.execute("UPDATE entries SET body = 'forged' WHERE id = 'muon'")
        connection.execute("DELETE FROM embeddings WHERE id = 'crash'")
    problems = " / ".join(notebook.check().problems)
    assert "entry muon is not what was written" in problems
    assert "the word index of entries is wrong about 1 rows" in problems
    assert "1 entries have no stored embedding (such as crash)" in problems
    steps: list[tuple[int, int]] = []
    notebook.reindex(lambda done, total: steps.append((done, total)))
    assert steps == [(3, 4), (4, 4)]
    assert notebook.check().problems == ("entry muon is not what was written; restore the log from a copy",)


def test_a_lost_attachment_is_a_problem_not_a_crash(tmp_path: Path) -> None:
    figure = Attachment(name="f.png", media_type="image/png", data=b"1")
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        notebook.append(entry("plot", attachments=(figure,)))
        assert notebook.get("plot").attachments == (figure,)
        with notebook._log.database.write() as connection:
            connection.execute("DELETE FROM attachments")
        assert notebook.check().problems == ("entry plot is not what was written; restore the log from a copy",)


def test_an_embedder_that_fails_is_heard_of_and_loses_nothing(tmp_path: Path) -> None:
    class Failing(WordEmbedder):
        def embed(self, texts: list[str]) -> Vectors:  # type: ignore[override]  # lists alone here
            raise RuntimeError("no memory for the model")

    with Notebook.open(tmp_path, embedder=Failing()) as notebook:
        notebook.append(PAGES[0])
        with pytest.raises(RuntimeError, match="no memory for the model"):
            notebook.flush()
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        assert notebook.check().clean


def test_files_that_are_no_notebook(tmp_path: Path) -> None:
    with pytest.raises(NoNotebook, match=r"there is no notebook\.sqlite3"):
        Notebook.read(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()
    (tmp_path / "notebook.sqlite3").write_bytes(b"garbage" * 1000)
    with pytest.raises(LogBroken, match="damaged"):
        Notebook.read(tmp_path)


def test_a_newer_notebook_is_left_alone(tmp_path: Path) -> None:
    Notebook.open(tmp_path, embedder=WordEmbedder()).close()
    with sqlite3.connect(tmp_path / "notebook.sqlite3") as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    for opening in (Notebook.read, lambda folder: Notebook.open(folder, embedder=WordEmbedder())):
        with pytest.raises(NewerSchema, match="schema version 99, this program knows up to 3; update the program"):
            opening(tmp_path)


def test_a_notebook_of_the_first_version_is_brought_up_to_date_with_nothing_lost(tmp_path: Path) -> None:
    old = Path(__file__).parents[1] / "data" / "notebook-v1.sqlite3.gz"  # written by the first version of the program
    (tmp_path / "notebook.sqlite3").write_bytes(gzip.decompress(old.read_bytes()))
    embedder = WordEmbedder()
    with Notebook.open(tmp_path, embedder=embedder) as notebook:
        report = notebook.check()
        assert (report.entries, report.indexed, report.problems) == (5, 5, ())
        assert embedder.texts_seen == 0  # the embeddings came along
        assert notebook.entries(session="s1") == PAGES[2::-1]
        assert len(notebook.get("e1-insight").attachments) == 3
        assert notebook.claim("lr=0.1", "bob", at=9.0).holder == "ann"
        assert found(notebook, "orthogonalised update")[0] == "muon"
        assert len(notebook.identity()) == 12
    with sqlite3.connect(tmp_path / "notebook.sqlite3") as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (3,)
    connection.close()
