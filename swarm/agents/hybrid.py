"""The proposer that is both: an optimiser proposes, and a model that sees its state overrides some of it.

After Centaur (Ferreira et al., arXiv 2603.24647): the optimiser keeps the majority, the model overrides about 30% of
the trials. What the model proposed comes back to the optimiser as an observation like any other; what failed has no
gain, so it teaches where configurations fail and never enters as a score.
"""

import random
from dataclasses import replace

from notebook_store.notebook import Notebook
from swarm.agents.llm import ModelProposer, Order
from swarm.agents.mind import Mind
from swarm.agents.recall import fenced
from swarm.agents.tools import Skill
from swarm.ports import Brief, Proposer
from swarm.research.experiment import Proposal
from swarm.research.picture import picture

OVERRIDDEN = 0.3  # of the trials
_DESIGNED = ("plackett-burman", "factorial", "half-factorial")  # a design with a hole is none


class HybridProposer:
    """A Thinker (see portfolio)."""

    def __init__(
        self, optimizer: Proposer, mind: Mind, notebook: Notebook, skills: dict[str, Skill], *, session: str
    ) -> None:
        self.name = mind.author
        self._optimizer = optimizer
        self._model = ModelProposer(mind, notebook, skills, session=session)

    async def propose(self, brief: Brief) -> list[Proposal]:
        """The optimiser's proposals, some of them overridden. Raises what ModelProposer does."""
        planned = await self._optimizer.propose(replace(brief, wave=None))
        free = [one for one in planned if one.design not in _DESIGNED]
        count = overridden(len(free), brief.seed)
        if not count:
            return [replace(one, author=self.name) for one in planned]
        at_stake = free[-count:]
        told = "\n".join(f"{number}. {one.hypothesis}" for number, one in enumerate(at_stake, 1))
        order = Order(
            wanted=count,
            ask=f" in place of these {count} of the optimiser; leave out those that you would not better:\n"
            + fenced("the optimiser's proposals", told),
            state="# The optimiser's state\n" + picture(brief.observations, brief.ranges, brief.knobs),
        )
        better = await self._model.think(brief, order)
        kept = [one for one in planned if one not in at_stake[: len(better)]]
        return [replace(one, author=self.name) for one in kept] + better

    async def deliver(self) -> None:
        await self._model.deliver()

    async def give_up(self) -> None:
        await self._model.give_up()


def overridden(proposals: int, seed: int) -> int:
    """How many of so many proposals the model may override: 30% of them, the fraction decided by lot."""
    share = proposals * OVERRIDDEN
    return int(share) + (random.Random(seed).random() < share % 1)
