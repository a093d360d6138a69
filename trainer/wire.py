"""JSON lines between two processes over a Unix socket pair, each with at most one open file handed along."""

from __future__ import annotations

import array
import json
import os
import socket
from collections.abc import Mapping
from typing import Any

MAX_LINE = 1 << 16  # bytes; a longer line comes from a hostile peer


class Wire:
    """One end of the pair."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = b""
        self._files: list[int] = []

    @classmethod
    def pair(cls) -> tuple[Wire, Wire]:
        """Two connected ends."""
        left, right = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        return cls(left), cls(right)

    @classmethod
    def inherited(cls, number: int) -> Wire:
        """The end that a parent passed as an open file."""
        return cls(socket.socket(fileno=number))

    def fileno(self) -> int:
        """The open file's number, for selectors and for passing on."""
        return self.sock.fileno()

    def close(self) -> None:
        """Close this end; the peer then receives None."""
        self.sock.close()

    def send(self, message: Mapping[str, Any], file: int | None = None) -> None:
        """Send one message. Raises OSError where the peer is gone."""
        data = json.dumps(message).encode() + b"\n"
        if file is None:
            self.sock.sendall(data)
        else:
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))]
            sent = self.sock.sendmsg([data], rights)
            self.sock.sendall(data[sent:])

    def receive(self) -> dict[str, Any] | None:
        """The next message, waiting for it; None once the peer has closed."""
        while (message := self.next_buffered()) is None:
            if not self.fill():
                return None
        return message

    def fill(self) -> bool:
        """Read once what has arrived (blocks where nothing has); False once the peer has closed."""
        try:
            data, ancillary, _, _ = self.sock.recvmsg(MAX_LINE, socket.CMSG_LEN(4))
        except ConnectionError:
            return False
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                self._files.extend(array.array("i", content[:4]))
        self._buffer += data
        return bool(data) and len(self._buffer) <= 4 * MAX_LINE

    def next_buffered(self) -> dict[str, Any] | None:
        """A message that is already here, or None. Raises ValueError where it is not a JSON object."""
        line, newline, rest = self._buffer.partition(b"\n")
        if not newline:
            return None
        self._buffer = rest
        message = json.loads(line)
        if not isinstance(message, dict):
            raise ValueError(f"expected a JSON object, got {line[:80]!r}")  # noqa: TRY004 - as for other bad JSON
        return message

    def take_file(self) -> int:
        """The open file that came with a message. Raises OSError where none did."""
        if not self._files:
            raise OSError("no open file came with the message")
        return self._files.pop(0)

    def drop_files(self) -> None:
        """Close files that nobody asked for."""
        while self._files:
            os.close(self._files.pop())
