"""notebook list|search|like|show|note: reading the shared research notebook, and writing in it."""

import os
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.filters import choosing
from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import clock_time, paged, print_json, print_table

if TYPE_CHECKING:
    from notebook_store.answers import Hit, Tried
    from notebook_store.entry import Entry, Relation
    from notebook_store.log import Filters
    from notebook_store.notebook import Notebook

app = typer.Typer(help="The shared research notebook.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")]
AtUrl = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", envvar="SWARM_NOTEBOOK_URL", help="Of a notebook that is served elsewhere."),
]


def opened(home: Path, url: str | None) -> "Notebook":
    """The notebook of a home, or the one served at ``url``."""
    from swarm.assemble.stores import notebook_at, open_notebook
    from swarm.home import Home

    return open_notebook(Home(home, create=False)) if url is None else notebook_at(url, home)


@app.command("list")
@paged
@choosing
def list_entries(
    limit: Limit = 20,
    *,
    filters: "Filters",
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """List the newest entries, newest first."""
    with opened(home, url) as notebook:
        found = notebook.entries(limit=limit, **filters)
    if as_json:
        print_json([summary(entry) for entry in found])
        return
    print_table(
        ("written", "kind", "author", "id", "title"),
        [(clock_time(e.created_at), e.kind.value, e.author, e.id, e.title) for e in found],
        empty="no such entries; `swarm notebook note TEXT` writes one",
    )


@app.command()
@paged
@choosing
def search(
    query: Annotated[str, typer.Argument(metavar="Q", help="Words, or a question.")],
    limit: Limit = 10,
    *,
    filters: "Filters",
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Find entries by meaning and by words, best first."""
    with opened(home, url) as notebook:
        hits = notebook.search(query, limit, **filters)
        notices = notebook.notices()
    _print_hits(hits, notices, as_json)


@app.command()
@paged
@choosing
def like(
    entry_id: Annotated[str, typer.Argument(metavar="ENTRY", help="Id of an entry, as list and search show it.")],
    limit: Limit = 10,
    *,
    filters: "Filters",
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Find the entries most like one, best first."""
    with opened(home, url) as notebook:
        hits = notebook.like(entry_id, limit, **filters)
        notices = notebook.notices()
    _print_hits(hits, notices, as_json)


def _print_hits(hits: "Sequence[Hit]", notices: Sequence[str], as_json: bool) -> None:
    from swarm.wording import plain

    for notice in notices:
        print(f"swarm: {plain(notice)}", file=sys.stderr)
    if as_json:
        print_json([summary(hit.entry) | {"score": hit.score, "snippet": hit.snippet.text} for hit in hits])
        return
    if not hits:
        print("nothing found")
    for hit in hits:
        entry = hit.entry
        print(f"{hit.score:.3f}  {entry.kind.value}  {plain(entry.id)}")
        print(f"       {plain(entry.title)}")
        if passage := plain(_marked(hit)):
            print(f"       {passage}")


def _marked(hit: "Hit") -> str:
    """The snippet with its matched words in brackets, which show on any terminal and in any file."""
    text, marked, end = hit.snippet.text, "", 0
    for start, stop in hit.snippet.spans:
        marked += f"{text[end:start]}[{text[start:stop]}]"
        end = stop
    return marked + text[end:]


@app.command()
@paged
def show(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="Id of an entry, as list and search show it.")],
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Show one entry, what it rests on, and what came of it."""
    from notebook_store.export import to_markdown
    from swarm.wording import plain, printable

    with opened(home, url) as notebook:
        entry, links = notebook.get(entry_id), notebook.links_to(entry_id)
        tried, grounds = notebook.tried(entry_id), notebook.grounds(entry_id)
    if as_json:
        print_json(
            whole(entry)
            | {
                "linked_by": _related(links),
                "rests_on": _related(grounds),
                "tried": [tried_summary(one) for one in tried],
            }
        )
        return
    print(printable(to_markdown([entry], title=entry.id)), end="")
    for kind, other in links:
        print(f"- {kind.value} it: {plain(other.title)} ({plain(other.id)})")
    if grounds:
        print("\nrests on")
    for kind, other in grounds:
        print(f"- {kind.value} {other.kind.value}: {plain(other.title)} ({plain(other.id)})")
    if tried:
        print("\ntried by")
    for one in tried:
        hypothesis = one.hypothesis
        print(f"- {one.outcome or 'not over yet'}: {plain(hypothesis.title)} ({plain(hypothesis.id)})")
        for came in one.came:
            print(f"    {came.kind.value}: {plain(came.title)} ({plain(came.id)})")


@app.command()
def note(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the swarm, or you, should know.")],
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Write a note of yours, also while a session runs."""
    import time

    from notebook_store.entry import Entry, Kind
    from swarm.errors import InputError

    if not text.strip():
        raise InputError("an empty note says nothing; give the text after the command")
    entry = Entry(
        id=f"note-{uuid.uuid4().hex[:12]}",
        kind=Kind.NOTE,
        title=text.strip().splitlines()[0][:160],
        body=text,
        author=os.environ.get("USER") or "human",
        session="",
        task="",
        created_at=time.time(),
    )
    with opened(home, url) as notebook:
        notebook.append(entry)
    if as_json:
        print_json(summary(entry))
    else:
        print(f"wrote {entry.id}")


def summary(entry: "Entry") -> dict[str, Any]:
    """An entry as listings and searches show it."""
    from notebook_store.wire import brief_json

    cited = [
        {"source": cited.source, "title": cited.title, "quote": cited.quote, "page": cited.page}
        for cited in entry.citations
    ]
    return brief_json(entry) | {"citations": cited}


def whole(entry: "Entry") -> dict[str, Any]:
    """All of an entry but the bytes of its attachments."""
    return summary(entry) | {
        "task": entry.task,
        "body": entry.body,
        "factors": list(entry.factors),
        "links": [{"kind": link.kind.value, "target": link.target} for link in entry.links],
        "data": dict(entry.data),
        "attachments": [
            {"name": one.name, "media_type": one.media_type, "bytes": len(one.data)} for one in entry.attachments
        ],
    }


def tried_summary(tried: "Tried") -> dict[str, Any]:
    """An experiment that tried something, as JSON."""
    hypothesis = tried.hypothesis
    return {
        "hypothesis": hypothesis.id,
        "experiment": hypothesis.experiment,
        "title": hypothesis.title,
        "outcome": tried.outcome,
        "came": [{"id": came.id, "kind": came.kind.value, "title": came.title} for came in tried.came],
    }


def _related(links: "Sequence[tuple[Relation, Entry]]") -> list[dict[str, str]]:
    return [{"kind": kind.value, "id": other.id, "title": other.title} for kind, other in links]
