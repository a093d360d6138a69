"""The specialists of a session, put together: rules at once, thoughts beside them, and neither waits for the other."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from papers.library import Library
from swarm.agents.analyst import Analyst
from swarm.agents.analyst_llm import ModelAnalyst
from swarm.agents.asked import AskedProposer
from swarm.agents.kernel import JupyterKernel
from swarm.agents.pages import PageWriter
from swarm.agents.portfolio import Portfolio
from swarm.agents.reader import LiteratureReader
from swarm.agents.reader_llm import ModelReader, Topic
from swarm.agents.reviewer import ReviewContext, RuleReviewer
from swarm.agents.reviewer_llm import ModelReviewer
from swarm.errors import SwarmError
from swarm.executors.preflight import Preflight
from swarm.observer import Observer
from swarm.ports import Brief, CandidateStore, WaveReport
from swarm.research.experiment import Experiment, Proposal, Review, ReviewVerdict
from swarm.research.knobs import derive_ranges, read_knobs
from trainer.contract import Task

_EMBEDDED_A_READING = 256  # passages whose meaning is computed before the reader reads; words find the others
T = TypeVar("T")

_FACTORS_READ = 4  # on one occasion: what the last wave showed to matter


@dataclass(frozen=True, kw_only=True)
class Thinkers:
    """Those specialists that think, where there are any; several of a role work one after the other."""

    reviewers: Sequence[ModelReviewer] = ()
    readers: Sequence[ModelReader] = ()
    analysts: Sequence[ModelAnalyst] = ()
    writers: Sequence[PageWriter] = ()  # roles of the user's own


@dataclass(frozen=True, kw_only=True)
class Team:
    """The specialists of a session."""

    asked: AskedProposer
    proposer: Portfolio
    reviewer: RuleReviewer
    reader: LiteratureReader
    library: Library
    analyst: Analyst
    kernel: JupyterKernel
    observer: Observer
    lineage: CandidateStore
    task: Task
    preflight: Preflight | None  # None: nobody takes a first step
    memory_mb: float | None  # MiB a trial may use on the smallest slot; None: no limit
    thinkers: Thinkers
    tell: Callable[[str, str], Awaitable[None]]  # (author, line): puts on record what a person should know
    _thoughts: set["asyncio.Task[Any]"] = field(default_factory=set)

    async def propose(self, brief: Brief) -> list[Proposal]:
        """What people asked for, then what the proposers think of."""
        asked = await self.asked.propose(brief)
        if len(asked) >= brief.wanted:
            return asked
        return asked + await self.proposer.propose(replace(brief, wanted=brief.wanted - len(asked)))

    @property
    def exhausted(self) -> bool:
        return self.proposer.exhausted

    async def review(self, experiment: Experiment, proposal: Proposal) -> Review:
        """The rules first; what they pass and a model or a person thought of, a model looks at too.

        What the optimiser designs is left to the rules: a hole in a design spoils the whole of it.
        """
        source = await asyncio.to_thread(self.lineage.source, proposal.parent)
        context = ReviewContext(
            parent_source=source,
            ranges=derive_ranges(read_knobs(source), self.task.ranges),
            observations=await self.observer.observations(),
            memory_mb=self.memory_mb,
            preflight=self.preflight.fault if self.preflight else None,
            noise=self.observer.screening_noise(),
        )
        checked = await self.reviewer.review(proposal, context)
        if checked.verdict is not ReviewVerdict.APPROVED or proposal.origin is None:
            return checked
        for reviewer in self.thinkers.reviewers:
            review = await self._thought(reviewer.name, reviewer.judge(experiment.id, proposal, context))
            if review is not None:
                return review
        return checked

    async def read(self, factors: Sequence[str]) -> None:
        await asyncio.to_thread(self.library.embed, at_most=_EMBEDDED_A_READING)
        await self.reader.read(factors)
        await self._read("start", factors[:_FACTORS_READ], "The session begins; nothing was tried yet.")

    async def analyse(self, report: WaveReport) -> str:
        return await self.analyst.analyse(report)

    async def reflect(self, report: WaveReport) -> None:
        """Let those who think look at an analysed wave: the analyst, the reader, and roles of the user's own."""
        for analyst in self.thinkers.analysts:
            await self._thought(analyst.name, analyst.look(report))
        best = max((o.gain for o in report.observations if o.gain is not None), default=None)
        last = max((o.gain for o in report.observations if o.wave == report.wave and o.gain is not None), default=None)
        stuck = best is not None and (last is None or last < best)
        told = f"The last wave brought {'nothing better than before: the swarm is stuck' if stuck else 'a new best'}."
        occasion = report.wave.replace(" ", "-")
        await self._read(occasion, _moved_most(report), f"{report.wave} is analysed. {told}")
        for writer in self.thinkers.writers:
            await self._thought(writer.name, writer.think(report.session, occasion))

    async def widen(self, level: int, factors: Sequence[str]) -> None:
        """Read on: what was not yet claimed of any constant, and what those who think make of the standstill."""
        await asyncio.to_thread(self.library.embed, at_most=_EMBEDDED_A_READING)
        await self.reader.read_on(factors)
        told = "No gain was confirmed for long: the swarm is on a plateau and needs directions it has not tried."
        await self._read(f"plateau-{self.observer.plateaus}-{level}", factors[:_FACTORS_READ], told)

    async def _read(self, occasion: str, factors: Sequence[str], told: str) -> None:
        if not self.thinkers.readers:
            return
        topic = Topic(occasion=occasion, factors=factors, stuck=told, parts=await self.observer.parts())
        for reader in self.thinkers.readers:
            await self._thought(reader.name, reader.read(topic))

    async def _thought(self, author: str, thinking: Coroutine[Any, Any, T]) -> T | None:
        """What a thought came to; None, and a line on record, where it came to nothing or was hushed."""
        task = asyncio.create_task(thinking, name=author)
        self._thoughts.add(task)
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:
            task.cancel()
            raise
        finally:
            self._thoughts.discard(task)
        if task.cancelled():
            return None
        error = task.exception()
        if isinstance(error, SwarmError):
            await self.tell(author, f"thought of nothing usable: {error}")
            return None
        return task.result()

    def hush(self) -> None:
        """Give up the thoughts that are under way; what was paid for is kept and found when the session goes on."""
        for task in list(self._thoughts):
            task.cancel()

    async def close(self) -> None:
        self.hush()
        await self.proposer.close()
        await self.kernel.close()


def _moved_most(report: WaveReport) -> list[str]:
    """The constants that the best experiments of a wave changed, the most often changed first."""
    scored = sorted((o for o in report.observations if o.gain is not None), key=lambda o: -(o.gain or 0.0))
    changed = [name for o in scored[:5] for name, value in o.knobs.items() if value != report.baseline.get(name)]
    return sorted(dict.fromkeys(changed), key=lambda name: -changed.count(name))[:_FACTORS_READ]
