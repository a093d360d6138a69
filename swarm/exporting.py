"""A session's trials as a file of trials, for `swarm bench --trials` and for other programs."""

import json
from dataclasses import dataclass
from pathlib import Path

from swarm.dossier import lineage_of
from swarm.errors import InputError
from swarm.home import Home
from swarm.research.knobs import read_knobs, set_knobs
from swarm.view import View
from trainer.contract import Outcome

TIER = "screen"  # where nearly all of a session's configurations run
_FAILED = (Outcome.CRASHED, Outcome.OUT_OF_MEMORY, Outcome.TIMED_OUT, Outcome.DIVERGED)


@dataclass(frozen=True, kw_only=True)
class Exported:
    """What became of a session's screening trials."""

    written: int  # lines of the file
    left_out: int  # lost or cut, on another kind of slot, or of a candidate that differs in more than constants


def export_trials(place: Home, view: View, path: Path) -> Exported:
    """Write one line a screening trial: config, status, seconds, the metric, and where it ran. Raises InputError where
    there is nothing to compare, or nobody could read it.
    """
    state, kinds = view.state, view.state.accelerators(TIER)
    if not kinds:
        raise InputError(f"{state.session} has no screening trial with a score yet")
    if not view.minimize:
        raise InputError(f"files of trials hold metrics that are better lower, and {view.metric} is not")
    lineage = lineage_of(place, view)
    base = lineage.source(state.baseline.candidate)
    configs = {}
    trials = [trial for one in state.experiments.values() for trial in one.trials if trial.tier == TIER]
    lines = []
    for trial in trials:
        if trial.candidate not in configs:
            source = lineage.source(trial.candidate)
            knobs = read_knobs(source)
            alike = knobs.keys() == read_knobs(base).keys() and set_knobs(base, knobs) == source
            configs[trial.candidate] = knobs if alike else None
        config, ended = configs[trial.candidate], trial.ended_at
        ran = trial.completed or trial.outcome in _FAILED
        if config is None or ended is None or not ran or trial.accelerator != kinds[0]:
            continue
        row = {
            "config": config,
            "status": "completed" if trial.completed else str(trial.outcome).lower(),
            "seconds": trial.train_seconds or max(ended - trial.started_at, 0.1),
            view.metric: trial.value,
            "seed": trial.seed,
            "experiment": trial.experiment,
            "tier": trial.tier,
            "accelerator": trial.accelerator,
        }
        lines.append(json.dumps(row))
    try:
        path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror}; name another file to --export") from error
    return Exported(written=len(lines), left_out=len(trials) - len(lines))
