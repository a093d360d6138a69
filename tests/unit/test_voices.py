"""What a model is saying right now is seen where people look on: in the terminal and on the first page."""

import html
import io
import json
import re
import threading
import time
from pathlib import Path

import httpx
import pytest
from rich.console import Console

from swarm.config import Limits
from swarm.dashboard import dashboard
from swarm.home import Home
from swarm.view import View
from tests.fakes.endpoint import Reply, Request, endpoint, says
from tests.site import SESSION, running, served
from tests.thinking_session import thinking_bench

SAID = "<script>alert(1)</script> \x1b[31m\u202e the batch is too small " + "and so it goes on " * 40
FIRST = "alert(1)</script> [31m the bat"  # as a terminal is shown it: without what would move or colour it


class Speaker:
    """Says something long, and stops in the middle until it is let go on; then has nothing to propose."""

    def __init__(self) -> None:
        self.speaking, self.go_on = threading.Event(), threading.Event()

    def __call__(self, request: Request) -> Reply:
        if self.speaking.is_set():
            return says({"wave": None, "experiments": []})
        return Reply(text=SAID, midway=self._wait)

    def _wait(self) -> None:
        self.speaking.set()
        self.go_on.wait(60)


def drawn(view: View) -> str:
    console = Console(file=io.StringIO(), width=80, highlight=False)
    console.print(dashboard(view.refresh()))
    return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


@pytest.mark.slow
def test_what_a_model_is_saying_is_seen_while_it_says_it(tmp_path: Path) -> None:
    speaker = Speaker()
    with endpoint(speaker) as server:
        made = thinking_bench(tmp_path, server, ["proposer"], limits=Limits(hours=None), proposers=["llm"])
        with made.thinking(), running(made, 0.05), View(Home(tmp_path, create=False)) as view:
            assert speaker.speaking.wait(60)
            while not any(voice.said for voice in view.refresh().voices()):
                time.sleep(0.01)  # another thread's note is watched: there is no event to await
            picture = drawn(view)
            with served(tmp_path) as url, httpx.Client(base_url=url, timeout=30) as client:
                page = client.get(f"/s/{SESSION}").text
                key = re.search(r'data-key="([^"]*)"', page)
                assert key
                with client.stream("GET", f"/s/{SESSION}/live", params={"key": html.unescape(key.group(1))}) as stream:
                    lines = stream.iter_lines()
                    assert next(lines).startswith("retry:")
                    speaker.go_on.set()
                    puts = (json.loads(line[5:])["put"] for line in lines if line.startswith("data:"))
                    assert any("the bat</q>" not in put.get("voices", "the bat</q>") for put in puts)  # further on
            assert "proposer-llm" not in drawn(view)

    line = next(line for line in picture.splitlines() if "proposer-llm" in line)
    assert "thinks" in line
    assert FIRST in line
    assert len(picture.splitlines()) <= 24
    assert "\x1b" not in picture
    told = re.search(r'<div id="voices">(.*?)</dl>', page, flags=re.DOTALL)
    assert told
    assert "proposer-llm" in told.group(1)
    assert html.escape(FIRST.split(maxsplit=1)[0]) in told.group(1)
    assert "<script>" not in told.group(1)
    assert len(told.group(1)) < 600
