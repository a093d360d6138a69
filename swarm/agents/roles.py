"""A role is data: its prompt, what it recalls from the notebook and what it may write there."""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from notebook_store.entry import Entry, Kind
from notebook_store.notebook import Notebook
from swarm.errors import SwarmError


@dataclass(frozen=True, kw_only=True)
class Role:
    """One kind of specialist."""

    name: str  # also the author of what it writes; an instance suffix may follow: "proposer-2"
    prompt: str  # file in prompts/
    recalls: frozenset[Kind]  # kinds of entries it is shown
    writes: frozenset[Kind]  # kinds of entries it may write

    @property
    def summary(self) -> str:
        """The first line of its prompt: what the role is for, in one sentence."""
        return prompt_text(self).splitlines()[0].lstrip("# ")


PROPOSER = Role(
    name="proposer",
    prompt="proposer.md",
    recalls=frozenset({Kind.RESULT, Kind.CLAIM, Kind.INSIGHT, Kind.DECISION, Kind.NOTE}),
    writes=frozenset({Kind.HYPOTHESIS}),
)
REVIEWER = Role(
    name="reviewer",
    prompt="reviewer.md",
    recalls=frozenset({Kind.HYPOTHESIS, Kind.RESULT, Kind.INSIGHT}),
    writes=frozenset({Kind.REVIEW}),
)
READER = Role(
    name="reader",
    prompt="reader.md",
    recalls=frozenset({Kind.HYPOTHESIS, Kind.CLAIM, Kind.INSIGHT, Kind.NOTE}),
    writes=frozenset({Kind.CLAIM}),
)
ANALYST = Role(
    name="analyst",
    prompt="analyst.md",
    recalls=frozenset({Kind.HYPOTHESIS, Kind.RESULT}),
    writes=frozenset({Kind.INSIGHT, Kind.NOTE}),
)
ROLES = {role.name: role for role in (PROPOSER, REVIEWER, READER, ANALYST)}


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
