"""The reader that thinks: reads on what the swarm is at or stuck on, answers questions, points at what is untouched.

What it may write is checked by code: a quote must stand in the passage it names, word for word.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

from notebook_store.entry import Citation, Entry, Kind, Link, Relation
from notebook_store.notebook import Notebook
from papers.library import Library
from papers.results import Passage
from swarm.agents.llm import parts_told
from swarm.agents.mind import Mind
from swarm.agents.reader import query_of
from swarm.agents.recall import fenced, listed, within
from swarm.agents.replies import ReadClaim, Reading, Reply
from swarm.agents.roles import READER, write_once
from swarm.agents.thought import Facts, Thought
from swarm.ports import Clock
from trainer.contract import Task

_PASSAGES = 4  # a factor or question
_PASSAGE_CHARACTERS = 1_600
_QUESTIONS = 5  # answered in one reading
_SHARE = 0.6  # of the recall's tokens, for passages


@dataclass(frozen=True, kw_only=True)
class Topic:
    """What a reading is about."""

    occasion: str  # names the reading within the session: "start", "wave-2", ...
    factors: Sequence[str]  # worked on or stuck on, the most pressing first
    stuck: str  # one sentence on where the swarm stands
    parts: Mapping[str, int]  # part of the file -> experiments that changed it


class ModelReader:
    """Writes claims, answers and directions of one session."""

    def __init__(
        self, mind: Mind, notebook: Notebook, library: Library, *, session: str, task: Task, clock: Clock
    ) -> None:
        self.name = mind.author
        self._mind = mind
        self._notebook = notebook
        self._library = library
        self._session = session
        self._task = task
        self._clock = clock

    async def read(self, topic: Topic) -> list[str]:
        """Ids of what was written. Raises ModelError, and SwarmError for an answer that was refused twice."""
        run = f"{self._session}-{self.name}-{topic.occasion}"
        questions = await asyncio.to_thread(open_questions, self._notebook)
        passages = await asyncio.to_thread(self._shown, run, topic, questions)

        async def facts(tokens: int) -> Facts:
            return await asyncio.to_thread(self._facts, topic, questions, passages, tokens)

        async def find(reply: Reading) -> str | None:
            faults = [fault for claim in reply.claims if (fault := misquoted(claim, passages))]
            return "; ".join(faults) if faults and not thought.last else None

        async def finish(reply: Reading) -> list[str]:
            return await asyncio.to_thread(self._written, topic, reply, questions, passages)

        thought: Thought[Reading, list[str]] = Thought(
            role=READER,
            mind=self._mind,
            run=run,
            facts=facts,
            find=find,
            finish=finish,
        )
        return await thought.think_through()

    def _shown(self, run: str, topic: Topic, questions: Sequence[Entry]) -> list[Passage]:
        """The passages of a run: found once, since its kept replies cite them by number."""
        kept = self._mind.kept.result(f"{run}/passages")
        if kept is None:
            found = self._passages(topic, questions)
            self._mind.kept.conclude(f"{run}/passages", [asdict(passage) for passage in found])
            return found
        return [Passage(**{**one, "authors": tuple(one["authors"])}) for one in kept]

    def _passages(self, topic: Topic, questions: Sequence[Entry]) -> list[Passage]:
        queries = [query_of(factor) for factor in topic.factors] + [question.title for question in questions]
        found: dict[tuple[str, str], Passage] = {}
        for query in queries:
            for passage in self._library.passages(query, _PASSAGES):
                found.setdefault((passage.paper_id, passage.text), passage)
        return list(found.values())

    def _facts(self, topic: Topic, questions: Sequence[Entry], passages: Sequence[Passage], tokens: int) -> Facts:
        claims = self._notebook.entries(kinds=[Kind.CLAIM], session=self._session, limit=40)
        told = (
            fenced(f"passage {number}: {p.title}, {p.year or 'no year'}", p.text[:_PASSAGE_CHARACTERS])
            for number, p in enumerate(passages, 1)
        )
        return {
            "task": self._task.name,
            "metric": self._task.metric,
            "direction": "lower" if self._task.direction == "minimize" else "higher",
            "stuck": topic.stuck,
            "parts": parts_told(topic.parts),
            "questions": "\n".join(fenced(f"question {q.id}", q.body) for q in questions) or "(none)",
            "recalled": listed(claims, int(tokens * (1 - _SHARE))),
            "passages": "\n\n".join(within(told, int(tokens * _SHARE))) or "(none)",
        }

    # ---- what it writes ---------------------------------------------------------------------------------------

    def _written(
        self, topic: Topic, reply: Reading, questions: Sequence[Entry], passages: Sequence[Passage]
    ) -> list[str]:
        sound = [claim for claim in reply.claims if misquoted(claim, passages) is None]
        entries = [self._claim(claim, passages[claim.passage - 1]) for claim in sound]
        asked = {question.id: question for question in questions}
        entries += [self._answer(one, asked[one.question], passages) for one in reply.answers if one.question in asked]
        if reply.directions:
            entries.append(self._directions(topic, reply.directions))
        return [entry.id for entry in entries if write_once(READER, self._notebook, entry)]

    def _entry(self, entry_id: str, kind: Kind, title: str, body: str, **more: object) -> Entry:
        return Entry(
            id=entry_id,
            kind=kind,
            title=" ".join(title.split())[:160],
            body=body,
            author=self.name,
            session=self._session,
            task=self._task.name,
            created_at=self._clock.now(),
            **more,  # type: ignore[arg-type] # fields of Entry
        )

    def _claim(self, claim: ReadClaim, passage: Passage) -> Entry:
        digest = hashlib.sha256(f"{claim.factor}\n{passage.paper_id}\n{squeezed(claim.quote)}".encode()).hexdigest()
        cited = Citation(source=passage.paper_id, title=passage.title, quote=claim.quote, page=passage.page)
        where = f"{passage.title} ({passage.year or 'no year'}" + (f", p. {passage.page})" if passage.page else ")")
        return self._entry(
            f"claim-{digest[:16]}",
            Kind.CLAIM,
            f"{claim.factor}: {claim.quote}",
            f"> {claim.quote}\n\n— {where}, {passage.paper_id}\n\n"
            f"Shown in: {claim.scope}\n\nTo try: {claim.suggestion}",
            factors=(claim.factor,),
            citations=(cited,),
            data={"scope": claim.scope, "suggestion": claim.suggestion, "score": passage.score},
        )

    def _answer(self, reply: Reply, question: Entry, passages: Sequence[Passage]) -> Entry:
        cited = [passages[number - 1] for number in reply.cites if 0 < number <= len(passages)]
        return self._entry(
            f"{question.id}-answer",
            Kind.NOTE,
            f"answer: {question.title}",
            reply.answer,
            links=(Link(kind=Relation.DERIVED_FROM, target=question.id),),
            citations=tuple(Citation(source=p.paper_id, title=p.title, page=p.page) for p in cited),
        )

    def _directions(self, topic: Topic, directions: Sequence[str]) -> Entry:
        never = [name for name, count in topic.parts.items() if not count]
        return self._entry(
            f"{self._session}-{self.name}-{topic.occasion}-directions",
            Kind.NOTE,
            f"untouched so far: {', '.join(never[:6]) or 'nothing'}",
            "\n".join(f"- {direction}" for direction in directions)
            + f"\n\nMap of the file:\n\n{parts_told(topic.parts)}",
            data={"never": never},
        )


def open_questions(notebook: Notebook) -> list[Entry]:
    """Notes that ask something and have no answer yet, oldest first. Blocking."""
    asked = [
        note
        for note in notebook.entries(kinds=[Kind.NOTE], limit=200)
        if note.title.rstrip().endswith("?") and not note.author.startswith(READER.name)
    ]
    return [note for note in reversed(asked) if not _is_answered(notebook, note.id)][:_QUESTIONS]


def _is_answered(notebook: Notebook, question: str) -> bool:
    return any(entry.id == f"{question}-answer" for _, entry in notebook.links_to(question))


def misquoted(claim: ReadClaim, passages: Sequence[Passage]) -> str | None:
    """What is wrong with a claim's quote; None where it stands in the passage, word for word."""
    if not 0 < claim.passage <= len(passages):
        return f"there is no passage {claim.passage}"
    if len(claim.quote.split()) < 4:
        return f"the quote of passage {claim.passage} is too short to claim anything"
    if squeezed(claim.quote) not in squeezed(passages[claim.passage - 1].text):
        return f"this is not in passage {claim.passage}: {claim.quote[:80]!r}"
    return None


def squeezed(text: str) -> str:
    """A text without what line breaks do to it."""
    return re.sub(r"\s+", " ", text).strip()
