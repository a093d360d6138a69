"""The literature reader that needs no model: finds what papers say about the constants in play, and quotes it.

A claim is a verbatim sentence of a passage of the library: what is written is checked against the passage.
"""

import asyncio
import hashlib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from notebook_store.entry import Citation, Entry, Kind
from notebook_store.notebook import Notebook
from papers.library import Library
from papers.results import Passage
from swarm.agents.graph import run_role
from swarm.agents.roles import READER, write_once
from swarm.ports import Clock
from trainer.contract import Task

_CLAIMS = 3  # a factor: more would bury the others
_PASSAGES = 8  # looked at for a factor
_QUOTE_CHARACTERS = 400  # a sentence or two
_SENTENCE = re.compile(r"[^.!?]*(?:[.!?](?!\s|$)[^.!?]*)*[.!?]?(?=\s|$)")  # a point inside 0.95 ends nothing

_COMMON = frozenset({"learni", "rate", "size", "number", "model", "functi"})  # stems that tell no constant apart

# What papers call what scripts abbreviate.
_WORDS: Mapping[str, str] = {
    "lr": "learning rate",
    "wd": "weight decay",
    "warmup": "learning rate warmup",
    "warmdown": "learning rate decay schedule",
    "beta": "Adam beta momentum",
    "beta1": "Adam beta1 first moment momentum",
    "beta2": "Adam beta2 second moment",
    "depth": "depth number of layers",
    "layers": "number of layers depth",
    "width": "width model dimension",
    "dim": "dimension width",
    "embd": "embedding dimension width",
    "heads": "attention heads",
    "head": "attention head",
    "seq": "sequence",
    "len": "length context",
    "batch": "batch size",
    "grad": "gradient",
    "clip": "clipping norm",
    "std": "initialization standard deviation",
    "init": "initialization",
    "mlp": "feed-forward",
    "ratio": "",
    "fraction": "",
    "frac": "",
    "final": "decay",
    "activation": "activation function",
    "tied": "weight tying shared",
    "muon": "Muon optimizer orthogonalized momentum",
}


def query_of(factor: str) -> str:
    """A constant's name in the words of papers: WARMUP_FRACTION -> 'learning rate warmup'."""
    words = [_WORDS.get(part, part) for part in factor.lower().split("_")]
    return " ".join(dict.fromkeys(" ".join(words).split()))


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One verbatim finding of a paper about one constant."""

    factor: str
    passage: Passage
    quote: str  # a part of the passage's text

    @property
    def id(self) -> str:
        """The same for the same finding, whoever reads it and when."""
        digest = hashlib.sha256(f"{self.factor}\n{self.passage.paper_id}\n{self.quote}".encode()).hexdigest()
        return f"claim-{self.factor.lower().replace('_', '-')}-{digest[:10]}"


class LiteratureReader:
    """Writes claims on the factors of one task, each once."""

    def __init__(self, notebook: Notebook, library: Library, *, session: str, task: Task, clock: Clock) -> None:
        self._notebook = notebook
        self._library = library
        self._session = session
        self._task = task
        self._clock = clock

    async def read(self, factors: Sequence[str]) -> list[str]:
        """Ids of the claims written now; a factor that has claims already is left alone."""
        return await run_role(READER, _Work(self, factors))

    async def read_on(self, factors: Sequence[str]) -> list[str]:
        """Ids of further claims on factors that have some: what the library says beyond them."""
        return await run_role(READER, _Work(self, factors, further=True))

    def unread(self, factors: Sequence[str]) -> list[str]:
        """The factors without a claim in the notebook. Blocking."""
        return [f for f in factors if not self._notebook.count(kinds=[Kind.CLAIM], factor=f)]

    def claims(self, factor: str, *, further: bool = False) -> list[Claim]:
        """What the library says about a factor: the best sentence of each of the best passages, of ``further`` ones
        in papers that nothing was claimed from. Blocking.
        """
        query = query_of(factor)
        found: dict[str, Claim] = {}
        known = self._notebook.entries(kinds=[Kind.CLAIM], factor=factor) if further else []
        said = {citation.source for entry in known for citation in entry.citations}
        for passage in self._library.passages(query, _PASSAGES + len(said)):
            quote = best_quote(passage.text, query)
            if quote and passage.paper_id not in {*found, *said}:
                found[passage.paper_id] = Claim(factor=factor, passage=passage, quote=quote)
        return list(found.values())[:_CLAIMS]

    def append(self, claim: Claim) -> bool:
        """Write a claim unless it is there; True when it is new. Blocking."""
        return write_once(READER, self._notebook, self._entry(claim))

    def _entry(self, claim: Claim) -> Entry:
        passage = claim.passage
        authors = f"{passage.authors[0]}{' et al.' if len(passage.authors) > 1 else ''}, " if passage.authors else ""
        where = f"{authors}{passage.year or 'no year'}" + (f", p. {passage.page}" if passage.page else "")
        cited = Citation(source=passage.paper_id, title=passage.title, quote=claim.quote, page=passage.page)
        return Entry(
            id=claim.id,
            kind=Kind.CLAIM,
            title=f"{claim.factor}: {claim.quote[:120]}",
            body=f"> {claim.quote}\n\n— {passage.title} ({where}), {passage.paper_id}",
            author=READER.name,
            session=self._session,
            task=self._task.name,
            created_at=self._clock.now(),
            factors=(claim.factor,),
            citations=(cited,),
            data={"query": query_of(claim.factor), "score": passage.score},
        )


class _Work:
    """One run of the reader through the role graph."""

    def __init__(self, reader: LiteratureReader, factors: Sequence[str], *, further: bool = False) -> None:
        self.reader, self.factors, self.further = reader, factors, further

    async def recall(self) -> list[str]:
        return list(self.factors) if self.further else await asyncio.to_thread(self.reader.unread, self.factors)

    async def think(self, recalled: list[str], _: str | None) -> list[Claim]:
        return [
            claim
            for factor in recalled
            for claim in await asyncio.to_thread(partial(self.reader.claims, factor, further=self.further))
        ]

    async def check(self, reply: list[Claim]) -> str | None:
        strange = next((claim for claim in reply if claim.quote not in claim.passage.text), None)
        return f"a quote is not in {strange.passage.paper_id}: {strange.quote[:80]}" if strange else None

    async def write(self, reply: list[Claim]) -> list[str]:
        return [claim.id for claim in reply if await asyncio.to_thread(self.reader.append, claim)]


def best_quote(text: str, query: str) -> str | None:
    """The statement in ``text`` that shares most words with the query; None where none shares more than half of
    them, or none but words that go with every constant.
    """
    wanted = _stems(query)
    telling = wanted - _COMMON
    best, most = None, len(wanted) // 2
    for match in _SENTENCE.finditer(text):
        sentence = match.group().strip()[:_QUOTE_CHARACTERS].strip()
        found = _stems(sentence)
        shared = len(wanted & found)
        if (
            shared > most and (telling & found or not telling) and not sentence.endswith("?")
        ):  # a question claims nothing
            best, most = sentence, shared
    return best


def _stems(text: str) -> set[str]:
    """Words cut to six letters, so that 'decay', 'decays' and 'decayed' meet."""
    return {word[:6] for word in re.findall(r"[a-z][a-z0-9]{2,}", text.lower())}
