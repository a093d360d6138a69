"""The pages in a real Chromium: a finished session, a running one, a hostile entry, faults of accessibility."""

import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import axe_playwright_python
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from notebook_store.entry import Kind
from notebook_store.notebook import Notebook
from swarm.home import Home
from swarm.view import View
from swarm.web.report import write_report
from tests.site import HOSTILE, SESSION, copy_of, finished, lab, running, served

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium: install Debian's package chromium"),
]
# Debian's Chromium as root in a container, without calls to anybody else.
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
expect.set_options(timeout=30_000)  # as all other waiting; a busy machine is no fault
AXE = Path(axe_playwright_python.__file__).with_name("axe.min.js").read_text(encoding="utf-8")
PAGES = {
    "overview": f"/s/{SESSION}",
    "experiments": f"/s/{SESSION}/experiments",
    "experiment": f"/e/{SESSION}-e001",
    "notebook": "/notebook?q=X",
    "entry": "/notebook/claim-x",
    "influence": f"/s/{SESSION}/influence",
    "papers": "/papers",
    "paper": "/papers/arXiv:1412.6980",
    "leases": f"/s/{SESSION}/leases",
    "costs": f"/s/{SESSION}/costs",
    "compare": f"/compare?a={SESSION}",
}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    home = copy_of(finished(), tmp_path_factory.mktemp("browser"))
    with served(home) as url:
        yield url, home


@pytest.fixture
def page(browser: Browser, site: tuple[str, Path]) -> Iterator[Page]:
    context = browser.new_context(base_url=site[0])
    page = context.new_page()
    faults = watch(page)
    yield page
    context.close()
    assert not faults


def watch(page: Page) -> list[str]:
    """What goes wrong on a page: errors of scripts, what the policy refused, requests to other hosts."""
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type == "error" else None)
    page.on("request", lambda asked: faults.append(asked.url) if "//127.0.0.1:" not in asked.url else None)
    return faults


def mark(page: Page) -> None:
    """Leave a mark that a reload would wipe out."""
    page.evaluate("window.marked = true")


def unreloaded(page: Page) -> bool:
    return bool(page.evaluate("window.marked === true"))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_serious_fault(browser: Browser, site: tuple[str, Path], scheme: Any, tmp_path: Path) -> None:
    home = Home(site[1], create=False)
    with View(home, SESSION) as view, Notebook.read(home.notebook) as notebook:
        report = write_report(view.refresh(), notebook, tmp_path, "html").page
    context = browser.new_context(base_url=site[0], color_scheme=scheme, bypass_csp=True)
    page = context.new_page()
    for name, path in {**PAGES, "report": report.as_uri()}.items():
        page.goto(path)
        page.evaluate(AXE)
        found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        serious = [
            (fault["id"], [node["html"][:160] for node in fault["nodes"][:3]])
            for fault in found["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert serious == [], name
    context.close()


@pytest.mark.parametrize("path", PAGES.values(), ids=PAGES)
def test_no_page_is_wider_than_a_phone(browser: Browser, site: tuple[str, Path], path: str) -> None:
    context = browser.new_context(base_url=site[0], viewport={"width": 360, "height": 740}, has_touch=True)
    page = context.new_page()
    faults = watch(page)
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    context.close()
    assert not faults


def test_the_overview_shows_every_trial_and_the_kept_gains(page: Page, site: tuple[str, Path]) -> None:
    with View(Home(site[1], create=False), SESSION) as view:
        state = view.refresh().state
        screened = sum(t.tier == "screen" for one in state.experiments.values() for t in one.trials)
        best = state.incumbent.id.removeprefix(f"{SESSION}-")
    page.goto("/")
    assert page.locator("#progress-screen-marks circle").count() == screened
    assert page.locator("#gains tbody tr").first.locator("a").inner_text() == best
    assert page.locator("#progress-validate .gain").count() >= 1
    page.get_by_role("link", name="against experiments").click()
    page.wait_for_url("**by=experiments")
    assert page.locator("#progress-screen-marks circle").count() == screened
    page.locator("#progress-screen-marks circle").last.dispatch_event("click")
    page.wait_for_url("**/e/*")


def test_the_keyboard_is_enough(page: Page) -> None:
    page.goto(f"/s/{SESSION}")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "main"
    page.goto("/notebook")
    page.keyboard.press("/")
    page.keyboard.type("larger X lowers")
    page.locator(".hits mark").first.wait_for()
    assert "claim-x" in str(page.locator(".hits a").first.get_attribute("href"))
    assert page.url.endswith("?q=larger+X+lowers")


def test_the_table_is_filtered_while_typing_and_sorted(page: Page) -> None:
    page.goto(f"/s/{SESSION}/experiments")
    before = page.locator("#rows tbody tr").count()
    mark(page)
    page.get_by_role("searchbox").fill("Y lowers")
    expect(page.locator("#rows tbody tr")).not_to_have_count(before)
    assert unreloaded(page)
    for row in page.locator("#rows tbody tr td:last-child").all_inner_texts():
        assert row.startswith("Y ")
    page.get_by_role("link", name="gain").click()
    shown = [float(text) for text in page.locator("#rows tbody td:nth-child(5)").all_inner_texts() if text]
    assert shown == sorted(shown, reverse=True)
    assert len(shown) > 1


def test_an_experiment_shows_diff_curves_decision_and_where_it_came_from(page: Page, site: tuple[str, Path]) -> None:
    with View(Home(site[1], create=False), SESSION) as view:
        best = view.refresh().state.incumbent
    page.goto(f"/e/{best.id}")
    changed = next(iter(best.changes))
    assert f"+{changed} = {best.changes[changed]}" in page.locator(".diff .gi").all_inner_texts()[-1]
    assert page.locator("#curves-validate path.line.own").count() >= 2
    assert page.locator("#curves-validate path.line.other").count() >= 2
    assert "gain" in page.locator(".facts dt").all_inner_texts()
    assert f"{SESSION}-e000" in str(page.locator(".tree a").first.get_attribute("href"))
    page.get_by_role("link", name="X: larger X lowers the loss").first.click()
    page.get_by_role("link", name="A paper on X").click()
    assert page.get_by_role("link", name=best.id.removeprefix(f"{SESSION}-")).count() >= 1


def test_a_note_typed_in_the_page_is_in_the_notebook(page: Page, site: tuple[str, Path]) -> None:
    page.goto(f"/s/{SESSION}")
    page.get_by_label("It goes into the notebook").fill("look at **X** again\nplease")
    page.get_by_role("button", name="Write").click()
    page.wait_for_url("**/notebook/note-*")
    assert page.locator(".markdown strong").inner_text() == "X"
    with Notebook.read(site[1] / "notebook") as notebook:
        assert notebook.get(page.url.rsplit("/", 1)[1]).title == "look at **X** again"


def test_a_hostile_entry_runs_nothing(page: Page, site: tuple[str, Path]) -> None:
    with Notebook.read(site[1] / "notebook") as notebook:
        newest = notebook.entries(limit=1)[0]
        hostile = replace(newest, id="hostile", kind=Kind.NOTE, title=HOSTILE, body=HOSTILE * 50, author=HOSTILE)
        notebook.append(replace(hostile, created_at=newest.created_at + 1, attachments=()))
    for path in ("/notebook/hostile", "/notebook?q=owned", "/notebook", f"/s/{SESSION}"):
        page.goto(path)
        assert page.locator("main").get_by_text("<script>document.body.dataset.owned").count() >= 1
        assert page.evaluate("document.body.dataset.owned") is None
        assert page.locator("main script, main svg[onload], main [onerror], a[href^=javascript]").count() == 0


def test_a_running_session_comes_alive_and_does_as_it_is_told(browser: Browser, tmp_path: Path) -> None:
    made = lab(tmp_path, approve=True)
    with running(made, 0.3), served(tmp_path) as url:
        page = browser.new_context(base_url=url).new_page()
        faults = watch(page)
        page.goto(f"/s/{SESSION}", wait_until="domcontentloaded")
        mark(page)
        dots = page.locator("#progress-screen-marks circle")
        dots.first.wait_for(state="attached")
        page.get_by_role("button", name="Approve").first.wait_for()
        name = page.locator(".held a").first.inner_text()
        page.locator("#why-1").fill("I like it")
        assert unreloaded(page)

        page.get_by_role("button", name="Approve").first.click()
        page.wait_for_url(f"**/s/{SESSION}")
        mark(page)
        expect(page.locator(".held a").first).not_to_have_text(name)  # the session has heard it
        page.locator(f"#progress-screen-marks circle[data-go$='{name}']").first.wait_for(state="attached")
        assert unreloaded(page)
        page.goto(f"/e/{SESSION}-{name}")
        assert page.get_by_text("I like it").count() >= 1
        assert page.locator("table tbody tr").count() >= 1

        page.goto(f"/s/{SESSION}")
        page.get_by_role("button", name="Reject").first.click()
        page.wait_for_url(f"**/s/{SESSION}")
        page.get_by_text("1 rejected").wait_for()

        page.get_by_role("button", name="Pause").click()
        page.get_by_role("button", name="Resume").wait_for()
        page.get_by_role("button", name="Resume").click()
        page.get_by_role("button", name="Pause").wait_for()
        page.on("dialog", lambda dialog: dialog.accept())
        page.get_by_role("button", name="Stop", exact=True).click()
        page.get_by_text("stopped", exact=True).wait_for()
        assert not faults


def test_a_page_that_is_watched_for_long_does_not_grow(browser: Browser, tmp_path: Path) -> None:
    made = lab(tmp_path)
    made.settings = made.settings.model_copy(
        update={"limits": made.settings.limits.model_copy(update={"experiments": 10_000})}
    )
    made.slots = [replace(made.slots[0], name=f"cpu-{n}") for n in range(16)]
    with running(made, 0.05), served(tmp_path) as url:
        page = browser.new_context(base_url=url).new_page()
        page.goto(f"/s/{SESSION}")
        mark(page)
        count = "document.querySelectorAll('*').length"
        # more trials than are drawn one by one
        page.locator("#progress-screen .dust").first.wait_for(state="attached", timeout=90_000)
        assert unreloaded(page)
        assert page.locator("#progress-screen-marks circle").count() <= 400 + 100
        assert page.evaluate(count) < 3500  # some 2,300 to 2,800, whatever the number of trials
