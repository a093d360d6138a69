"""notebook list|search|like|show|note: reading the shared research notebook, and writing in it."""

import os
import sys
import uuid
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import clock_time, paged, print_json, print_table

if TYPE_CHECKING:
    from notebook_store.answers import Hit, Tried
    from notebook_store.entry import Entry, Relation
    from notebook_store.log import Filters
    from notebook_store.notebook import Notebook

app = typer.Typer(help="The shared research notebook.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")]
OfKind = Annotated[
    list[str] | None, typer.Option("--kind", metavar="KIND", help="hypothesis, result, insight, ...; may be repeated.")
]
OfAuthor = Annotated[str | None, typer.Option("--author", metavar="A", help="Written by this role or person.")]
InSession = Annotated[str | None, typer.Option("--session", metavar="S", help="Of this session only.")]
OnTask = Annotated[str | None, typer.Option("--task", metavar="T", help="About this task only.")]
OnFactor = Annotated[str | None, typer.Option("--factor", metavar="F", help="On this constant.")]
WithOutcome = Annotated[str | None, typer.Option("--outcome", metavar="O", help="With this outcome.")]
Since = Annotated[str | None, typer.Option("--since", metavar="T", help="Not before, such as 2026-11-24T08:00.")]
Until = Annotated[str | None, typer.Option("--until", metavar="T", help="Before, in the same form.")]
AtUrl = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", envvar="SWARM_NOTEBOOK_URL", help="Of a notebook that is served elsewhere."),
]


def opened(home: Path, url: str | None) -> "Notebook":
    """The notebook of a home, or the one served at ``url``."""
    from swarm.assemble.stores import notebook_at, open_notebook
    from swarm.home import Home

    return open_notebook(Home(home, create=False)) if url is None else notebook_at(url, home)


def filters_of(
    *,
    kind: Sequence[str] | None = None,
    since: str | None = None,
    until: str | None = None,
    **named: str | None,
) -> "Filters":
    """What the options ask for. Raises InputError for a kind or a time that is none."""
    from notebook_store.entry import Kind
    from notebook_store.log import Filters
    from swarm.errors import InputError

    filters = Filters()
    if kind:
        strange = [one for one in kind if one not in list(Kind)]
        if strange:
            raise InputError(f"no kind '{strange[0]}'; there are: {', '.join(Kind)}")
        filters["kinds"] = [Kind(one) for one in kind]
    for name, value in named.items():
        if value is not None:
            filters[name] = value  # type: ignore[literal-required]  # the keys are names of Filters
    if since is not None:
        filters["since"] = _moment(since)
    if until is not None:
        filters["until"] = _moment(until)
    return filters


def _moment(text: str) -> float:
    """Local time, as unix seconds."""
    from swarm.errors import InputError

    try:
        return datetime.fromisoformat(text).timestamp()
    except ValueError:
        raise InputError(f"'{text}' is no time; write it as 2026-11-24 or 2026-11-24T08:00") from None


@app.command("list")
@paged
def list_entries(  # noqa: PLR0917 - Typer makes an option of each
    limit: Limit = 20,
    kind: OfKind = None,
    author: OfAuthor = None,
    session: InSession = None,
    task: OnTask = None,
    factor: OnFactor = None,
    outcome: WithOutcome = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """List the newest entries, newest first."""
    filters = filters_of(
        kind=kind,
        author=author,
        session=session,
        task=task,
        factor=factor,
        outcome=outcome,
        since=since,
        until=until,
    )
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
def search(  # noqa: PLR0917 - Typer makes an option of each
    query: Annotated[str, typer.Argument(metavar="Q", help="Words, or a question.")],
    limit: Limit = 10,
    kind: OfKind = None,
    author: OfAuthor = None,
    session: InSession = None,
    task: OnTask = None,
    factor: OnFactor = None,
    outcome: WithOutcome = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Find entries by meaning and by words, best first."""
    filters = filters_of(
        kind=kind,
        author=author,
        session=session,
        task=task,
        factor=factor,
        outcome=outcome,
        since=since,
        until=until,
    )
    with opened(home, url) as notebook:
        hits = notebook.search(query, limit, **filters)
        notices = notebook.notices()
    _print_hits(hits, notices, as_json)


@app.command()
@paged
def like(  # noqa: PLR0917 - Typer makes an option of each
    entry_id: Annotated[str, typer.Argument(metavar="ENTRY", help="Id of an entry, as list and search show it.")],
    limit: Limit = 10,
    kind: OfKind = None,
    author: OfAuthor = None,
    session: InSession = None,
    task: OnTask = None,
    factor: OnFactor = None,
    outcome: WithOutcome = None,
    since: Since = None,
    until: Until = None,
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Find the entries most like one, best first."""
    filters = filters_of(
        kind=kind,
        author=author,
        session=session,
        task=task,
        factor=factor,
        outcome=outcome,
        since=since,
        until=until,
    )
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
    return {
        "id": entry.id,
        "kind": entry.kind.value,
        "title": entry.title,
        "author": entry.author,
        "created_at": entry.created_at,
        "session": entry.session,
        "experiment": entry.experiment,
        "citations": [
            {"source": cited.source, "title": cited.title, "quote": cited.quote, "page": cited.page}
            for cited in entry.citations
        ],
    }


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
