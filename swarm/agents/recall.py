"""What a role is shown: text of others is fenced as data, and what does not fit a budget of tokens is left out."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence

from notebook_store.answers import Idea, Near
from notebook_store.entry import Entry, Kind
from notebook_store.notebook import Notebook
from swarm.agents.roles import PERSONLESS, Role
from swarm.research.experiment import Knob

_BODY_CHARACTERS = 900  # of one entry
_CHARACTERS_A_TOKEN = 3.5  # of English and code
_NEWEST = 60  # entries of a kind that are looked at
_NEAR = 3  # experiments that are shown as near


def fenced(label: str, text: str) -> str:
    """Text of others between marks that it cannot contain: the marks bear its own hash."""
    mark = hashlib.sha256(text.encode(errors="replace")).hexdigest()[:12]
    return f"<<<{label} {mark}\n{text.rstrip()}\n{mark}>>>"


def within(pieces: Iterable[str], tokens: int) -> list[str]:
    """The first pieces that fit into so many tokens together."""
    left, taken = tokens * _CHARACTERS_A_TOKEN, []
    for piece in pieces:
        left -= len(piece)
        if left < 0:
            break
        taken.append(piece)
    return taken


def shown(entry: Entry) -> str:
    """An entry as a role is shown it."""
    cited = "".join(f"\n— {c.title}, {c.source}" + (f", p. {c.page}" if c.page else "") for c in entry.citations)
    return fenced(
        f"entry {entry.id} ({entry.kind} by {entry.author})", f"{entry.title}\n{entry.body[:_BODY_CHARACTERS]}{cited}"
    )


def tried_near(notebook: Notebook, experiment: str, hypothesis: str, changes: Mapping[str, Knob]) -> list[Near]:
    """What was tried near an experiment, without itself. Blocking."""
    found = notebook.near(Idea(text=hypothesis, changes=dict(changes)), _NEAR + 1)
    return [one for one in found if one.tried.hypothesis.id != f"{experiment}-hypothesis"][:_NEAR]


def one_near(one: Near) -> str:
    """One line on what was tried near, and what came of it."""
    page = one.tried.hypothesis
    apart = [] if one.distance is None else [f"configuration {one.distance:.2f} apart"]
    alike = [] if one.similarity is None else [f"meaning {one.similarity:.2f} alike"]
    came = one.tried.came[-1].title if one.tried.came else "not over yet"
    return f"{page.experiment or page.id} ({', '.join(apart + alike)}): {' '.join(came.split())[:160]}"


def remembered(role: Role, notebook: Notebook, *, query: str, session: str, task: str) -> list[Entry]:
    """What the notebook holds for a role, the most telling first: findings of this session, what fits the question,
    then what is newest. Blocking.
    """
    first = [Kind.INSIGHT, Kind.DECISION]
    known: dict[str, Entry] = {}
    for kind in [kind for kind in first if kind in role.recalls]:
        known |= {entry.id: entry for entry in notebook.entries(kinds=[kind], session=session, limit=_NEWEST // 6)}
    kinds = sorted(role.recalls)
    for hit in notebook.search(query, _NEWEST // 3, kinds=kinds) if kinds else []:
        if hit.entry.task in ("", task):
            known.setdefault(hit.entry.id, hit.entry)
    for entry in notebook.entries(kinds=kinds, session=session, limit=_NEWEST) if kinds else []:
        known.setdefault(entry.id, entry)
    return [entry for entry in known.values() if not is_of_people(entry)]


def people_notes(notebook: Notebook, limit: int = 50) -> list[Entry]:
    """What people wrote, newest first; edits of program.md among it. Blocking."""
    return [note for note in notebook.entries(kinds=[Kind.NOTE], limit=limit * 4) if is_of_people(note)][:limit]


def is_of_people(entry: Entry) -> bool:
    """Whether a person wrote it: roles sign with their names, and cannot sign otherwise."""
    return entry.kind is Kind.NOTE and entry.author.split("-")[0] not in PERSONLESS


def listed(entries: Sequence[Entry], tokens: int) -> str:
    """Entries as one text within so many tokens; says when there is none."""
    return "\n\n".join(within((shown(entry) for entry in entries), tokens)) or "(nothing yet)"
