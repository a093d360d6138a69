"""The owner serves its notebook: an address and a token beside it tell others how to reach it."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from notebook_store.errors import NotServed
from notebook_store.notebook import Notebook

TOKEN_FILE = "token"  # noqa: S105 - a file's name; readable by its owner alone
ADDRESS_FILE = "served.json"
LOOPBACK = "127.0.0.1"
LAST_REQUESTS_SECONDS = 5  # what is under way when the serving ends may take so long


@contextlib.contextmanager
def serving(notebook: Notebook, folder: Path, *, host: str = LOOPBACK, port: int = 0) -> Iterator[str]:
    """Serves the notebook in `folder` while the block runs, from a thread of its own; the address.

    Args:
        notebook: opened by its owner.
        folder: the notebook's; `token` is made there unless it is there, and `served.json` tells the address.
        host: the interface; whoever can reach it needs the token.
        port: 0 takes a free one.

    Raises:
        NotServed: the address cannot be had.
    """
    import uvicorn

    from notebook_store.api import create_app

    try:
        listener = socket.create_server((host, port))
    except OSError as error:
        raise NotServed(f"cannot serve at {host}:{port} ({error.strerror}); choose another port") from error
    url = f"http://{host}:{listener.getsockname()[1]}"
    config = uvicorn.Config(
        create_app(notebook, token_of(folder)),
        loop="asyncio",  # another would be set for the whole process, and ours starts programs
        access_log=False,
        log_level="warning",
        log_config=None,
        lifespan="off",
        ws="none",
        timeout_graceful_shutdown=LAST_REQUESTS_SECONDS,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="notebook-api", daemon=True)
    thread.start()
    address = folder / ADDRESS_FILE
    draft = address.with_suffix(".new")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}), encoding="ascii")
    draft.replace(address)
    try:
        yield url
    finally:
        address.unlink(missing_ok=True)
        server.should_exit = True
        thread.join()
        listener.close()


def served_at(folder: Path) -> str | None:
    """The address at which an owner of the notebook says it serves it; it may have died since."""
    try:
        url = json.loads((folder / ADDRESS_FILE).read_text(encoding="ascii"))["url"]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return url if isinstance(url, str) else None


def token_of(folder: Path) -> str:
    """The notebook's token, made at first use; only the user who owns the file can read it."""
    path = folder / TOKEN_FILE
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        return path.read_text(encoding="ascii").strip()
    with os.fdopen(handle, "w", encoding="ascii") as stream:
        stream.write(token := secrets.token_urlsafe(32))
    return token
