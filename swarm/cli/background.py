"""A session without a terminal: a process of its own, its lines in a log that rolls over."""

import io
import logging
import os
import sys
from collections.abc import Callable
from logging.handlers import RotatingFileHandler
from pathlib import Path

LOG = "session.log"  # in the session's folder
LOG_BYTES = 10_000_000  # a log this long is put aside
LOGS_KEPT = 5  # of those put aside; older ones are dropped

Begun = Callable[[Path], None]  # told the session's folder once the session works


def detached(work: Callable[[Begun], None]) -> tuple[int, Path]:
    """Do ``work`` in a process of its own; its pid and the session's folder, once it has begun.

    Until then it speaks on this terminal, so that its mistakes are seen here, and its exit code is ours; from then on
    it speaks into the log. Call it before any thread is started.
    """
    begun, ready = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(begun)
        os.setsid()
        work(lambda folder: _leave(folder, ready))
        raise SystemExit(0)
    os.close(ready)
    with os.fdopen(begun, encoding="utf-8") as pipe:
        if folder := pipe.read():
            return pid, Path(folder)
    raise SystemExit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))


def _leave(folder: Path, ready: int) -> None:
    """Part from the terminal and tell the waiting parent so."""
    folder.mkdir(parents=True, exist_ok=True)
    sys.stdout = sys.stderr = log_in(folder)
    nothing = os.open(os.devnull, os.O_RDONLY)
    last_words = os.open(folder / "stderr.log", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(nothing, 0)
    os.dup2(last_words, 1)  # what is not Python's to say: a library that aborts
    os.dup2(last_words, 2)
    os.write(ready, str(folder).encode())
    os.close(ready)


def log_in(folder: Path) -> io.TextIOBase:
    """The log of a session in the background, which rolls over."""
    return _Lines(RotatingFileHandler(folder / LOG, maxBytes=LOG_BYTES, backupCount=LOGS_KEPT, encoding="utf-8"))


class _Lines(io.TextIOBase):
    """A text stream whose lines go to a logging handler as they are."""

    def __init__(self, handler: logging.Handler) -> None:
        self._handler = handler
        self._rest = ""

    def write(self, text: str) -> int:
        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._handler.emit(logging.LogRecord("swarm", logging.INFO, "", 0, line, None, None))
        return len(text)
