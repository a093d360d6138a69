"""What every vector index promises, and the word index."""

import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from notebook_store.chroma import ChromaFolder
from notebook_store.database import Database
from notebook_store.embed import Vectors
from notebook_store.exact import ExactIndex
from notebook_store.index import Match, VectorIndex, fuse
from notebook_store.lexical import LexicalIndex
from tests.fake_embedder import WordEmbedder

DIMENSION = 64


def unit_vectors(n: int, seed: int = 0) -> Vectors:
    vectors = np.random.default_rng(seed).normal(size=(n, DIMENSION)).astype(np.float32)
    return np.asarray(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(params=["chroma", "exact"])
def index(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[VectorIndex]:
    embedder = WordEmbedder(dimension=DIMENSION)
    if request.param == "chroma":
        with ChromaFolder.open(tmp_path / "chroma") as folder:
            yield folder.collection("notes", embedder)
    else:
        database = Database.open(tmp_path / "vectors.sqlite3", ())
        yield ExactIndex(database, name="vectors", embedder=embedder)
        database.close()


def test_an_empty_index_answers_nothing(index: VectorIndex) -> None:
    assert index.query(unit_vectors(1)[0], 5) == []
    assert (index.count(), index.ids(), index.problems()) == (0, set(), [])


def test_the_nearest_come_first_with_their_cosine(index: VectorIndex) -> None:
    vectors = unit_vectors(200)
    ids = [f"e{number}" for number in range(200)]
    index.upsert(ids, vectors)
    cosines = vectors @ vectors[17]
    best = np.argsort(-cosines)[:10]
    answer = index.query(vectors[17], 10)
    assert [match.id for match in answer] == [ids[row] for row in best]
    assert [match.score for match in answer] == pytest.approx(cosines[best].tolist(), abs=1e-5)


def test_asking_for_more_than_there_is(index: VectorIndex) -> None:
    index.upsert(["a", "b"], unit_vectors(2))
    assert {match.id for match in index.query(unit_vectors(1)[0], 50)} == {"a", "b"}
    assert index.query(unit_vectors(1)[0], 0) == []


def test_writing_again_replaces(index: VectorIndex) -> None:
    first, second = unit_vectors(2)
    index.upsert(["a"], first[None])
    index.query(first, 1)
    index.upsert(["a"], second[None])
    index.upsert(["a"], second[None])
    assert index.count() == 1
    assert index.query(second, 1)[0].score == pytest.approx(1.0, abs=1e-5)


def test_clear_forgets_all_and_leaves_it_usable(index: VectorIndex) -> None:
    index.upsert(["a", "b"], unit_vectors(2))
    index.clear()
    assert index.count() == 0
    index.upsert(["c"], unit_vectors(1))
    assert index.ids() == {"c"}


def test_many_at_once_and_sound(index: VectorIndex) -> None:
    ids = [str(number) for number in range(2500)]
    index.upsert(ids, unit_vectors(2500))
    assert index.ids() == set(ids)
    assert index.problems() == []


def test_threads_write_and_search_together(index: VectorIndex) -> None:
    vectors = unit_vectors(80)

    def work(worker: int) -> bool:
        rows = range(worker * 10, worker * 10 + 10)
        for row in rows:
            index.upsert([str(row)], vectors[row : row + 1])
        return all(index.query(vectors[row], 1)[0].id == str(row) for row in rows)

    with ThreadPoolExecutor(8) as threads:
        assert all(threads.map(work, range(8)))
    assert index.count() == 80
    assert index.problems() == []


def test_exact_search_among_some(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "v.sqlite3", ())
    index = ExactIndex(database, name="vectors", embedder=WordEmbedder(dimension=DIMENSION))
    vectors = unit_vectors(30)
    index.upsert([str(number) for number in range(30)], vectors)
    answer = index.query(vectors[3], 2, among=["9", "3", "unknown"])
    assert [match.id for match in answer] == ["3", "9"]
    assert index.query(vectors[3], 2, among=[]) == []
    assert index.missing(["x", "3", "y"]) == ["x", "y"]
    assert np.array_equal(index.vectors(["9", "3"]), vectors[[9, 3]])
    database.close()


def test_models_do_not_mix_in_the_exact_index(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "v.sqlite3", ())
    old = ExactIndex(database, name="vectors", embedder=WordEmbedder(dimension=DIMENSION))
    new = ExactIndex(database, name="vectors", embedder=WordEmbedder(dimension=DIMENSION, revision="2"))
    old.upsert(["a"], unit_vectors(1))
    assert (old.count(), new.count(), new.query(unit_vectors(1)[0], 1)) == (1, 0, [])
    with pytest.raises(ValueError, match="shape"):
        new.upsert(["a", "b"], unit_vectors(1))
    database.close()


def test_a_damaged_stored_vector_is_found(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "v.sqlite3", ())
    index = ExactIndex(database, name="vectors", embedder=WordEmbedder(dimension=DIMENSION))
    index.upsert(["a", "b"], unit_vectors(2))
    with database.write() as connection:
        connection.execute("UPDATE vectors SET vector = zeroblob(256) WHERE id = 'b'")
    assert index.problems() == ["the stored vector of b is damaged"]
    database.close()


SCHEMA = ("CREATE TABLE pages (seq INTEGER PRIMARY KEY, id TEXT UNIQUE NOT NULL, title TEXT, body TEXT)",)
PAGES = [
    ("adam", "Adam: a method for stochastic optimization", "Adaptive estimates of lower-order moments."),
    ("muon", "Muon", "Orthogonalised updates; a method of optimizing hidden layers, after Adam."),
    ("data", "A corpus of docstrings", "Technical English; nothing on training."),
]


@pytest.fixture
def words(tmp_path: Path) -> Iterator[tuple[Database, LexicalIndex]]:
    database = Database.open(tmp_path / "pages.sqlite3", SCHEMA)
    index = LexicalIndex(database, content="pages", columns={"title": 3.0, "body": 1.0})
    with database.write() as connection:
        for seq, page in enumerate(PAGES, start=1):
            connection.execute("INSERT INTO pages VALUES (?, ?, ?, ?)", (seq, *page))
            index.add(connection, seq)
    yield database, index
    database.close()


def test_words_are_stemmed_and_the_title_weighs_more(words: tuple[Database, LexicalIndex]) -> None:
    _, index = words
    assert [match.id for match in index.query("optimizer methods", 5)] == ["adam", "muon"]
    assert [match.id for match in index.query("adam", 5)] == ["adam", "muon"]
    assert [match.id for match in index.query("adam", 5, among=np.array([2, 3]))] == ["muon"]
    assert index.query("zebra", 5) == []


def test_snippets_mark_the_words(words: tuple[Database, LexicalIndex]) -> None:
    _, index = words
    snippet = index.snippets("optimizers for hidden layers", ["muon", "data"])["muon"]
    assert [snippet.text[start:end] for start, end in snippet.spans] == ["optimizing", "hidden", "layers"]


@pytest.fixture(scope="module")
def standing_words(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LexicalIndex]:
    database = Database.open(tmp_path_factory.mktemp("words") / "pages.sqlite3", SCHEMA)
    with database.write() as connection:
        connection.executemany("INSERT INTO pages(id, title, body) VALUES (?, ?, ?)", PAGES)
    yield LexicalIndex(database, content="pages", columns={"title": 3.0, "body": 1.0})
    database.close()


OPERATORS = ['"', "adam OR", "NEAR(adam", "title:adam", "adam*", "-adam", "(adam", "adam AND NOT", "\x00", "²", "^adam"]


@settings(max_examples=150, deadline=None)
@given(query=st.text() | st.sampled_from(OPERATORS) | st.lists(st.sampled_from(OPERATORS)).map(" ".join))
def test_any_query_is_answered(standing_words: LexicalIndex, query: str) -> None:
    found = {match.id for match in standing_words.query(query, 5)}
    assert found >= ({"adam", "muon"} if "adam" in query else set())
    assert set(standing_words.snippets(query, ["adam"])) <= {"adam"}


def test_a_word_index_that_lags_is_filled_at_opening(words: tuple[Database, LexicalIndex]) -> None:
    database, index = words
    with database.write() as connection:
        connection.execute("INSERT INTO pages VALUES (9, 'new', 'Lion', 'Evolved sign momentum')")
    assert index.problems() == ["the word index of pages is wrong about 1 rows; run the reindex"]
    again = LexicalIndex(database, content="pages", columns={"title": 3.0, "body": 1.0})
    assert [match.id for match in again.query("evolved", 5)] == ["new"]
    assert again.problems() == []


def test_a_changed_row_is_noticed_and_rebuild_cures_it(words: tuple[Database, LexicalIndex]) -> None:
    database, index = words
    with database.write() as connection:
        connection.execute("UPDATE pages SET body = 'quite another text' WHERE id = 'data'")
    assert len(index.problems()) == 1
    index.rebuild()
    assert index.problems() == []
    assert [match.id for match in index.query("another", 5)] == ["data"]


def test_a_transaction_that_fails_leaves_no_trace(words: tuple[Database, LexicalIndex]) -> None:
    database, index = words
    with pytest.raises(sqlite3.IntegrityError), database.write() as connection:
        connection.execute("INSERT INTO pages VALUES (4, 'lion', 'Lion', '')")
        index.add(connection, 4)
        connection.execute("INSERT INTO pages VALUES (5, 'lion', 'Lion again', '')")
    assert index.count() == 3
    assert index.query("lion", 5) == []


matches = st.lists(
    st.builds(Match, id=st.sampled_from("abcdefgh"), score=st.floats(-100, 100)), unique_by=lambda match: match.id
)


@given(rankings=st.lists(matches, min_size=1, max_size=3), k=st.integers(0, 10))
def test_fused_scores_are_ordered_and_in_range(rankings: list[list[Match]], k: int) -> None:
    fused = fuse(rankings, k)
    scores = [match.score for match in fused]
    assert scores == sorted(scores, reverse=True)
    assert all(0.0 <= score <= 1.0 + 1e-9 for score in scores)
    assert len(fused) == min(k, len({match.id for ranking in rankings for match in ranking}))


def test_being_good_in_both_rankings_beats_being_best_in_one() -> None:
    words = [Match(id="a", score=1.0), Match(id="b", score=0.9), Match(id="c", score=0.1)]
    vectors = [Match(id="d", score=0.9), Match(id="b", score=0.8), Match(id="e", score=-0.1)]
    assert [match.id for match in fuse([words, vectors], 3)] == ["b", "a", "d"]
    assert fuse([[Match(id="only", score=0.8)], []], 5) == [Match(id="only", score=0.4)]


def test_a_neighbour_that_resembles_nothing_does_not_equal_an_exact_word() -> None:
    words = [Match(id="exact", score=1.0)]
    vectors = [Match(id="a noise", score=0.15), Match(id="exact", score=0.1)]
    assert fuse([words, vectors], 1)[0].id == "exact"
