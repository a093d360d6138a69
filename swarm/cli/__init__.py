"""The command `swarm`: parse, call, print. Everything heavy is imported inside the command that needs it."""

from typing import Annotated

import typer

from swarm import __version__
from swarm.cli import (
    benching,
    experiments,
    exporting,
    live,
    machine,
    notebook,
    notebook_upkeep,
    papers,
    people,
    sessions,
    simulate,
    tasks,
    web,
)
from swarm.cli.options import HOME, InHome, SwarmGroup

app = typer.Typer(
    name="swarm",
    cls=SwarmGroup,
    help="A swarm of specialist agents that improves a training script overnight, each gain confirmed like for like.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _version(wanted: bool) -> None:
    if wanted:
        print(f"nightswarm {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    home: InHome = HOME,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del home, version  # taken up by their callbacks


for command in (
    live.start,
    sessions.status,
    live.watch,
    sessions.stop,
    sessions.pause,
    sessions.resume,
    people.approve,
    people.reject,
    experiments.best,
    experiments.experiments,
    experiments.experiment,
    sessions.leases,
    web.browse,
    web.report,
    exporting.export,
    web.mcp,
):
    app.command()(command)
for name, upkeep in (
    ("export", notebook_upkeep.export),
    ("import", notebook_upkeep.import_entries),
    ("serve", notebook_upkeep.serve),
    ("reindex", notebook_upkeep.reindex),
    ("check", notebook_upkeep.check),
):
    notebook.app.command(name)(upkeep)
app.add_typer(notebook.app, name="notebook")
app.add_typer(papers.app, name="papers")
app.add_typer(tasks.app, name="task")
app.command()(benching.bench)
app.command()(simulate.simulate)
app.command()(machine.doctor)


def main() -> None:
    """The console script."""
    app()
