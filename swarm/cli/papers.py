"""papers add|list|search|show: the library that the literature reader reads."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import print_json, print_table

app = typer.Typer(help="The library of papers.", no_args_is_help=True)

Limit = Annotated[int, typer.Option("--limit", "-n", metavar="N", min=1, help="At most so many.")]
SHOWN_REFUSALS = 20  # unreadable items that `add` names


@app.command()
def add(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Folders, PDF, BibTeX or JSONL files.")],
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Add papers; says how many were new, known and unreadable, and why."""
    from swarm.assemble.stores import open_library
    from swarm.errors import InputError
    from swarm.home import Home
    from swarm.wording import plain

    missing = [path for path in paths if not path.exists()]
    if missing:
        raise InputError(f"no file or folder {missing[0]}; check the path")
    with open_library(Home(home, create=True)) as library:
        report = library.add(paths, progress=None if as_json else _progress)
    if as_json:
        print_json(
            {
                "new": report.new,
                "known": report.known,
                "completed": report.completed,
                "unreadable": [{"where": one.where, "reason": one.reason} for one in report.unreadable],
                "unreadable_count": report.unreadable_count,
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
        print(f"  and {report.unreadable_count - SHOWN_REFUSALS} more; --json names the first {len(report.unreadable)}")


def _progress(step: str, done: int, of: int | None) -> None:
    if sys.stderr.isatty():
        print(f"\r{step} {done}" + (f" of {of}" if of is not None else "") + "\x1b[K", end="", file=sys.stderr)
        if done == of:
            print("\r\x1b[K", end="", file=sys.stderr)


@app.command("list")
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
        print(f"       {'' if hit.page is None else f'p. {hit.page}: '}{plain(hit.snippet)}")
    if not hits:
        print("nothing found")


@app.command()
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
                "passages": [{"page": passage.page, "text": passage.text} for passage in passages],
            }
        )
        return
    print(plain(paper.title))
    print(", ".join(plain(author) for author in paper.authors) + (f" ({paper.year})" if paper.year else ""))
    print(plain(paper.id) + (f"  {plain(paper.url)}" if paper.url else ""))
    for passage in passages:
        print("\n" + (f"[p. {passage.page}] " if passage.page else "") + printable(passage.text))
