"""What strategies are compared on: an objective fitted to a file of trials, or a task for real."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from swarm.assemble.stores import data_folder
from swarm.bench.objective import FittedObjective, cross_validate
from swarm.bench.race import Objective, Race, Remembered
from swarm.bench.real import TaskObjective
from swarm.bench.report import Rules
from swarm.bench.trials_file import read_trials
from swarm.errors import InputError
from trainer.contract import find_task


@dataclass(frozen=True, kw_only=True)
class Ground:
    """An objective and what is known of it."""

    objective: Objective
    quality: str | None  # how far the objective can be trusted; None: it is the real thing
    best_of: Callable[[list[Race]], float]  # the best score known, once the races are run


def ground(*, task: str | None, trials: Path | None, folder: Path, say: Callable[[str], None]) -> Ground:
    """Make the objective; real trials are kept in ``folder`` and not run again. Raises SwarmError, TaskError."""
    if (task is None) == (trials is None):
        raise InputError("what to compare on? give either --trials FILE or --task TASK")
    if trials is not None:
        file = read_trials(trials)
        say(f"fitting an objective to {len(file.trials)} trials of {trials}")
        fitted = FittedObjective(file)
        quality = cross_validate(file).told()
        say(quality)
        return Ground(
            objective=fitted,
            quality=quality,
            best_of=lambda races: fitted.best_of([race.winner for race in races]),
        )
    found = find_task(task or "")
    real = Remembered(
        TaskObjective(found, folder / found.name / "trials", data_folder()), folder / found.name / "measured.jsonl"
    )
    pick = min if real.minimize else max
    return Ground(objective=real, quality=None, best_of=lambda races: pick(race.best for race in races))


def rules(at: Ground, races: list[Race], *, gpu_seconds: float, slots: int) -> Rules:
    """What the report needs to know of the contest."""
    return Rules(
        metric=at.objective.metric,
        minimize=at.objective.minimize,
        best_known=at.best_of(races),
        gpu_seconds=gpu_seconds,
        slots=slots,
    )
