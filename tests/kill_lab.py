"""Lives of one simulated session: each is a process that ends by itself or is killed at an event of its ledger."""

import json
import os
import random
import signal
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from notebook_store.local import LocalNotebook
from notebook_store.log import Log
from swarm.bench.candidates import MemoryCandidates
from swarm.config import Limits, Settings, WaveSettings
from swarm.executors.simulated import Course, SimulatedExecutor, lost
from swarm.executors.virtual_time import EPOCH, VirtualClock
from swarm.leases.desk import LeaseDesk
from swarm.leases.manager import LeaseManager
from swarm.ports import Brief, Slot, TrialOrder
from swarm.research.experiment import Experiment, Knob, Proposal
from swarm.research.knobs import read_knobs, set_knobs
from swarm.research.ledger import Event, Kind, Ledger
from swarm.research.state import SessionState
from swarm.wiring import Parts, tiers_of, wired
from tests.fakes import completed
from tests.lab import TASK, TRAIN, Script
from trainer.contract import Outcome, load_task

NAME = "bowl-1"
TICK_SECONDS = 1.0
DOLLARS_PER_SECOND = 0.01
WINNER, IMPOSTOR, CRASHES = 3, 8, (5, 10)  # proposals: better indeed, better at screening alone, and failing


@dataclass(frozen=True, kw_only=True)
class Death:
    """Where a life ends."""

    kind: Kind
    number: int  # of the events of this kind that this life writes, from 1
    written: bool  # after the event is on disk; else just before


class MortalLedger(Ledger):
    """A ledger whose process is killed at one of its events."""

    def __init__(self, path: Path, death: Death | None) -> None:
        super().__init__(path)
        self._death = death
        self._seen = 0

    def append(self, session: str, kind: Kind, key: str, **told: Any) -> Event | None:
        death = self._death
        self._seen += death is not None and kind is death.kind
        due = death is not None and kind is death.kind and self._seen == death.number
        if due and death is not None and not death.written:
            os.kill(os.getpid(), signal.SIGKILL)
        event = super().append(session, kind, key, **told)
        if due:
            os.kill(os.getpid(), signal.SIGKILL)
        return event


class KeptCandidates(MemoryCandidates):
    """Candidates that a later life finds again."""

    def __init__(self, editable: str, folder: Path) -> None:
        super().__init__(editable)
        self._folder = folder
        folder.mkdir(exist_ok=True)
        for path in sorted(folder.glob("*.json")):
            told = json.loads(path.read_text())
            super().commit(told["name"], told["source"], told["message"], parent=told["parent"], at=0.0)

    def commit(self, name: str, source: str, message: str, *, parent: str | None, at: float, files: Any = None) -> str:
        commit = super().commit(name, source, message, parent=parent, at=at)
        told = {"name": name, "source": source, "message": message, "parent": parent}
        part = self._folder / f"{commit}.part"
        part.write_text(json.dumps(told))
        part.rename(self._folder / f"{commit}.json")
        return commit


class NumberedProposals(Script):
    """Proposal number n is always the same, whoever asks and however often."""

    async def propose(self, brief: Brief) -> list[Proposal]:
        first = int(brief.seed % 1_000_000)  # the experiments there are
        return [self._numbered(first + offset, brief) for offset in range(brief.wanted)]

    def _numbered(self, number: int, brief: Brief) -> Proposal:
        changes: dict[str, Knob] = {"Z": float(number + 1)}
        return Proposal(
            author="proposer",
            hypothesis=f"number {number}",
            parent=brief.parent,
            source=set_knobs(brief.source, changes),
            changes=changes,
            wave=brief.wave,
        )


def life(home: Path, death: Death | None) -> None:
    """Begin the session of ``home`` or go on with it, until its end or ``death``."""
    task = load_task(home / "bowl")
    settings = Settings(limits=Limits(hours=2.0, experiments=14), waves=WaveSettings(size=6))
    slots = [
        Slot(name=f"cpu-{number}", accelerator="cpu", price_per_hour=3600 * DOLLARS_PER_SECOND) for number in range(2)
    ]
    with (
        closing(MortalLedger(home / "ledger.db", death)) as ledger,
        closing(LeaseManager(home / "leases.db", clock := VirtualClock(_now(ledger)))) as manager,
        LocalNotebook(Log.open(home / "notebook", create=True), None, None) as notebook,
    ):
        manager.register(slots, tiers_of(settings))
        session = wired(
            Parts(
                name=NAME,
                task=task,
                settings=settings,
                clock=clock,
                ledger=ledger,
                desk=LeaseDesk(manager, poll_seconds=TICK_SECONDS),
                executor=SimulatedExecutor(clock, lambda order: _course(order, home / "machines", clock)),
                slots=slots,
                notebook=notebook,
                candidates=KeptCandidates(task.editable, home / "candidates"),
                team=lambda *_: NumberedProposals(),
                say=lambda _: None,
                tick_seconds=TICK_SECONDS,
            )
        )
        clock.run(session.run())


def fresh_home(home: Path) -> Path:
    """A home in which no life has been."""
    for folder in (home / "bowl", home / "machines"):
        folder.mkdir(parents=True)
    (home / "bowl" / "train.py").write_text(TRAIN)
    (home / "bowl" / "task.toml").write_text(TASK)
    return home


def _now(ledger: Ledger) -> float:
    """The moment of the last death, as far as anything tells; where nothing does, the beginning."""
    events = list(ledger.events(NAME))
    return max([EPOCH, *(event.at for event in events), *ledger.pulses(NAME).values()])


def _course(order: TrialOrder, machines: Path, clock: VirtualClock) -> Course:
    """A trial outlives the swarm: one that was begun in an earlier life ends when it would have."""
    begun = machines / order.trial_id
    if not begun.exists():
        begun.write_text(repr(clock.now()))
    left = float(begun.read_text()) + order.budget.amount + 2 - clock.now()
    number = int(float(read_knobs(order.source)["Z"])) - 1
    if number in CRASHES:
        return Course(seconds=max(0.0, left - 1), result=lost(order, Outcome.CRASHED, "as the test asked"))
    value = _score(number, order.tier) + random.Random(f"{number}{order.tier}{order.seed}").gauss(0, 0.002)
    return Course(seconds=max(0.0, left), result=completed(order, value, holdout=value if order.holdout else None))


def _score(number: int, tier: str) -> float:
    """Nothing is a close call, so that every life decides alike, in whatever order it learns things."""
    if number == WINNER:
        return 1.1
    if number == IMPOSTOR:
        return 1.0 if tier == "screen" else 1.5
    return 1.3 + 0.1 * bool(number)


def end_state(home: Path) -> dict[str, Any]:
    """What a session came to, without what may differ between lives: when things happened, and the number of runs."""
    with (
        closing(Ledger(home / "ledger.db")) as ledger,
        closing(LeaseManager(home / "leases.db", VirtualClock(_now(ledger)))) as manager,
        LocalNotebook(Log.open(home / "notebook", create=False), None, None) as notebook,
    ):
        state = SessionState.replay(NAME, ledger.events(NAME))
        used = manager.lease_seconds(session=NAME)
        entries = notebook.entries()
    return {
        "slot_seconds": round(sum(slot.seconds for slot in used), 3),
        "dollars": round(sum(slot.dollars for slot in used), 3),
        "entries": sorted((entry.id, entry.kind) for entry in entries),
        "ended": state.ended,
        "incumbents": state.incumbents,
        "experiments": {name: _told(experiment) for name, experiment in state.experiments.items()},
        "live": list(state.live_trials),
    }


def _told(experiment: Experiment) -> dict[str, Any]:
    return {
        "status": experiment.status,
        "changes": dict(experiment.changes),
        "trials": sorted((t.tier, t.seed, str(t.outcome), t.value) for t in experiment.trials),
    }


def events_of(home: Path) -> Sequence[Event]:
    with closing(Ledger(home / "ledger.db")) as ledger:
        return list(ledger.events(NAME))
