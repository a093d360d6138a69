"""Carries a trial to a machine far away and its end back, through one environment variable and standard output.

What comes back is printed in lines of its own kind, each marked, the last one with a checksum. Whatever the way adds
to a line's front (a prefix, a colour) or in between does no harm; a line that is lost or cut is noticed.
Standard library only.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import re
from collections.abc import Iterator, Mapping

VARIABLE = "NIGHTSWARM_TRIAL"  # of the environment, with the packed trial
MAX_PACKED = 100_000  # characters: a job gets all its variables as one argument, of which Linux takes 128 KiB
FOLDER = "folder"  # the name under which a packed trial says where it is kept
_MARK, _END = "NIGHTSWARM-RESULT", "NIGHTSWARM-RESULT-END"
_WIDTH = 2_000  # characters of a line


def pack(files: Mapping[str, str]) -> str:
    """Named texts as one line of plain letters."""
    return base64.b64encode(gzip.compress(json.dumps(dict(files)).encode(), mtime=0)).decode("ascii")


def unpack(packed: str) -> dict[str, str]:
    """Read back what `pack` wrote."""
    files: dict[str, str] = json.loads(gzip.decompress(base64.b64decode(packed)))
    return files


def printed(files: Mapping[str, str]) -> Iterator[str]:
    """The lines that say named texts on standard output."""
    packed = pack(files)
    for start in range(0, len(packed), _WIDTH):
        yield f"{_MARK} {packed[start : start + _WIDTH]}"
    yield f"{_END} {hashlib.sha256(packed.encode()).hexdigest()}"


def found(stdout: str) -> dict[str, str] | None:
    """What `printed` said, the last where it was said twice; None where nothing whole is there."""
    lines: list[str] = []
    last = None
    for mark, text in re.findall(rf"\b({_END}|{_MARK}) (\S+)", stdout):
        if mark == _MARK:
            lines.append(text)
            continue
        packed = "".join(lines)
        lines.clear()
        if hashlib.sha256(packed.encode()).hexdigest() == text:
            last = packed
    return None if last is None else unpack(last)
