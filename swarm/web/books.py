"""What the notebook and the library have to show: lists, searches, one page with all it is bound to, the influence."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict

from notebook_store.answers import Hit
from notebook_store.entry import Entry, Kind
from notebook_store.errors import UnknownEntry
from notebook_store.log import Filters
from notebook_store.notebook import Notebook
from swarm.research.experiment import Experiment, Status
from swarm.status import Json
from swarm.view import View

ENTRIES = 40  # of one page of the list
HITS = 20  # of a search
FATES = (Status.CONFIRMED, Status.REFUTED, Status.PROMOTED, Status.PRUNED, Status.CRASHED, Status.REJECTED)


class Sought(BaseModel):
    """What a reader wants to see of the notebook: the query of its page."""

    model_config = ConfigDict(frozen=True)

    q: str = ""
    kind: str = ""
    author: str = ""
    session: str = ""
    factor: str = ""
    outcome: str = ""
    until: float | None = None  # unix seconds: entries before that moment
    part: str = ""  # "results": the list alone

    @property
    def filters(self) -> Filters:
        chosen = Filters()
        if self.kind in list(Kind):
            chosen["kinds"] = [Kind(self.kind)]
        if self.author:
            chosen["author"] = self.author
        if self.session:
            chosen["session"] = self.session
        if self.factor:
            chosen["factor"] = self.factor
        if self.outcome:
            chosen["outcome"] = self.outcome
        return chosen

    def given(self) -> dict[str, Any]:
        """As a query string spells it."""
        return self.model_dump(exclude_defaults=True, exclude={"part"})


@dataclass(frozen=True, kw_only=True)
class Found:
    """One page of the notebook's list, or of a search."""

    hits: Sequence[Hit] = ()  # of a search, best first
    entries: Sequence[Entry] = ()  # of the list, newest first
    older: float | None = None  # ``until`` of the next page of the list; None: this is the last


def find(notebook: Notebook, sought: Sought) -> Found:
    """Search where there is a question, else list."""
    if sought.q.strip():
        return Found(hits=notebook.search(sought.q, HITS, **sought.filters))
    filters = sought.filters
    if sought.until is not None:
        filters["until"] = sought.until
    entries = notebook.entries(limit=ENTRIES + 1, **filters)
    older = entries[ENTRIES - 1].created_at if len(entries) > ENTRIES else None
    return Found(entries=entries[:ENTRIES], older=older)


def facets(notebook: Notebook, sought: Sought) -> dict[str, dict[str, int]]:
    """How many entries of each kind, and of each outcome, pass all other filters."""
    return {
        "kind": notebook.tally("kind", **sought.model_copy(update={"kind": ""}).filters),
        "outcome": notebook.tally("outcome", **sought.model_copy(update={"outcome": ""}).filters),
    }


def bound(notebook: Notebook, entry: Entry) -> list[Json]:
    """The entries this one links to; what is gone, or not written yet, has none."""
    found: list[Json] = []
    for link in entry.links:
        try:
            found.append({"kind": link.kind.value, "id": link.target, "entry": notebook.get(link.target)})
        except UnknownEntry:
            found.append({"kind": link.kind.value, "id": link.target, "entry": None})
    return found


@dataclass(frozen=True, kw_only=True)
class Fared:
    """What came of a paper here."""

    claims: Sequence[Entry]  # that quote it, oldest first
    tried: Mapping[str, int]  # status -> experiments that cite one of the claims

    @property
    def state(self) -> str:
        """How far it was read: 'tried', 'quoted' or 'not read yet'."""
        if self.tried:
            return "tried"
        return "quoted" if self.claims else "not read yet"


def fared(notebook: Notebook | None, experiments: Iterable[Experiment]) -> dict[str, Fared]:
    """Paper -> what came of it, for every paper that is quoted."""
    claims = notebook.entries(kinds=[Kind.CLAIM])[::-1] if notebook is not None else []
    quoted: dict[str, list[Entry]] = {}
    papers_of: dict[str, set[str]] = {}
    for claim in claims:
        for cited in claim.citations:
            quoted.setdefault(cited.source, []).append(claim)
            papers_of.setdefault(claim.id, set()).add(cited.source)
    tried: dict[str, Counter[str]] = {}
    for one in experiments:
        for paper in {paper for cited in one.citations for paper in papers_of.get(cited, ())}:
            tried.setdefault(paper, Counter())[one.status.value] += 1
    return {paper: Fared(claims=found, tried=tried.get(paper, {})) for paper, found in quoted.items()}


def telling(view: View, limit: int) -> list[Experiment]:
    """The experiments whose influence is worth a picture: those that cite something, the furthest first."""
    ranked = [one for status in FATES for one in view.state.of_status(status)[::-1] if one.citations]
    return ranked[:limit]
