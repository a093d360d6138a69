"""Looks in a candidate's source for held-out text that somebody pasted there, without running a line of it.

A copy is found where 96 bytes in a row are the shard's, as text, bytes, hexadecimal or base64 literals, or 48 numbers
in a row are its tokens. What is hidden better has to be small: literals may weigh 16 KiB more than in the task's own
file. A smaller copy, compressed, is left to the hidden shard, where it gains nothing.

Standard library only.
"""

from __future__ import annotations

import ast
import base64
import binascii
from collections.abc import Iterable, Sequence
from typing import Any

BLOCK_BYTES, BLOCK_TOKENS = 48, 24  # compared block by block: any run of two blocks holds one whole
DISTINCT = 10  # different bytes or tokens in a block worth comparing: a ruler of dashes is nobody's text
LITERAL_KIB = 16  # literals may weigh so much more than those of the task's own file


def literals(source: str) -> tuple[list[bytes], list[int]]:
    """All text and bytes, and all whole numbers that a file spells out, in order; none where it is no Python."""
    try:
        tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return [], []  # it cannot run either
    values = [node.value for node in ast.walk(tree) if isinstance(node, ast.Constant)]
    texts = [v.encode("utf-8", "replace") if isinstance(v, str) else v for v in values if isinstance(v, str | bytes)]
    return texts, [v for v in values if isinstance(v, int) and not isinstance(v, bool)]


def weight(source: str) -> int:
    """What a file's literals weigh, in bytes."""
    texts, numbers = literals(source)
    return sum(map(len, texts)) + sum(len(str(n)) for n in numbers)


def overweight(source: str, own: str) -> str | None:
    """Why a file carries too much data to be a training script, beside the task's `own`; None where it does not."""
    more = weight(source) - weight(own)
    if more <= LITERAL_KIB << 10:
        return None
    return f"its source carries {more >> 10} KiB of data more than the task's own file; {LITERAL_KIB} KiB are allowed"


def quotes(source: str, text: bytes, tokens: Sequence[int]) -> bool:
    """Whether a file spells out a part of a held-out text, or of its tokens."""
    texts, numbers = literals(source)
    blocks = set(_blocks(text, BLOCK_BYTES))
    everything = b"".join(texts)
    if any(_holds(run, blocks, BLOCK_BYTES) for run in (everything, *_decoded(texts))):
        return True
    if all(0 <= n < 256 for n in numbers) and _holds(bytes(numbers), blocks, BLOCK_BYTES):
        return True
    token_blocks = {tuple(block) for block in _blocks(tokens, BLOCK_TOKENS)}
    return any(tuple(numbers[i : i + BLOCK_TOKENS]) in token_blocks for i in range(len(numbers) - BLOCK_TOKENS + 1))


def _blocks(run: Sequence[int], size: int) -> Iterable[Any]:
    cuts = (run[i : i + size] for i in range(0, len(run) - size + 1, size))
    return (cut for cut in cuts if len(set(cut)) >= DISTINCT)


def _holds(run: bytes, blocks: set[bytes], size: int) -> bool:
    return any(run[i : i + size] in blocks for i in range(len(run) - size + 1))


def _decoded(texts: Iterable[bytes]) -> Iterable[bytes]:
    for text in texts:
        if len(text) > 2 * BLOCK_BYTES:
            for decode in (binascii.unhexlify, base64.b64decode):
                try:
                    yield decode(text)
                except (binascii.Error, ValueError):
                    continue
