"""A language model by script, behind a true OpenAI-compatible HTTP server on a loopback socket.

What it answers is a list of replies, or a function of the request. It counts what it bills, as a provider would.
"""

import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Request = dict[str, Any]  # the JSON body of a question


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One scripted reaction. The defaults are an ordinary answer."""

    text: str = ""
    calls: Sequence[tuple[str, Any]] = ()  # (tool, arguments)
    finish: str | None = None  # None: "tool_calls" or "stop"
    refusal: str = ""
    status: int = 200  # anything else is an error with ``text`` as its message
    error: dict[str, Any] = field(default_factory=dict)  # more of the error's body
    headers: dict[str, str] = field(default_factory=dict)
    breaks: bool = False  # the connection is closed in the middle of the text
    hangs: bool = False  # nothing ever comes
    drops: bool = False  # the connection is closed without a word
    late_error: str = ""  # told in the stream, after the text
    silent_usage: bool = False  # tokens are not told, as some servers do not
    midway: Callable[[], None] | None = None  # called when half of the text is on its way
    after: Callable[[], None] | None = None  # called when all of it is


def says(value: Any) -> Reply:
    """An answer that is JSON."""
    return Reply(text=json.dumps(value))


Brain = Callable[[Request], Reply]


class Endpoint:
    """The server. ``requests`` are all questions that reached it; ``billed`` (prompt, completion) tokens."""

    def __init__(self, brain: Brain, *, key: str | None, models: Sequence[str], context: int | None) -> None:
        self.brain = brain
        self.key = key
        self.models = list(models)
        self.context = context  # tokens it can read; None: no end
        self.requests: list[Request] = []
        self.billed = (0, 0)
        self.over = threading.Event()
        self._lock = threading.Lock()
        endpoint = self

        class Handler(_Handler):
            def endpoint(self) -> Endpoint:
                return endpoint

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/v1"

    def react(self, request: Request) -> Reply:
        with self._lock:
            self.requests.append(request)
        return self.brain(request)  # may wait for what another question brings

    def bill(self, prompt: int, completion: int) -> None:
        with self._lock:
            self.billed = (self.billed[0] + prompt, self.billed[1] + completion)

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def tokens(text: str) -> int:
    """Tokens as this endpoint counts them: words."""
    return len(text.split())


def prompt_of(request: Request) -> str:
    """All that was said to the model."""
    return "\n".join(str(message.get("content") or "") for message in request["messages"])


@contextmanager
def endpoint(
    script: Brain | Sequence[Reply],
    *,
    key: str | None = None,
    models: Sequence[str] = ("scripted",),
    context: int | None = None,
) -> Iterator[Endpoint]:
    """A server that answers by ``script``: a function, or replies in order, the last one for ever."""
    if callable(script):
        brain = script
    else:
        left = list(script)

        def brain(_: Request) -> Reply:
            return left.pop(0) if len(left) > 1 else left[0]

    server = Endpoint(brain, key=key, models=models, context=context)
    try:
        yield server
    finally:
        server.close()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def endpoint(self) -> Endpoint:
        raise NotImplementedError

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the standard library's name
        return

    def do_GET(self) -> None:
        self._json(200, {"object": "list", "data": [{"id": m, "object": "model"} for m in self.endpoint().models]})

    def do_POST(self) -> None:
        server = self.endpoint()
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if server.key is not None and self.headers.get("Authorization") != f"Bearer {server.key}":
            shown = (self.headers.get("Authorization") or "").removeprefix("Bearer ")
            self._error(401, {"message": f"Incorrect API key provided: {shown}", "code": "invalid_api_key"})
            return
        if request["model"] not in server.models:
            self._error(404, {"message": f"The model `{request['model']}` does not exist", "code": "model_not_found"})
            return
        asked = tokens(prompt_of(request))
        if server.context is not None and asked > server.context:
            told = {"type": "exceed_context_size_error", "n_prompt_tokens": asked, "n_ctx": server.context}
            self._error(400, {"message": "the request exceeds the available context size", **told})
            return
        reply = server.react(request)
        if reply.hangs:
            server.over.wait()
        if reply.hangs or reply.drops:
            self.close_connection = True
        elif reply.status != 200:
            self._error(reply.status, {"message": reply.text, **reply.error}, reply.headers)
        else:
            self._stream(request, reply, asked)

    def _stream(self, request: Request, reply: Reply, asked: int) -> None:
        said = reply.text + reply.refusal + "".join(json.dumps(arguments) for _, arguments in reply.calls)
        self.endpoint().bill(asked, tokens(said))
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        text = reply.text[: len(reply.text) // 2] if reply.breaks else reply.text
        half = len(reply.text) // 2
        for start in range(0, len(text), 40):
            if reply.midway is not None and start <= half < start + 40:
                reply.midway()
            self._event(_chunk({"content": text[start : start + 40]}))
        if reply.breaks:
            return
        if reply.late_error:
            self._event({"error": {"message": reply.late_error, "type": "server_error"}})
            return
        if reply.refusal:
            self._event(_chunk({"refusal": reply.refusal}))
        for index, (name, arguments) in enumerate(reply.calls):
            wire = arguments if isinstance(arguments, str) else json.dumps(arguments)
            head = {"index": index, "id": f"c{index}", "type": "function", "function": {"name": name, "arguments": ""}}
            self._event(_chunk({"tool_calls": [head]}))
            for start in range(0, len(wire), 10):
                part = {"index": index, "function": {"arguments": wire[start : start + 10]}}
                self._event(_chunk({"tool_calls": [part]}))
        self._event(_chunk({}, reply.finish or ("tool_calls" if reply.calls else "stop")))
        if not reply.silent_usage and request.get("stream_options", {}).get("include_usage"):
            used = {"prompt_tokens": asked, "completion_tokens": tokens(said), "total_tokens": asked + tokens(said)}
            self._event({**_chunk({}), "choices": [], "usage": used})
        self.wfile.write(b"data: [DONE]\n\n")
        self.wfile.flush()
        if reply.after is not None:
            reply.after()

    def _event(self, data: dict[str, Any]) -> None:
        self.wfile.write(f"data: {json.dumps(data)}\n\n".encode())
        self.wfile.flush()

    def _error(self, status: int, error: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        self._json(status, {"error": {"type": "invalid_request_error", **error}}, headers)

    def _json(self, status: int, body: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(data)))
        self.send_header("Connection", "close")
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)


def _chunk(delta: dict[str, Any], finish: str | None = None) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": "scripted", "choices": [choice]}
