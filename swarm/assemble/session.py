"""A session with everything it works with, opened and closed together."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
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
from swarm.assemble.stores import add_papers, disk_of, open_library, owned_library, session_notebook
from swarm.assemble.team import Team
from swarm.assemble.thinkers import Studio, portfolio_of, thinkers_of
from swarm.assemble.workplace import opened_workplace
from swarm.errors import HomeBusy, InputError
from swarm.executors.preflight import Preflight
from swarm.executors.sky.cloud import OpenCloud
from swarm.executors.sky.sdk import SkySdk
from swarm.home import Home
from swarm.housekeeping import Disk
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
    preflight: Preflight | None  # None: trials run elsewhere, and so would a first step
    slots: Sequence[Slot]
    notebook: Notebook
    library: Library
    minds: Minds
    disk: Disk


@asynccontextmanager
async def opened_session(
    home: Home, request: StartRequest, say: Say, *, sky: OpenCloud = SkySdk
) -> AsyncIterator[Session]:
    """A session that is new or resumed, ready to run. This process owns the home while it is open, unless another
    session does: then it works beside that one.

    ``sky``: where clusters come from, for executor "sky".

    Raises InputError, TaskError, HomeBusy, and what the notebook and the library raise when they cannot be opened.
    """
    async with AsyncExitStack() as stack:
        ledger = stack.enter_context(closing(Ledger(home.ledger)))
        choice = choose(ledger, request)
        stack.enter_context(home.working(choice.name))
        owner = _owns(home, choice.name, stack)
        desk = LeaseDesk(stack.enter_context(closing(LeaseManager(home.leases, SystemClock()))))
        stack.push_async_callback(desk.close)
        say(f"session {choice.name}: task {choice.task.name}")
        tiers = tiers_of(choice.settings)
        place = await stack.enter_async_context(opened_workplace(home, choice, desk, tiers, say, sky=sky))
        say(f"it runs on {_described(place.slots)}")
        if not owner:
            say(f"beside {', '.join(sorted(home.at_work() - {choice.name}))}: slots and notebook are shared")
        opening = session_notebook(home, choice.settings.notebook, owner=owner)
        notebook = await asyncio.to_thread(stack.enter_context, opening)
        begun = choice.name in ledger.sessions()
        if not begun and await asyncio.to_thread(lambda: notebook.count(session=choice.name) > 0):
            raise InputError(f"the notebook has another session '{choice.name}'; name this one with --session")
        library = stack.enter_context(await asyncio.to_thread(owned_library if owner else open_library, home))
        if request.papers:
            say(f"reading papers from {', '.join(map(str, request.papers))}")
            added, table = await asyncio.to_thread(add_papers, library, home, request.papers, embed=False)
            say(f"papers: {added.new} new, {added.known} known, {added.unreadable_count} unreadable; see {table}")
        folder = home.session(choice.name)
        minds = await Minds.opened(choice.settings, KeptReplies(folder / "thoughts.db"), SystemClock(), say)
        stack.push_async_callback(minds.close)
        premises = Premises(
            folder=folder,
            ledger=ledger,
            desk=desk,
            executor=place.executor,
            slots=place.slots,
            preflight=place.preflight,
            notebook=notebook,
            library=library,
            minds=minds,
            disk=disk_of(home, choice.settings.disk),
        )
        yield await asyncio.to_thread(_session, choice, premises, say)


def _owns(home: Home, session: str, stack: AsyncExitStack) -> bool:
    """Own the home, or find that another session does. Raises HomeBusy where something else does."""
    try:
        stack.enter_context(home.owned())
    except HomeBusy:
        if not home.at_work() - {session}:
            raise
        return False
    return True


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
            reviewer=RuleReviewer(),
            reader=LiteratureReader(notebook, premises.library, session=choice.name, task=task, clock=clock),
            library=premises.library,
            analyst=Analyst(notebook, kernel, clock=clock),
            kernel=kernel,
            observer=observer,
            lineage=lineage,
            task=task,
            preflight=premises.preflight,
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
            disk=premises.disk,
        )
    )


def _described(slots: Sequence[Slot]) -> str:
    counts = Counter(slot.accelerator for slot in slots)
    return ", ".join(f"{count} × {name}" for name, count in counts.items())
