"""The only place that names adapters: which executor, notebook, library, kernel and agents a session works with."""

import asyncio
import re
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path

from notebook_store.embed import MiniLM
from notebook_store.notebook import Notebook
from papers.library import STARTER, Library
from swarm.agents.analyst import Analyst
from swarm.agents.kernel import JupyterKernel
from swarm.agents.optimizer import OptimizerProposer
from swarm.agents.reader import LiteratureReader
from swarm.agents.reviewer import ReviewContext, RuleReviewer
from swarm.config import Limits, Settings, load_settings
from swarm.errors import InputError
from swarm.executors.local import LocalExecutor
from swarm.hardware import local_slots
from swarm.home import Home
from swarm.journal import Journal
from swarm.leases.desk import LeaseDesk
from swarm.leases.lease import Tier
from swarm.leases.manager import LeaseManager
from swarm.lifecycle import Lab
from swarm.observer import Observer
from swarm.ports import Brief, Executor, Slot, SystemClock, WaveReport
from swarm.research.experiment import Experiment, Proposal, Review
from swarm.research.knobs import derive_ranges, read_knobs
from swarm.research.ledger import Kind, Ledger
from swarm.research.lineage import Lineage
from swarm.research.state import SessionState
from swarm.scribe import Scribe
from swarm.session import Crew, Session
from swarm.trials import Gate, Inputs, Trials
from trainer.contract import Budget, Task, builtin_tasks, find_task

Say = Callable[[str], None]  # one line of progress for a person


@dataclass(frozen=True, kw_only=True)
class StartRequest:
    """What `swarm start` was asked for."""

    task: str | None = None  # built-in name or folder; None: the task of the session that is resumed
    session: str | None = None  # name; None: the task's unfinished session, else a new one
    config: Path | None = None  # swarm.toml; None: what the session was opened with, else the defaults
    limits: Mapping[str, float | None] | None = None  # fields of Limits from the command line; None: not given
    seed: int | None = None  # None: as configured


@dataclass(frozen=True, kw_only=True)
class Choice:
    """Which session a request means, and with what."""

    name: str
    task: Task
    settings: Settings
    new: bool


@dataclass(frozen=True, kw_only=True)
class Team:
    """The specialists of a session."""

    proposer: OptimizerProposer
    reviewer: RuleReviewer
    reader: LiteratureReader
    library: Library
    analyst: Analyst
    kernel: JupyterKernel
    observer: Observer
    lineage: Lineage
    task: Task
    memory_mb: float | None  # MiB a trial may use on the smallest slot; None: no limit

    async def propose(self, brief: Brief) -> list[Proposal]:
        return await self.proposer.propose(brief)

    async def review(self, _: Experiment, proposal: Proposal) -> Review:
        source = await asyncio.to_thread(self.lineage.source, proposal.parent)
        context = ReviewContext(
            parent_source=source,
            ranges=derive_ranges(read_knobs(source), self.task.ranges),
            observations=await self.observer.observations(),
            memory_mb=self.memory_mb,
        )
        return await self.reviewer.review(proposal, context)

    async def read(self, factors: Sequence[str]) -> None:
        await asyncio.to_thread(self.library.embed)
        await self.reader.read(factors)

    async def analyse(self, report: WaveReport) -> str:
        return await self.analyst.analyse(report)

    async def close(self) -> None:
        await self.kernel.close()


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
        notebook = stack.enter_context(await asyncio.to_thread(_owned_notebook, home))
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


def choose(ledger: Ledger, request: StartRequest) -> Choice:
    """Which session the request means: the one it names, an unfinished one of the task, or a new one."""
    states = {name: SessionState.replay(name, ledger.events(name)) for name in ledger.sessions()[-20:]}
    name = request.session
    if name is None:
        task_name = None if request.task is None else find_task(request.task).name
        unfinished = [n for n, s in states.items() if s.ended is None and task_name in (None, s.opened["task"])]
        name = unfinished[-1] if unfinished else None
    if name in states:
        return _resumed(states[name], request)
    if request.task is None:
        raise InputError(
            f"which task? give one of {', '.join(builtin_tasks())} or the path of a task folder, "
            "e.g. `swarm start tinytext`"
        )
    task = find_task(request.task)
    settings = _overridden(load_settings(request.config), request)
    if name is None:
        name = (
            f"{_plain(task.name)}-{1 + sum(known.startswith(_plain(task.name) + '-') for known in ledger.sessions())}"
        )
    elif _plain(name) != name:
        raise InputError(f"'{name}' cannot name a session; use letters, digits, '.', '_' and '-'")
    return Choice(name=name, task=task, settings=settings, new=True)


def _resumed(state: SessionState, request: StartRequest) -> Choice:
    task = find_task(state.opened["task_folder"])
    if request.task is not None and find_task(request.task).folder != task.folder:
        raise InputError(
            f"session {state.session} works on task '{task.name}', not '{request.task}'; leave the task out, "
            "or choose another --session"
        )
    settings = (
        load_settings(request.config) if request.config else Settings.model_validate_json(state.opened["settings"])
    )
    return Choice(name=state.session, task=task, settings=_overridden(settings, request), new=False)


def _overridden(settings: Settings, request: StartRequest) -> Settings:
    given = {name: value for name, value in (request.limits or {}).items() if value is not None}
    limits = Limits.model_validate({**settings.limits.model_dump(), **given})
    seed = settings.seed if request.seed is None else request.seed
    return settings.model_copy(update={"limits": limits, "seed": seed})


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


def _plain(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "-", name).strip("-.") or "session"


async def _end_orphans(home: Home, manager: LeaseManager, session: str) -> None:
    """End what other sessions of the home left running when they died, and take their slots back."""
    for lease in manager.live():
        if lease.session != session:
            await LocalExecutor(home.session(lease.session) / "trials", data_folder()).cancel(lease.request_id)
            manager.reclaim(lease.token)


def _owned_notebook(home: Home) -> Notebook:
    return Notebook.open(home.notebook, embedder=MiniLM())


def open_notebook(home: Home) -> Notebook:
    """The notebook as any process may read it, search it and append to it, beside its owner or without one."""
    if not home.notebook.exists():
        raise InputError(f"the notebook of {home.root} is still empty; begin with `swarm start`")
    return Notebook.read(home.notebook, embedder=MiniLM())


def open_library(home: Home) -> Library:
    """The library as any process may read it; the starter corpus is in it."""
    if not home.papers.exists():
        owned_library(home).close()
    return Library.read(home.papers, embedder=MiniLM())


def owned_library(home: Home) -> Library:
    """The library of this process alone, to add to it; the starter corpus is in it."""
    library = Library.open(home.papers, embedder=MiniLM())
    library.add([STARTER], embed=False)  # searched by words at once, by meaning when somebody embeds
    return library


def data_folder() -> Path:
    """Where prepared task data is kept: the user's cache, shared between homes, made anew when it is deleted."""
    from platformdirs import user_cache_path

    return user_cache_path("nightswarm")
