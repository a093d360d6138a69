"""The specialists of a session, put together."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from papers.library import Library
from swarm.agents.analyst import Analyst
from swarm.agents.asked import AskedProposer
from swarm.agents.kernel import JupyterKernel
from swarm.agents.reader import LiteratureReader
from swarm.agents.reviewer import ReviewContext, RuleReviewer
from swarm.executors.preflight import Preflight
from swarm.observer import Observer
from swarm.ports import Brief, CandidateStore, Proposer, WaveReport
from swarm.research.experiment import Experiment, Proposal, Review
from swarm.research.knobs import derive_ranges, read_knobs
from trainer.contract import Task

_EMBEDDED_A_READING = 256  # passages whose meaning is computed before the reader reads; words find the others


@dataclass(frozen=True, kw_only=True)
class Team:
    """The specialists of a session."""

    asked: AskedProposer
    proposer: Proposer
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

    async def propose(self, brief: Brief) -> list[Proposal]:
        """What people asked for, then what the proposers think of."""
        asked = await self.asked.propose(brief)
        if len(asked) >= brief.wanted:
            return asked
        return asked + await self.proposer.propose(replace(brief, wanted=brief.wanted - len(asked)))

    async def review(self, _: Experiment, proposal: Proposal) -> Review:
        source = await asyncio.to_thread(self.lineage.source, proposal.parent)
        context = ReviewContext(
            parent_source=source,
            ranges=derive_ranges(read_knobs(source), self.task.ranges),
            observations=await self.observer.observations(),
            memory_mb=self.memory_mb,
            preflight=self.preflight.fault if self.preflight else None,
        )
        return await self.reviewer.review(proposal, context)

    async def read(self, factors: Sequence[str]) -> None:
        await asyncio.to_thread(self.library.embed, at_most=_EMBEDDED_A_READING)
        await self.reader.read(factors)

    async def analyse(self, report: WaveReport) -> str:
        return await self.analyst.analyse(report)

    async def close(self) -> None:
        await self.kernel.close()
