"""Options that many commands share, and what becomes of errors: one line on stderr and an exit code."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from notebook_store.errors import (
    EmbedderChanged,
    FolderOwned,
    NewerSchema,
    NoNotebook,
    NoSpace,
    NotAllowed,
    NotebookError,
    NotServed,
    UnknownEntry,
)
from swarm.errors import SwarmError
from trainer.task import TaskError

HOME = Path(".swarm")


def _home(ctx: typer.Context, value: Path) -> Path:
    """A home named after the command, else the one named before it, else SWARM_HOME or the default."""
    source = ctx.get_parameter_source("home")
    if source is not None and source.name == "COMMANDLINE":
        return value
    return Path(ctx.find_root().params.get("home") or value)


InHome = Annotated[
    Path,
    typer.Option(
        "--home",
        metavar="DIR",
        envvar="SWARM_HOME",
        callback=_home,
        help="Folder that keeps everything; before or after the command.",
    ),
]


def _on_record(ctx: typer.Context) -> dict[str, list[str]]:
    """Session -> short ids of its experiments, for the shell to complete; only the newest session's are looked up."""
    from contextlib import closing

    from swarm.research.ledger import Ledger
    from swarm.wording import short

    file = Path(ctx.params.get("home") or HOME) / "ledger.db"
    if not file.exists():
        return {}
    with closing(Ledger(file)) as ledger:
        found: dict[str, list[str]] = {name: [] for name in ledger.sessions()[::-1]}
        for newest in list(found)[:1]:
            found[newest] = [short(name, newest) for name in ledger.experiments(newest)[::-1]]
    return found


def _session_names(ctx: typer.Context, incomplete: str) -> list[str]:
    return [name for name in _on_record(ctx) if name.startswith(incomplete)]


def experiment_names(ctx: typer.Context, incomplete: str) -> list[str]:
    """What the shell offers for the id of an experiment: those of the newest session."""
    return [name for names in _on_record(ctx).values() for name in names if name.startswith(incomplete)]


SessionName = Annotated[
    str | None,
    typer.Argument(
        metavar="[SESSION]", help="Name of a session; the newest if left out.", autocompletion=_session_names
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class SwarmGroup(TyperGroup):
    """The root command: an error a user can act on is one line, anything else keeps its traceback."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except (SwarmError, TaskError, NotebookError) as error:
            print(f"swarm: {' '.join(str(error).split())}", file=sys.stderr)
            raise typer.Exit(exit_code(error)) from error


def exit_code(error: Exception) -> int:
    """2 when the input is to blame, 1 when something failed."""
    if isinstance(error, SwarmError):
        return error.exit_code
    mistakes = (TaskError, UnknownEntry, NoNotebook, NoSpace, NewerSchema, FolderOwned, EmbedderChanged)
    elsewhere = (NotServed, NotAllowed)
    return 2 if isinstance(error, mistakes + elsewhere) else 1
