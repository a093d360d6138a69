"""`swarm papers` as a user runs it, over a library of a few papers."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from swarm.assemble.choice import StartRequest
from swarm.assemble.session import opened_session
from swarm.assemble.stores import open_library
from swarm.cli import app
from swarm.home import Home
from tests.arxiv_server import ArxivServer, arxiv_server
from tests.paper_files import WARMUP_PDF
from tests.small_home import task_folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with the starter corpus and a mixed folder in it."""
    place = tmp_path_factory.mktemp("home")
    folder = place / "mixed"
    folder.mkdir()
    (folder / "paper.pdf").write_bytes(WARMUP_PDF)
    (folder / "photo.pdf").write_bytes(b"\xff\xd8\xff\xe0\x00\x10JFIF")
    (folder / "refs.ris").write_text("TY  - JOUR\nTI  - Zebra stripes\nAU  - Roe, Ina\nAB  - On zebras.\nER  - \n")
    (folder / "twice.csv").write_text("title,abstract\nZebra stripes,On zebras.\n")
    added = run(place, "add", str(folder))
    assert added.exit_code == 0, added.output
    return place


@pytest.fixture
def server() -> Iterator[ArxivServer]:
    with arxiv_server(["Okapi ranking", "Okapi scoring"]) as running:
        yield running


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home / "home"), "papers", *arguments])


def told(home: Path, *arguments: str) -> Any:
    done = run(home, *arguments, "--json")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def test_what_became_of_each_is_in_a_table(home: Path) -> None:
    again = told(home, "add", str(home / "mixed"))
    assert {key: again[key] for key in ("new", "known", "completed", "unreadable_count")} == {
        "new": 0, "known": 3, "completed": 0, "unreadable_count": 1,
    }  # fmt: skip
    (home / "mixed" / "more.csv").write_text("title,year\nZebra stripes,2020\nOkapi stripes,2021\n")
    report = told(home, "add", str(home / "mixed"))
    rows = [line.split("\t") for line in Path(report["details"]).read_text().splitlines()]
    (home / "mixed" / "more.csv").unlink()
    assert rows[0] == ["outcome", "paper", "reason", "where"]
    outcomes = {row[3].rpartition("/")[2]: row[:3] for row in rows[1:]}
    assert outcomes["paper.pdf"] == ["known", "", "the file was read before; it holds 1 papers"]
    assert outcomes["photo.pdf"][0] == "unreadable"
    assert outcomes["more.csv record 1"][::2] == ["known", "the same title"]
    assert outcomes["more.csv record 2"][0] == "new"


def test_add_for_people(home: Path) -> None:
    done = run(home, "add", str(home / "mixed" / "photo.pdf"))
    assert "0 new, 0 known, 0 completed, 1 unreadable" in done.stdout
    assert "photo.pdf: not a format of papers: a JPEG image" in done.stdout
    assert "last-add.tsv" in done.stdout


def test_search_has_its_fields_and_shows_the_place(home: Path) -> None:
    best = told(home, "search", "dropout was harmful")[0]
    assert set(best) == {"id", "title", "score", "year", "snippet", "page"}
    assert (best["id"], best["page"]) == ("arXiv:2309.01234", 2)
    assert "p. 2: " in run(home, "search", "dropout was harmful").stdout


def test_authors_are_found_too(home: Path) -> None:
    assert told(home, "search", "Roe zebra")[0]["title"] == "Zebra stripes"
    assert "Loshchilov" in " ".join(told(home, "show", told(home, "search", "Loshchilov Hutter")[0]["id"])["authors"])


def test_list_and_show(home: Path) -> None:
    listed = told(home, "list", "--limit", "3")
    assert len(listed) == 3
    assert set(listed[0]) == {"id", "title", "authors", "year"}
    shown = told(home, "show", "arXiv:2309.01234")
    assert set(shown) == {"id", "title", "authors", "year", "url", "passages"}
    assert [set(passage) for passage in shown["passages"]] == [{"page", "section", "text"}] * 2
    missing = run(home, "show", "nobody")
    assert missing.exit_code == 2
    assert "papers list" in missing.stderr


def test_a_path_that_is_not_there(home: Path) -> None:
    done = run(home, "add", str(home / "nowhere"))
    assert done.exit_code == 2
    assert "check the path" in done.stderr


def test_fetch_adds_what_arxiv_finds(home: Path, server: ArxivServer) -> None:
    assert told(home, "fetch", "okapi", "--url", server.url)["new"] == 2
    assert told(home, "search", "okapi scoring")[0]["id"] == "arXiv:2401.00001"
    assert told(home, "fetch", "okapi", "--url", server.url)["known"] == 2
    assert len(server.asked) == 1


def test_fetch_offline_is_one_line(home: Path, server: ArxivServer) -> None:
    server.faults = [(403, {}, b"")]
    done = run(home, "fetch", "warmup", "--url", server.url)
    assert done.exit_code == 1
    assert done.stderr.startswith("swarm: arXiv answered 403")
    assert done.stderr.count("\n") == 1


async def test_a_session_begins_with_the_papers_it_was_given(tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("title,abstract\nWombat schedules,Wombats warm up slowly.\n,No title\n")
    task, said = task_folder(tmp_path / "task"), list[str]()
    request = StartRequest(task=str(task), papers=(tmp_path / "mine.csv",))
    home = Home(tmp_path / "home", create=True)
    async with opened_session(home, request, said.append):
        with open_library(home) as library:  # beside the session that owns it
            assert library.search("wombat warmup", 1)[0].title == "Wombat schedules"
    assert any("papers: 1 new, 0 known, 1 unreadable; see " in line for line in said)


def test_a_session_is_not_begun_with_papers_that_are_not_there(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, ["--home", str(tmp_path / "home"), "start", "tinytext", "--papers", "nowhere"])
    assert done.exit_code == 2
    assert "no file or folder nowhere" in done.stderr
    assert not (tmp_path / "home").exists()
