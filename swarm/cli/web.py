"""browse, report, mcp: the research in a browser, in a file, and to coding agents."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.options import HOME, InHome, SessionName


def browse(
    port: Annotated[
        int | None, typer.Option("--port", metavar="P", min=0, max=65535, help="Where to listen; 8765 if it is free.")
    ] = None,
    host: Annotated[
        str, typer.Option("--host", metavar="H", help="Address to listen on; beyond loopback a token is needed.")
    ] = "127.0.0.1",
    home: InHome = HOME,
) -> None:
    """Show the pages of a home, also while a session works in it; Ctrl-C ends the showing alone."""
    from swarm.assemble.pages import serve_pages
    from swarm.home import Home
    from swarm.web.serving import bind

    place = bind(host, port)
    root = Home(home, create=False)
    serve_pages(root, place, lambda: print(f"the pages are at {place.url} (Ctrl-C ends them)", flush=True))


class Form(StrEnum):
    """What a report is written as."""

    HTML = "html"
    MD = "md"


def report(
    session: SessionName = None,
    form: Annotated[Form, typer.Option("--format", help="One HTML page with all it shows, or Markdown.")] = Form.HTML,
    folder: Annotated[
        Path, typer.Option("--to", metavar="DIR", help="Folder for the page and its pictures; made when missing.")
    ] = Path(),
    home: InHome = HOME,
) -> None:
    """Write what a session found as a page that can be mailed, and PNG pictures."""
    from contextlib import closing

    from swarm.assemble.pages import opened_reading
    from swarm.errors import InputError
    from swarm.home import Home
    from swarm.web.report import write_report

    with closing(opened_reading(Home(home, create=False))) as reading, reading.view(session) as view:
        try:
            written = write_report(view, reading.notebook, folder, form)
        except OSError as error:
            raise InputError(f"cannot write into {folder}: {error.strerror}; choose another --to") from error
    for path in (written.page, *written.pictures):
        print(f"wrote {path}")


def mcp(
    author: Annotated[str, typer.Option("--author", metavar="NAME", help="Who signs the notes.")] = "coding agent",
    home: InHome = HOME,
) -> None:
    """Serve coding agents over standard input and output: search the notebook, read experiments, leave notes."""
    from contextlib import closing

    from swarm.assemble.pages import opened_reading
    from swarm.home import Home
    from swarm.web.tools import tool_server

    with closing(opened_reading(Home(home, create=False))) as reading:
        tool_server(reading, author=author).run("stdio")
