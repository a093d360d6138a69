"""start and watch: a session as it happens."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from swarm.cli.options import HOME, InHome, SessionName

if TYPE_CHECKING:
    from collections.abc import Callable

    from swarm.cli.following import Shown

Plain = Annotated[bool, typer.Option("--plain", help="Log lines instead of the dashboard.")]
LogJson = Annotated[bool, typer.Option("--log-json", help="Log lines for programs: one JSON object each.")]


def start(  # noqa: PLR0917 - Typer makes an option of each
    task: Annotated[
        str | None, typer.Argument(metavar="[TASK]", help="Built-in task or the path of a task folder.")
    ] = None,
    session: Annotated[str | None, typer.Option("--session", metavar="S", help="Name of the session.")] = None,
    config: Annotated[Path | None, typer.Option("--config", metavar="F", help="A swarm.toml.")] = None,
    hours: Annotated[
        float | None, typer.Option("--hours", metavar="H", help="End after so many hours of work.")
    ] = None,
    experiments: Annotated[int | None, typer.Option("--experiments", metavar="N", help="End after so many.")] = None,
    gpu_hours: Annotated[
        float | None, typer.Option("--gpu-hours", metavar="G", help="End after so many slot-hours.")
    ] = None,
    dollars: Annotated[float | None, typer.Option("--dollars", metavar="D", help="End when so much is spent.")] = None,
    patience: Annotated[
        int | None,
        typer.Option("--patience", metavar="N", help="End after so many experiments without a confirmed gain."),
    ] = None,
    executor: Annotated[
        Literal["local", "sky"] | None,
        typer.Option("--executor", help="Where trials run: this machine, or clusters that SkyPilot starts."),
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", metavar="N", help="All randomness follows from it.")] = None,
    papers: Annotated[
        list[Path] | None, typer.Option("--papers", metavar="PATH", help="Add these papers first; may be repeated.")
    ] = None,
    proposer: Annotated[
        list[str] | None,
        typer.Option("--proposer", metavar="P", help="Who proposes: optimizer, llm, hybrid, command; may be repeated."),
    ] = None,
    approve: Annotated[
        bool, typer.Option("--approve", help="Run only what you say yes to with `swarm approve`.")
    ] = False,
    no_web: Annotated[bool, typer.Option("--no-web", help="Without the pages beside it.")] = False,
    plain: Plain = False,
    log_json: LogJson = False,
    detach: Annotated[
        bool, typer.Option("--detach", help="Give the terminal back once it works; it logs into its folder.")
    ] = False,
    home: InHome = HOME,
) -> None:
    """Start a session or resume one.

    Without a TASK the last unfinished session goes on; with one, the last unfinished session of that task, else a
    new session. It ends by itself when a limit is reached.
    """
    import asyncio

    from swarm.assemble.choice import StartRequest
    from swarm.assemble.stores import check_paths
    from swarm.cli.following import run_session
    from swarm.errors import InputError
    from swarm.home import Home
    from trainer.contract import find_task

    limits = {
        "hours": hours,
        "experiments": experiments,
        "gpu_hours": gpu_hours,
        "dollars": dollars,
        "patience": patience,
    }
    for name, limit in limits.items():
        if limit is not None and not limit > 0:
            raise InputError(f"--{name.replace('_', '-')} is {limit:g}; give a number above 0, or leave it out")
    if task is not None:
        find_task(task)  # before a home is made for a misspelt name
    check_paths(papers or ())
    request = StartRequest(
        task=task,
        session=session,
        config=config,
        limits=limits,
        seed=seed,
        papers=tuple(papers or ()),
        approve=approve,
        proposers=tuple(proposer or ()),
        executor=executor,
    )
    place = Home(home, create=True)
    shown = _shown(plain=plain or detach, log_json=log_json)

    def work(begun: "Callable[[Path], None]") -> None:
        asyncio.run(run_session(place, request, shown=shown, web=not no_web, begun=begun))

    if not detach:
        work(lambda _: None)
        return
    from swarm.cli.background import LOG, detached

    pid, folder = detached(work)
    print(
        f"session {folder.name} goes on in the background as process {pid}; its log is {folder / LOG}\n"
        f"`swarm watch {folder.name}` looks on, `swarm stop {folder.name}` ends it"
    )


def _shown(*, plain: bool, log_json: bool) -> "Shown":
    return "json" if log_json else "plain" if plain else "live"


def watch(session: SessionName = None, plain: Plain = False, log_json: LogJson = False, home: InHome = HOME) -> None:
    """Look on while a session runs; Ctrl-C ends the looking alone."""
    import asyncio

    from swarm.cli.following import watch_session
    from swarm.home import Home
    from swarm.view import View

    with View(Home(home, create=False), session) as view:
        try:
            asyncio.run(watch_session(view, shown=_shown(plain=plain, log_json=log_json)))
        except KeyboardInterrupt:
            return
