"""What a person sees of a session while it runs: the dashboard and the log lines, both from the record alone."""

import asyncio
import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from swarm.cli.following import watch_session
from swarm.config import Limits
from swarm.dashboard import KINDS, dashboard, staircase
from swarm.home import Home
from swarm.narrator import Narrator
from swarm.research.experiment import Status
from swarm.session import Session
from swarm.view import View
from swarm.wording import duration, plain, printable
from tests.fakes import FakeClock
from tests.lab import bench
from tests.small_home import finished_home


@pytest.fixture
def view() -> Iterator[View]:
    with View(Home(finished_home(), create=False)) as opened:
        yield opened


def drawn(view: View, *, width: int = 110, **more: str) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    console.print(dashboard(view, **more))
    return console.file.getvalue()  # type: ignore[attr-defined]  # a StringIO


def drawn_at(folder: Path, clock: FakeClock) -> str:
    with View(_as_home(folder), clock=clock) as view:
        return drawn(view.refresh())


def narrated(view: View) -> list[str]:
    narrator = Narrator(view)
    return [line for event in view.news() for line in narrator.tell(event)]


def test_the_dashboard_shows_what_a_sleeper_wants_to_know(view: View) -> None:
    picture = drawn(view.refresh())
    status = view.status()
    assert f"{status['incumbent']['value']:.4f}" in picture
    assert f"{status['incumbent']['improvement_percent']:.1f}% better" in picture
    assert "cpu-0" in picture
    assert f"{status['counts']['proposed']} proposed" in picture
    assert "queue 0 trials" in picture
    assert f"{view.entries(1, KINDS)[0].title[:40]}" in picture
    assert "left" in picture
    assert "slots busy" in picture


def test_the_dashboard_fits_a_small_terminal(view: View) -> None:
    picture = drawn(view.refresh(), width=80)
    assert max(len(line) for line in picture.splitlines()) <= 80
    assert len(picture.splitlines()) <= 24


def test_the_dashboard_says_a_notice(view: View) -> None:
    assert "running trials finish first" in drawn(view.refresh(), notice="running trials finish first")


def test_a_session_at_work_shows_what_runs_where(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None))
    clock = FakeClock(lab.clock.now() + 100)
    with lab.session() as session:
        home = _as_home(tmp_path)
        manager = session._crew.desk.manager
        manager.request("t-1", tier="screen", session="bowl-1", holder="proposer")
        manager.request("t-2", tier="screen", session="other", holder="proposer")
        manager.request("t-3", tier="screen", session="bowl-1", holder="proposer")
        manager.grant()
        with View(home, clock=clock) as view:
            picture = drawn(view.refresh())
    assert "100 s" in picture
    assert "session other" in picture
    assert "queue 1 trials" in picture
    assert "measuring the baseline" in picture


def test_a_slot_that_cannot_be_had_is_not_called_free(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None))
    with lab.session() as session:
        manager = session._crew.desk.manager
        assert " free " in drawn_at(tmp_path, lab.clock)
        for state in manager.slots():
            manager.set_unavailable(state.slot.name, "its cluster was lost")
        picture = drawn_at(tmp_path, lab.clock)
    assert "unavailable" in picture
    assert " free " not in picture


def test_the_log_tells_every_trial_promotion_and_gain(view: View) -> None:
    lines = narrated(view)
    trials = sum(len(experiment.trials) for experiment in view.state.experiments.values())
    assert sum(" seed " in line for line in lines) == trials
    promoted = {line.split(" promoted: ")[0].split()[-1] for line in lines if " promoted: " in line}
    assert len(promoted) == view.status()["counts"]["promoted"] >= 1  # one may be promoted again after a rebase
    assert sum(" CONFIRMED: " in line for line in lines) == view.state.count(Status.CONFIRMED)
    assert sum("best is now" in line for line in lines) == view.state.count(Status.CONFIRMED)
    assert sum("noise floor" in line for line in lines) == 1
    assert any("wave 1 (search): " in line for line in lines)
    assert any("wave 1 analysed" in line for line in lines)
    assert "run ended" in lines[-1]


def test_every_proposal_is_told_once_alone_or_with_its_wave(view: View) -> None:
    lines = narrated(view)
    in_waves = sum(int(line.split(": ")[1].split()[0]) for line in lines if " experiments proposed, " in line)
    alone = sum(" proposed: " in line for line in lines)
    assert in_waves + alone == view.status()["counts"]["proposed"]


def test_two_who_look_on_are_told_the_same(view: View) -> None:
    with View(Home(finished_home(), create=False)) as other:
        assert narrated(view) == narrated(other)


def test_who_looks_on_sees_the_end_and_leaves(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=4))

    async def watched(session: Session) -> None:
        working = asyncio.create_task(session.run())
        while not session.state.runs:
            await asyncio.sleep(0.001)
        with View(_as_home(tmp_path), clock=lab.clock) as view:
            await watch_session(view, shown="plain")
            assert not view.live
        await working

    with lab.session() as session:
        lab.clock.run(watched(session))
    assert "run ended: all 4 experiments are done" in capsys.readouterr().out


def test_pausing_and_draining_are_seen_from_outside(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=40))

    async def looked_at(session: Session) -> None:
        working = asyncio.create_task(session.run())
        with View(_as_home(tmp_path), clock=lab.clock) as view:

            async def seen(phase: str, state: str) -> None:
                async with asyncio.timeout(60):
                    while (view.phase(), view.refresh().status()["state"]) != (phase, state):
                        await asyncio.sleep(0.005)

            await seen("working", "running")
            lab.wish("pause")
            await seen("paused", "paused")
            lab.wish("resume")
            await seen("working", "running")
            lab.wish("stop")
            await seen("draining", "draining")
            await working
            assert view.refresh().status()["state"] == "stopped"

    with lab.session() as session:
        lab.clock.run(looked_at(session))


def test_progress_is_told_twice_a_minute(view: View) -> None:
    narrator = Narrator(view)
    began = 0.0
    for event in view.news():
        narrator.tell(event)
        began = began or event.at
    told = [line for second in range(0, 91, 5) for line in narrator.tick(began + second)]
    assert sum("trials queued" in line for line in told) == 3
    assert all("\n" not in line for line in told)


def test_a_phase_is_told_when_it_changes(view: View) -> None:
    phase = "working"
    view.phase = lambda: phase
    narrator = Narrator(view)
    view.refresh()
    assert not [line for line in narrator.tick(1.0) if "working" in line]
    phase = "draining"
    assert [line for line in narrator.tick(2.0) if line.endswith("draining")]
    assert not [line for line in narrator.tick(3.0) if line.endswith("draining")]


def test_foreign_text_cannot_reach_the_terminal() -> None:
    assert plain("a\x1b[2Jb\nc\u202ed") == "a [2Jb c d"
    assert printable("+ x\x1b]0;title\x07\n\ty") == "+ x\ufffd]0;title\ufffd\n\ty"


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0:00"), (42.4, "0:42"), (725, "12:05"), (28799, "7:59:59"), (-3, "0:00")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_the_staircase_rises_from_the_lowest_to_the_highest() -> None:
    assert staircase([1.0, 2.0, 3.0]) == "▁▅█"
    assert staircase([2.0]) == "▁"
    assert staircase([]) == ""


def _as_home(root: Path) -> Home:
    (root / "version").write_text("1\n", encoding="ascii")
    return Home(root, create=False)
