"""Where trials and gains can go, by name."""

import os
from importlib.util import find_spec
from pathlib import Path

from swarm.errors import InputError
from swarm.exports.told import About, Sink
from swarm.home import Home

TARGETS = ("tensorboard", "mlflow", "wandb", "optuna")


def sink_of(target: str, about: About, home: Home, at: str | None) -> tuple[Sink, str]:
    """The sink, and how to look at what it gets. Raises InputError where its client is not installed.

    ``at``: a folder, a URI or a project; None: in the home, or where the client's own variable says.
    """
    if find_spec(target) is None:
        raise InputError(f"{target} is not installed; `pip install 'nightswarm[{target}]'` adds it")
    folder = home.exports
    folder.mkdir(exist_ok=True)
    if target == "tensorboard":
        from swarm.exports.tensorboard import TensorBoardSink

        place = Path(at) if at else folder / "tensorboard"
        return TensorBoardSink(about, place), f"tensorboard --logdir {place}"
    if target == "mlflow":
        from swarm.exports.mlflow import MlflowSink

        uri = at or os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{folder / 'mlflow.db'}"
        return MlflowSink(about, uri), f"mlflow ui --backend-store-uri {uri}"
    if target == "wandb":
        from swarm.exports.wandb import WandbSink

        project = at or os.environ.get("WANDB_PROJECT") or "nightswarm"
        return WandbSink(about, project, folder / "wandb"), f"project {project}"
    from swarm.exports.optuna import OptunaSink

    url = at or f"sqlite:///{folder / 'optuna.db'}"
    return OptunaSink(about, url), f"optuna-dashboard {url}"
