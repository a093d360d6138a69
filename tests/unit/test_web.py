"""The pages without a browser: who is refused, what is escaped, what a stream carries."""

import html
import json
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event

import httpx
import pytest

from notebook_store.entry import Kind
from notebook_store.notebook import Notebook
from swarm.home import Home
from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.ports import Slot, SystemClock
from swarm.research.ledger import Kind as LedgerKind
from swarm.research.ledger import Ledger
from swarm.web.drawing import Scale, ceiling, ticks
from swarm.web.guard import Pass
from swarm.web.reading import Reading
from swarm.web.serving import bind
from swarm.web.text import markdown, shown
from tests.site import HOSTILE, SESSION, copy_of, doors, finished, served
from tests.small_home import bare_home

pytestmark = pytest.mark.slow  # a session and a server are made for them


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[httpx.Client, Path]]:
    home = copy_of(finished(), tmp_path_factory.mktemp("web"))
    with served(home) as url, httpx.Client(base_url=url, timeout=30) as client:
        yield client, home


def form_of(client: httpx.Client) -> str:
    """The word that every form of ours carries."""
    found = re.search(r'name="form" value="([^"]+)"', client.get(f"/s/{SESSION}").text)
    assert found
    return found.group(1)


PAGES = (
    f"/s/{SESSION}",
    f"/s/{SESSION}?by=experiments",
    f"/s/{SESSION}/experiments",
    f"/s/{SESSION}/experiments?q=X&status=PRUNED&sort=gain&order=asc",
    f"/e/{SESSION}-e000",
    f"/e/{SESSION}-e001",
    "/notebook",
    "/notebook?q=X&kind=claim",
    "/notebook/claim-x",
    f"/s/{SESSION}/influence",
    "/papers",
    "/papers?q=adam",
    f"/s/{SESSION}/leases",
    f"/s/{SESSION}/costs",
    f"/compare?a={SESSION}&b={SESSION}",
)


@pytest.mark.parametrize("path", PAGES)
def test_every_page_is_whole_and_runs_nothing_foreign(site: tuple[httpx.Client, Path], path: str) -> None:
    answer = site[0].get(path)
    assert answer.status_code == 200
    assert answer.text.rstrip().endswith("</html>")
    assert "default-src 'none'; script-src 'self'; style-src 'self'" in answer.headers["content-security-policy"]
    assert not re.search(r"https?://(?!www\.w3\.org)", re.sub(r"<main.*</main>", "", answer.text, flags=re.DOTALL))
    assert not re.search(r"<script(?! src=)|\son\w+=|style=", answer.text)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/e/bowl-1-e999", 404),
        ("/e/x", 404),
        ("/s/gone", 404),
        ("/notebook/gone", 404),
        ("/papers/gone", 404),
        ("/no", 404),
        ("/file/7/claim-x", 404),
        (f"/s/{SESSION}/experiments?page=x", 422),
    ],
)
def test_what_is_not_there_is_told_in_words(site: tuple[httpx.Client, Path], path: str, status: int) -> None:
    answer = site[0].get(path)
    assert answer.status_code == status
    assert "<h1>" in answer.text
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8765", "127.0.0.1.evil.example", "10.0.0.7", "", "[::2]"]
)
def test_a_forged_host_is_refused(site: tuple[httpx.Client, Path], host: str) -> None:
    assert site[0].get("/notebook", headers={"host": host}).status_code == 421


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:1"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_another_origin_cannot_act(site: tuple[httpx.Client, Path], headers: dict[str, str]) -> None:
    client, home = site
    given = {"form": form_of(client), "text": "from elsewhere"}
    assert client.post("/act/note", data=given, headers=headers).status_code == 403
    with Notebook.read(home / "notebook") as notebook:
        assert not [entry for entry in notebook.entries(kinds=[Kind.NOTE]) if entry.body == "from elsewhere"]


@pytest.mark.parametrize("form", ["", "guessed"])
def test_only_our_forms_act(site: tuple[httpx.Client, Path], form: str) -> None:
    client, home = site
    assert client.post("/act/note", data={"form": form, "text": "no form"}).status_code in (409, 422)
    with Notebook.read(home / "notebook") as notebook:
        assert not [entry for entry in notebook.entries(kinds=[Kind.NOTE]) if entry.body == "no form"]


def test_a_note_is_in_the_notebook(site: tuple[httpx.Client, Path]) -> None:
    client, home = site
    given = {"form": form_of(client), "text": "try a larger X\nplease", "session": SESSION, "about": "claim-x"}
    answer = client.post("/act/note", data=given)
    assert answer.status_code == 303
    with Notebook.read(home / "notebook") as notebook:
        entry = notebook.get(answer.headers["location"].removeprefix("/notebook/"))
    assert (entry.title, entry.session, entry.links[0].target) == ("try a larger X", SESSION, "claim-x")


def test_the_leases_page_tells_speed_and_price_and_why_a_slot_is_not_to_be_had(tmp_path: Path) -> None:
    home = copy_of(finished(), tmp_path)
    dear, broken = (Slot(name=f"h100-{n}", accelerator="H100", price_per_hour=2.5) for n in range(2))
    with closing(LeaseManager(home / "leases.db", SystemClock())) as leases:
        leases.register([dear, broken], [Tier(name="screen", priority=0)])
        leases.note_speed("h100-0", 7.25)
        leases.set_unavailable("h100-1", "no <capacity>")
    with served(home) as url:
        shown = httpx.get(f"{url}/s/{SESSION}/leases", timeout=30).text
    assert '<td>H100</td><td class="number">7.25</td><td class="number">2.50</td>' in shown
    assert "not to be had: no &lt;capacity&gt;" in shown


def test_what_is_over_is_not_paused(site: tuple[httpx.Client, Path]) -> None:
    client, _ = site
    given = {"form": form_of(client), "session": SESSION}
    assert "is not running" in client.post("/act/wish", data={**given, "wish": "pause"}).text
    assert "no wish" in client.post("/act/wish", data={**given, "wish": "explode"}).text


def test_beyond_loopback_a_token_is_needed(site: tuple[httpx.Client, Path]) -> None:
    _, home = site
    with served(home, place=replace(bind("127.0.0.1", 0), token="s3cret")) as url:
        address = httpx.URL(url).copy_with(query=None)
        with httpx.Client(base_url=address) as client:
            for headers in ({}, {"authorization": "Bearer wrong"}, {"cookie": "swarm_token=wrong"}):
                assert client.get("/notebook", headers=headers).status_code == 401
            assert client.get("/notebook?token=wrong").status_code == 401
            assert client.get("/notebook", headers={"authorization": "Bearer s3cret"}).status_code == 200
            moved = client.get("/notebook?q=x&token=s3cret")
            assert (moved.status_code, moved.headers["location"]) == (303, "/notebook?q=x")
            assert "HttpOnly" in moved.headers["set-cookie"]
            assert client.get("/notebook?q=x").status_code == 200
            assert client.get("/notebook", headers={"host": "evil.example"}).status_code == 421


def test_no_address_but_loopback_goes_without_a_token() -> None:
    for host, needed in (("127.0.0.1", False), ("localhost", False), ("0.0.0.0", True)):
        place = bind(host, 0)
        place.socket.close()
        assert (place.token is not None) == needed
        assert ("token=" in place.url) == needed


def test_a_hostile_entry_shows_as_text(site: tuple[httpx.Client, Path]) -> None:
    client, home = site
    with Notebook.read(home / "notebook") as notebook:
        entry = replace(notebook.entries(limit=1)[0], id="hostile/<b>", kind=Kind.NOTE, author="<i>x", attachments=())
        entry = replace(entry, title=HOSTILE, body=HOSTILE * 300, created_at=entry.created_at + 10)
        notebook.append(entry)
    for path in ("/notebook/hostile%2F%3Cb%3E", "/notebook?q=document.body.dataset.owned", f"/s/{SESSION}"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert len(answer.content) < 300_000
        assert "&lt;script&gt;document.body" in answer.text
        for foreign in ("<script>", "<svg onload", "<img src=x", 'href="javascript', 'href="data', "\u202e", "<i>x"):
            assert foreign not in answer.text


def test_the_notebook_is_filtered_by_outcome(site: tuple[httpx.Client, Path]) -> None:
    client, home = site
    with Notebook.read(home / "notebook") as notebook:
        kept = notebook.entries(outcome="CONFIRMED")
    page = client.get("/notebook", params={"outcome": "CONFIRMED"}).text
    assert f'<option value="CONFIRMED" selected>confirmed ({len(kept)})</option>' in page
    assert re.search(r'<option value="PRUNED">pruned \(\d+\)</option>', page)
    shown = re.findall(r'class="title" href="/notebook/([^"]+)"', page)
    assert shown == [entry.id for entry in kept]
    found = client.get("/notebook", params={"q": "X", "outcome": "CONFIRMED", "part": "results"}).text
    hits = re.findall(r'class="title" href="/notebook/([^"]+)"', found)
    assert hits
    assert set(hits) <= set(shown)


def test_markdown_keeps_its_form_and_loses_its_teeth() -> None:
    source = (
        "**bold** [ok](https://arxiv.org/abs/1) [no](JaVaScript:alert(1)) [no](file:///etc/passwd)\n\n|a|\n|-|\n|1|"
    )
    made = str(markdown(source))
    assert "<strong>bold</strong>" in made
    assert 'href="https://arxiv.org/abs/1"' in made
    assert "<table>" in made
    assert made.count("href=") == 1
    assert "⟨U+202E⟩" in shown("a\u202eb")


def test_a_host_must_be_ours() -> None:
    ours = Pass()
    assert all(map(ours.host_is_ours, ("127.0.0.1:80", "localhost", "[::1]:8765", "LOCALHOST:1")))
    assert not any(map(ours.host_is_ours, ("localhost.evil.example", "192.168.1.4", "", "::1.evil")))
    assert Pass(token="t").host_is_ours("192.168.1.4:80")


def test_the_stream_says_nothing_when_nothing_happened_and_what_changed_when_something_did(
    site: tuple[httpx.Client, Path],
) -> None:
    client, home = site
    key = re.search(r'data-key="([^"]*)"', client.get(f"/s/{SESSION}").text)
    assert key
    with client.stream("GET", f"/s/{SESSION}/live", params={"key": html.unescape(key.group(1))}) as stream:
        lines = stream.iter_lines()
        assert next(lines).startswith("retry:")
        with Notebook.read(home / "notebook") as notebook:
            newest = notebook.entries(limit=1)[0]
            late = replace(newest, id="late", title="something new", created_at=newest.created_at + 1)
            notebook.append(late)
        told = next(line for line in lines if line.startswith("data:"))
    changes = json.loads(told.removeprefix("data:"))
    assert set(changes["put"]) <= {"entries", "agents"}
    assert "something new" in changes["put"]["entries"]
    assert not changes["add"]


def test_who_reads_a_session_may_open_the_notebook_while_another_waits_for_the_session(
    site: tuple[httpx.Client, Path],
) -> None:
    home = Home(site[1], create=False)
    with closing(Reading(home, doors(home))) as reading, ThreadPoolExecutor(2) as threads:
        asked = Event()

        def read() -> str:
            asked.set()
            with reading.view(SESSION) as view:
                return view.state.session

        with reading.view(SESSION):
            waiting = threads.submit(read)
            asked.wait()
            assert not waiting.done()
            time.sleep(0.05)  # nothing tells that a thread waits for a lock
            assert threads.submit(lambda: reading.notebook).result(timeout=20) is not None
        assert waiting.result(timeout=20) == SESSION


def test_sessions_that_nobody_asked_for_lately_are_closed(tmp_path: Path) -> None:
    home = Home(bare_home(tmp_path / "home"), create=False)
    names = [f"bowl-{number}" for number in range(1, 8)]
    with closing(Ledger(home.ledger)) as ledger:
        for name in names[1:]:
            data = {"task": "gone", "task_folder": "gone", "metric": "loss", "settings": "{}"}
            ledger.append(name, LedgerKind.SESSION_OPENED, "opened", at=1_000_000.0, data=data)
    with closing(Reading(home, doors(home))) as reading:
        for name in [*names, *names]:
            with reading.view(name) as view:
                assert view.state.session == name
        assert list(reading._views) == names[-4:]


def test_axes_are_round_and_grow_in_steps() -> None:
    assert ticks(0, 0.22, 5) == pytest.approx([0, 0.05, 0.1, 0.15, 0.2])
    assert ceiling(0.0) == 1.0
    assert [ceiling(value) for value in (0.21, 1.0, 7.2, 11)] == pytest.approx([0.25, 1.0, 8, 15])
    assert Scale(low=0, high=10, start=0, end=100)(12) == 100
