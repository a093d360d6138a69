"""A run of a role that thinks with a model: what every such role shares, as Work of the role graph."""

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any, Generic, TypeVar, cast

from pydantic import BaseModel, ValidationError

from swarm.agents.graph import Wants, run_role
from swarm.agents.mind import Mind
from swarm.agents.roles import Role, prompt_text
from swarm.agents.tools import Skill, used
from swarm.errors import ContextOverflow, SwarmError
from swarm.ports import Answer, Ask, Message

ReplyT = TypeVar("ReplyT", bound=BaseModel)
Result = TypeVar("Result")

_TOOL_ROUNDS = 6  # before an answer is due
_LEAST_RECALL = 500  # tokens below which forgetting more does not help

Facts = Mapping[str, Any]  # what a prompt's variables stand for


@dataclass(kw_only=True)
class Thought(Generic[ReplyT, Result]):
    """One run. ``facts``, ``find`` and ``finish`` are the role's own; everything in between is the same for all."""

    role: Role
    mind: Mind
    run: str  # names the run for ever: its replies are kept under it
    facts: Callable[[int], Awaitable[Facts]]  # budget of tokens -> variables of the prompt
    find: Callable[[ReplyT], Awaitable[str | None]]  # the fault of an answer; None when it will do
    finish: Callable[[ReplyT], Awaitable[Result]]
    skills: dict[str, Skill] = field(default_factory=dict)
    last: bool = False  # no answer will be asked for again
    _turns: list[Message] = field(default_factory=list)  # of the conversation, after the question
    _asked: int = 0  # questions so far
    _budget: int = 0  # tokens of what it is shown

    async def think_through(self) -> Result:
        """The whole run. Raises ModelError and, where the answer was refused twice, SwarmError."""

        def at(node: str) -> None:
            self.mind.books.hear(self.mind.author, f"\f{node}")

        try:
            return await run_role(self.role, self, at=at)
        finally:
            at("")

    async def recall(self) -> Facts:
        self._budget = self.mind.manner.recall_tokens
        return await self.facts(self._budget)

    async def think(self, recalled: Facts, fault: str | None) -> Answer | Wants:
        if fault is not None:
            self.last = True
            self._turns.append(Message(role="user", content=f"That will not do: {fault}\nAnswer again, whole."))
        answer = await self._answer(recalled)
        self._turns.append(Message(role="assistant", content=answer.text, calls=answer.calls))
        if not answer.calls:
            return answer

        async def use() -> None:
            for call in answer.calls:
                self._turns.append(Message(role="tool", content=await used(self.skills, call), answers=call.id))

        return Wants(use=use)

    async def _answer(self, recalled: Facts) -> Answer:
        rounds = sum(bool(turn.calls) for turn in self._turns)
        tools = [one.tool for one in self.skills.values()] if rounds < _TOOL_ROUNDS else []
        while True:
            ask = Ask(
                messages=[*self._question(recalled), *self._turns],
                schema=schema_of(self.role),
                schema_name=self.role.name,
                tools=tools,
                temperature=self.mind.manner.temperature,
                max_tokens=self.mind.manner.max_tokens,
            )
            try:
                answer = await self.mind.ask(self.run, self._asked, ask)
            except ContextOverflow:
                if self._budget // 2 < _LEAST_RECALL:
                    raise
                self._budget //= 2
                recalled = await self.facts(self._budget)
                continue
            self._asked += 1
            return answer

    def _question(self, recalled: Facts) -> list[Message]:
        system, user = rendered(self.role, {**recalled, "instructions": self.mind.manner.instructions})
        return [Message(role="system", content=system), Message(role="user", content=user)]

    async def check(self, answer: Answer) -> str | None:
        if answer.finish == "refusal":
            return f"you refused ({answer.text[:200]}); if nothing is to be said, say so in the form asked for"
        try:
            return await self.find(self.parsed(answer))
        except (ValidationError, ValueError) as error:
            cut = " (it was cut off at the limit of an answer: be shorter)" if answer.finish == "length" else ""
            return f"the answer is not the JSON that was asked for{cut}: {_first(error)}"

    async def write(self, answer: Answer) -> Result:
        return await self.finish(self.parsed(answer))

    def parsed(self, answer: Answer) -> ReplyT:
        """The reply in an answer; some models wrap it in a code block or in words. Raises ValueError."""
        text = answer.text
        start, end = text.find("{"), text.rfind("}")
        assert self.role.reply is not None
        reply = self.role.reply.model_validate_json(text[start : end + 1] if 0 <= start < end else text)
        return cast("ReplyT", reply)


def rendered(role: Role, facts: Facts) -> tuple[str, str]:
    """A role's prompt with its variables filled in, parted at its line of dashes: what it is, and what it is told.

    Raises SwarmError for a variable that the prompt names and nobody gives.
    """
    from jinja2 import UndefinedError

    system, user = _templates(role)
    try:
        return system.render(facts), user.render(facts)
    except UndefinedError as error:
        raise SwarmError(
            f"prompts/{role.prompt} names a variable that the {role.name} is not given: {error}"
        ) from error


@cache
def _templates(role: Role) -> tuple[Any, Any]:
    from jinja2 import Environment, StrictUndefined

    environment = Environment(undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, autoescape=False)  # noqa: S701 - prompts are text
    system, _, user = prompt_text(role).partition("\n---\n")
    return environment.from_string(system), environment.from_string(user)


@cache
def schema_of(role: Role) -> dict[str, Any] | None:
    """The JSON schema of a role's reply, as servers with strict schemas want it."""
    return None if role.reply is None else json.loads(json.dumps(role.reply.model_json_schema()))


def _first(error: Exception) -> str:
    if isinstance(error, ValidationError):
        fault = error.errors()[0]
        where = ".".join(str(part) for part in fault["loc"])
        return f"{where}: {fault['msg']}" if where else str(fault["msg"])
    return str(error)
