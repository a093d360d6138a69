"""The pages with the notebook and the library they read: alone, or as a companion of a session."""

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from notebook_store.errors import NoNotebook
from notebook_store.notebook import Notebook
from swarm.assemble.stores import open_library, open_notebook
from swarm.home import Home
from swarm.web.reading import Doors, Reading
from swarm.web.serving import Place, bind, serve

_NICE = 5  # a companion steps back when a trial or the session wants the core


def opened_reading(home: Home) -> Reading:
    """A home as the pages read it, to be closed."""
    return Reading(home, _doors(home))


def serve_pages(home: Home, place: Place, ready: Callable[[], None]) -> None:
    """Serve a home until Ctrl-C; ``ready`` is called once, when a page would come at once."""
    serve(home, _doors(home), place, ready=ready)


@contextmanager
def companion(home: Home) -> Iterator[str]:
    """Pages in a process of their own beside a session; the block gets their address.

    A process of its own, so that a reader who searches and draws takes nothing from the session's event loop. It ends
    with the block, and with this process however that ends: its standard input is a pipe that only we hold.
    """
    place = bind("127.0.0.1", None)
    place.socket.set_inheritable(True)
    told = json.dumps({"home": str(home.root), "fd": place.socket.fileno(), "port": place.port})
    process = subprocess.Popen(
        [sys.executable, "-m", "swarm.assemble.pages", told],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is the session's
        pass_fds=[place.socket.fileno()],
    )
    place.socket.close()
    try:
        yield place.url
    finally:
        assert process.stdin is not None
        process.stdin.close()
        process.wait()


def _doors(home: Home) -> Doors:
    def notebook() -> Notebook:
        if not home.notebook.exists():
            raise NoNotebook(f"the notebook of {home.root} is still empty")
        return open_notebook(home)

    return Doors(notebook=notebook, library=lambda: open_library(home))


def _main(told: str) -> None:
    """The companion's process."""
    os.nice(_NICE)
    given = json.loads(told)
    home = Home(Path(given["home"]), create=False)
    place = Place(socket=socket.socket(fileno=given["fd"]), host="127.0.0.1", port=given["port"], token=None)
    over = threading.Event()

    def watch() -> None:
        sys.stdin.buffer.read()  # ends when nobody holds the other end of the pipe any more
        over.set()

    threading.Thread(target=watch, daemon=True).start()
    serve(home, _doors(home), place, ready=lambda: None, over=over)


if __name__ == "__main__":
    _main(sys.argv[1])
