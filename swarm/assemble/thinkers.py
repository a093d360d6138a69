"""Builds the specialists that think, from the agents that swarm.toml and the environment name."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from notebook_store.notebook import Notebook
from papers.library import Library
from swarm.agents.analyst_llm import ModelAnalyst
from swarm.agents.command import Agent, CommandProposer
from swarm.agents.hybrid import HybridProposer
from swarm.agents.llm import ModelProposer
from swarm.agents.mind import Books
from swarm.agents.pages import PageWriter
from swarm.agents.portfolio import Portfolio, Thinker
from swarm.agents.reader_llm import ModelReader
from swarm.agents.reviewer_llm import ModelReviewer
from swarm.agents.roles import ROLES
from swarm.agents.tools import searching
from swarm.assemble.minds import Minds, author_of
from swarm.assemble.team import Thinkers
from swarm.config import AgentSettings, Settings
from swarm.ports import Clock, Kernel, Proposer
from swarm.research.lineage import Lineage
from trainer.contract import Task


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What specialists that think work with."""

    minds: Minds
    books: Books
    settings: Settings
    session: str
    task: Task
    notebook: Notebook
    library: Library
    kernel: Kernel
    lineage: Lineage
    folder: Path  # the session's own
    clock: Clock
    tell: Callable[[str, str], Awaitable[None]]  # (author, line): puts on record what a person should know


def thinkers_of(studio: Studio) -> Thinkers:
    """All that think but the proposers."""

    def of(role: str) -> Sequence[AgentSettings]:
        return [agent for agent in studio.minds.agents if agent.role == role]

    session, task, notebook, clock = studio.session, studio.task, studio.notebook, studio.clock
    mind = studio.minds.mind
    skills = searching(notebook, studio.library)
    return Thinkers(
        reviewers=[
            ModelReviewer(mind(one, studio.books), notebook, session=session, task=task, seed=studio.settings.seed)
            for one in of("reviewer")
        ],
        readers=[
            ModelReader(mind(one, studio.books), notebook, studio.library, session=session, task=task, clock=clock)
            for one in of("reader")
        ],
        analysts=[ModelAnalyst(mind(one, studio.books), notebook, studio.kernel, clock=clock) for one in of("analyst")],
        writers=[
            PageWriter(ROLES[one.role], mind(one, studio.books), notebook, skills, task=task, clock=clock)
            for one in studio.minds.agents
            if ROLES[one.role].wakes == "wave"
        ],
    )


def portfolio_of(studio: Studio, optimizer: Proposer) -> Portfolio:
    """All proposers that are asked for; the optimiser shares the slots unless only others are."""
    chosen = studio.settings.proposers
    return Portfolio(
        optimizer,
        [_proposer(studio, one, optimizer) for one in studio.minds.agents if one.role == "proposer"],
        shares_slots=not chosen or "optimizer" in chosen,
        clock=studio.clock,
        tell=studio.tell,
    )


def _proposer(studio: Studio, agent: AgentSettings, optimizer: Proposer) -> Thinker:
    skills = searching(studio.notebook, studio.library)
    if agent.kind == "command":
        told = Agent(
            author=author_of(agent),
            command=agent.command,
            timeout_seconds=agent.timeout,
            network=agent.network,
            pass_env=agent.pass_env,
            instructions=agent.instructions,
        )
        folder = studio.folder / "worktrees"
        checkout = studio.lineage.checkout
        return CommandProposer(told, studio.notebook, studio.minds.kept, checkout, folder, session=studio.session)
    mind = studio.minds.mind(agent, studio.books)
    if agent.kind == "hybrid":
        return HybridProposer(optimizer, mind, studio.notebook, skills, session=studio.session)
    return ModelProposer(mind, studio.notebook, skills, session=studio.session)
