"""Puts the parts of a session together, the same for real time and for simulated time."""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from notebook_store.notebook import Notebook
from swarm.config import Settings
from swarm.crew import TICK_SECONDS, Crew, Specialists
from swarm.housekeeping import Disk
from swarm.journal import Journal
from swarm.lab import Lab
from swarm.leases.desk import LeaseDesk
from swarm.leases.lease import Tier
from swarm.observer import Observer
from swarm.ports import CandidateStore, Clock, Executor, Slot
from swarm.research.experiment import Experiment, Proposal, Review
from swarm.research.ledger import Kind, Ledger
from swarm.scribe import Scribe
from swarm.session import Session
from swarm.trials import Gate, Inputs, Trials
from trainer.contract import Budget, Task


class Team(Specialists, Protocol):
    """All specialists of a session."""

    async def review(self, experiment: Experiment, proposal: Proposal, /) -> Review:
        """Judge a proposal before it costs a slot."""
        ...


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What a session is put together from. Whoever opened them closes them."""

    name: str
    task: Task
    settings: Settings
    clock: Clock
    ledger: Ledger
    desk: LeaseDesk
    executor: Executor
    slots: Sequence[Slot]
    notebook: Notebook
    candidates: CandidateStore
    team: Callable[[Observer, Journal], Team]
    say: Callable[[str], None]  # one line of progress for a person
    disk: Disk | None = None  # where all is kept; None: room is no matter
    tick_seconds: float = TICK_SECONDS  # of the loop's time, between two looks at wishes and limits
    thinkers: int = 1  # how many calls for proposals may be under way at once


def wired(parts: Parts) -> Session:
    """A session that is new, or goes on where its ledger ends. Raises TaskError when a tier has no budget."""
    parts.ledger.append(parts.name, Kind.SESSION_OPENED, "opened", at=parts.clock.now(), data=_opening(parts))
    journal = Journal(parts.ledger, parts.name, parts.clock)
    observer = Observer(journal, parts.candidates, parts.task, parts.settings)
    team = parts.team(observer, journal)

    async def text(commit: str) -> str:
        return await asyncio.to_thread(parts.candidates.source, commit)

    inputs = Inputs(
        task=parts.task,
        budgets=budgets_of(parts.task, parts.settings),
        slots={slot.name: slot for slot in parts.slots},
        text=text,
    )
    lab = Lab(
        task=parts.task,
        settings=parts.settings,
        journal=journal,
        trials=Trials(journal, parts.desk, parts.executor, inputs, Gate()),
        lineage=parts.candidates,
        scribe=Scribe(
            parts.notebook,
            session=parts.name,
            task=parts.task,
            budgets=inputs.budgets,
            noise=journal.state.noise,
            clock=parts.clock,
        ),
        review=team.review,
        observer=observer,
        clock=parts.clock,
    )
    crew = Crew(
        desk=parts.desk,
        executor=parts.executor,
        specialists=team,
        slots=parts.slots,
        disk=parts.disk,
        say=parts.say,
        tick_seconds=parts.tick_seconds,
        thinkers=parts.thinkers,
    )
    return Session(lab, crew)


def budgets_of(task: Task, settings: Settings) -> dict[str, Budget]:
    """Each tier's budget of one trial: swarm.toml's where it names one, else the task's. Raises TaskError."""
    budgets = {}
    for name, tier in settings.tiers.items():
        budget = task.budget(name)
        budgets[name] = budget if tier.budget is None else Budget(kind=budget.kind, amount=tier.budget)
    return budgets


def tiers_of(settings: Settings) -> list[Tier]:
    """The rows of the ladder, as the lease manager wants them."""
    return [
        Tier(name=name, accelerators=tier.accelerators, priority=tier.priority, preempt=tier.preempt)
        for name, tier in settings.tiers.items()
    ]


def _opening(parts: Parts) -> dict[str, str]:
    """What the first event of a session tells."""
    return {
        "task": parts.task.name,
        "task_folder": str(parts.task.folder),
        "metric": parts.task.metric,
        "direction": parts.task.direction,
        "settings": parts.settings.model_dump_json(),
    }
