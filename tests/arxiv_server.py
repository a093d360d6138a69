"""A small arXiv on a real socket: it answers queries from a list of papers, and misbehaves when told to."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, urlsplit
from xml.sax.saxutils import escape


def feed(titles: Sequence[str], total: int, first: int = 0) -> bytes:
    """An answer of arXiv's API; the papers are numbered from `first`."""
    entries = "".join(
        f"<entry><id>http://arxiv.org/abs/2401.{first + number:05}v1</id><published>2024-01-0{1 + number % 9}T00:00:00Z"
        f"</published><title>{escape(title)}</title><summary>All about {escape(title)}.</summary>"
        "<author><name>Ina Roe</name></author></entry>"
        for number, title in enumerate(titles)
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?><feed xmlns="http://www.w3.org/2005/Atom">'
        '<opensearch:totalResults xmlns:opensearch="http://a9.com/-/spec/opensearch/1.1/">'
        f"{total}</opensearch:totalResults>{entries}</feed>"
    ).encode()


@dataclass(kw_only=True)
class ArxivServer:
    """What it holds, what it will do wrong next, and what it was asked."""

    titles: list[str]
    url: str = ""
    faults: list[tuple[int, dict[str, str], bytes]] = field(
        default_factory=list
    )  # status, headers, body; used up first
    asked: list[dict[str, str]] = field(default_factory=list)

    def answer(self, query: dict[str, str]) -> tuple[int, dict[str, str], bytes]:
        self.asked.append(query)
        if self.faults:
            return self.faults.pop(0)
        start, size = int(query["start"]), int(query["max_results"])
        return 200, {}, feed(self.titles[start : start + size], len(self.titles), start)


@contextmanager
def arxiv_server(titles: Sequence[str]) -> Iterator[ArxivServer]:
    state = ArxivServer(titles=list(titles))

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            query = {key: values[0] for key, values in parse_qs(urlsplit(self.path).query).items()}
            status, headers, body = state.answer(query)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        state.url = f"http://127.0.0.1:{server.server_address[1]}/api/query"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        try:
            yield state
        finally:
            server.shutdown()
            thread.join()
