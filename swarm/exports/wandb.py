"""Weights & Biases: a run a trial, grouped by session, and a run of the kept gains. WANDB_MODE=offline writes files."""

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from swarm.errors import InputError
from swarm.exports.told import About, GainTold, TrialTold

if TYPE_CHECKING:
    import wandb


class WandbSink:
    """A Sink (see told): a project; runs are kept in ``folder``, too, with a list of those that are whole.

    A run has the id of its trial, so one that is sent again goes on as itself.
    """

    def __init__(self, about: About, project: str, folder: Path) -> None:
        self._about = about
        self._project = project
        self._folder = folder
        self._sent = folder / f"{about.session}.sent"  # an id a line
        folder.mkdir(parents=True, exist_ok=True)

    def known(self) -> set[str]:
        if not self._sent.exists():
            return set()
        lines = self._sent.read_text(encoding="utf-8").splitlines(keepends=True)
        return {line.strip() for line in lines if line.endswith("\n")}

    def trial(self, told: TrialTold) -> None:
        trial, metric = told.trial, self._about.metric
        run = self._run(trial.id, trial.id, job_type=trial.tier, config={**told.knobs, **told.facts})
        for point in told.curve:
            run.log({"training loss": point["loss"], "seconds": point["seconds"]}, step=int(point["step"]))
        run.summary.update(told.measured(metric))
        run.finish(exit_code=0 if trial.completed else 1)
        self._note(trial.id)

    def gain(self, told: GainTold) -> None:
        run = self._run(f"{self._about.session}-best", f"best {told.experiment}", job_type="best", config={})
        run.log({f"best {self._about.metric}": told.value, "experiment": told.experiment}, step=told.number)
        run.finish()
        self._note(told.experiment)

    def close(self) -> None:
        return

    def _run(self, name: str, part: str, *, job_type: str, config: dict[str, Any]) -> "wandb.Run":
        """Begin a run, or a ``part`` of one; its files lie in a folder of that name."""
        import wandb

        folder = self._folder / part
        if folder.exists():
            shutil.rmtree(folder)  # an exporter died in it
        folder.mkdir()
        # offline there is no other run that it could go on as
        resume: Literal["allow"] | None = None if os.environ.get("WANDB_MODE") == "offline" else "allow"
        try:
            return wandb.init(
                project=self._project,
                id=name,
                name=name,
                group=self._about.session,
                job_type=job_type,
                config=config,
                dir=folder,
                resume=resume,
                settings=wandb.Settings(
                    silent=True, console="off", save_code=False, disable_git=True, x_disable_stats=True
                ),
            )
        except wandb.errors.UsageError as error:
            raise InputError(f"W&B takes nothing: {str(error).rstrip('.')}; or set WANDB_MODE=offline") from error

    def _note(self, name: str) -> None:
        with self._sent.open("a", encoding="utf-8") as file:
            file.write(f"{name}\n")
