"""Gains over one incumbent are stacked and confirmed together, or told to cancel; the incumbent is taken apart."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from notebook_store.entry import Kind
from swarm.bench.simulation import Scenario, Simulation, simulated
from swarm.config import Limits, Settings
from swarm.executors.simulated import Machines, Score, world
from swarm.ports import Brief, Slot, TrialOrder
from swarm.research.experiment import Experiment, Knob, Move, Proposal, Status
from swarm.research.knobs import read_knobs, set_knobs
from swarm.research.ledger import Event, Ledger
from swarm.research.ledger import Kind as Told
from swarm.status import ablation_of, holdout_of
from tests.lab import TASK, TRAIN, Script
from trainer.contract import load_task

NOISE = 0.01
Loss = Callable[[dict[str, Knob]], float]


class Planned(Script):
    """Proposes what it was given, all in one wave, and nothing after."""

    def __init__(self, plan: Sequence[dict[str, Knob]], edit: tuple[str, str] | None = None) -> None:
        super().__init__()
        self._plan, self._edit = list(plan), edit
        self.planned = len(plan) + (edit is not None)

    async def propose(self, brief: Brief) -> list[Proposal]:
        found = [
            Proposal(author="proposer", hypothesis=f"{changes} lowers loss", parent=brief.parent,
                     source=set_knobs(brief.source, changes), changes=changes, wave=brief.wave, expected_gain=1.0)
            for changes in self._plan
        ]  # fmt: skip
        if self._edit is not None:
            found.append(Proposal(author="proposer", hypothesis="another last line lowers loss", parent=brief.parent,
                                  source=brief.source.replace(*self._edit), wave=brief.wave))  # fmt: skip
        self._plan, self._edit = [], None
        return found


def played(
    folder: Path,
    loss: Loss,
    team: Planned,
    look: Callable[[Simulation], None],
    *,
    hidden: Loss | None = None,
) -> list[Event]:
    """A session of the bowl task on 16 slots; ``look`` sees it when it has ended. Its events."""
    (folder / "bowl").mkdir()
    (folder / "bowl" / "train.py").write_text(TRAIN + "\n\n\n\n\n\nLAST = 'plain'\n")
    (folder / "bowl" / "task.toml").write_text(TASK)

    def objective(order: TrialOrder) -> Score:
        knobs = read_knobs(order.source)
        jitter = random.Random(order.trial_id).gauss(0, NOISE)
        return Score(value=loss(knobs) + jitter, holdout=(hidden or loss)(knobs))

    scenario = Scenario(
        task=load_task(folder / "bowl"),
        settings=Settings(limits=Limits(hours=None, experiments=team.planned)),
        slots=[Slot(name=f"H100-{number}", accelerator="H100") for number in range(16)],
        world=world(objective, Machines(overhead_seconds=2.0)),
        team=lambda _: team,
    )
    with simulated(scenario, folder / "home") as simulation:
        simulation.run()
        look(simulation)
    ledger = Ledger(folder / "home" / "ledger.db")
    events = list(ledger.events("simulation"))
    ledger.close()
    return events


def stacked(events: Sequence[Event]) -> list[str]:
    return [e.data["reasons"][0] for e in events if e.kind is Told.MOVED and e.data["move"] == Move.STACK]


def fates(simulation: Simulation, *statuses: Status) -> list[Experiment]:
    return simulation.session.state.of_status(*statuses)


def test_two_gains_over_one_incumbent_are_confirmed_together(tmp_path: Path) -> None:
    def loss(knobs: dict[str, Knob]) -> float:
        return 2.0 - 0.1 * (knobs["X"] == 2.0) - 0.08 * (knobs["Y"] == 2.0)

    def look(simulation: Simulation) -> None:
        first, second = fates(simulation, Status.CONFIRMED)
        assert second.verdict["against"] == first.id
        assert second.verdict["alone"]["against"] == simulation.session.state.baseline.id
        assert "alone it gained" in second.reasons[0]
        assert simulation.session.state.incumbent.id == second.id

    events = played(tmp_path, loss, Planned([{"X": 2.0}, {"Y": 2.0}]), look)
    assert len(stacked(events)) == 1
    assert "to be confirmed together" in stacked(events)[0]


def test_two_gains_that_cancel_are_an_interaction_on_record(tmp_path: Path) -> None:
    def loss(knobs: dict[str, Knob]) -> float:
        return 2.0 - 0.1 * ((knobs["X"] == 2.0) != (knobs["Y"] == 2.0))

    def look(simulation: Simulation) -> None:
        assert len(fates(simulation, Status.CONFIRMED)) == 1
        (refuted,) = fates(simulation, Status.REFUTED)
        (page,) = [e for e in simulation.notebook.entries(kinds=[Kind.INSIGHT]) if "interaction" in e.data]
        assert "cancel each other" in page.title
        assert page.experiment == refuted.id
        assert page.data["interaction"] == pytest.approx(-0.2, abs=0.03)
        assert page.data["ci95"][1] < 0

    events = played(tmp_path, loss, Planned([{"X": 2.0}, {"Y": 2.0}]), look)
    assert "to be confirmed together" in stacked(events)[0]


def test_what_fails_on_top_of_a_lesser_gain_wins_by_itself(tmp_path: Path) -> None:
    """The lesser gain is confirmed first: its trials are given the slots first."""

    def loss(knobs: dict[str, Knob]) -> float:
        both = knobs["X"] == 2.0 and knobs["Y"] == 2.0
        return 2.5 if both else 2.0 - 0.1 * (knobs["X"] == 2.0) - 0.3 * (knobs["Y"] == 2.0)

    def look(simulation: Simulation) -> None:
        best = simulation.session.state.incumbent
        assert read_knobs(simulation.session._lab.lineage.source(best.candidate))["Y"] == 2.0
        assert best.changes == {"Y": 2.0}

    played(tmp_path, loss, Planned([{"X": 2.0}, {"Y": 2.0}]), look)


def test_each_kept_change_is_told_its_worth_and_what_is_worth_nothing_is_taken_out(tmp_path: Path) -> None:
    def loss(knobs: dict[str, Knob]) -> float:
        return 2.0 - 0.1 * (knobs["X"] == 2.0) + 0.02 * (knobs["Y"] == 2.0) - 0.05 * (knobs["LAST"] == "fancy")

    def look(simulation: Simulation) -> None:
        state = simulation.session.state
        found = ablation_of(state)
        assert found is not None
        worth = {change["name"]: change["worth"] for change in found["changes"]}
        step = next(name for name in worth if name not in ("X", "Y"))
        assert worth["X"] == pytest.approx(0.1, abs=0.025)
        assert worth["Y"] == pytest.approx(-0.02, abs=0.025)
        assert worth[step] == pytest.approx(0.05, abs=0.025)
        assert found["taken_out"] == ["Y"]
        source = simulation.session._lab.lineage.source(state.incumbent.candidate)
        assert source == TRAIN.replace("X = 1.0", "X = 2.0") + "\n\n\n\n\n\nLAST = 'fancy'\n"
        assert state.incumbent.id == found["simplified"]
        assert state.incumbent.verdict["against"] == state.baseline.id
        (page,) = [e for e in simulation.notebook.entries(kinds=[Kind.INSIGHT]) if "ablation" in e.data]
        assert "without Y the file is as good" in page.title
        hidden = holdout_of(state, state.incumbent, minimize=True)
        assert hidden is not None
        assert hidden["seeds"] == 2

    played(tmp_path, loss, Planned([{"X": 2.0, "Y": 2.0}], edit=("plain", "fancy")), look)


def test_the_hidden_shard_says_how_much_the_validation_flattered(tmp_path: Path) -> None:
    def look(simulation: Simulation) -> None:
        state = simulation.session.state
        first, second = (holdout_of(state, one, minimize=True) for one in fates(simulation, Status.CONFIRMED))
        assert first is not None
        assert second is not None
        flattered = 0.05 if "X" in fates(simulation, Status.CONFIRMED)[0].changes else 0.01  # whichever came first
        assert first["gap"] == pytest.approx(flattered, abs=0.03)
        assert second["gain"] == pytest.approx(0.14)
        pages = [e for e in simulation.notebook.entries(kinds=[Kind.DECISION]) if "gap" in e.data]
        assert {page.experiment for page in pages} == set(state.incumbents[1:])

    events = played(
        tmp_path,
        lambda knobs: 2.0 - 0.1 * (knobs["X"] == 2.0) - 0.1 * (knobs["Y"] == 2.0),
        Planned([{"X": 2.0}, {"Y": 2.0}]),
        look,
        hidden=lambda knobs: 2.0 - 0.05 * (knobs["X"] == 2.0) - 0.09 * (knobs["Y"] == 2.0),
    )
    read = [e for e in events if e.kind is Told.TRIAL_ENDED and e.data["holdout"] is not None]
    confirmed = [e.seq for e in events if e.kind is Told.MOVED and e.data["move"] == Move.CONFIRM]
    assert min(e.seq for e in read) > confirmed[0]
    by = [(e.experiment, e.key) for e in read]
    assert len(by) == len(set(by))
