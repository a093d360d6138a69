"""The proposer that thinks with a model: experiments as constants to set, places to edit, or a wave of both."""

import asyncio
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from notebook_store.entry import Kind
from notebook_store.errors import UnknownEntry
from notebook_store.notebook import Notebook
from swarm.agents.mind import Mind
from swarm.agents.recall import fenced, listed, people_notes, remembered, within
from swarm.agents.replies import Idea, Proposals
from swarm.agents.roles import PROPOSER
from swarm.agents.thought import Facts, Thought
from swarm.agents.tools import Skill
from swarm.errors import InputError
from swarm.ports import Brief, Observation
from swarm.research.edits import apply_edits, compiles
from swarm.research.experiment import Proposal
from swarm.research.knobs import read_knobs, same_but_for_seed, set_knobs
from swarm.research.space import in_range
from trainer.contract import Range

_BEST, _LAST = 10, 30  # observations shown
_OWN = 12  # of its own hypotheses whose reviews are shown
_PEOPLE_SHARE = 0.3  # of the recall's tokens, for what people wrote


@dataclass(frozen=True, kw_only=True)
class Order:
    """What a thought is to come to, beside the brief."""

    wanted: int
    ask: str = ""  # more of what is asked
    state: str = ""  # of an optimiser


class ModelProposer:
    """A Proposer (see ports) that thinks. One thought at a time; what it comes to is kept until it is on record.

    ``propose`` gives the same proposals again until ``deliver`` is called: whoever asks may die in between.
    """

    def __init__(self, mind: Mind, notebook: Notebook, skills: dict[str, Skill], *, session: str) -> None:
        self.name = mind.author
        self.mind = mind
        self._notebook = notebook
        self._skills = {name: one for name, one in skills.items() if name in PROPOSER.tools}
        self._prefix = f"{session}-{mind.author}-"
        self._number: int | None = None  # of the thought that is under way or not delivered yet

    async def propose(self, brief: Brief) -> list[Proposal]:
        return await self.think(brief, Order(wanted=brief.wanted))

    async def deliver(self) -> None:
        """What was proposed last is on record: the next call thinks anew."""
        await asyncio.to_thread(self.mind.kept.deliver, await self._run())
        self._number = None

    async def think(self, brief: Brief, order: Order) -> list[Proposal]:
        """At most ``order.wanted`` proposals. Raises ModelError; SwarmError when no answer could be used."""
        run = await self._run()
        known = await asyncio.to_thread(self.mind.kept.result, run)
        if known is not None:
            return [_proposal(one) for one in known]

        async def facts(tokens: int) -> Facts:
            return await asyncio.to_thread(self._facts, brief, order, tokens)

        async def find(reply: Proposals) -> str | None:
            built, faults = self._built(brief, reply, order)
            return "; ".join(faults) if faults and not (thought.last and built) else None

        async def finish(reply: Proposals) -> list[Proposal]:
            built, _ = self._built(brief, reply, order)
            cited = [replace(one, citations=await asyncio.to_thread(self._known, one.citations)) for one in built]
            named = [replace(one, origin=f"{run}/{number}") for number, one in enumerate(cited, 1)]
            await asyncio.to_thread(self.mind.kept.conclude, run, [asdict(one) for one in named])
            return named

        thought: Thought[Proposals, list[Proposal]] = Thought(
            role=PROPOSER, mind=self.mind, run=run, facts=facts, find=find, finish=finish, skills=self._skills
        )
        return await thought.think_through()

    async def give_up(self) -> None:
        """The thought came to nothing that can be used: the next call thinks anew, and this is not paid for again."""
        await asyncio.to_thread(self.mind.kept.conclude, await self._run(), [])
        await self.deliver()

    async def _run(self) -> str:
        if self._number is None:
            self._number = await asyncio.to_thread(self.mind.kept.delivered, self._prefix)
        return f"{self._prefix}{self._number}"

    # ---- what it is told ------------------------------------------------------------------------------------

    def _facts(self, brief: Brief, order: Order, tokens: int) -> Facts:
        remembers = remembered(
            PROPOSER,
            self._notebook,
            query=f"what lowers or raises {brief.task.metric}",
            session=brief.session,
            task=brief.task.name,
        )
        people = people_notes(self._notebook)
        return {
            "task": brief.task.name,
            "metric": brief.task.metric,
            "direction": "lower" if brief.task.direction == "minimize" else "higher",
            "noise": "not measured yet" if brief.noise is None else f"{brief.noise:.4g}",
            "people": "\n\n".join(within((note.body for note in people), int(tokens * _PEOPLE_SHARE))) or "(nothing)",
            "source": fenced(brief.task.editable, brief.source),
            "constants": constants_told(brief),
            "parts": parts_told(brief.parts),
            "tried": tried_told(brief, tokens // 3),
            "state": order.state + _stuck(brief),
            "sent_back": "\n".join(self._sent_back(brief)) or "(nothing)",
            "recalled": listed(remembers, tokens),
            "wanted": order.wanted,
            "ask": order.ask,
        }

    def _sent_back(self, brief: Brief) -> Iterable[str]:
        for page in self._notebook.entries(
            kinds=[Kind.HYPOTHESIS], session=brief.session, author=self.name, limit=_OWN
        ):
            for _, review in self._notebook.links_to(page.id):
                if review.kind is Kind.REVIEW and review.data.get("verdict") in ("REVISE", "REJECTED"):
                    told = f"{review.data['verdict']}: {page.title}\n{review.body[:600]}"
                    yield fenced(f"review {review.id}", told)

    # ---- what it says ---------------------------------------------------------------------------------------

    def _built(self, brief: Brief, reply: Proposals, order: Order) -> tuple[list[Proposal], list[str]]:
        """The ideas that can be tried, and the faults of those that cannot."""
        built: list[Proposal] = []
        faults = []
        wave = f"{brief.wave} by {self.name}" if reply.wave and brief.wave else None
        for number, idea in enumerate(reply.experiments[: order.wanted], 1):
            try:
                source = edited(brief, idea, [one.source for one in built])
            except InputError as error:
                faults.append(f"experiment {number}: {error}")
                continue
            settings = {setting.name: setting.value for setting in idea.settings}
            built.append(
                Proposal(
                    author=self.name,
                    hypothesis=" ".join(idea.hypothesis.split()) or "no hypothesis was given",
                    parent=brief.parent,
                    source=source,
                    changes={} if idea.edits else settings,
                    expected_gain=idea.expected_gain,
                    citations=tuple(idea.cites),
                    wave=wave,
                    design="model" if wave else "search",
                )
            )
        return built, faults

    def _known(self, cited: Sequence[str]) -> tuple[str, ...]:
        """Those ids that are entries: a citation of nothing is none."""
        return tuple(dict.fromkeys(one for one in cited if self._is_entry(one)))

    def _is_entry(self, entry: str) -> bool:
        try:
            self._notebook.get(entry)
        except UnknownEntry:
            return False
        return True


def _stuck(brief: Brief) -> str:
    if not brief.barren:
        return ""
    return (
        f"\n\nNo gain was confirmed in the last {brief.barren} experiments: propose something of another kind than "
        "what was tried, even if it is bold."
    )


def edited(brief: Brief, idea: Idea, others: Sequence[str] = ()) -> str:
    """The incumbent's file with an idea's edits and settings, unlike ``others``.

    Raises InputError saying what is wrong with it.
    """
    source = apply_edits(brief.source, [(edit.search, edit.replace) for edit in idea.edits])
    if (fault := compiles(source)) is not None:
        raise InputError(fault)
    knobs = read_knobs(source)
    for setting in idea.settings:
        within_range = brief.ranges.get(setting.name)
        if setting.name in knobs and within_range and not in_range(setting.value, within_range):
            raise InputError(f"{setting.name} = {setting.value!r} is outside its range, {_range(within_range)}")
    source = set_knobs(source, {setting.name: setting.value for setting in idea.settings})
    if same_but_for_seed(source, brief.source):
        raise InputError("nothing but comments, layout or a seed differs from the incumbent")
    twin = brief.files.get(hashlib.sha256(source.encode()).hexdigest())
    if twin is not None:
        raise InputError(f"the same file was proposed as {twin}; see what became of it, and propose something else")
    if source in others:
        raise InputError("it is the same file as an earlier one of yours")
    return source


def _proposal(kept: Mapping[str, Any]) -> Proposal:
    return Proposal(**{**kept, "citations": tuple(kept["citations"])})


def constants_told(brief: Brief) -> str:
    """The incumbent's constants with the range of each."""
    return "\n".join(
        f"{name} = {value!r}" + (f"  ({_range(brief.ranges[name])})" if name in brief.ranges else "")
        for name, value in brief.knobs.items()
    )


def _range(within_range: Range) -> str:
    if within_range.choices:
        return "one of " + ", ".join(map(repr, within_range.choices))
    return f"{within_range.low:g} to {within_range.high:g}"


def parts_told(parts: Mapping[str, int]) -> str:
    """How often each part of the file was changed so far."""
    return (
        "\n".join(f"{name}: {f'changed by {n}' if n else 'NEVER changed'}" for name, n in parts.items()) or "(unknown)"
    )


def tried_told(brief: Brief, tokens: int) -> str:
    """The best observations and the last ones."""
    scored = sorted((o for o in brief.observations if o.gain is not None), key=lambda o: -(o.gain or 0.0))
    lines = {o.experiment: observed(o, brief) for o in [*scored[:_BEST], *reversed(brief.observations[-_LAST:])]}
    return "\n".join(within(lines.values(), tokens)) or "(nothing yet)"


def observed(seen: Observation, brief: Brief) -> str:
    """One observation in a line."""
    moved = ", ".join(f"{n}={v}" for n, v in seen.knobs.items() if v != brief.knobs.get(n)) or "an edit of the code"
    gain = seen.outcome if seen.gain is None else f"{seen.gain:+.4f}"
    return f"{seen.experiment} by {seen.author or 'proposer'}: {gain} with {moved}"
