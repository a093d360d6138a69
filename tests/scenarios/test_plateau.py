"""A session that finds nothing any more says so, looks elsewhere, and ends where its patience does."""

from dataclasses import replace
from pathlib import Path

from notebook_store.entry import Kind
from notebook_store.notebook import Notebook
from swarm.config import Limits, WaveSettings
from swarm.ports import Brief
from swarm.research.experiment import Proposal
from swarm.research.knobs import read_knobs, set_knobs
from swarm.session import OPEN, Session
from swarm.status import Vitals, status_of
from tests.lab import Script, bench


class Listening(Script):
    """Keeps the briefs, and sets X below nought once it is told of a plateau."""

    def __init__(self) -> None:
        super().__init__()
        self.briefs: list[Brief] = []

    async def propose(self, brief: Brief) -> list[Proposal]:
        self.briefs.append(brief)
        found = await super().propose(brief)
        if brief.barren and found:
            elsewhere = {"X": -1.0 - 0.01 * len(self.briefs)}  # another file each time
            found[0] = replace(found[0], changes=elsewhere, source=set_knobs(brief.source, elsewhere))
        return found


def worked(root: Path, limits: Limits, *, found_elsewhere: float) -> tuple[str, Session, Listening]:
    """A session in which nothing is better than anything, unless ``found_elsewhere`` is."""

    def flat(source: str) -> float:
        return found_elsewhere if float(read_knobs(source)["X"]) < 0 else 1.0

    lab = bench(root, limits=limits, objective=flat, noise=0.001)
    lab.settings = lab.settings.model_copy(update={"waves": WaveSettings(size=4)})
    lab.script = script = Listening()
    reason, session = lab.worked()
    return reason, session, script


def test_a_plateau_is_announced_and_widened_and_patience_ends_it(tmp_path: Path) -> None:
    reason, session, script = worked(tmp_path, Limits(hours=None, patience=52), found_elsewhere=1.0)
    state = session.state
    assert state.barren >= 52
    assert state.count(*OPEN) == 0, "what was begun is decided first"
    assert reason == f"no gain was confirmed in {state.barren} experiments (--patience 52)"
    assert script.widened == [1, 2]  # at 16 experiments, four waves, and at twice as many
    assert script.briefs[0].barren == 0
    assert 16 < script.briefs[-1].barren < 52, "nothing is asked for once patience is out"
    assert sum(brief.bold for brief in script.briefs) == 2, "the first wave of each"
    assert status_of(state, Vitals(now=0.0))["plateau"] == {"experiments": state.barren, "announced": 2}
    with Notebook.read(tmp_path / "notebook") as notebook:
        titles = [entry.title for entry in notebook.entries(kinds=[Kind.NOTE])]
    assert sum(title.startswith("plateau: no gain was confirmed") for title in titles) == 2


def test_a_gain_that_was_found_elsewhere_ends_a_plateau(tmp_path: Path) -> None:
    reason, session, script = worked(tmp_path, Limits(hours=None, experiments=36), found_elsewhere=0.5)
    assert reason == "all 36 experiments are done"
    assert script.widened == [1]
    assert len(session.state.incumbents) == 2
    assert session.state.barren < 16
    assert status_of(session.state, Vitals(now=0.0))["plateau"] is None
    assert script.briefs[-1].barren == 0
