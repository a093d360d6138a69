"""The notebook's commands over a real home: what they find, what leaves, what comes in, and who serves whom."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from typer.testing import CliRunner

from notebook_store.embed import MiniLM
from notebook_store.notebook import Notebook
from swarm.cli import app
from swarm.home import Home
from tests.embedding_server import embedding_server
from tests.unit.test_notebook_api import TRIED


def run(home: Path, *arguments: str) -> Result:
    return CliRunner().invoke(app, ["--home", str(home), "notebook", *arguments])


def swarm(home: Path, *arguments: str) -> str:
    done = run(home, *arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


def told(home: Path, *arguments: str) -> Any:
    return json.loads(swarm(home, *arguments, "--json"))


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose notebook has a claim, two experiments that tried it, and what came out; only to be read."""
    home = Home(tmp_path_factory.mktemp("cli") / "home", create=True)
    with Notebook.open(home.notebook, embedder=MiniLM()) as notebook:
        notebook.extend(TRIED)
        notebook.flush()
    return home.root


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["--kind", "claim"], {"claim-warmup"}),
        (["--kind", "claim", "--kind", "decision"], {"claim-warmup", "e8-decision"}),
        (["--author", "optimizer"], {"e7-hypothesis", "e8-hypothesis"}),
        (["--outcome", "PRUNED"], {"e7-result"}),
        (["--factor", "WARMUP", "--author", "reader"], {"claim-warmup"}),
        (["--session", "other"], set()),
        (["--task", "tinytext", "--kind", "decision"], {"e8-decision"}),
        (["--since", "2026-01-01"], set()),
        (["--until", "2026-01-01T08:00", "--kind", "claim"], {"claim-warmup"}),
    ],
)
def test_filters_hold_for_list_and_search_and_like(home: Path, filters: list[str], ids: set[str]) -> None:
    assert {entry["id"] for entry in told(home, "list", *filters)} == ids
    assert {entry["id"] for entry in told(home, "search", "warmup loss", *filters)} == ids
    assert {entry["id"] for entry in told(home, "like", "e7-hypothesis", *filters)} == ids - {"e7-hypothesis"}


def test_what_is_no_filter_is_refused(home: Path) -> None:
    for option, words in (
        (["--kind", "rumour"], "no kind 'rumour'"),
        (["--since", "yesterday"], "write it as 2026-11"),
    ):
        done = run(home, "list", *option)
        assert done.exit_code == 2
        assert words in done.stderr
    assert run(home, "like", "nowhere").exit_code == 2


def test_a_search_shows_where_the_words_are(home: Path) -> None:
    text = swarm(home, "search", "longer warmup", "--kind", "hypothesis")
    assert "hypothesis  e7-hypothesis" in text
    assert "[Longer] [warmup] of the learning rate" in text


def test_a_claim_is_shown_with_what_came_of_it(home: Path) -> None:
    text = swarm(home, "show", "claim-warmup")
    assert "- PRUNED: Warmup 100 to 200 (e7-hypothesis)" in text
    assert "- CONFIRMED: Warmup 100 to 800 (e8-hypothesis)\n    result: CONFIRMED (e8-result)" in text
    shown = told(home, "show", "e8-decision")
    assert [(one["kind"], one["id"]) for one in shown["rests_on"]] == [
        ("supports", "e8-hypothesis"),
        ("cites", "claim-warmup"),
    ]
    assert told(home, "show", "claim-warmup")["tried"][1]["outcome"] == "CONFIRMED"


def test_everything_leaves_and_comes_in_elsewhere(home: Path, tmp_path: Path) -> None:
    file = tmp_path / "all.jsonl"
    swarm(home, "export", str(file))
    other = Home(tmp_path / "other", create=True)
    Notebook.open(other.notebook, embedder=MiniLM()).close()
    file.write_bytes(file.read_bytes() + b"{broken\n")
    found = told(other.root, "import", str(file))
    assert (found["new"], found["known"], found["refused"][0]["line"]) == (6, 0, 8)
    assert "6 known" in swarm(other.root, "import", str(file))
    assert told(other.root, "list") == told(home, "list")
    assert run(other.root, "import", str(tmp_path / "none.jsonl")).exit_code == 2


def test_exports_for_people_and_papers(home: Path, tmp_path: Path) -> None:
    swarm(home, "export", str(tmp_path / "n.html"))
    assert (tmp_path / "n.html").read_text().count("<article") == 6
    assert "eprint = {1908.03265}" in swarm(home, "export", "--to", "bib")
    assert swarm(home, "export", "--to", "jsonl", "--kind", "claim").count("\n") == 2
    assert run(home, "export", str(tmp_path / "n.docx")).exit_code == 2


@pytest.fixture
def serving_home(tmp_path: Path) -> Iterator[tuple[Path, str, int]]:
    """A home whose notebook is served by another process: the home, the address, the process's id."""
    home = Home(tmp_path / "home", create=True)
    command = [
        sys.executable,
        "-c",
        "from swarm.cli import main; main()",
        "--home",
        str(home.root),
        "notebook",
        "serve",
        "--port",
        "0",
    ]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        assert line.startswith("the notebook is at http://127.0.0.1:")
        yield home.root, line.split()[4].rstrip(";"), server.pid
    finally:
        server.send_signal(signal.SIGTERM)
        assert server.wait(timeout=30) == 0
        assert not (home.notebook / "served.json").exists()


@pytest.mark.slow
def test_others_work_through_the_owner(serving_home: tuple[Path, str, int], tmp_path: Path) -> None:
    home, url, pid = serving_home
    written = told(home, "note", "try a longer warmup")
    assert told(home, "search", "longer warmup")[0]["id"] == written["id"]
    # From elsewhere: the address, and the token of the owner.
    elsewhere = {"SWARM_NOTEBOOK_TOKEN": (home / "notebook" / "token").read_text()}
    away = ["--home", str(tmp_path / "nothing"), "notebook", "list", "--json"]
    done = CliRunner().invoke(app, [*away, "--url", url], env=elsewhere)
    assert [entry["id"] for entry in json.loads(done.stdout)] == [written["id"]]
    done = CliRunner().invoke(app, away, env=elsewhere | {"SWARM_NOTEBOOK_URL": url})
    assert [entry["id"] for entry in json.loads(done.stdout)] == [written["id"]]
    for token, words in (("wrong", "token is missing or wrong"), (None, "set SWARM_NOTEBOOK_TOKEN")):
        done = CliRunner().invoke(app, [*away, "--url", url], env={"SWARM_NOTEBOOK_TOKEN": token})
        assert done.exit_code == 2
        assert words in done.stderr
    second = run(home, "serve")
    assert second.exit_code == 2
    assert f"in use by process {pid}" in second.stderr
    assert f"--url {url}" in second.stderr
    assert told(home, "check")["clean"]


def test_another_embedder_needs_a_reindex_that_shows_its_progress(tmp_path: Path) -> None:
    home = Home(tmp_path / "home", create=True)
    with Notebook.open(home.notebook, embedder=MiniLM()) as notebook:
        notebook.extend(TRIED)
        notebook.flush()
    with embedding_server() as server:
        config = tmp_path / "swarm.toml"
        config.write_text(
            f'[notebook]\nembeddings_url = "{server.url}"\nembeddings_model = "m"\nembeddings_dimension = 64\n'
        )
        done = run(home.root, "reindex", "--config", str(config))
        assert done.exit_code == 0, done.output
        assert done.stdout.endswith("indexed 6 entries anew\n")
        assert "indexing" in done.stderr
        asked = len(server.asked)
        assert asked
        assert told(home.root, "check") == {
            "entries": 6, "embedded": 6, "indexed": 6, "problems": [], "skipped": [], "clean": True,
        }  # fmt: skip
        assert told(home.root, "search", "longer warmup of the learning rate")[0]["id"] == "e7-hypothesis"
        assert len(server.asked) == asked + 1  # the question alone
    found = run(home.root, "search", "warmup")
    assert "meaning was not searched, words alone" in found.stderr
    assert found.exit_code == 0
    config.write_text(f'[notebook]\nembeddings_url = "{server.url}"\n')
    assert "needs embeddings_model" in run(home.root, "reindex", "--config", str(config)).stderr
