"""A notebook whose meanings come from a server, or whose vectors lie on one; and what happens when those go away."""

import json
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from notebook_store.errors import EmbedderChanged, EmbedderDown, IndexBroken
from notebook_store.notebook import Notebook
from notebook_store.served import ServedEmbedder
from notebook_store.setup import Setup, kept_setup
from tests.embedding_server import EmbeddingServer, embedding_server
from tests.fake_embedder import WordEmbedder
from tests.unit.test_notebook import PAGES, entry


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as running:
        yield running


def served(server: EmbeddingServer, **more: object) -> ServedEmbedder:
    facts: dict[str, object] = {"url": server.url, "model": "m", "dimension": 64}
    return ServedEmbedder(**(facts | more))  # type: ignore[arg-type]  # one dict of all kinds


def test_a_notebook_is_embedded_and_searched_by_the_server(server: EmbeddingServer, tmp_path: Path) -> None:
    with Notebook.open(tmp_path, embedder=served(server, revision="7")) as notebook:
        notebook.extend(PAGES)
        notebook.flush()
        assert notebook.search("orthogonalised updates lower the loss")[0].score > 0.7
        assert notebook.check().clean
    assert {body["model"] for body in server.asked} == {"m"}
    with pytest.raises(EmbedderChanged, match=r"made with m 7 \(64 dimensions\), not m 8"):
        Notebook.open(tmp_path, embedder=served(server, revision="8"))


def test_it_waits_as_the_server_asks_and_asks_again(server: EmbeddingServer) -> None:
    server.instead = [(429, b"slow down", {"retry-after": "0"}), (503, b"busy", {"retry-after": "0.01"})]
    assert served(server).embed(["a", "b"]).shape == (2, 64)
    assert len(server.asked) == 3


@pytest.mark.parametrize(
    ("instead", "error", "words"),
    [
        ((401, b"who are you", {}), EmbedderDown, "answered 401 to m: who are you; set OPENAI_API_KEY"),
        ((404, b"no such model", {}), EmbedderDown, "check the address and the model"),
        ((200, b"<html>", {}), EmbedderDown, "answered without embeddings"),
        ((200, json.dumps({"data": []}).encode(), {}), EmbedderDown, "gave 0 vectors for 1 texts"),
        ((200, b'{"data": [{"index": 0, "embedding": [1, 2]}]}', {}), EmbedderChanged, "gives 2 dimensions, not 64"),
        ((200, json.dumps({"data": [{"index": 0, "embedding": [0] * 64}]}).encode(), {}), EmbedderDown, "direction"),
    ],
)
def test_answers_that_are_no_embeddings(
    server: EmbeddingServer, instead: tuple[int, bytes, dict[str, str]], error: type[Exception], words: str
) -> None:
    server.instead = [instead]
    with pytest.raises(error, match=words):
        served(server).embed(["a"])
    assert len(server.asked) == 1


def test_without_its_server_a_notebook_finds_by_words_and_says_so(tmp_path: Path) -> None:
    with embedding_server() as running:
        embedder = served(running)
        with Notebook.open(tmp_path, embedder=embedder) as notebook:
            notebook.extend(PAGES)
            notebook.flush()
    with Notebook.open(tmp_path, embedder=embedder) as notebook:
        hits = notebook.search("muon")
        assert hits[0].entry.id == "muon"
        (notice,) = notebook.notices()
        assert notice.startswith("meaning was not searched, words alone: no embeddings from")
        notebook.append(entry("late"))
        with pytest.raises(EmbedderDown):
            notebook.flush()
        assert "1 entries are not embedded with this model yet" in notebook.notices()[1]


def test_the_setup_is_kept_in_the_notebook(tmp_path: Path) -> None:
    assert kept_setup(tmp_path) == Setup()
    setup = Setup(embeddings_url="http://127.0.0.1:1/v1", embeddings_model="m", embeddings_dimension=64)
    with Notebook.open(tmp_path, embedder=WordEmbedder()) as notebook:
        assert kept_setup(tmp_path) == Setup()
        notebook.keep_setup(setup)
    assert kept_setup(tmp_path) == setup
    assert setup.embedder().name == "m"


@pytest.fixture
def chroma(tmp_path: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """A true `chroma run`."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).with_name("chroma")), "run", "--path", str(tmp_path / "server"),
               "--host", "127.0.0.1", "--port", str(port)]  # fmt: skip
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until = time.monotonic() + 60
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                assert server.poll() is None and time.monotonic() < until, "chroma run did not start"
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}", server
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_two_notebooks_keep_their_vectors_on_one_chroma_server(
    chroma: tuple[str, "subprocess.Popen[bytes]"], tmp_path: Path
) -> None:
    url, server = chroma
    with (
        Notebook.open(tmp_path / "a", embedder=WordEmbedder(), chroma_url=url) as ours,
        Notebook.open(tmp_path / "b", embedder=WordEmbedder(), chroma_url=url) as theirs,
    ):
        ours.extend(PAGES)
        theirs.append(entry("alone", "quite alone"))
        for notebook, count in ((ours, 4), (theirs, 1)):
            report = notebook.check()
            assert (report.indexed, report.problems) == (count, ())
        assert ours.search("orthogonalised updates")[0].entry.id == "muon"
        assert not (tmp_path / "a" / "chroma" / "data").exists()
        ours.reindex()
        assert ours.check().clean
        server.kill()
        server.wait()
        assert ours.search("orthogonalised updates")[0].score > 0.5
        assert "meanings are compared one by one: the Chroma server" in ours.notices()[-1]
    with pytest.raises(IndexBroken, match="chroma run"):
        Notebook.open(tmp_path / "a", embedder=WordEmbedder(), chroma_url=url)
