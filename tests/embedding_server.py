"""A server that embeds by OpenAI's protocol, over a real socket, with an embedder without a model behind it."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.fake_embedder import WordEmbedder


@dataclass
class EmbeddingServer:
    """What it was asked, and what it answers next instead of embeddings."""

    url: str
    embedder: WordEmbedder
    asked: list[dict[str, Any]] = field(default_factory=list)  # bodies
    keys: list[str | None] = field(default_factory=list)  # authorization headers
    instead: list[tuple[int, bytes, dict[str, str]]] = field(default_factory=list)  # status, body, headers; used up


@contextmanager
def embedding_server(embedder: WordEmbedder | None = None) -> Iterator[EmbeddingServer]:
    """Serves while the block runs."""
    server = EmbeddingServer(url="", embedder=embedder or WordEmbedder())

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            server.asked.append(body)
            server.keys.append(self.headers["authorization"])
            status, answer, headers = server.instead.pop(0) if server.instead else (200, _answer(server, body), {})
            self.send_response(status)
            for name, value in {"content-length": str(len(answer)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}/v1"
        thread = threading.Thread(target=http.serve_forever)
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


def _answer(server: EmbeddingServer, body: dict[str, Any]) -> bytes:
    """Embeddings, longer than a unit and in an order of their own: a client goes by the index."""
    vectors = 3.0 * server.embedder.embed(body["input"])
    data = [{"object": "embedding", "index": row, "embedding": vector.tolist()} for row, vector in enumerate(vectors)]
    return json.dumps({"object": "list", "data": data[::-1], "model": body["model"]}).encode()
