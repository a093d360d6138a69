"""JSON lines: an object a line, each a paper or an API's answer full of papers (see shapes.py)."""

from __future__ import annotations

import json
from collections.abc import Iterator

from papers.formats import shapes
from papers.formats.source import LINE_BYTES, Source
from papers.record import Record, Refusal

_BOM = b"\xef\xbb\xbf"


def matches(head: bytes) -> bool:
    return head.removeprefix(_BOM).lstrip().startswith(b"{")


def read(source: Source) -> Iterator[Record | Refusal]:
    for number, line in source.lines():
        where = f"{source.path} line {number}"
        if line is None:
            yield Refusal(where=where, reason=f"longer than {LINE_BYTES >> 20} MB, the limit for one line")
        elif line.strip():
            yield from _parse(line.removeprefix(_BOM), where)


def _parse(line: bytes, where: str) -> Iterator[Record | Refusal]:
    try:
        value = json.loads(line)
    except UnicodeDecodeError as error:
        yield Refusal(where=where, reason=f"not UTF-8 at byte {error.start} of the line")
    except json.JSONDecodeError as error:
        yield Refusal(where=where, reason=f"not JSON: {error.msg} at column {error.colno}")
    except RecursionError:
        yield Refusal(where=where, reason="not a paper: JSON nested too deeply")
    except ValueError as error:  # an integer of thousands of digits
        yield Refusal(where=where, reason=f"not JSON: {error}")
    else:
        yield from records(value, where)


def records(value: object, where: str) -> Iterator[Record | Refusal]:
    """The papers of one JSON value."""
    for number, item in enumerate(shapes.unwrap(value), 1):
        try:
            yield shapes.parse(item)
        except ValueError as error:
            yield Refusal(where=where if item is value else f"{where} item {number}", reason=str(error))
