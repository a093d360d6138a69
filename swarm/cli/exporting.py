"""export: trials and kept gains to TensorBoard, MLflow, W&B or an Optuna storage."""

from enum import StrEnum
from typing import Annotated

import typer

from swarm.cli.options import HOME, InHome, SessionName

LOOK_SECONDS = 2.0  # between two looks at the ledger


class Target(StrEnum):
    """Where trials can go."""

    TENSORBOARD = "tensorboard"
    MLFLOW = "mlflow"
    WANDB = "wandb"
    OPTUNA = "optuna"


def export(
    to: Annotated[Target, typer.Option("--to", help="Who gets them.")],
    session: SessionName = None,
    at: Annotated[
        str | None,
        typer.Option(
            "--at", metavar="WHERE", help="A log folder, a tracking URI, a project or a storage URL; else in the home."
        ),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the session is over.")] = False,
    home: InHome = HOME,
) -> None:
    """Send a session's trials and kept gains to another tool; what is there already is not sent again."""
    import time
    from contextlib import closing

    from swarm.assemble.exporting import sink_of
    from swarm.exports.follow import Exporter, about
    from swarm.home import Home
    from swarm.view import View

    place = Home(home, create=False)
    with View(place, session) as view:
        sink, look = sink_of(to.value, about(view), place, at)
        with closing(sink):
            exporter = Exporter(place, view, sink)
            exporter.catch_up()
            try:
                while follow and view.live:
                    time.sleep(LOOK_SECONDS)
                    exporter.catch_up()
            except KeyboardInterrupt:
                pass
        name = view.state.session
    print(f"sent {exporter.sent} trials and gains of {name}; {exporter.there} were there. Look at them: {look}")
