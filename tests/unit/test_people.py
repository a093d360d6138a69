"""People steer: a note that sets constants is tried, program.md is followed, and what waits for a yes waits."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from notebook_store.entry import Entry, Kind
from notebook_store.notebook import Notebook
from swarm.agents.asked import AskedProposer, wishes
from swarm.config import Limits
from swarm.errors import InputError
from swarm.ports import Brief
from swarm.research.experiment import Proposal, Status
from swarm.research.rulings import Ruling, held, read_ruling
from swarm.session import Session
from tests.fake_embedder import WordEmbedder
from tests.lab import Bench, Script, bench


class Asking(Script):
    """Asks people first."""

    def __init__(self, notebook: Notebook) -> None:
        super().__init__()
        self.people = AskedProposer(notebook)
        self.asked: list[Proposal] = []

    async def propose(self, brief: Brief) -> list[Proposal]:
        asked = await self.people.propose(brief)
        self.asked += asked
        return asked + await super().propose(replace(brief, wanted=2))


async def until(session: Session, holds: Callable[[], bool]) -> None:
    while not holds():
        await session.changed()


def rule(lab: Bench, name: str, *, yes: bool, reason: str = "") -> None:
    lab.wish(Ruling(experiment=name, yes=yes, by="kim", reason=reason).wish)


def holding(tmp_path: Path) -> Bench:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=4))
    lab.settings = lab.settings.model_copy(update={"approve": True})
    return lab


def test_nothing_runs_that_no_person_approved(tmp_path: Path) -> None:
    lab = holding(tmp_path)
    lab.clock.run(_held_and_ruled(lab))


async def _held_and_ruled(lab: Bench) -> None:
    with lab.session() as session:
        run = asyncio.ensure_future(session.run())
        await until(session, lambda: session.state.count(Status.HELD) == 4 and not session.state.live_trials)
        names = [one.id for one in held(session.state, [])]
        assert [len(one.trials) for one in held(session.state, names)] == [0, 0, 0, 0]
        rule(lab, names[0], yes=True)
        rule(lab, names[1], yes=False, reason="too slow")
        await until(session, lambda: session.state.experiments[names[0]].is_final)
        refused = session.state.experiments[names[1]]
        assert (refused.status, refused.reasons) == (Status.REJECTED, ("rejected by kim: too slow",))
        assert session.state.experiments[names[2]].status is Status.HELD
        with pytest.raises(InputError, match="is REJECTED and waits for nobody"):
            held(session.state, [names[1].rpartition("-")[2]])
        for name in names[2:]:
            rule(lab, name, yes=True)
        await until(session, lambda: session.state.count(Status.HELD) == 1)  # in place of the rejected one
        rule(lab, held(session.state, [])[0].id, yes=True)
        assert await run == "all 4 experiments are done"
    with Notebook.read(lab.root / "notebook") as notebook:
        assert {page.author for page in notebook.entries(kinds=[Kind.REVIEW], experiment=names[0])} == {
            "reviewer",
            "kim",
        }


def test_a_ruling_left_while_nobody_worked_holds_later(tmp_path: Path) -> None:
    lab = holding(tmp_path)
    lab.clock.run(_ruled_in_between(lab))


async def _ruled_in_between(lab: Bench) -> None:
    with lab.session() as session:
        run = asyncio.ensure_future(session.run())
        await until(session, lambda: session.state.count(Status.HELD) == 4)
        name = held(session.state, [])[0].id
        session.drain("stopped")
        await run
    rule(lab, name, yes=True)
    with lab.session() as session:
        run = asyncio.ensure_future(session.run())
        await until(session, lambda: session.state.experiments[name].is_final)
        session.drain("stopped")
        await run


def test_a_ruling_survives_its_journey() -> None:
    ruling = Ruling(experiment="s-e001", yes=False, by="kim lee", reason='says "no" → never')
    assert read_ruling(ruling.wish) == ruling
    assert read_ruling("pause") is None


def test_a_line_asks_for_one_experiment() -> None:
    knobs = {"WIDTH": 64, "ACT": "gelu", "TIED": True, "RATE": 3e-3}
    asked = list(wishes("try WIDTH = 96 with RATE=1e-2, and ACT: 'relu2'\nWIDTH=64\nTIED → False; DEPTH = 4", knobs))
    assert asked == [{"WIDTH": 96, "RATE": 1e-2, "ACT": "relu2"}, {"TIED": False}]
    assert list(wishes("WIDTH = 96 or WIDTH = 128", knobs)) == [{"WIDTH": 96}, {"WIDTH": 128}]
    assert list(wishes("make it wider, WIDTH is too small", knobs)) == []


def test_notes_and_program_md_reach_the_next_proposals_once(tmp_path: Path) -> None:
    lab = bench(tmp_path, limits=Limits(hours=None, experiments=12))
    lab.clock.run(_noted(lab))


async def _noted(lab: Bench) -> None:
    (lab.task.folder / "program.md").write_text("# The bowl\n\nFind its bottom. Y = 4 is silly.\n")
    Notebook.open(lab.root / "notebook", embedder=WordEmbedder()).close()
    with Notebook.read(lab.root / "notebook") as notebook:
        script = lab.script = Asking(notebook)
        with lab.session() as session:
            run = asyncio.ensure_future(session.run())
            await until(session, lambda: session.state.begun() >= 3)
            notebook.append(
                Entry(
                    id="n1", kind=Kind.NOTE, title="n", body="X = 3", author="kim", session="", task="", created_at=0.0
                )
            )
            (lab.task.folder / "program.md").write_text(
                "# The bowl\n\nFind its bottom. Y = 4 is silly.\nBut Y = 2 is not.\n"
            )
            assert await run == "all 12 experiments are done"
        notes = {note.id for note in notebook.entries(kinds=[Kind.NOTE], author="program.md")}
    assert sorted(str(proposal.changes) for proposal in script.asked) == ["{'X': 3}", "{'Y': 2}"]
    cited = {proposal.citations[0] for proposal in script.asked}
    assert cited - notes == {"n1"}
    assert len(cited & notes) == 1
