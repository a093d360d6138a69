"""notebook list|search|show|note|export|reindex|check: the shared research notebook."""

import os
import uuid
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import clock_time, print_json, print_table

if TYPE_CHECKING:
    from notebook_store.entry import Entry

app = typer.Typer(help="The shared research notebook.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")]
InSession = Annotated[str | None, typer.Option("--session", metavar="S", help="Of this session only.")]


class Format(StrEnum):
    """What a notebook is exported to."""

    IPYNB = "ipynb"
    MD = "md"
    TSV = "results.tsv"


_ENDINGS = {".ipynb": Format.IPYNB, ".md": Format.MD, ".tsv": Format.TSV}


@app.command("list")
def list_entries(
    limit: Limit = 20,
    kind: Annotated[str | None, typer.Option("--kind", metavar="KIND", help="hypothesis, result, insight, ...")] = None,
    session: InSession = None,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """List the newest entries, newest first."""
    from notebook_store.entry import Kind
    from notebook_store.log import Filters
    from notebook_store.notebook import Notebook
    from swarm.errors import InputError
    from swarm.home import Home

    filters = Filters()
    if kind is not None:
        if kind not in list(Kind):
            raise InputError(f"no kind '{kind}'; there are: {', '.join(Kind)}")
        filters["kinds"] = [Kind(kind)]
    if session is not None:
        filters["session"] = session
    with Notebook.read(Home(home, create=False).notebook) as notebook:
        found = notebook.entries(limit=limit, **filters)
    if as_json:
        print_json([summary(entry) for entry in found])
        return
    print_table(
        ("written", "kind", "author", "id", "title"),
        [(clock_time(e.created_at), e.kind.value, e.author, e.id, e.title) for e in found],
        empty="no entries; `swarm notebook note TEXT` writes one",
    )


@app.command()
def search(
    query: Annotated[str, typer.Argument(metavar="Q", help="Words, or a question.")],
    limit: Limit = 10,
    session: InSession = None,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Find entries by meaning and by words, best first."""
    from notebook_store.embed import MiniLM
    from notebook_store.log import Filters
    from notebook_store.notebook import Notebook
    from swarm.home import Home

    filters = Filters(session=session) if session is not None else Filters()
    with Notebook.read(Home(home, create=False).notebook, embedder=MiniLM()) as notebook:
        hits = notebook.search(query, limit, **filters)
    if as_json:
        print_json([summary(hit.entry) | {"score": hit.score} for hit in hits])
        return
    print_table(
        ("score", "kind", "id", "title"),
        [(f"{hit.score:.3f}", hit.entry.kind.value, hit.entry.id, hit.entry.title) for hit in hits],
        empty="nothing found",
    )


@app.command()
def show(
    entry_id: Annotated[str, typer.Argument(metavar="ID", help="Id of an entry, as list and search show it.")],
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Show one entry, and what other entries say of it."""
    from notebook_store.export import to_markdown
    from notebook_store.notebook import Notebook
    from swarm.home import Home
    from swarm.wording import plain, printable

    with Notebook.read(Home(home, create=False).notebook) as notebook:
        entry, links = notebook.get(entry_id), notebook.links_to(entry_id)
    if as_json:
        print_json(whole(entry) | {"linked_by": [{"kind": kind.value, "id": other.id} for kind, other in links]})
        return
    print(printable(to_markdown([entry], title=entry.id)), end="")
    for kind, other in links:
        print(f"- {kind.value} it: {plain(other.title)} ({plain(other.id)})")


@app.command()
def note(
    text: Annotated[str, typer.Argument(metavar="TEXT", help="What the swarm, or you, should know.")],
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Write a note of yours, also while a session runs."""
    import time

    from notebook_store.entry import Entry, Kind
    from notebook_store.notebook import Notebook
    from swarm.errors import InputError
    from swarm.home import Home

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
    with Notebook.read(Home(home, create=False).notebook) as notebook:
        notebook.append(entry)
    if as_json:
        print_json(summary(entry))
    else:
        print(f"wrote {entry.id}")


@app.command()
def export(
    file: Annotated[
        Path | None,
        typer.Argument(metavar="[F]", help="File to write: .ipynb, .md or .tsv; left out: standard output."),
    ] = None,
    to: Annotated[Format | None, typer.Option("--to", help="Format, where the file's name does not tell.")] = None,
    session: InSession = None,
    home: InHome = HOME,
) -> None:
    """Write the notebook as .ipynb, Markdown or results.tsv."""
    from notebook_store import export as exporting
    from notebook_store.log import Filters
    from notebook_store.notebook import Notebook
    from swarm.errors import InputError
    from swarm.home import Home

    form = to or _ENDINGS.get(file.suffix.lower() if file is not None else "")
    if form is None:
        where = "standard output" if file is None else file
        raise InputError(f"{where} does not tell a format; give --to, or a file that ends in .ipynb, .md or .tsv")
    filters = Filters(session=session) if session is not None else Filters()
    place = Home(home, create=False)
    with Notebook.read(place.notebook) as notebook:
        entries = notebook.entries(**filters)[::-1]
    title = session or f"research notebook of {place.root.parent.name}"
    match form:
        case Format.IPYNB:
            text = exporting.to_ipynb(entries, title=title)
        case Format.MD:
            text = exporting.to_markdown(entries, title=title)
        case Format.TSV:
            text = exporting.to_tsv(entries)
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}; choose another file") from error
    print(
        f"wrote {len(entries)} entries to {file}"
        if form is not Format.TSV
        else f"wrote {text.count(chr(10)) - 1} results to {file}"
    )


@app.command()
def reindex(home: InHome = HOME) -> None:
    """Build both indexes anew from the log; nothing is lost."""
    from notebook_store.embed import MiniLM
    from notebook_store.notebook import Notebook
    from swarm.home import Home

    place = Home(home, create=False)
    with place.owned(), Notebook.open(place.notebook, embedder=MiniLM(), rebuild=True) as notebook:
        notebook.flush()
        print(f"indexed {notebook.count()} entries anew")


@app.command()
def check(as_json: AsJson = False, home: InHome = HOME) -> None:
    """Compare the log and its indexes; exit 1 when something is wrong."""
    from dataclasses import asdict

    from notebook_store.embed import MiniLM
    from notebook_store.notebook import Notebook
    from swarm.errors import HomeBusy
    from swarm.home import Home

    place = Home(home, create=False)
    try:
        with place.owned(), Notebook.open(place.notebook, embedder=MiniLM()) as notebook:
            report = notebook.check()
    except HomeBusy:  # beside its owner most can be checked; the report says what cannot
        with Notebook.read(place.notebook, embedder=MiniLM()) as notebook:
            report = notebook.check()
    if as_json:
        print_json(asdict(report) | {"clean": report.clean})
    else:
        print(f"{report.entries} entries, {report.embedded} embedded, {_indexed(report.indexed)}")
        for line in report.skipped:
            print(f"not checked: {line}")
        for line in report.problems:
            print(f"problem: {line}")
        print("all is sound" if report.clean else "`swarm notebook reindex` rebuilds the indexes")
    if not report.clean:
        raise typer.Exit(1)


def _indexed(count: int | None) -> str:
    return "index in use by the session" if count is None else f"{count} in the vector index"


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
