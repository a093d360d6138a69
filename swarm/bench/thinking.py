"""Proposers that think as peers: the session's own, asked for a few configurations at a time and told in memory.

They see what the other strategies see: constants, ranges, scores and failures. There is no library, no noise floor and
no code to edit. What they ask of their model is charged like GPU time, at the price that swarm.toml gives its tokens.
"""

import hashlib
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from notebook_store.notebook import Notebook
from swarm.agents.hybrid import HybridProposer
from swarm.agents.llm import ModelProposer
from swarm.agents.mind import Books, Mind
from swarm.agents.optimizer import OptimizerProposer
from swarm.bench.strategies import Config, Ticket, Whole
from swarm.errors import ModelError, SwarmError
from swarm.ports import Brief, Observation, Proposer
from swarm.research.experiment import Json, Proposal
from swarm.research.knobs import read_knobs
from swarm.research.state import Spending
from trainer.contract import Outcome, Range, Task

BATCH = 4  # configurations a thought
UNUSABLE = 3  # answers in a row that come to nothing, after which the race is given up
TOLD = "The file is a list of constants, and nothing else is read of it: set constants, edit no code."


class Thinker(Proposer, Protocol):
    """What ModelProposer and HybridProposer share."""

    async def deliver(self) -> None: ...
    async def give_up(self) -> None: ...


@dataclass(frozen=True, kw_only=True)
class Studio:
    """What a thinking strategy works with."""

    notebook: Notebook  # holds nothing
    mind: Callable[[str, Books], Mind]  # of a strategy, by its name
    run: Callable[[Coroutine[Any, Any, Any]], Any]  # in the event loop of the models


@dataclass
class _Ledger:
    """What was asked of models, by key; the same twice is one."""

    events: dict[str, Json] = field(default_factory=dict)

    async def record(self, key: str, data: Json) -> bool:
        self.events.setdefault(key, data)
        return True

    def spent(self, author: str | None) -> Spending:
        del author  # there is one
        tokens = sum(int(e["prompt_tokens"] + e["completion_tokens"]) for e in self.events.values())
        dollars = sum(float(e["dollars"]) for e in self.events.values())
        return Spending(calls=len(self.events), tokens=tokens, dollars=dollars)


class Thinking(Whole):
    """The strategy `llm`, or `hybrid`: an optimiser some of whose proposals a model overrides."""

    def __init__(
        self, name: str, ranges: Mapping[str, Range], start: Config, seed: int, *, studio: Studio, task: Task
    ) -> None:
        """``task``: for its words, such as the metric's."""
        self._ranges, self._seed, self._studio, self._task = ranges, seed, studio, task
        self._ledger = _Ledger()
        books = Books(record=self._ledger.record, spent=self._ledger.spent, hear=lambda _author, _text: None)
        mind = studio.mind(name, books)
        session = f"{name}-{seed}"
        self._thinker: Thinker = ModelProposer(mind, studio.notebook, {}, session=session)
        if name == "hybrid":
            optimizer = OptimizerProposer(studio.notebook)
            self._thinker = HybridProposer(optimizer, mind, studio.notebook, {}, session=session)
        self._best, self._best_gain, self._base = dict(start), 0.0, 0.0
        self._queue: list[Config] = [dict(start)]
        self._out: dict[int, Config] = {}
        self._seen: list[Observation] = []
        self._files: dict[str, str] = {}  # sha256 of a file -> the trial that ran it
        self._asked = 0

    @property
    def spending(self) -> Spending:
        """What its model took so far."""
        return self._ledger.spent(None)

    def ask(self) -> Ticket:
        if not self._queue:
            self._queue = self._thought()
        config = self._queue.pop(0)
        number, self._asked = self._asked, self._asked + 1
        self._out[number] = config
        self._files[_digest(written(config))] = f"e{number:03d}"
        return Ticket(config=config, handle=number)

    def tell(self, ticket: Ticket, gain: float | None) -> None:
        config = self._out.pop(ticket.handle)
        if ticket.handle == 0:
            self._base = gain or 0.0
            return
        known = None if gain is None else gain - self._base
        outcome = Outcome.CRASHED if gain is None else Outcome.COMPLETED
        name = f"e{ticket.handle:03d}"
        self._seen.append(Observation(experiment=name, wave=None, knobs=config, gain=known, outcome=outcome))
        if known is not None and known > self._best_gain:
            self._best, self._best_gain = dict(config), known

    def _thought(self) -> list[Config]:
        fault = ""
        for _ in range(UNUSABLE):
            try:
                proposals: list[Proposal] = self._studio.run(self._thinker.propose(self._brief()))
                self._studio.run(self._thinker.deliver())
            except ModelError:
                raise
            except SwarmError as error:  # the answer cannot be used; it was paid for
                fault = str(error)
                self._studio.run(self._thinker.give_up())
                continue
            if proposals:
                return [{**self._best, **self._read(proposal)} for proposal in proposals]
        raise SwarmError(f"the model gave no usable answer {UNUSABLE} times in a row ({fault or 'nothing proposed'})")

    def _read(self, proposal: Proposal) -> Config:
        return {name: value for name, value in read_knobs(proposal.source).items() if name in self._best}

    def _brief(self) -> Brief:
        return Brief(
            session="bench",
            task=self._task,
            parent="",
            source=written(self._best),
            knobs=self._best,
            ranges=self._ranges,
            observations=self._seen,
            taken=list(self._out.values()),
            files=self._files,
            noise=None,
            wanted=BATCH,
            wave=None,
            seed=self._seed * 1_000_000 + self._asked,
        )


def written(config: Config) -> str:
    """A configuration as a file of constants."""
    return "".join(f"{name} = {value!r}\n" for name, value in config.items())


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
