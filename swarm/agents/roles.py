"""A role is data: its prompt, the form of its reply, its tools, what it recalls and what it may write."""

from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from pydantic import BaseModel

from notebook_store.entry import Entry, Kind
from notebook_store.errors import EntryConflict, UnknownEntry
from notebook_store.notebook import Notebook
from swarm.agents import replies
from swarm.errors import SwarmError


@dataclass(frozen=True, kw_only=True)
class Role:
    """One kind of specialist."""

    name: str  # also the author of what it writes; an instance suffix may follow: "proposer-2"
    prompt: str  # file in prompts/
    recalls: frozenset[Kind]  # kinds of entries it is shown
    writes: frozenset[Kind]  # kinds of entries it may write
    reply: type[BaseModel] | None = None  # what it answers when it thinks with a model; None: it cannot
    tools: frozenset[str] = frozenset()  # what it may use while it thinks: names in tools.py and analyst_llm.py
    wakes: str = ""  # "wave": thinks after every analysed wave, and its reply is Pages; empty: its own code calls it

    @property
    def summary(self) -> str:
        """The first line of its prompt: what the role is for, in one sentence."""
        return prompt_text(self).splitlines()[0].lstrip("# ")


LOOKING_UP = frozenset({"search_notebook", "read_entry", "search_papers"})

PROPOSER = Role(
    name="proposer",
    prompt="proposer.md",
    recalls=frozenset({Kind.RESULT, Kind.CLAIM, Kind.INSIGHT, Kind.DECISION, Kind.NOTE}),
    writes=frozenset({Kind.HYPOTHESIS}),
    reply=replies.Proposals,
    tools=LOOKING_UP,
)
REVIEWER = Role(
    name="reviewer",
    prompt="reviewer.md",
    recalls=frozenset({Kind.HYPOTHESIS, Kind.RESULT, Kind.INSIGHT}),
    writes=frozenset({Kind.REVIEW}),
    reply=replies.Verdict,
)
READER = Role(
    name="reader",
    prompt="reader.md",
    recalls=frozenset({Kind.HYPOTHESIS, Kind.CLAIM, Kind.INSIGHT, Kind.NOTE}),
    writes=frozenset({Kind.CLAIM, Kind.NOTE}),
    reply=replies.Reading,
)
ANALYST = Role(
    name="analyst",
    prompt="analyst.md",
    recalls=frozenset({Kind.HYPOTHESIS, Kind.RESULT}),
    writes=frozenset({Kind.INSIGHT, Kind.NOTE}),
    reply=replies.Finding,
    tools=frozenset({"run_cell"}),
)
ROLES = {role.name: role for role in list(globals().values()) if isinstance(role, Role)}
REFEREE = "referee"  # signs results and decisions, which follow from numbers alone
PERSONLESS = frozenset({*ROLES, REFEREE})  # whoever signs otherwise is a person


@cache
def prompt_text(role: Role) -> str:
    """The role's prompt, a Jinja template."""
    return files("prompts").joinpath(role.prompt).read_text(encoding="utf-8")


def may_write(role: Role, kind: Kind) -> bool:
    """Whether entries of this kind are the role's to write."""
    return kind in role.writes


def write_as(role: Role, notebook: Notebook, entry: Entry) -> bool:
    """Append an entry on behalf of a role; True when it is new. Blocking.

    Raises SwarmError when the kind is not the role's to write or the entry is signed by another.
    """
    if not may_write(role, entry.kind):
        allowed = ", ".join(sorted(role.writes))
        raise SwarmError(f"the {role.name} may not write a {entry.kind} entry, only: {allowed}")
    if entry.author != role.name and not entry.author.startswith(f"{role.name}-"):
        raise SwarmError(f"the {role.name} signed an entry as '{entry.author}'; sign as '{role.name}'")
    return notebook.append(entry)


def write_once(role: Role, notebook: Notebook, entry: Entry) -> bool:
    """``write_as``, unless an entry of this id is there: a step taken again may word it otherwise. Blocking."""
    try:
        notebook.get(entry.id)
    except UnknownEntry:
        with suppress(EntryConflict):  # a session beside this one wrote it at this very moment
            return write_as(role, notebook, entry)
    return False
