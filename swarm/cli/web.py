"""browse, report, mcp: the research in a browser, in a file, and to coding agents."""

from typing import Annotated

import typer

from swarm.cli.options import HOME, InHome


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
    print(f"the pages are at {place.url} (Ctrl-C ends them)", flush=True)
    serve_pages(root, place)
