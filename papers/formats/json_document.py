"""JSON that spreads over lines: an array of papers, one paper, or an API's answer (see shapes.py)."""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterator

from papers.formats import jsonl
from papers.formats.source import LINE_BYTES, Source, UnreadableError
from papers.record import Record, Refusal

_READ_BYTES = 256 * 1024
_BETWEEN = " \t\r\n,"


def matches(head: bytes) -> bool:
    """An array, or an object whose first line breaks off where a value would follow."""
    content = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    first = content.split(b"\n", 1)[0].rstrip()
    return _is_array(content) or (content.startswith(b"{") and first.endswith((b"{", b"[", b",")))


def read(source: Source) -> Iterator[Record | Refusal]:
    if _is_array(source.head.removeprefix(b"\xef\xbb\xbf").lstrip()):
        yield from _array(source)
        return
    try:
        value = json.loads(source.text())
    except (ValueError, RecursionError) as error:
        raise UnreadableError(f"not JSON: {error}") from error
    yield from jsonl.records(value, str(source.path))


def _is_array(content: bytes) -> bool:
    return content.startswith(b"[") and content[1:].lstrip()[:1] in (b"{", b"]")


def _array(source: Source) -> Iterator[Record | Refusal]:
    """The items of an array, each decoded when it is whole, so that no more than one is held."""
    decoder, number = json.JSONDecoder(), 0
    with source.open() as stream:
        text = codecs.getreader("utf-8-sig")(stream)
        held, step = _read(text, _READ_BYTES).lstrip()[1:], _READ_BYTES
        while True:
            held = held.lstrip(_BETWEEN)
            if held.startswith("]"):
                return
            try:
                item, end = decoder.raw_decode(held)
            except (ValueError, RecursionError) as error:
                if len(held) > LINE_BYTES:
                    raise UnreadableError(f"item {number + 1} is longer than {LINE_BYTES >> 20} MB") from error
                more = _read(text, step)
                if not more:
                    reason = f"item {number + 1} of the array is broken or cut off; what follows is not read"
                    raise UnreadableError(reason) from error
                held, step = held + more, 2 * step
            else:
                held, step, number = held[end:], _READ_BYTES, number + 1
                yield from jsonl.records(item, f"{source.path} item {number}")


def _read(text: codecs.StreamReader, size: int) -> str:
    try:
        return text.read(size)
    except UnicodeDecodeError as error:
        raise UnreadableError(f"not UTF-8: {error.reason}; what follows is not read") from error
