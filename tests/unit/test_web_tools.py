"""The report and the tools for coding agents, as a person and an agent use them."""

import json
import re
import sys
from pathlib import Path
from typing import Any

import pytest
from mcp import ClientSession, StdioServerParameters, stdio_client
from typer.testing import CliRunner

from notebook_store.notebook import Notebook
from swarm.cli import app
from swarm.home import Home
from swarm.view import View
from swarm.web.report import write_report
from tests.site import SESSION, copy_of, finished

pytestmark = pytest.mark.slow  # a session is made for them


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_of(finished(), tmp_path_factory.mktemp("tools"))


def written(home: Path, folder: Path, form: str) -> str:
    place = Home(home, create=False)
    with View(place, SESSION) as view, Notebook.read(place.notebook) as notebook:
        made = write_report(view.refresh(), notebook, folder, form)
    assert made.page.parent == folder
    assert [picture.read_bytes()[:4] for picture in made.pictures] == [b"\x89PNG"] * 2
    return made.page.read_text(encoding="utf-8")


def test_the_report_is_one_page_that_needs_nothing_else(home: Path, tmp_path: Path) -> None:
    page = written(home, tmp_path / "new", "html")
    assert not re.search(r"(src|href)=|url\(|@import|<script", page)
    with View(Home(home, create=False), SESSION) as view:
        state = view.refresh().state
        incumbent = view.status()["incumbent"]
    assert f"{incumbent['value']:.4f}" in page
    for name in state.incumbents[1:]:
        assert name in page
    for heading in ("What was gained", "How sure, and why", "At what cost", "What failed", "Next ideas"):
        assert f"<h2>{heading}</h2>" in page
    assert "X: larger X lowers the loss" in page
    assert "hidden shard" in page


def test_the_report_in_markdown_shows_its_pictures(home: Path, tmp_path: Path) -> None:
    page = written(home, tmp_path, "md")
    for picture in re.findall(r"!\[progress\]\((.+)\)", page):
        assert (tmp_path / picture).exists()
    assert page.count("![progress]") == 2
    assert "## Next ideas" in page


def test_a_report_that_cannot_be_written_says_so(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="ascii")
    done = CliRunner().invoke(app, ["report", "--home", str(home), "--to", str(tmp_path / "file")])
    assert done.exit_code == 2


async def test_a_coding_agent_searches_reads_and_leaves_a_note(home: Path) -> None:
    server = StdioServerParameters(
        command=sys.executable,
        args=["-c", "from swarm.cli import main; main()", "mcp", "--home", str(home), "--author", "robot"],
    )
    async with stdio_client(server) as (read, write), ClientSession(read, write) as session:
        await session.initialize()
        names = {tool.name for tool in (await session.list_tools()).tools}
        assert names == {
            "status",
            "search_notebook",
            "read_entry",
            "list_experiments",
            "read_experiment",
            "leave_note",
        }

        async def call(name: str, **arguments: Any) -> Any:
            result = await session.call_tool(name, arguments)
            assert not result.is_error, result.content
            return (result.structured_content or {}).get("result", result.structured_content)

        assert (await call("status"))["session"] == SESSION
        kept = await call("list_experiments", status="CONFIRMED")
        whole = await call("read_experiment", experiment=kept[0]["id"])
        assert whole["diff"].startswith("diff --git")
        assert (await call("read_entry", entry_id="claim-x"))["factors"] == ["X"]
        note = await call("leave_note", text="X = 3.0", session=SESSION, about="claim-x")
        refused = await session.call_tool("read_experiment", {"experiment": f"{SESSION}-e999"})
        assert refused.is_error
        assert "no experiment" in json.dumps([part.model_dump(mode="json") for part in refused.content])
    with Notebook.read(home / "notebook") as notebook:
        assert (notebook.get(note).author, notebook.get(note).body) == ("robot", "X = 3.0")
