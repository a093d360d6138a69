"""Chroma as a vector index: one process owns the folder, and we embed, not Chroma."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, cast
from urllib.parse import urlsplit

from filelock import FileLock, Timeout

from notebook_store.embed import Embedder, Vectors
from notebook_store.errors import EmbedderChanged, FolderOwned, IndexBroken, NoSpace
from notebook_store.index import Match

if TYPE_CHECKING:
    from chromadb.api import ClientAPI
    from chromadb.api.client import Client
    from chromadb.api.collection_configuration import CreateHNSWConfiguration
    from chromadb.api.models.Collection import Collection

# Chroma keeps the settings a collection was made with and silently ignores others.
HNSW: CreateHNSWConfiguration = {
    "space": "cosine",
    "max_neighbors": 32,
    "ef_construction": 200,
    "ef_search": 200,
    "sync_threshold": 1000,  # vectors between two writes of the graph to disk; tiny values corrupt it
}
BATCH = 1000  # vectors a call; Chroma takes at most 5461
HEALTHY_REMEDY = "nothing is lost: run the notebook's reindex"


class ChromaFolder:
    """A Chroma folder owned by this process.

    Several processes on one folder lose vectors without an error, hence the exclusive lock. The operating system
    releases it when the process dies, however it dies.
    """

    def __init__(self, client: ClientAPI, lock: FileLock) -> None:
        self._client = client
        self._lock = lock

    @classmethod
    def open(cls, folder: Path, *, rebuild: bool = False, server: str | None = None) -> Self:
        """Locks and opens the folder; it is made when missing.

        Args:
            folder: for this index alone.
            rebuild: begin with an empty index, whatever is there.
            server: address of a `chroma run` that holds the vectors instead; the folder holds the lock all the same.

        Raises:
            FolderOwned: another process, or this one, has it open.
            IndexBroken: what is there cannot be read, or the server does not answer.
        """
        folder.mkdir(parents=True, exist_ok=True)
        owner = folder / "owner.pid"
        lock = FileLock(folder / "lock", timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise _owned(folder, owner) from None
        try:
            owner.write_text(str(os.getpid()), encoding="ascii")
            data = folder / "data"
            if rebuild:
                shutil.rmtree(data, ignore_errors=True)
            return cls(_client(data) if server is None else _server_client(server), lock)
        except BaseException:
            lock.release()
            raise

    def forget(self, name: str) -> None:
        """Deletes the index called `name`, if there is one."""
        from chromadb.errors import NotFoundError

        with _readable(name), contextlib.suppress(NotFoundError):
            self._client.delete_collection(name)

    def collection(self, name: str, embedder: Embedder) -> ChromaIndex:
        """The index called `name`, made when missing.

        Raises:
            EmbedderChanged: it holds vectors of another model.
            IndexBroken: it cannot be searched.
        """
        return ChromaIndex(self._client, name, embedder)

    def close(self) -> None:
        """Closes Chroma and gives the folder up; twice is once."""
        if self._lock.is_locked:
            cast("Client", self._client).close()
            self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ChromaIndex:
    """A VectorIndex in a Chroma collection; see `ChromaFolder.collection`. Thread-safe."""

    def __init__(self, client: ClientAPI, name: str, embedder: Embedder) -> None:
        self._client = client
        self._name = name
        self._dimension = embedder.dimension
        self._model: dict[str, str | int] = {
            "embedder": embedder.name,
            "revision": embedder.revision,
            "dimension": embedder.dimension,
        }
        self._collection = self._open()

    def upsert(self, ids: Sequence[str], vectors: Vectors) -> None:
        """Stores the vectors, shape (len(ids), dimension)."""
        for start in range(0, len(ids), BATCH):
            part = slice(start, start + BATCH)
            with _readable(self._name):
                self._collection.upsert(ids=list(ids[part]), embeddings=vectors[part])

    def query(self, vector: Vectors, k: int) -> list[Match]:
        """The k nearest, approximately (HNSW), best first."""
        with _readable(self._name):
            if k < 1:
                return []
            answer = self._collection.query(query_embeddings=vector[None], n_results=k, include=["distances"])
        distances = answer["distances"] or [[]]
        return [
            Match(id=name, score=1.0 - distance) for name, distance in zip(answer["ids"][0], distances[0], strict=True)
        ]

    def ids(self) -> set[str]:
        """All ids."""
        with _readable(self._name):
            return set(self._collection.get(include=[])["ids"])

    def count(self) -> int:
        """How many ids."""
        with _readable(self._name):
            return int(self._collection.count())

    def clear(self) -> None:
        """Deletes the collection and makes it anew."""
        self._client.delete_collection(self._name)
        self._collection = self._open()

    def problems(self) -> list[str]:
        """Asks for every vector by search: rows may be there and not be found."""
        try:
            count = self.count()
            found = len(self.query(self._probe(), count))
        except IndexBroken as error:
            return [str(error)]
        if found != count:
            return [f"the vector index {self._name} finds {found} of its {count} vectors; {HEALTHY_REMEDY}"]
        return []

    def _open(self) -> Collection:
        from chromadb.errors import NotFoundError

        with _readable(self._name):
            try:
                collection = self._client.get_collection(self._name, embedding_function=None)
            except NotFoundError:
                return self._client.create_collection(
                    self._name,
                    embedding_function=None,
                    metadata=self._model,
                    configuration={"hnsw": HNSW},
                )
            found = {key: (collection.metadata or {}).get(key) for key in self._model}
            if found != self._model:
                raise EmbedderChanged(
                    f"the vector index {self._name} was made with {_words(found)}, not {_words(self._model)}; "
                    "run the notebook's reindex, or use that embedder"
                )
            # A truncated graph loads without an error and then finds nothing.
            lost = (
                collection.count() > 0
                and not collection.query(query_embeddings=self._probe()[None], n_results=1)["ids"][0]
            )
        if lost:
            raise IndexBroken(f"the vector index {self._name} has lost its graph; {HEALTHY_REMEDY}")
        return collection

    def _probe(self) -> Vectors:
        import numpy as np

        probe: Vectors = np.zeros(self._dimension, dtype=np.float32)
        probe[0] = 1.0
        return probe


def _client(data: Path) -> ClientAPI:
    import chromadb
    from chromadb.api.shared_system_client import SharedSystemClient
    from chromadb.config import Settings

    try:
        with _readable(data.parent.name):
            return chromadb.PersistentClient(data, settings=Settings(anonymized_telemetry=False))
    except IndexBroken:
        # Chroma remembers a half-opened folder and would hand it out at the next try.
        SharedSystemClient._identifier_to_system.pop(str(data), None)
        raise


def _server_client(url: str) -> ClientAPI:
    import chromadb
    from chromadb.config import Settings

    parts = urlsplit(url)
    try:
        return chromadb.HttpClient(
            host=parts.hostname or "localhost",
            port=parts.port or (443 if parts.scheme == "https" else 8000),
            ssl=parts.scheme == "https",
            settings=Settings(anonymized_telemetry=False),
        )
    except ValueError as error:  # how Chroma says that it cannot connect
        raise IndexBroken(
            f"no Chroma answers at {url} ({error}); start it with `chroma run`, or use another"
        ) from error


@contextlib.contextmanager
def _readable(name: str) -> Iterator[None]:
    import httpx
    from chromadb.errors import ChromaError

    try:
        yield
    except httpx.HTTPError as error:
        raise IndexBroken(
            f"the Chroma server of {name} does not answer ({error}); start it with `chroma run`"
        ) from error
    except ChromaError as error:
        if "(code: 13)" in str(error):  # SQLITE_FULL, in Chroma's words
            raise NoSpace(f"the disk is full: cannot write the vector index {name}; free some space") from error
        raise IndexBroken(f"the vector index {name} cannot be read ({error}); {HEALTHY_REMEDY}") from error


def _owned(folder: Path, owner: Path) -> FolderOwned:
    pid = None
    with contextlib.suppress(OSError, ValueError):
        pid = int(owner.read_text(encoding="ascii"))
    who = f"process {pid}" if pid is not None else "another process"
    return FolderOwned(f"{who} owns the vector index {folder}", pid)


def _words(model: dict[str, Any]) -> str:
    return f"{model['embedder']} {model['revision']} ({model['dimension']} dimensions)"
