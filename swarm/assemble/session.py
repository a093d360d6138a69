"""A session with everything it works with, opened and closed together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from notebook_store.notebook import Notebook
from papers.library import Library
from swarm.agents.analyst import Analyst
from swarm.agents.asked import AskedProposer
from swarm.agents.kept import KeptReplies
from swarm.agents.kernel import JupyterKernel
from swarm.agents.optimizer import OptimizerProposer
from swarm.agents.reader import LiteratureReader
from swarm.agents.reviewer import RuleReviewer
from swarm.assemble.choice import Choice, StartRequest, choose
from swarm.assemble.minds import Minds, books_of, teller
from swarm.assemble.stores import data_folder, owned_library, owned_notebook
from swarm.assemble.team import Team
from swarm.assemble.thinkers import Studio, portfolio_of, thinkers_of
from swarm.executors.local import LocalExecutor
from swarm.hardware import local_slots
from swarm.home import Home
from swarm.journal import Journal
from swarm.leases.desk import LeaseDesk
from swarm.leases.manager import LeaseManager
from swarm.observer import Observer
from swarm.ports import Executor, Slot, SystemClock
from swarm.research.ledger import Ledger
from swarm.research.lineage import Lineage
from swarm.session import Session
from swarm.wiring import Parts, tiers_of, wired

Say = Callable[[str], None]  # one line of progress for a person


@dataclass(frozen=True, kw_only=True)
class Premises:
    """What is opened for a session and closed after it."""

    folder: Path  # the session's own
    ledger: Ledger
    desk: LeaseDesk
    executor: Executor
    slots: Sequence[Slot]
    notebook: Notebook
    library: Library
    minds: Minds


@asynccontextmanager
async def opened_session(home: Home, request: StartRequest, say: Say) -> AsyncIterator[Session]:
    """A session that is new or resumed, ready to run; this process owns the home while it is open.

    Raises InputError, TaskError, HomeBusy, and what the notebook and the library raise when they cannot be opened.
    """
    with ExitStack() as stack:
        stack.enter_context(home.owned())
        ledger = stack.enter_context(closing(Ledger(home.ledger)))
        choice = choose(ledger, request)
        slots = local_slots(choice.settings.slots, choice.task)
        manager = stack.enter_context(closing(LeaseManager(home.leases, SystemClock())))
        manager.register(slots, tiers_of(choice.settings))
        say(f"session {choice.name}: task {choice.task.name} on {_described(slots)}")
        await _end_orphans(home, manager, choice.name)
        folder = home.session(choice.name)
        executor = stack.enter_context(closing(LocalExecutor(folder / "trials", data_folder())))
        await executor.prepare(choice.task, say)
        notebook = stack.enter_context(await asyncio.to_thread(owned_notebook, home))
        library = stack.enter_context(await asyncio.to_thread(owned_library, home))
        desk = LeaseDesk(manager)
        premises = Premises(
            folder=folder,
            ledger=ledger,
            desk=desk,
            executor=executor,
            slots=slots,
            notebook=notebook,
            library=library,
            minds=await Minds.opened(choice.settings, KeptReplies(folder / "thoughts.db"), SystemClock(), say),
        )
        try:
            yield await asyncio.to_thread(_session, choice, premises, say)
        finally:
            await premises.minds.close()
            await desk.close()


def _session(choice: Choice, premises: Premises, say: Say) -> Session:
    clock, task, notebook = SystemClock(), choice.task, premises.notebook
    lineage = Lineage(premises.folder / "repo.git", task.editable)
    limits = [mb for mb in (task.memory_mb, *(slot.memory_mb for slot in premises.slots)) if mb is not None]
    kernel = JupyterKernel(premises.folder / "kernel")

    def team(observer: Observer, journal: Journal) -> Team:
        tell = teller(journal)
        studio = Studio(
            minds=premises.minds,
            books=books_of(journal, premises.minds.kept, choice.settings.models),
            settings=choice.settings,
            session=choice.name,
            task=task,
            notebook=notebook,
            library=premises.library,
            kernel=kernel,
            lineage=lineage,
            folder=premises.folder,
            clock=clock,
            tell=tell,
        )
        return Team(
            asked=AskedProposer(notebook),
            proposer=portfolio_of(studio, OptimizerProposer(notebook, wave_size=choice.settings.waves.size)),
            thinkers=thinkers_of(studio),
            tell=tell,
            reviewer=RuleReviewer(notebook),
            reader=LiteratureReader(notebook, premises.library, session=choice.name, task=task, clock=clock),
            library=premises.library,
            analyst=Analyst(notebook, kernel, clock=clock),
            kernel=kernel,
            observer=observer,
            lineage=lineage,
            task=task,
            memory_mb=min(limits, default=None),
        )

    return wired(
        Parts(
            name=choice.name,
            task=task,
            settings=choice.settings,
            clock=clock,
            ledger=premises.ledger,
            desk=premises.desk,
            executor=premises.executor,
            slots=premises.slots,
            notebook=notebook,
            candidates=lineage,
            team=team,
            say=say,
        )
    )


def _described(slots: Sequence[Slot]) -> str:
    counts = Counter(slot.accelerator for slot in slots)
    return ", ".join(f"{count} × {name}" for name, count in counts.items())


async def _end_orphans(home: Home, manager: LeaseManager, session: str) -> None:
    """End what other sessions of the home left running when they died, and take their slots back."""
    for lease in manager.live():
        if lease.session != session:
            await LocalExecutor(home.session(lease.session) / "trials", data_folder()).cancel(lease.request_id)
            manager.reclaim(lease.token)
