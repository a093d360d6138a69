"""What every embedder promises."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from notebook_store.embed import Embedder, MiniLM, model_key
from notebook_store.served import ServedEmbedder
from tests.embedding_server import embedding_server
from tests.fake_embedder import WordEmbedder

TEXTS = [
    "The Muon optimizer reached a lower loss than AdamW.",
    "",
    "warmup " * 700,
    "ünïcode, 中文, \x00 and \ud800: nothing is refused",
    "A short one",
]


@pytest.fixture(scope="module", params=["words", "MiniLM", "served"])
def embedder(request: pytest.FixtureRequest) -> Iterator[Embedder]:
    if request.param == "served":
        with embedding_server() as server:
            yield ServedEmbedder(url=server.url, model="words", dimension=64)
    else:
        yield WordEmbedder() if request.param == "words" else MiniLM()


def test_unit_vectors_of_the_promised_shape(embedder: Embedder) -> None:
    vectors = embedder.embed(TEXTS)
    assert vectors.shape == (len(TEXTS), embedder.dimension)
    assert vectors.dtype == np.float32
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(TEXTS)), abs=1e-5)


def test_no_text_gives_no_vector(embedder: Embedder) -> None:
    assert embedder.embed([]).shape == (0, embedder.dimension)


def test_a_text_has_one_vector_whatever_it_is_embedded_with(embedder: Embedder) -> None:
    together = embedder.embed(TEXTS)
    alone = np.concatenate([embedder.embed([text]) for text in TEXTS])
    assert np.abs(together - alone).max() < 1e-5
    assert np.array_equal(embedder.embed(TEXTS), together)


def test_threads_get_the_same_vectors(embedder: Embedder) -> None:
    expected = embedder.embed(TEXTS)
    with ThreadPoolExecutor(4) as threads:
        for vectors in threads.map(lambda _: embedder.embed(TEXTS), range(8)):
            assert np.abs(vectors - expected).max() < 1e-5


def test_models_have_different_keys(embedder: Embedder) -> None:
    other = WordEmbedder(revision="2")
    assert model_key(embedder) == model_key(embedder)
    assert model_key(embedder) != model_key(other)


@pytest.mark.parametrize(
    ("query", "near", "far"),
    [
        ("which optimiser lowers the loss most", "Muon beats AdamW on validation loss", "tokenizer vocabulary of 2048"),
        ("the GPU ran out of memory", "CUDA OOM at batch size 64", "cosine schedule with warmup"),
        ("anneal the learning rate", "decaying step size schedules", "rotary position embedding"),
        ("less overfitting", "weight decay and dropout regularise the model", "data loader throughput"),
    ],
)
def test_minilm_knows_what_is_alike(query: str, near: str, far: str) -> None:
    asked, alike, unlike = MiniLM().embed([query, near, far])
    assert float(asked @ alike) > float(asked @ unlike) + 0.09
