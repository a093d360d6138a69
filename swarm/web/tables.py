"""The table of experiments: filtered, sorted, cut into pages; the costs of a session, by what they were spent on."""

import statistics
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from swarm.research.experiment import Experiment, Status, Trial
from swarm.status import VALIDATION, Json
from swarm.view import View

SORTS = ("id", "status", "author", "trials", "value", "gain", "seconds")


class Wanted(BaseModel):
    """What a reader asked to see of the experiments: the query of their page."""

    model_config = ConfigDict(frozen=True)

    q: str = ""  # words that id, hypothesis, wave or changes must hold
    status: str = ""
    author: str = ""
    wave: str = ""
    sort: str = "id"
    order: Literal["asc", "desc"] = "desc"
    page: int = 1
    part: str = ""  # "rows": the table alone


def experiment_rows(view: View, wanted: Wanted) -> list[Json]:
    """The experiments asked for, in the order asked for."""
    words = wanted.q.lower().split()
    found = [
        _row(view, one)
        for one in view.state.experiments.values()
        if wanted.status in ("", one.status)
        and wanted.author in ("", one.author)
        and wanted.wave in ("", one.wave)
        and (not words or all(word in _said(one) for word in words))
    ]
    key = wanted.sort if wanted.sort in SORTS else "id"
    if key != "id":
        there = [row for row in found if row[key] is not None]
        # scores of different tiers do not compare, so that each tier's stand together
        there.sort(key=lambda row: (row["tier"] if key == "value" else "", row[key]), reverse=wanted.order == "desc")
        return there + [row for row in found if row[key] is None]
    return found[::-1] if wanted.order == "desc" else found


def facets(view: View) -> dict[str, dict[str, int]]:
    """How many experiments there are of each status, author and wave."""
    every = view.state.experiments.values()
    return {
        "status": {status.value: view.state.count(status) for status in Status if view.state.count(status)},
        "author": dict(Counter(one.author for one in every)),
        "wave": dict(Counter(one.wave for one in every if one.wave)),
    }


def _said(one: Experiment) -> str:
    return f"{one.id} {one.hypothesis} {one.wave or ''} {' '.join(one.changes)}".lower()


def _row(view: View, one: Experiment) -> Json:
    scored = one.completed(VALIDATION) or one.completed("screen")
    return {
        "one": one,
        "id": one.id,
        "status": one.status.value,
        "author": one.author,
        "trials": len(one.trials),
        "value": statistics.fmean(trial.value or 0.0 for trial in scored) if scored else None,
        "tier": scored[0].tier if scored else "",
        "gain": one.verdict.get("gain"),
        "seconds": sum(_seconds(trial, view.now) for trial in one.trials) or None,
    }


def _seconds(trial: Trial, now: float) -> float:
    """Slot-seconds a trial took."""
    return (trial.ended_at if trial.ended_at is not None else now) - trial.started_at


_GROUPS: Mapping[str, Callable[[Experiment, Trial], str]] = {
    "tier": lambda _, trial: trial.tier,
    "outcome of the trial": lambda _, trial: trial.outcome or "running",
    "fate of the experiment": lambda one, _: one.status.value,
    "author": lambda one, _: one.author,
    "accelerator": lambda _, trial: trial.accelerator,
    "slot": lambda _, trial: trial.slot,
}


def costs(view: View) -> dict[str, list[Json]]:
    """Slot-seconds of all trials, by tier, slot, accelerator, author and outcome, the dearest first."""
    told: dict[str, list[Json]] = {}
    for name, of in _GROUPS.items():
        seconds: dict[str, float] = {}
        trials: Counter[str] = Counter()
        for one in view.state.experiments.values():
            for trial in one.trials:
                key = of(one, trial)
                seconds[key] = seconds.get(key, 0.0) + _seconds(trial, view.now)
                trials[key] += 1
        total = sum(seconds.values()) or 1.0
        told[name] = [
            {"name": key, "seconds": used, "share": used / total, "trials": trials[key]}
            for key, used in sorted(seconds.items(), key=lambda item: -item[1])
        ]
    return told


def lineage(view: View, one: Experiment) -> dict[str, Any]:
    """An experiment's ancestors, the oldest first, and what was built on it."""
    by_commit = {other.candidate: other for other in view.state.experiments.values()}
    line: list[Experiment] = []
    at = by_commit.get(one.parent or "")
    while at is not None and at not in line and at.id != one.id:
        line.insert(0, at)
        at = by_commit.get(at.parent or "")
    children = [other for other in view.state.experiments.values() if other.parent == one.candidate and other != one]
    return {"ancestors": line, "children": children[:40], "more": max(0, len(children) - 40)}
