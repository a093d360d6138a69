"""Keeps what SkyPilot prints out of the terminal: while a thread is in one of its calls, it prints into a file."""

import io
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO, cast


class _Now(threading.local):
    """Where a thread prints."""

    file: TextIO | None = None  # None: to the terminal, as ever


_now = _Now()


@contextmanager
def printing_to(path: Path | None) -> Iterator[None]:
    """What this thread prints meanwhile goes to the end of ``path``; None: nowhere. Other threads print as ever.

    SkyPilot's logger keeps the standard output that it finds when sky is imported, so that belongs in here too.
    """
    # Rich stands before standard output while its live display runs, and would take one before itself for the terminal.
    if not isinstance(sys.stdout, _Parted) and not hasattr(sys.stdout, "rich_proxied_file"):
        sys.stdout = cast(TextIO, _Parted(sys.stdout))
    before = _now.file
    with io.StringIO() if path is None else path.open("a", encoding="utf-8") as file:
        try:
            _now.file = file
            yield
        finally:
            _now.file = before


class _Parted:
    """Standard output as it was, but a file for threads that print aside."""

    def __init__(self, usual: TextIO) -> None:
        self._usual = usual

    def __getattr__(self, name: str) -> Any:
        return getattr(_now.file or self._usual, name)
