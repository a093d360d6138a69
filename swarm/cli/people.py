"""approve, reject: what waits for a person's yes."""

import os
import time
from contextlib import closing
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.options import HOME, InHome, experiment_names

Names = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...",
        help="Ids of experiments; of the newest session, e012 will do. None: all.",
        autocompletion=experiment_names,
    ),
]


def approve(names: Names = None, home: InHome = HOME) -> None:
    """Let experiments run that wait for your yes; without ID, all of them."""
    _rule(home, names or [], yes=True, reason="")


def reject(
    names: Names = None,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; the proposer reads it.")] = "",
    home: InHome = HOME,
) -> None:
    """Turn down experiments that wait for your yes; without ID, all of them."""
    _rule(home, names or [], yes=False, reason=reason)


def _rule(home: Path, names: list[str], *, yes: bool, reason: str) -> None:
    from swarm.home import Home
    from swarm.research.ledger import Ledger
    from swarm.research.rulings import Ruling, held
    from swarm.view import View

    place = Home(home, create=False)
    sessions = {name.rpartition("-e")[0] for name in names} - {""}
    if len(sessions) > 1:
        from swarm.errors import InputError

        raise InputError(f"these are experiments of {len(sessions)} sessions; name those of one at a time")
    with View(place, next(iter(sessions), None)) as view:
        state, live = view.refresh().state, view.live
    with closing(Ledger(place.ledger)) as ledger:
        for experiment in held(state, names):
            ruling = Ruling(experiment=experiment.id, yes=yes, by=os.environ.get("USER") or "human", reason=reason)
            ledger.wish(state.session, ruling.wish, time.time())
            print(f"{experiment.id} {'approved' if yes else 'rejected'}: {experiment.hypothesis.splitlines()[0]}")
    if not live:
        print(f"session {state.session} is not running; it goes by this when `swarm start` resumes it")
