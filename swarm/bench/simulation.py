"""Whole sessions on virtual time: the session, the leases, the statistics are the real ones; the trials are not.

with simulated(scenario, folder) as simulation:
    reason = simulation.run()
    simulation.session.state.incumbent
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from notebook_store.local import LocalNotebook
from notebook_store.log import Log
from notebook_store.notebook import Notebook
from swarm.bench.candidates import MemoryCandidates
from swarm.config import Settings
from swarm.executors.simulated import SimulatedExecutor, World
from swarm.executors.virtual_time import VirtualClock
from swarm.journal import Journal
from swarm.leases.desk import LeaseDesk
from swarm.leases.manager import LeaseManager
from swarm.observer import Observer
from swarm.ports import CandidateStore, Clock, Slot
from swarm.research.ledger import Ledger
from swarm.session import Session
from swarm.wiring import Parts, Team, tiers_of, wired
from trainer.contract import Task

TICK_SECONDS = 60.0  # of virtual time; nobody looks on, so wishes and pulses need no more
LEASE_SECONDS = 1200.0  # of virtual time; nobody dies, so heartbeats need come no oftener


@dataclass(frozen=True, kw_only=True)
class Stage:
    """What a simulated session's specialists may work with."""

    task: Task
    settings: Settings
    clock: Clock
    notebook: Notebook  # searched by words alone
    candidates: CandidateStore
    observer: Observer


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """All that a simulated session depends on; two runs of one scenario take the same course."""

    task: Task
    settings: Settings
    slots: Sequence[Slot]
    world: World  # what becomes of each trial
    team: Callable[[Stage], Team]
    thinkers: int = 1  # how many calls for proposals may be under way at once
    name: str = "simulation"  # of the session


@dataclass(frozen=True, kw_only=True)
class Simulation:
    """A simulated session, ready to run."""

    session: Session
    clock: VirtualClock
    executor: SimulatedExecutor
    leases: LeaseManager
    notebook: Notebook

    def run(self) -> str:
        """Work until a limit is reached; why it ended. Raises SwarmError when it cannot go on."""
        return self.clock.run(self.session.run())


@contextmanager
def simulated(scenario: Scenario, folder: Path) -> Iterator[Simulation]:
    """A new session of ``scenario`` whose ledger, leases and notebook lie in ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    clock = VirtualClock()
    candidates = MemoryCandidates(scenario.task.editable)
    executor = SimulatedExecutor(clock, scenario.world)
    with (
        closing(Ledger(folder / "ledger.db")) as ledger,
        closing(LeaseManager(folder / "leases.db", clock, lease_seconds=LEASE_SECONDS)) as manager,
        LocalNotebook(Log.open(folder / "notebook", create=True), None, None) as notebook,
    ):
        manager.register(scenario.slots, tiers_of(scenario.settings))

        def team(observer: Observer, _: Journal) -> Team:
            return scenario.team(
                Stage(
                    task=scenario.task,
                    settings=scenario.settings,
                    clock=clock,
                    notebook=notebook,
                    candidates=candidates,
                    observer=observer,
                )
            )

        session = wired(
            Parts(
                name=scenario.name,
                task=scenario.task,
                settings=scenario.settings,
                clock=clock,
                ledger=ledger,
                desk=LeaseDesk(manager, poll_seconds=TICK_SECONDS),
                executor=executor,
                slots=scenario.slots,
                notebook=notebook,
                candidates=candidates,
                team=team,
                say=_unheard,
                tick_seconds=TICK_SECONDS,
                thinkers=scenario.thinkers,
            )
        )
        yield Simulation(session=session, clock=clock, executor=executor, leases=manager, notebook=notebook)


def _unheard(line: str) -> None:
    """Nobody follows a simulated session line by line."""
