"""One specialist's model: asked through here, so that every answer is kept, counted, capped and heard."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from swarm.agents.kept import KeptReplies
from swarm.errors import CapReached, ModelUnavailable
from swarm.ports import Answer, Ask, ChatModel, Clock, Usage
from swarm.research.experiment import Json
from swarm.research.state import Spending


@dataclass(frozen=True, kw_only=True)
class Cap:
    """What may be spent; None: no end."""

    tokens: int | None = None
    dollars: float | None = None

    def reached(self, spent: Spending) -> str | None:
        """What is spent, in words; None while something is left."""
        if self.tokens is not None and spent.tokens >= self.tokens:
            return f"its {self.tokens:,} tokens are used"
        if self.dollars is not None and spent.dollars >= self.dollars:
            return f"its ${self.dollars:.2f} on models are spent"
        return None


@dataclass(frozen=True, kw_only=True)
class Books:
    """Where a session's spending on models is written and read."""

    record: Callable[[str, Json], Awaitable[object]]  # one entry of the session's ledger, under a key: once
    spent: Callable[[str | None], Spending]  # of one author, or of the session
    hear: Callable[[str, str], None]  # what an author does or says now, for whoever looks on
    cap: Cap = Cap()  # of the session


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How one specialist thinks."""

    author: str  # it signs as this: "proposer-bold"
    temperature: float | None = None
    max_tokens: int = 8192  # of one answer
    recall_tokens: int = 12_000  # of what it is shown
    instructions: str = ""  # people's, told before everything else
    input_price: float = 0.0  # dollars a million tokens of questions
    output_price: float = 0.0  # dollars a million tokens of answers
    cap: Cap = Cap()


class Mind:
    """A model with a manner. Used from one event loop."""

    def __init__(self, manner: Manner, model: ChatModel, kept: KeptReplies, books: Books, clock: Clock) -> None:
        self.manner = manner
        self.model = model
        self.kept = kept
        self.books = books
        self.clock = clock

    @property
    def author(self) -> str:
        return self.manner.author

    async def ask(self, run: str, number: int, ask: Ask) -> Answer:
        """The answer to question ``number`` of a run: the one that is kept, else a new one that then is.

        Raises CapReached before anything is spent, and what ChatModel.ask raises.
        """
        answer = await asyncio.to_thread(self.kept.reply, run, number)
        if answer is None:
            self._within_caps()
            try:
                answer = await self.model.ask(ask, heard=lambda text: self.books.hear(self.author, text))
            except ModelUnavailable as error:
                if any(error.wasted):
                    wasted = Usage(prompt_tokens=error.wasted[0], completion_tokens=error.wasted[1], estimated=True)
                    await self._record(f"{run}/{number}/lost at {self.clock.now():.3f}", wasted)
                raise
            await asyncio.to_thread(self.kept.keep, run, number, answer)
        await self._record(f"{run}/{number}", answer.usage)
        return answer

    def _within_caps(self) -> None:
        for cap, spent, whose in (
            (self.books.cap, self.books.spent(None), "the session"),
            (self.manner.cap, self.books.spent(self.author), self.author),
        ):
            told = cap.reached(spent)
            if told is not None:
                raise CapReached(f"{whose} asks models no more: {told}; raise the cap in swarm.toml (docs/models.md)")

    async def _record(self, key: str, usage: Usage) -> None:
        manner = self.manner
        dollars = usage.prompt_tokens * manner.input_price + usage.completion_tokens * manner.output_price
        await self.books.record(
            key,
            {
                "author": self.author,
                "model": self.model.name,
                "prompt_tokens": usage.prompt_tokens,
                "completion_tokens": usage.completion_tokens,
                "estimated": usage.estimated,
                "dollars": dollars / 1e6,
            },
        )
