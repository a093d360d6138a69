"""What counts as held-out text pasted into a candidate's source, and what does not."""

import base64
import textwrap
from array import array
from pathlib import Path

import pytest

from tests import honest
from trainer.contract import builtin_tasks, find_task
from trainer.source import LITERAL_KIB, overweight, quotes

TEXT = Path(textwrap.__file__).read_bytes()[:8193]
TOKENS = array("H", [(7 * i + i * i) % 2048 for i in range(4096)])  # stands for a shard of other tokens than bytes
PART = TEXT[1000:1300]

PASTED = {
    "text": f"X = {PART.decode()!r}\n",
    "a docstring": f"def f():\n    {PART.decode()!r}\n",
    "bytes": f"X = {PART!r}\n",
    "many short lines": "X = [" + ", ".join(repr(PART[i : i + 20]) for i in range(0, 300, 20)) + "]\n",
    "hexadecimal": f"X = {PART.hex()!r}\n",
    "base64": f"X = {base64.b64encode(PART).decode()!r}\n",
    "numbers of bytes": f"X = {list(PART)}\n",
    "numbers of tokens": f"X = {list(TOKENS[500:600])}\n",
}


@pytest.mark.parametrize("way", PASTED)
def test_a_copy_is_found(way: str) -> None:
    assert quotes(PASTED[way], TEXT, TOKENS)


@pytest.mark.parametrize("source", [*map(honest.source, honest.VARIANTS), "X = 'wrap'\n", "X = (", "\0"])
def test_honest_files_quote_nothing(source: str) -> None:
    assert not quotes(source, TEXT, TOKENS)
    assert overweight(source, "") is None


def test_a_ruler_is_nobodys_text() -> None:
    assert not quotes(f"X = {'=' * 200!r}\nY = {[0] * 200}\n", b"=" * 500, array("H", [0] * 500))


def test_no_task_of_ours_accuses_itself() -> None:
    for name in builtin_tasks():
        own = find_task(name).editable_path.read_text()
        assert overweight(own, "") is None


def test_what_is_hidden_better_has_to_be_small() -> None:
    own = "X = 'a few words'\n"
    assert overweight(f"X = {'z' * (LITERAL_KIB << 10)!r}\n", own) is None
    assert "KiB of data more" in (overweight(f"X = {'z' * ((LITERAL_KIB + 1) << 10)!r}\n", own) or "")
    assert "KiB of data more" in (overweight(f"X = {list(range(10_000))}\n", own) or "")
