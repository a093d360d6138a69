"""Which specialists think, with which model, by swarm.toml and the environment; the only reader of the key."""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field

from swarm.agents.chat import Endpoint, OpenAIChat, models_offered
from swarm.agents.kept import KeptReplies
from swarm.agents.mind import Books, Cap, Manner, Mind
from swarm.agents.roles import ROLES
from swarm.config import AgentSettings, ModelSettings, Settings
from swarm.errors import InputError, ModelUnavailable
from swarm.journal import Journal
from swarm.ports import Clock
from swarm.research.ledger import Kind

DEFAULT_MODEL = "gpt-5-mini"  # of OpenAI's own endpoint, where a key is set and no model is named
_TAIL = 400  # characters of an answer that are kept for whoever looks on
_VOICE_SECONDS = 0.5  # real time between two notes of what one author says


def wanted_agents(settings: Settings, environment: Mapping[str, str]) -> tuple[AgentSettings, ...]:
    """The specialists that think. None where no model is named anywhere, or [models] is off.

    Raises InputError for a role that there is not, for two agents of one name, and for a proposer that is asked for
    and not there.
    """
    models = settings.models
    agents = settings.agents
    named = models.model or models.base_url or environment.get("OPENAI_BASE_URL") or environment.get(models.key_env)
    if not agents and named:
        agents = tuple(AgentSettings(role=name) for name, role in ROLES.items() if role.reply is not None)
    for agent in agents:
        if agent.role not in ROLES:
            raise InputError(f"[[agents]] role = '{agent.role}': there is no such role; there are: {', '.join(ROLES)}")
        if agent.kind != "llm" and agent.role != "proposer":
            raise InputError(f"[[agents]] kind = '{agent.kind}' is for proposers; the {agent.role} is of kind 'llm'")
        if agent.kind == "command" and not agent.command:
            raise InputError("[[agents]] of kind 'command' needs command = [program, arguments...]")
    authors = [author_of(agent) for agent in agents]
    if twice := next((author for author in authors if authors.count(author) > 1), None):
        raise InputError(f"two [[agents]] are called {twice}; give each its own name")
    if models.off:
        agents = tuple(agent for agent in agents if agent.kind == "command")
    return _chosen(agents, settings.proposers, bool(named) and not models.off)


def _chosen(agents: tuple[AgentSettings, ...], proposers: Sequence[str], thinks: bool) -> tuple[AgentSettings, ...]:
    """The agents, without the proposers that were not asked for; a hybrid is made where it was asked for."""
    if not proposers:
        return agents
    if "hybrid" in proposers and thinks and not any(agent.kind == "hybrid" for agent in agents):
        agents = (*agents, AgentSettings(role="proposer", name="hybrid", kind="hybrid"))
    there = {word for agent in agents if agent.role == "proposer" for word in (agent.name, agent.kind)}
    for asked in proposers:
        if asked not in there | {"optimizer"}:
            known = ", ".join(sorted(there | {"optimizer"}))
            raise InputError(
                f"no proposer '{asked}'; there are: {known}; a proposer that thinks needs a model (docs/models.md)"
            )
    return tuple(a for a in agents if a.role != "proposer" or a.name in proposers or a.kind in proposers)


def author_of(agent: AgentSettings) -> str:
    """What an agent signs as."""
    return f"{agent.role}-{agent.name}"


@dataclass(kw_only=True)
class Minds:
    """The models of a session: opened once, shared by their minds, closed with the session."""

    settings: ModelSettings
    agents: tuple[AgentSettings, ...]
    kept: KeptReplies
    clock: Clock
    said: list[str] = field(default_factory=list)  # lines for a person about what could not be had
    _chats: dict[tuple[str, str | None, str], OpenAIChat] = field(default_factory=dict)
    _models: dict[str, OpenAIChat] = field(default_factory=dict)  # author -> its model

    @classmethod
    async def opened(cls, settings: Settings, kept: KeptReplies, clock: Clock, say: Callable[[str], None]) -> "Minds":
        """Find out which models there are; agents without one are left out, and it is said."""
        agents = wanted_agents(settings, os.environ)
        minds = cls(settings=settings.models, agents=agents, kept=kept, clock=clock)
        gate = asyncio.Semaphore(settings.models.concurrency)
        offered: dict[str | None, str] = {}
        able = []
        for agent in agents:
            if agent.kind == "command":
                say(f"{author_of(agent)} runs {agent.command[0]}")
                able.append(agent)
                continue
            try:
                chat = await minds._chat(agent, gate, offered)
            except ModelUnavailable as error:
                say(f"{author_of(agent)} works by rule: {error}")
                continue
            minds._models[author_of(agent)] = chat
            able.append(agent)
        minds.agents = tuple(able)
        if minds._models:
            say(minds._told())
        return minds

    async def _chat(self, agent: AgentSettings, gate: asyncio.Semaphore, offered: dict[str | None, str]) -> OpenAIChat:
        base_url = agent.base_url or self.settings.base_url or os.environ.get("OPENAI_BASE_URL") or None
        key = os.environ.get(agent.key_env or self.settings.key_env) or "none"
        model = agent.model or self.settings.model or os.environ.get("OPENAI_MODEL")
        if model is None:
            if base_url not in offered:
                offered[base_url] = await self._first_offered(base_url, key)
            model = offered[base_url]
        place = (model, base_url, key)
        if place not in self._chats:
            endpoint = Endpoint(model=model, base_url=base_url, key=key, timeout_seconds=self.settings.timeout)
            self._chats[place] = OpenAIChat(endpoint, clock=self.clock, gate=gate)
        return self._chats[place]

    async def _first_offered(self, base_url: str | None, key: str) -> str:
        if base_url is None:
            return DEFAULT_MODEL
        models = await models_offered(base_url, key)
        if not models:
            raise ModelUnavailable(f"{base_url} offers no model; name one in [models]")
        return models[0]

    def _told(self) -> str:
        by_model: dict[str, list[str]] = {}
        for author, chat in self._models.items():
            by_model.setdefault(chat.name, []).append(author)
        told = "; ".join(f"{', '.join(authors)} with {model}" for model, authors in by_model.items())
        cap = "" if self.settings.tokens is None else f", at most {self.settings.tokens:,} tokens"
        return f"thinking: {told}{cap} ([models] in swarm.toml changes that, off = true ends it)"

    def mind(self, agent: AgentSettings, books: Books) -> Mind:
        """The mind of an agent of kind llm or hybrid."""
        models = self.settings
        manner = Manner(
            author=author_of(agent),
            temperature=models.temperature if agent.temperature is None else agent.temperature,
            max_tokens=models.max_tokens,
            recall_tokens=models.recall_tokens,
            instructions=agent.instructions,
            input_price=models.input_price if agent.input_price is None else agent.input_price,
            output_price=models.output_price if agent.output_price is None else agent.output_price,
            cap=Cap(tokens=agent.tokens, dollars=agent.dollars),
        )
        return Mind(manner, self._models[author_of(agent)], self.kept, books, self.clock)

    async def close(self) -> None:
        for chat in self._chats.values():
            await chat.close()
        self.kept.close()


def books_of(journal: Journal, kept: KeptReplies, models: ModelSettings) -> Books:
    """Spending goes into the session's ledger; what is said, where whoever looks on finds it."""
    voices = _Voices(kept, journal.clock)

    async def record(key: str, data: Mapping[str, object]) -> bool:
        return await journal.record(Kind.MODEL_ASKED, key, data)

    return Books(
        record=record,
        spent=journal.state.spending,
        hear=voices.hear,
        cap=Cap(tokens=models.tokens, dollars=models.dollars),
    )


def teller(journal: Journal) -> Callable[[str, str], Awaitable[None]]:
    """Puts on record what a person should know of a specialist, such as that its model cannot be reached."""

    async def tell(author: str, line: str) -> None:
        key = f"{author}/{journal.clock.now():.6f}"
        await journal.record(Kind.TOLD, key, {"author": author, "line": line})

    return tell


class _Voices:
    """What authors do and say, noted now and then."""

    def __init__(self, kept: KeptReplies, clock: Clock) -> None:
        self._kept = kept
        self._clock = clock
        self._doing: dict[str, str] = {}
        self._said: dict[str, str] = {}
        self._noted: dict[str, float] = {}

    def hear(self, author: str, text: str) -> None:
        """A node of the role's graph (none: the run is over), marked by a form feed, or more of an answer."""
        node = text.startswith("\f")
        first = not node and not self._said.get(author)  # words: whoever looks on sees at once that there are some
        if node:
            self._doing[author], self._said[author] = text[1:], ""
        else:
            self._said[author] = (self._said.get(author, "") + text)[-_TAIL:]
        if node or first or time.monotonic() - self._noted.get(author, 0.0) >= _VOICE_SECONDS:
            self._noted[author] = time.monotonic()
            self._kept.voice(author, self._clock.now(), self._doing.get(author, ""), self._said[author])
