"""papers add|fetch|list|search|show: the library that the literature reader reads."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Self

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import paged, print_json, print_table

if TYPE_CHECKING:
    from rich.progress import TaskID

    from papers.results import Step
    from swarm.home import Home

app = typer.Typer(help="The library of papers.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")]
ARXIV = "https://export.arxiv.org/api/query"
SHOWN_REFUSALS = 20  # unreadable items that `add` names


@app.command()
def add(
    paths: Annotated[
        list[Path],
        typer.Argument(metavar="PATH...", help="Folders and files: PDF, BibTeX, RIS, JSON, Atom, CSV, text."),
    ],
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Add papers; says how many were new, known and unreadable, and why."""
    from swarm.assemble.stores import check_paths
    from swarm.home import Home

    check_paths(paths)  # before a home is made
    _add(Home(home, create=True), paths, as_json)


@app.command()
def fetch(
    query: Annotated[str, typer.Argument(metavar="QUERY", help="Words, or arXiv's fields: au:, ti:, abs:, cat:.")],
    limit: Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, max=2000, help="At most so many.")] = 50,
    url: Annotated[
        str,
        typer.Option("--url", metavar="URL", envvar="SWARM_ARXIV_URL", help="Address of arXiv's API, or a mirror's."),
    ] = ARXIV,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Add the papers that arXiv finds for a query."""
    from papers.arxiv import Arxiv, ArxivError
    from swarm.errors import SwarmError
    from swarm.home import Home
    from swarm.wording import plain

    place = Home(home, create=True)
    try:
        client = Arxiv(place.papers / "arxiv", url=url, tell=lambda line: print(plain(line), file=sys.stderr))
        files = client.fetch(query, limit)
    except ArxivError as error:
        raise SwarmError(str(error)) from error
    _add(place, files, as_json)


def _add(home: "Home", paths: list[Path], as_json: bool) -> None:
    from swarm.assemble.stores import add_papers, open_library
    from swarm.wording import plain

    with open_library(home, cores=os.cpu_count() or 1) as library, _Bar() as bar:
        try:
            report, table = add_papers(library, home, paths, progress=bar.show)
        except KeyboardInterrupt:
            print("\ninterrupted; what was read is kept, and the same command goes on from there", file=sys.stderr)
            raise typer.Exit(130) from None
    if as_json:
        print_json(
            {
                "new": report.new,
                "known": report.known,
                "completed": report.completed,
                "unreadable": [{"where": one.where, "reason": one.reason} for one in report.unreadable],
                "unreadable_count": report.unreadable_count,
                "details": str(table),
            }
        )
        return
    print(
        f"{report.new} new, {report.known} known, {report.completed} completed, {report.unreadable_count} unreadable "
        f"in {report.seconds:.1f} s"
    )
    for refusal in report.unreadable[:SHOWN_REFUSALS]:
        print(f"  {plain(refusal.where)}: {plain(refusal.reason)}")
    if report.unreadable_count > SHOWN_REFUSALS:
        print(f"  and {report.unreadable_count - SHOWN_REFUSALS} more")
    print(f"what became of each: {table}")


class _Bar:
    """A progress bar on a terminal: how much is done, how fast, and how long it will take."""

    def __enter__(self) -> Self:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
            disable=not sys.stderr.isatty(),
        )
        self._progress.start()
        self._tasks: dict[str, TaskID] = {}
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def show(self, step: "Step") -> None:
        unit = "papers" if step.name == "reading" else "passages"
        if step.name not in self._tasks:
            self._tasks[step.name] = self._progress.add_task(step.name, total=1.0, rate="")
        task = self._tasks[step.name]
        elapsed = self._progress.tasks[task].elapsed or 0.0
        rate = f"{step.done} {unit}" + (f", {step.done / elapsed:.0f} a second" if elapsed > 1 else "")
        self._progress.update(task, completed=step.share, rate=rate)


@app.command("list")
@paged
def list_papers(limit: Limit = 50, as_json: AsJson = False, home: InHome = HOME) -> None:
    """List the papers, those added last first."""
    from swarm.assemble.stores import open_library
    from swarm.home import Home

    with open_library(Home(home, create=True)) as library:
        papers, there = library.papers(limit=limit), library.status()
    if as_json:
        print_json([{"id": p.id, "title": p.title, "authors": list(p.authors), "year": p.year} for p in papers])
        return
    print_table(
        ("id", "year", "authors", "title"),
        [(p.id, p.year, ", ".join(p.authors[:2]) + (" et al." if len(p.authors) > 2 else ""), p.title) for p in papers],
        empty="no papers; `swarm papers add PATH` adds some",
    )
    if there.papers > len(papers):
        print(f"{len(papers)} of {there.papers} papers; --limit shows more")


@app.command()
@paged
def search(
    query: Annotated[str, typer.Argument(metavar="Q", help="Words, or a question.")],
    limit: Limit = 10,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Find papers by meaning and by words, best first."""
    from swarm.assemble.stores import open_library
    from swarm.home import Home
    from swarm.wording import plain

    with open_library(Home(home, create=True)) as library:
        hits = library.search(query, limit)
    if as_json:
        fields = ("id", "title", "score", "year", "snippet", "page")
        print_json([{name: getattr(hit, name) for name in fields} for hit in hits])
        return
    for hit in hits:
        print(f"{hit.score:.3f}  {plain(hit.title)} ({hit.year or 'year unknown'}) {plain(hit.id)}")
        place = ", ".join(_place(hit.page, hit.section))
        print(f"       {place + ': ' if place else ''}{plain(hit.snippet)}")
    if not hits:
        print("nothing found")


@app.command()
@paged
def show(
    paper_id: Annotated[str, typer.Argument(metavar="ID", help="Id of a paper, as list and search show it.")],
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Show one paper with its text."""
    from papers.store import UnknownPaperError
    from swarm.assemble.stores import open_library
    from swarm.errors import InputError
    from swarm.home import Home
    from swarm.wording import plain, printable

    with open_library(Home(home, create=True)) as library:
        try:
            paper, passages = library.get(paper_id), list(library.text(paper_id))
        except UnknownPaperError as error:
            raise InputError(str(error.args[0])) from error
    if as_json:
        print_json(
            {
                "id": paper.id,
                "title": paper.title,
                "authors": list(paper.authors),
                "year": paper.year,
                "url": paper.url,
                "passages": [{"page": one.page, "section": one.section, "text": one.text} for one in passages],
            }
        )
        return
    print(plain(paper.title))
    print(", ".join(plain(author) for author in paper.authors) + (f" ({paper.year})" if paper.year else ""))
    print(plain(paper.id) + (f"  {plain(paper.url)}" if paper.url else ""))
    for passage in passages:
        place = ", ".join(_place(passage.page, passage.section))
        print("\n" + (f"[{place}] " if place else "") + printable(passage.text))


def _place(page: int | None, section: str | None) -> Iterator[str]:
    """Where in a paper a passage is, as far as that is known."""
    from swarm.wording import plain

    if page is not None:
        yield f"p. {page}"
    if section is not None:
        yield plain(section)
