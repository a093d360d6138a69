"""Serves the pages: a socket that is bound first, so that its port is known, and a server on it."""

import asyncio
import os
import secrets
import socket
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass

import uvicorn

from swarm.errors import InputError
from swarm.home import Home
from swarm.web.app import make_app
from swarm.web.desk import Desk
from swarm.web.guard import Guard, Pass, is_loopback
from swarm.web.reading import Doors, Reading

PORT = 8765  # where the pages are when nobody wishes otherwise; the next free port where it is taken
TOKEN = "SWARM_TOKEN"  # noqa: S105 - the name of the variable that may hold one
_CLOSING_SECONDS = 2  # that open streams get to end
_LOOK_SECONDS = 0.2  # between two looks whether it is over
_WARM_SECONDS = 3.0  # that a server may take to read the newest session before it says that it is ready


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where the pages are."""

    socket: socket.socket  # listening: who comes early waits to be served
    host: str
    port: int
    token: str | None  # None: on loopback none is needed

    @property
    def url(self) -> str:
        """What to open; with the token, where one is needed."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}/" + (f"?token={self.token}" if self.token else "")


def bind(host: str, port: int | None) -> Place:
    """A place for the pages; port None: PORT, else any that is free. Raises InputError."""
    token = None if is_loopback(host) else os.environ.get(TOKEN) or secrets.token_urlsafe(24)
    for wanted in (PORT, 0) if port is None else (port,):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        made = socket.socket(family, socket.SOCK_STREAM)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            made.bind((host, wanted))
            made.listen()
        except OSError as error:
            made.close()
            if wanted == PORT and port is None:
                continue
            raise InputError(
                f"cannot listen on {host} port {wanted}: {error.strerror}; choose another --port or --host"
            ) from error
        return Place(socket=made, host=host, port=made.getsockname()[1], token=token)
    raise AssertionError("port 0 is always free")


def serve(
    home: Home, doors: Doors, place: Place, *, ready: Callable[[], None], over: threading.Event | None = None
) -> None:
    """Serve until Ctrl-C or SIGTERM, or until ``over`` is set; ``ready`` is called before the first page is."""
    names = frozenset({"localhost", place.host.lower(), socket.gethostname().lower()})
    with closing(Reading(home, doors)) as reading:
        app, desk = make_app(reading, Pass(token=place.token, names=names))
        warming = threading.Thread(target=desk.warm)  # a first page would else wait for it
        warming.start()
        warming.join(_WARM_SECONDS)
        ready()
        asyncio.run(_serve(app, desk, place, over or threading.Event()))
        warming.join()


async def _serve(app: Guard, desk: Desk, place: Place, over: threading.Event) -> None:
    config = uvicorn.Config(
        app,
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=_CLOSING_SECONDS,
        lifespan="off",
        ws="none",
    )
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server.serve(sockets=[place.socket]))
    while not serving.done() and not server.should_exit:
        server.should_exit = over.is_set()
        await asyncio.sleep(_LOOK_SECONDS)
    desk.over.set()  # streams end by themselves; the server waits for them
    await serving
