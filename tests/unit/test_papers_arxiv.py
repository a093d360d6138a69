"""Fetching from arXiv, over a real socket: pages, the cache, patience with a busy server, and plain words offline."""

import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from papers import formats
from papers.arxiv import KEPT, PAGE, PAUSE, TRIES, Arxiv, ArxivError, search_query
from papers.record import Record
from tests.arxiv_server import ArxivServer, arxiv_server, feed


@pytest.fixture
def server() -> Iterator[ArxivServer]:
    with arxiv_server([f"Paper {number}" for number in range(250)]) as running:
        yield running


class Waits(list[float]):
    """Stands for waiting, and keeps how long it would have been."""

    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def titles(files: list[Path]) -> list[str]:
    return [item.title for file in files for item in formats.read(file) if isinstance(item, Record)]


def test_pages_are_fetched_with_a_pause_between(server: ArxivServer, tmp_path: Path) -> None:
    waits = Waits()
    found = titles(Arxiv(tmp_path, url=server.url, wait=waits).fetch("learning rate", 230))
    assert found == [f"Paper {number}" for number in range(230)]
    assert [(asked["start"], asked["max_results"]) for asked in server.asked] == [
        ("0", "100"),
        ("100", "100"),
        ("200", "30"),
    ]
    assert {asked["search_query"] for asked in server.asked} == {"all:learning AND all:rate"}
    assert waits == [PAUSE, PAUSE]


def test_it_ends_where_the_results_end(server: ArxivServer, tmp_path: Path) -> None:
    del server.titles[3:]
    assert titles(Arxiv(tmp_path, url=server.url, wait=Waits()).fetch("x", 500)) == ["Paper 0", "Paper 1", "Paper 2"]
    assert len(server.asked) == 1


def test_the_same_again_comes_from_the_cache_for_a_day(server: ArxivServer, tmp_path: Path) -> None:
    files = Arxiv(tmp_path, url=server.url, wait=Waits()).fetch("x", 10)
    assert Arxiv(tmp_path, url=server.url, wait=Waits()).fetch("x", 10) == files
    assert len(server.asked) == 1
    long_ago = time.time() - KEPT - 1
    os.utime(files[0], (long_ago, long_ago))
    assert Arxiv(tmp_path, url=server.url, wait=Waits()).fetch("x", 10) == files
    assert len(server.asked) == 2


def test_a_busy_server_is_asked_again_later_and_later(server: ArxivServer, tmp_path: Path) -> None:
    server.faults = [(429, {}, b""), (503, {"Retry-After": "40"}, b""), (429, {"Retry-After": "1"}, b"")]
    waits, told = Waits(), list[str]()
    assert len(titles(Arxiv(tmp_path, url=server.url, wait=waits, tell=told.append).fetch("x", 5))) == 5
    assert waits == [PAUSE, 40.0, 4 * PAUSE]
    assert told[0] == "arXiv is busy (429); trying again in 3 s"


def test_half_an_answer_and_an_empty_page_are_asked_for_again(server: ArxivServer, tmp_path: Path) -> None:
    server.faults = [(200, {}, feed(["Cut"], 250)[:-20]), (200, {}, feed([], 250))]
    assert titles(Arxiv(tmp_path, url=server.url, wait=Waits()).fetch("x", 2)) == ["Paper 0", "Paper 1"]


@pytest.mark.parametrize(
    ("faults", "message"),
    [
        ([(429, {}, b"")] * TRIES, r"busy \(429\), 5 times in a row; try again later"),
        ([(503, {"Retry-After": "3600"}, b"")], "come back in 3600 s"),
        ([(400, {}, b"")], "answered 400 Bad Request; check the query"),
    ],
)
def test_what_does_not_pass_is_said_in_one_line(
    server: ArxivServer, tmp_path: Path, faults: list[tuple[int, dict[str, str], bytes]], message: str
) -> None:
    server.faults = list(faults)
    with pytest.raises(ArxivError, match=message):
        Arxiv(tmp_path, url=server.url, wait=Waits()).fetch("x", PAGE)
    assert list(tmp_path.iterdir()) == []  # nothing of it is kept


def test_a_query_that_arxiv_refuses(server: ArxivServer, tmp_path: Path) -> None:
    error = feed(["Error"], 1).replace(
        b"http://arxiv.org/abs/2401.00000v1", b"http://arxiv.org/api/errors#incorrect_id"
    )
    server.faults = [(200, {}, error)]
    with pytest.raises(ArxivError, match="arXiv refused the query: All about Error"):
        Arxiv(tmp_path, url=server.url, wait=Waits()).fetch("id:nonsense", 5)
    assert list(tmp_path.iterdir()) == []


def test_offline_is_said_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as bound:  # a port on which nobody listens
        bound.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{bound.getsockname()[1]}/"
        with pytest.raises(
            ArxivError, match=r"cannot be reached \(.*refused.*\); this needs the network: .* `swarm papers add`"
        ):
            Arxiv(tmp_path, url=url, wait=Waits()).fetch("x", 5)


def test_an_address_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ArxivError, match="must begin with https"):
        Arxiv(tmp_path, url="file:///etc/passwd")


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("warmup", "all:warmup"),
        ('"learning rate" warmup', 'all:"learning rate" AND all:warmup'),
        ("au:Loshchilov AND ti:decay", "au:Loshchilov AND ti:decay"),
    ],
)
def test_queries(query: str, expected: str) -> None:
    assert search_query(query) == expected
