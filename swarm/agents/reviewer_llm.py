"""The reviewer that thinks: what passed the static checks is judged for plausibility, redundancy, confounds, worth.

Its usefulness is measured: of what it would turn down a small share runs all the same, drawn by the session's seed.
"""

import asyncio
import difflib
import random

from notebook_store.notebook import Notebook
from swarm.agents.mind import Mind
from swarm.agents.recall import fenced, listed, one_near, remembered, tried_near
from swarm.agents.replies import Verdict
from swarm.agents.reviewer import ReviewContext
from swarm.agents.roles import REVIEWER
from swarm.agents.thought import Facts, Thought
from swarm.research.experiment import Proposal, Review, ReviewVerdict
from trainer.contract import Task

SAMPLED = 0.1  # of what it turns down: a tenth of the slots that reviewing saves pays for knowing what it is worth


class ModelReviewer:
    """Looks at what the rules have passed; a rule's no is never thought about."""

    def __init__(self, mind: Mind, notebook: Notebook, *, session: str, task: Task, seed: int) -> None:
        self.name = mind.author
        self._mind = mind
        self._notebook = notebook
        self._session = session
        self._task = task
        self._seed = seed

    async def judge(self, experiment: str, proposal: Proposal, context: ReviewContext) -> Review:
        """What it thinks of a proposal that passed its static checks. Raises ModelError, and SwarmError for an answer
        that was refused twice.
        """

        async def facts(tokens: int) -> Facts:
            return await asyncio.to_thread(self._facts, experiment, proposal, context, tokens)

        async def find(reply: Verdict) -> str | None:
            return None if any(reason.strip() for reason in reply.reasons) else "give at least one reason"

        async def finish(reply: Verdict) -> Review:
            return self._review(experiment, reply)

        thought: Thought[Verdict, Review] = Thought(
            role=REVIEWER, mind=self._mind, run=f"{experiment}-review", facts=facts, find=find, finish=finish
        )
        return await thought.think_through()

    def _facts(self, experiment: str, proposal: Proposal, context: ReviewContext, tokens: int) -> Facts:
        noise = "not measured yet" if context.noise is None else f"{context.noise:.4g}"
        expected = "not stated" if proposal.expected_gain is None else f"{proposal.expected_gain:+.4g}"
        recalled = remembered(
            REVIEWER, self._notebook, query=proposal.hypothesis, session=self._session, task=self._task.name
        )
        near = tried_near(self._notebook, experiment, proposal.hypothesis, proposal.changes)
        diff = difflib.unified_diff(
            context.parent_source.splitlines(), proposal.source.splitlines(), "parent", "proposal", lineterm=""
        )
        return {
            "author": proposal.author,
            "expected_gain": expected,
            "metric": self._task.metric,
            "noise": noise,
            "hypothesis": fenced("hypothesis", proposal.hypothesis),
            "diff": fenced("its edit", "\n".join(diff)),
            "near": fenced("near", "\n".join(map(one_near, near))) if near else "(none)",
            "recalled": listed(recalled, tokens),
        }

    def _review(self, experiment: str, reply: Verdict) -> Review:
        verdict = ReviewVerdict(reply.verdict)
        reasons = [reply.plausible, *reply.reasons]
        if reply.redundant_with:
            reasons.append(f"redundant with {reply.redundant_with}")
        if reply.confounded:
            reasons.append("it changes two things that no design tells apart")
        told = tuple(" ".join(reason.split()) for reason in reasons if reason.strip())
        sampled = (
            verdict is not ReviewVerdict.APPROVED and random.Random(f"{self._seed}/{experiment}").random() < SAMPLED
        )
        return Review(verdict=verdict, reasons=told, author=self.name, thought=True, sampled=sampled)
