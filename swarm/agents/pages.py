"""A role that is nothing but a prompt and a row: it recalls, thinks, and writes entries of its kinds."""

import asyncio

from notebook_store.entry import Entry, Kind, Link, Relation
from notebook_store.notebook import Notebook
from swarm.agents.mind import Mind
from swarm.agents.recall import listed, remembered
from swarm.agents.replies import Page, Pages
from swarm.agents.roles import Role, may_write, write_once
from swarm.agents.thought import Facts, Thought
from swarm.agents.tools import Skill
from swarm.ports import Clock
from trainer.contract import Task

_PAGES = 5  # of one run


class PageWriter:
    """Runs one such role."""

    def __init__(
        self, role: Role, mind: Mind, notebook: Notebook, skills: dict[str, Skill], *, task: Task, clock: Clock
    ) -> None:
        self.role = role
        self.name = mind.author
        self._mind = mind
        self._notebook = notebook
        self._skills = {name: one for name, one in skills.items() if name in role.tools}
        self._task = task
        self._clock = clock

    async def think(self, session: str, occasion: str) -> list[str]:
        """Ids of what it wrote on an occasion, such as "wave-3". Raises ModelError, and SwarmError for an answer that
        was refused twice.
        """
        run = f"{session}-{self.name}-{occasion}"

        async def facts(tokens: int) -> Facts:
            recalled = await asyncio.to_thread(
                remembered, self.role, self._notebook, query=occasion, session=session, task=self._task.name
            )
            return {
                "task": self._task.name,
                "metric": self._task.metric,
                "direction": "lower" if self._task.direction == "minimize" else "higher",
                "occasion": occasion,
                "recalled": listed(recalled, tokens),
            }

        async def find(reply: Pages) -> str | None:
            strange = [page.kind for page in reply.pages if not _is_own(self.role, page.kind)]
            allowed = ", ".join(sorted(self.role.writes))
            return f"you may write only: {allowed}; not {', '.join(strange)}" if strange else None

        async def finish(reply: Pages) -> list[str]:
            entries = [self._entry(run, session, number, page) for number, page in enumerate(reply.pages[:_PAGES], 1)]
            return [
                entry.id for entry in entries if await asyncio.to_thread(write_once, self.role, self._notebook, entry)
            ]

        thought: Thought[Pages, list[str]] = Thought(
            role=self.role, mind=self._mind, run=run, facts=facts, find=find, finish=finish, skills=self._skills
        )
        return await thought.think_through()

    def _entry(self, run: str, session: str, number: int, page: Page) -> Entry:
        return Entry(
            id=f"{run}-{number}",
            kind=Kind(page.kind),
            title=" ".join(page.title.split())[:160],
            body=page.body,
            author=self.name,
            session=session,
            task=self._task.name,
            created_at=self._clock.now(),
            links=tuple(Link(kind=Relation.CITES, target=cited) for cited in page.cites),
        )


def _is_own(role: Role, kind: str) -> bool:
    return kind in list(Kind) and may_write(role, Kind(kind))
