"""A session's status: the figures that `swarm status --json`, the dashboard and the pages show. Pure."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from swarm.leases.lease import SlotUse
from swarm.research import promotion
from swarm.research.experiment import Experiment, Status, Trial
from swarm.research.hindsight import gap_of
from swarm.research.promotion import Gain
from swarm.research.stack import taken_apart
from swarm.research.state import SessionState

WARM_UP_SECONDS = 30.0  # at a session's start, which occupancy leaves out: the first trials are only being prepared
SILENT_SECONDS = 15.0  # a run that left no pulse for longer is dead
LIVE = ("running", "draining", "paused")  # states in which a process works on the session
_MEASURED = (Status.PRUNED, Status.CONFIRMED, Status.REFUTED, Status.CRASHED)  # ends that a trial brought about
VALIDATION = "validate"  # the tier on which an incumbent is measured

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Vitals:
    """What the ledger's events do not tell of a session."""

    now: float  # unix seconds
    pulses: Mapping[int, float] = field(default_factory=dict)  # run -> unix seconds of its last sign of life
    process_alive: bool = False  # whether the process of the newest run exists
    phase: str = ""  # what that process said it was doing
    booted_at: float = 0.0  # unix seconds: when the machine started
    promoted: int = 0  # experiments that ever were PROMOTED
    use: Sequence[SlotUse] = ()  # what the session's leases took of each slot
    busy_seconds: float = 0.0  # slot-seconds under lease within ``measured_spans``
    slots: int = 0  # slots the session could use


def status_of(state: SessionState, vitals: Vitals) -> Json:
    """The fields of `swarm status --json`; None where there is nothing to tell yet."""
    minimize = state.opened.get("direction", "minimize") == "minimize"
    word = word_of(state, vitals)
    shown: Json = {
        "session": state.session,
        "state": word,
        "reason": reason_of(state, vitals),
        "task": state.opened.get("task"),
        "elapsed_seconds": state.elapsed(vitals.pulses),
        "counts": _counts(state, vitals.promoted, live=word in LIVE),
        "baseline": _baseline(state),
        "incumbent": _incumbent(state, minimize=minimize),
        "holdout": holdout_of(state, state.incumbent, minimize=minimize) if state.incumbents else None,
        "ablation": ablation_of(state) if state.incumbents else None,
        "noise": noise_floors(state),
        "plateau": _plateau(state),
        "gpu_hours": sum(slot.seconds for slot in vitals.use) / 3600,
        "dollars": sum(slot.dollars for slot in vitals.use) + state.spending().dollars,
        "tokens": state.spending().tokens,
        "models": _models(state),
        "reviewer": _reviewer(state),
        "occupancy": _occupancy(state, vitals),
    }
    return shown


def word_of(state: SessionState, vitals: Vitals) -> str:
    """running, draining, paused, ended (a limit was reached), stopped (somebody wanted it) or died."""
    run = state.runs.get(len(state.runs))
    if run is None or run.ended_at is not None:
        return "ended" if state.ended is not None else "stopped"
    last_sign = max(run.started_at, vitals.pulses.get(run.number, run.started_at))
    if not vitals.process_alive or vitals.now - last_sign > SILENT_SECONDS:
        return "died"
    doing = vitals.phase.partition(":")[0]
    return {"paused": "paused", "draining": "draining", "closing examination": "draining"}.get(doing, "running")


def reason_of(state: SessionState, vitals: Vitals) -> str | None:
    """Why a session does not run: what its process said, or what can be told of a death; None while it runs, or was
    paused by a person.
    """
    word = word_of(state, vitals)
    run = state.runs.get(len(state.runs))
    if word in LIVE or run is None:
        return vitals.phase.partition(": ")[2] or None if word == "paused" else None
    if word != "died":
        return run.reason
    last_sign = max(run.started_at, vitals.pulses.get(run.number, run.started_at))
    when = f"last sign of life {datetime.fromtimestamp(last_sign).astimezone():%Y-%m-%d %H:%M:%S}"
    if vitals.booted_at > last_sign:
        return f"the machine was restarted under it; {when}"
    if vitals.process_alive:
        return f"process {run.pid} is there but says nothing: it hangs, or was suspended; {when}"
    return f"process {run.pid} was killed, or ran out of memory: it left no word; {when}"


def measured_spans(state: SessionState, vitals: Vitals) -> list[tuple[float, float]]:
    """The stretches of time (unix seconds) over which occupancy is measured: the runs, without the warm-up."""
    spans = []
    warm = min((run.started_at for run in state.runs.values()), default=0.0) + WARM_UP_SECONDS
    alive = word_of(state, vitals) in LIVE
    for run in state.runs.values():
        if run.ended_at is not None:
            end = run.ended_at
        elif run.number == len(state.runs) and alive:
            end = vitals.now
        else:
            end = vitals.pulses.get(run.number, run.started_at)
        if end > max(run.started_at, warm):
            spans.append((max(run.started_at, warm), end))
    return spans


def noise_floors(state: SessionState) -> dict[str, float]:
    """Tier -> sd of one score, metric units, on the accelerator type first used there."""
    tiers = dict.fromkeys(trial.tier for trial in state.baseline.trials) if state.experiments else {}
    floors = {}
    for tier in tiers:
        for accelerator in state.accelerators(tier)[:1]:
            noise = state.noise(tier, accelerator)
            if noise is not None:
                floors[tier] = noise.sd
    return floors


@dataclass(frozen=True, kw_only=True)
class Standing:
    """Where a candidate stands against the baseline, on one accelerator type of the validation tier."""

    value: float  # mean of its trials
    ci95: tuple[float, float] | None  # of the value, from the pooled noise; None until noise is measured
    baseline_value: float | None  # mean of the baseline's trials on the same seeds; None where it has none
    gain: Gain | None  # over the baseline; None for the baseline itself
    trials: tuple[Trial, ...]  # the candidate's


def standing_of(state: SessionState, experiment: Experiment, *, minimize: bool) -> Standing | None:
    """What validation showed of an experiment's current candidate; None before it has a score there."""
    every = experiment.completed(VALIDATION)
    if not every:
        return None
    accelerator = every[0].accelerator
    trials = experiment.completed(VALIDATION, accelerator)
    seeds = {trial.seed for trial in trials}
    values = _values(trials)
    base = _values([trial for trial in state.baseline.completed(VALIDATION, accelerator) if trial.seed in seeds])
    noise = state.noise(VALIDATION, accelerator)
    value = statistics.fmean(values)
    ci95 = gain = None
    if noise is not None:
        half = promotion.t_quantile(0.975, noise.df) * noise.sd / len(values) ** 0.5
        ci95 = (value - half, value + half)
        if base and experiment.id != state.baseline.id:
            gain = promotion.gain_over(values, base, noise, minimize=minimize)
    return Standing(
        value=value, ci95=ci95, baseline_value=statistics.fmean(base) if base else None, gain=gain, trials=trials
    )


def _counts(state: SessionState, promoted: int, *, live: bool) -> dict[str, int]:
    return {
        "proposed": len(state.experiments) - state.count(Status.BASELINE, Status.ABLATION),
        "rejected": state.count(Status.REJECTED),
        "held": state.count(Status.HELD),
        "running": state.count(Status.SCREENING, Status.VALIDATING) if live else 0,  # later, they only wait
        "pruned": state.count(Status.PRUNED),
        "promoted": promoted,
        "confirmed": state.count(Status.CONFIRMED),
        "refuted": state.count(Status.REFUTED),
        "crashed": state.count(Status.CRASHED),
    }


def _plateau(state: SessionState) -> Json | None:
    """How long no gain has been confirmed, once that is so long that it was announced."""
    if state.plateau is None:
        return None
    return {"experiments": state.barren, "announced": state.plateau.level}


def _models(state: SessionState) -> Json:
    """Author -> what it asked and spent, and the last thing a person was told of it."""
    return {
        author: {
            "calls": spent.calls,
            "tokens": spent.tokens,
            "estimated": spent.estimated,
            "dollars": spent.dollars,
            "told": state.told.get(author),
        }
        for author in sorted({*state.spent, *state.told})
        for spent in [state.spending(author)]
    }


def _reviewer(state: SessionState) -> Json | None:
    """How far the reviewer that thinks can be trusted: of what it turned down and was run to its end all the same, the
    share that indeed proved no gain. What was withdrawn, or refused by a person, tells nothing. None before it judged
    anything.
    """
    if not state.reviews:
        return None
    turned_down = [name for name, review in state.reviews.items() if review.verdict != "APPROVED"]
    sampled = [state.experiments[name] for name in turned_down if state.reviews[name].sampled]
    over = [experiment for experiment in sampled if experiment.status in _MEASURED]
    right = sum(experiment.status is not Status.CONFIRMED for experiment in over)
    return {
        "judged": len(state.reviews),
        "turned_down": len(turned_down),
        "sampled": len(sampled),
        "over": len(over),
        "right": right,
        "precision": right / len(over) if over else None,
    }


def _baseline(state: SessionState) -> dict[str, float]:
    means = {}
    for tier in dict.fromkeys(trial.tier for trial in state.baseline.trials) if state.experiments else {}:
        for accelerator in state.accelerators(tier)[:1]:
            values = _values(state.baseline.completed(tier, accelerator))
            if values:
                means[tier] = statistics.fmean(values)
    return means


def _incumbent(state: SessionState, *, minimize: bool) -> Json | None:
    if not state.incumbents:
        return None
    experiment = state.incumbent
    shown: Json = {
        "experiment": experiment.id,
        "tier": VALIDATION,
        "value": None,
        "baseline_value": None,
        "improvement_percent": None,
        "ci95": None,
        "improvement_ci95": None,
    }
    standing = standing_of(state, experiment, minimize=minimize)
    if standing is None:
        return shown
    shown |= {"value": standing.value, "baseline_value": standing.baseline_value}
    shown["ci95"] = None if standing.ci95 is None else list(standing.ci95)
    if experiment.status is Status.BASELINE:
        shown["improvement_percent"] = 0.0
    elif standing.baseline_value:
        unit = abs(standing.baseline_value) / 100
        sign = 1 if minimize else -1
        shown["improvement_percent"] = sign * (standing.baseline_value - standing.value) / unit
        if standing.gain is not None:
            shown["improvement_ci95"] = [bound / unit for bound in standing.gain.interval()]
    return shown


def _occupancy(state: SessionState, vitals: Vitals) -> float | None:
    """Share of the slots' time that was under lease; None in the warm-up or without slots."""
    offered = vitals.slots * sum(end - start for start, end in measured_spans(state, vitals))
    return min(1.0, vitals.busy_seconds / offered) if offered > 0 else None


def holdout_of(state: SessionState, experiment: Experiment, *, minimize: bool) -> Json | None:
    """Means of an experiment and of the baseline on the hidden shard, and the gap to what validation showed, positive
    where that flattered. None where it was not read, and before the session is over: nobody may steer by it.
    """
    if state.ended is None:
        return None
    gap = gap_of(state, experiment, minimize=minimize)
    if gap is None:
        return None
    return {
        "value": gap.value,
        "baseline_value": gap.baseline_value,
        "seeds": gap.seeds,
        "gain": gap.gain,
        "validation_gain": gap.shown,
        "gap": gap.gap,
        "gap_ci95": list(gap.ci95),
    }


def ablation_of(state: SessionState) -> Json | None:
    """What each kept change of the incumbent, or of the one it is a simplification of, is worth; None: not told."""
    found = state.ablations.get(taken_apart(state).id)
    return None if found is None else dict(found)


def _values(trials: Sequence[Trial]) -> list[float]:
    return [trial.value for trial in trials if trial.value is not None]
