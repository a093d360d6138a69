"""What strategies are compared on: an objective fitted to a file of trials, or a task for real."""

import asyncio
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

from notebook_store.local import LocalNotebook
from notebook_store.log import Log
from swarm.agents.kept import KeptReplies
from swarm.agents.mind import Books, Cap, Mind
from swarm.assemble.minds import Minds
from swarm.assemble.stores import data_folder
from swarm.bench.contest import THINKING
from swarm.bench.objective import FittedObjective, cross_validate
from swarm.bench.race import Objective, Race, Remembered
from swarm.bench.real import TaskObjective
from swarm.bench.report import Rules
from swarm.bench.thinking import TOLD, Studio
from swarm.bench.trials_file import read_trials
from swarm.config import AgentSettings, load_settings
from swarm.errors import InputError
from swarm.hardware import local_slots
from swarm.ports import SystemClock
from trainer.contract import find_task


@dataclass(frozen=True, kw_only=True)
class Ground:
    """An objective and what is known of it."""

    objective: Objective
    quality: str | None  # how far the objective can be trusted; None: it is the real thing
    best_of: Callable[[list[Race]], float]  # the best score known, once the races are run


def ground(
    *, task: str | None, trials: Path | None, folder: Path, kept: Path | None, say: Callable[[str], None]
) -> Ground:
    """Make the objective; real trials are kept in ``kept``, else in ``folder``, and not run again.

    Raises SwarmError, TaskError.
    """
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
        TaskObjective(found, local_slots((), found), folder / found.name / "trials", data_folder()),
        kept or folder / found.name / "measured.jsonl",
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


@contextmanager
def studio(names: Sequence[str], config: Path | None) -> Iterator[Studio | None]:
    """What those strategies that think work with; None where none of ``names`` does.

    Raises InputError where no model is named, or none can be reached.
    """
    thinking = [name for name in names if name in THINKING]
    if not thinking:
        yield None
        return
    settings = load_settings(config)
    told: list[str] = []
    models = settings.models
    if not (models.model or models.base_url or os.environ.get("OPENAI_BASE_URL") or os.environ.get(models.key_env)):
        raise InputError(
            f"{' and '.join(thinking)} must have a model: set OPENAI_API_KEY or OPENAI_BASE_URL, or name one in "
            "[models] of --config FILE (docs/models.md), or leave them out of --strategies"
        )
    agents = {name: AgentSettings(role="proposer", name=name, instructions=TOLD) for name in thinking}
    settings = settings.model_copy(update={"agents": tuple(agents.values()), "proposers": ()})
    with (
        TemporaryDirectory(prefix="swarm-bench-") as folder,
        asyncio.Runner() as runner,
        LocalNotebook(Log.open(Path(folder) / "notebook", create=True), None, None) as notebook,
    ):
        kept = KeptReplies(Path(folder) / "thoughts.db")
        minds = runner.run(Minds.opened(settings, kept, SystemClock(), told.append))
        if len(minds.agents) < len(thinking):
            raise InputError(told[0])

        def mind(name: str, books: Books) -> Mind:
            return minds.mind(agents[name], replace(books, cap=Cap(tokens=models.tokens, dollars=models.dollars)))

        try:
            yield Studio(notebook=notebook, mind=mind, run=runner.run)
        finally:
            runner.run(minds.close())
