"""What runs on a cluster: experiment.yaml made into SkyPilot tasks, and the working folder they start in."""

import copy
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.config import PoolSettings
from swarm.errors import InputError
from swarm.executors.sky.cloud import Config
from swarm.ports import TrialOrder
from trainer import contract
from trainer.contract import Task, TrialSpec, parcel

FILE = "experiment.yaml"
DEFAULT = Path(__file__).with_name(FILE)
DO = "NIGHTSWARM_DO"  # of the environment: which command of trainer.remote a job is for
CANDIDATE = "candidate.py"
_LEFT_OUT = shutil.ignore_patterns(".git", ".venv", "__pycache__", "*.pyc", ".pytest_cache")
_OURS = {
    "name": "trials name themselves",
    "workdir": "the trainer and the task folder are put there",
    "num_nodes": "a trial runs on one node",
}


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """An experiment.yaml and the task it is for."""

    config: Mapping[str, Any]  # as the YAML gives it
    task: Task
    workdir: Path  # holds the trainer and the task, as ``stage`` left them

    def opening(self, cluster: str, pool: PoolSettings) -> Config:
        """The first job of a cluster: setup, and the task's data."""
        config = self._config(f"prepare-{cluster}", pool, pool.accelerators, {DO: "prepare"})
        return {**config, "workdir": str(self.workdir)}

    def trial(self, order: TrialOrder, pool: PoolSettings, life: str) -> Config:
        """The job of one trial: one accelerator of a cluster. Raises InputError when the candidate is too large.

        ``life``: of the cluster. Clusters may share the folder that trials are kept in, now and later.
        """
        spec = TrialSpec(
            trial_id=order.trial_id,
            task_folder="",  # said by the machine that runs it, as are data and device
            candidate=CANDIDATE,
            tier=order.tier,
            budget=order.budget,
            seed=order.seed,
            threads=order.task.threads,
            memory_mb=order.task.memory_mb,
            fencing_token=order.token,
            holdout=order.holdout,
            limits=order.limits,
        )
        folder = f"{life}/{order.session}/{order.trial_id}"
        packed = parcel.pack({contract.SPEC: spec.to_json(), CANDIDATE: order.source, parcel.FOLDER: folder})
        if len(packed) > parcel.MAX_PACKED:
            raise InputError(
                f"the candidate of trial {order.trial_id} is {len(packed) // 1000} kB packed and a job carries "
                f"{parcel.MAX_PACKED // 1000} kB; move what it need not edit into protected files"
            )
        envs = {
            DO: "run",
            parcel.VARIABLE: packed,
            "EXPERIMENT_ID": order.trial_id,
            "EXPERIMENT_DESC": f"session {order.session}, tier {order.tier}, seed {order.seed}",
        }
        config = self._config(order.trial_id, pool, f"{pool.kind}:1", envs)
        # Without a number SkyPilot claims all of a cluster's CPUs for each job, and runs one at a time.
        config["resources"]["cpus"] = order.task.threads
        for opening_only in ("setup", "file_mounts"):
            config.pop(opening_only, None)
        return config

    def _config(self, name: str, pool: PoolSettings, accelerators: str, envs: Mapping[str, str]) -> Config:
        config: Config = copy.deepcopy(dict(self.config))
        config["name"] = name
        config["envs"] = {**(config.get("envs") or {}), **envs}
        resources = {**(config.get("resources") or {}), "accelerators": accelerators}
        if pool.infra is not None:
            resources["infra"] = pool.infra
        if pool.spot:
            resources["use_spot"] = True
        return {**config, "resources": resources}


def recipe(path: Path | None, task: Task, workdir: Path) -> Recipe:
    """The recipe of a task: ``path``, else the task's own experiment.yaml, else ours; its working folder is staged.

    Raises InputError naming the file and the remedy.
    """
    import yaml

    own = task.folder / FILE
    path = path or (own if own.is_file() else DEFAULT)
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; correct `experiment` in swarm.toml") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(config, dict) or f"trainer.remote ${DO}" not in str(config.get("run")):
        raise InputError(f"{path}: `run` must contain `python -m trainer.remote ${DO}`, which runs the trial")
    for key, why in _OURS.items():
        if key in config:
            raise InputError(f"{path}: leave `{key}` out: {why}")
    stage(workdir, task)
    return Recipe(config=config, task=task, workdir=workdir)


def stage(workdir: Path, task: Task) -> None:
    """Put the trainer and the task into a folder that clusters copy; files that are the same keep their times."""
    shutil.rmtree(workdir, ignore_errors=True)
    shutil.copytree(Path(contract.__file__).parent, workdir / "trainer", ignore=_LEFT_OUT)
    shutil.copytree(task.folder, workdir / "task", ignore=_LEFT_OUT)
