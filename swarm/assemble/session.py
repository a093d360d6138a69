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
from swarm.agents.kernel import JupyterKernel
from swarm.agents.optimizer import OptimizerProposer
from swarm.agents.reader import LiteratureReader
from swarm.agents.reviewer import RuleReviewer
from swarm.assemble.choice import Choice, StartRequest, choose
from swarm.assemble.stores import data_folder, owned_library, owned_notebook
from swarm.assemble.team import Team
from swarm.config import Settings
from swarm.executors.local import LocalExecutor
from swarm.hardware import local_slots
from swarm.home import Home
from swarm.journal import Journal
from swarm.leases.desk import LeaseDesk
from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.lifecycle import Lab
from swarm.observer import Observer
from swarm.ports import Executor, Slot, SystemClock
from swarm.research.ledger import Kind, Ledger
from swarm.research.lineage import Lineage
from swarm.scribe import Scribe
from swarm.session import Crew, Session
from swarm.trials import Gate, Inputs, Trials
from trainer.contract import Budget

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
        manager.register(slots, _tiers(choice.settings))
        say(f"session {choice.name}: task {choice.task.name} on {_described(slots)}")
        await _end_orphans(home, manager, choice.name)
        folder = home.session(choice.name)
        executor = LocalExecutor(folder / "trials", data_folder())
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
        )
        try:
            yield await asyncio.to_thread(_session, choice, premises, say)
        finally:
            await desk.close()


def _session(choice: Choice, premises: Premises, say: Say) -> Session:
    clock, task, notebook = SystemClock(), choice.task, premises.notebook
    if choice.new:
        premises.ledger.append(
            choice.name,
            Kind.SESSION_OPENED,
            "opened",
            at=clock.now(),
            data={
                "task": task.name,
                "task_folder": str(task.folder),
                "metric": task.metric,
                "direction": task.direction,
                "settings": choice.settings.model_dump_json(),
            },
        )
    journal = Journal(premises.ledger, choice.name, clock)
    lineage = Lineage(premises.folder / "repo.git", task.editable)
    observer = Observer(journal, lineage, task, choice.settings)

    async def text(commit: str) -> str:
        return await asyncio.to_thread(lineage.source, commit)

    slots = {slot.name: slot for slot in premises.slots}
    inputs = Inputs(task=task, budgets=_budgets(choice), slots=slots, text=text)
    limits = [mb for mb in (task.memory_mb, *(slot.memory_mb for slot in premises.slots)) if mb is not None]
    kernel = JupyterKernel(premises.folder / "kernel")
    team = Team(
        proposer=OptimizerProposer(notebook, wave_size=choice.settings.waves.size),
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
    lab = Lab(
        task=task,
        settings=choice.settings,
        journal=journal,
        trials=Trials(journal, premises.desk, premises.executor, inputs, Gate()),
        lineage=lineage,
        scribe=Scribe(notebook, session=choice.name, task=task, clock=clock),
        review=team.review,
        observer=observer,
        clock=clock,
    )
    crew = Crew(desk=premises.desk, executor=premises.executor, specialists=team, slots=premises.slots, say=say)
    return Session(lab, crew)


def _budgets(choice: Choice) -> dict[str, Budget]:
    """Each tier's budget of one trial: swarm.toml's where it names one, else the task's. Raises TaskError."""
    budgets = {}
    for name, tier in choice.settings.tiers.items():
        budget = choice.task.budget(name)
        budgets[name] = budget if tier.budget is None else Budget(kind=budget.kind, amount=tier.budget)
    return budgets


def _tiers(settings: Settings) -> list[Tier]:
    return [
        Tier(name=name, accelerators=tier.accelerators, priority=tier.priority) for name, tier in settings.tiers.items()
    ]


def _described(slots: Sequence[Slot]) -> str:
    counts = Counter(slot.accelerator for slot in slots)
    return ", ".join(f"{count} × {name}" for name, count in counts.items())


async def _end_orphans(home: Home, manager: LeaseManager, session: str) -> None:
    """End what other sessions of the home left running when they died, and take their slots back."""
    for lease in manager.live():
        if lease.session != session:
            await LocalExecutor(home.session(lease.session) / "trials", data_folder()).cancel(lease.request_id)
            manager.reclaim(lease.token)
