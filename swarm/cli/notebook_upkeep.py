"""notebook export|import|serve|reindex|check: the notebook as a whole."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from swarm.cli.filters import InSession, OfKind, filters_of
from swarm.cli.notebook import AtUrl, opened
from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import print_json

if TYPE_CHECKING:
    from notebook_store.bibliography import Work
    from notebook_store.log import Filters
    from notebook_store.notebook import Notebook


class Format(StrEnum):
    """What a notebook is exported to."""

    IPYNB = "ipynb"
    HTML = "html"
    MD = "md"
    TSV = "results.tsv"
    BIB = "bib"
    JSONL = "jsonl"


_ENDINGS = {
    ".ipynb": Format.IPYNB,
    ".html": Format.HTML,
    ".md": Format.MD,
    ".tsv": Format.TSV,
    ".bib": Format.BIB,
    ".jsonl": Format.JSONL,
}


def export(  # noqa: PLR0917 - Typer makes an option of each
    file: Annotated[
        Path | None,
        typer.Argument(
            metavar="[F]",
            help="File to write: .ipynb, .html, .md, .tsv, .bib or .jsonl; left out: standard output.",
        ),
    ] = None,
    to: Annotated[Format | None, typer.Option("--to", help="Format, where the file's name does not tell.")] = None,
    session: InSession = None,
    kind: OfKind = None,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Write the notebook as .ipynb, HTML, Markdown, results.tsv, BibTeX of what it cites, or JSON lines of it all."""
    from swarm.errors import InputError

    form = to or _ENDINGS.get(file.suffix.lower() if file is not None else "")
    if form is None:
        where = "standard output" if file is None else file
        endings = ", ".join(_ENDINGS)
        raise InputError(f"{where} does not tell a format; give --to, or a file that ends in {endings}")
    with opened(home, url) as notebook:
        text = _exported(notebook, form, home, filters_of(session=session, kind=kind))
    if file is None:
        print(text, end="")
        return
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {file}: {error.strerror}; choose another file") from error
    print(f"wrote {file}")


def _exported(notebook: "Notebook", form: Format, home: Path, filters: "Filters") -> str:
    import io

    from notebook_store import export as exporting
    from notebook_store.bibliography import to_bibtex
    from notebook_store.exchange import write_jsonl
    from notebook_store.page import to_html

    if form is Format.JSONL:
        text = io.StringIO()
        write_jsonl(notebook, text, **filters)
        return text.getvalue()
    entries = list(notebook.stream(**filters))
    title = filters.get("session") or f"research notebook of {home.expanduser().resolve().parent.name}"
    match form:
        case Format.IPYNB:
            return exporting.to_ipynb(entries, title=title)
        case Format.HTML:
            return to_html(entries, title=title)
        case Format.MD:
            return exporting.to_markdown(entries, title=title)
        case Format.TSV:
            return exporting.to_tsv(entries)
        case Format.BIB:
            return to_bibtex(entries, lambda source: _work(home, source))


def _work(home: Path, source: str) -> "Work":
    """What the home's library knows of a paper."""
    from notebook_store.bibliography import Work
    from papers.library import Library
    from papers.store import UnknownPaperError

    folder = home.expanduser() / "papers"
    if not folder.is_dir():
        return Work()
    with Library.read(folder) as library:
        try:
            paper = library.get(source)
        except UnknownPaperError:
            return Work()
    return Work(authors=paper.authors, year=paper.year, doi=paper.doi, arxiv_id=paper.arxiv_id, url=paper.url)


def import_entries(
    file: Annotated[Path, typer.Argument(metavar="F", help="A .jsonl file that `export` wrote.")],
    as_json: AsJson = False,
    url: AtUrl = None,
    home: InHome = HOME,
) -> None:
    """Take in the entries of another notebook; what is here already stays as it is."""
    from dataclasses import asdict

    from notebook_store.exchange import read_jsonl
    from swarm.errors import InputError
    from swarm.wording import plain

    try:
        with file.open("rb") as stream, opened(home, url) as notebook:
            found = read_jsonl(notebook, stream)
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror}; check the path") from error
    if as_json:
        refused = [{"line": line, "reason": reason} for line, reason in found.refused]
        print_json(asdict(found) | {"refused": refused})
        return
    print(f"{found.new} new, {found.known} known, {found.renamed} of them renamed, {len(found.refused)} refused")
    for line, reason in found.refused[:20]:
        print(f"line {line}: {plain(reason)}")


def serve(
    host: Annotated[
        str, typer.Option("--host", metavar="H", help="Interface; others than this need care.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", metavar="P", min=0, max=65535, help="0 takes a free one.")] = 8765,
    home: InHome = HOME,
) -> None:
    """Serve the notebook to other swarms and programs while no session does, until Ctrl-C."""
    import signal
    import threading

    from notebook_store.server import TOKEN_FILE, serving
    from swarm.assemble.stores import owned_notebook
    from swarm.home import Home

    place = Home(home, create=True)
    ended = threading.Event()
    for name in (signal.SIGINT, signal.SIGTERM):
        signal.signal(name, lambda *_: ended.set())
    with (
        place.owned(),
        owned_notebook(place) as notebook,
        serving(notebook, place.notebook, host=host, port=port) as url,
    ):
        print(f"the notebook is at {url}; its token is in {place.notebook / TOKEN_FILE}", flush=True)
        ended.wait()


def reindex(
    config: Annotated[
        Path | None, typer.Option("--config", metavar="F", help="A swarm.toml whose [notebook] says how from now on.")
    ] = None,
    home: InHome = HOME,
) -> None:
    """Build both indexes anew from the log; nothing is lost."""
    from swarm.assemble.stores import owned_notebook
    from swarm.config import load_settings
    from swarm.home import Home

    place = Home(home, create=False)
    settings = None if config is None else load_settings(config).notebook
    with place.owned(), owned_notebook(place, settings, rebuild=True) as notebook:
        total = notebook.count()
        with typer.progressbar(length=total, label="indexing", file=sys.stderr) as bar:
            notebook.reindex(lambda done, _: bar.update(done - bar.pos))
        print(f"indexed {total} entries anew")


def check(as_json: AsJson = False, url: AtUrl = None, home: InHome = HOME) -> None:
    """Compare the log and its indexes; exit 1 when something is wrong."""
    from dataclasses import asdict

    from swarm.assemble.stores import owned_notebook
    from swarm.errors import HomeBusy
    from swarm.home import Home

    if url is not None:
        with opened(home, url) as notebook:
            report = notebook.check()
    else:
        place = Home(home, create=False)
        try:
            with place.owned(), owned_notebook(place) as notebook:
                report = notebook.check()
        except (
            HomeBusy
        ):  # its owner looks, where it serves; beside it, most can be checked, and the report says what not
            with opened(home, None) as notebook:
                report = notebook.check()
    if as_json:
        print_json(asdict(report) | {"clean": report.clean})
    else:
        indexed = "index in use by its owner" if report.indexed is None else f"{report.indexed} in the vector index"
        print(f"{report.entries} entries, {report.embedded} embedded, {indexed}")
        for line in report.skipped:
            print(f"not checked: {line}")
        for line in report.problems:
            print(f"problem: {line}")
        print("all is sound" if report.clean else "`swarm notebook reindex` rebuilds the indexes")
    if not report.clean:
        raise typer.Exit(1)
