"""A night on any cluster, simulated: how many experiments it makes, how busy its slots are, who waits for what.

Beside it the policy of a single agent that works in waves: think of a whole wave, start it, wait until all of it has
ended. It has the same thinkers and the same machines, so the difference is the waiting alone.
"""

import heapq
import json
import math
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from swarm.bench.race import Measured, Measurement
from swarm.bench.simulation import Scenario, Simulation, simulated
from swarm.bench.staff import RuleStaff
from swarm.config import Limits, Settings
from swarm.executors.simulated import Machines, Objective, Score, world
from swarm.leases.lease import Span
from swarm.ports import Slot, TrialOrder
from swarm.research.experiment import Knob, Status
from swarm.research.knobs import read_knobs
from trainer.contract import Outcome, Range, Task, load_task

WAVE = 13  # experiments of a lockstep wave, as many as the seed run's H100s
LOCKSTEP = "lockstep waves"
SESSION = "swarm"


class Landscape(Protocol):
    """What is searched: a score for every configuration. Lower is better."""

    metric: str
    ranges: Mapping[str, Range]
    start: Mapping[str, Knob]

    def measure(self, wanted: Measurement) -> Measured:
        """One trial's score with its noise, or None where the configuration fails, and the seconds until then."""
        ...


@dataclass(frozen=True, kw_only=True)
class Night:
    """What is simulated."""

    landscape: Landscape
    slots: Sequence[Slot]
    hours: float = 8.0
    budget_seconds: float = 300.0  # of one trial, on both tiers
    think_seconds: float = 30.0  # of thought a proposal
    thinkers: int = 4  # proposers that think at once
    machines: Machines = field(default_factory=lambda: Machines(overhead_seconds=25.0))
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What one way of working made of the night."""

    name: str
    experiments: int  # runs that were started
    valid: int  # of them, those with a score
    occupancy: Mapping[str, float]  # kind of slot -> share of its time under lease, and "all"
    spans: Sequence[Span]  # who had which slot when


@dataclass(frozen=True, kw_only=True)
class Report:
    """A night beside the same night in lockstep."""

    swarm: Policy
    lockstep: Policy
    proposals: int  # ideas tried, each in one or more of the experiments
    by_tier: Mapping[str, int]  # tier -> experiments
    waits: Mapping[str, tuple[float, float]]  # tier -> seconds from request to lease: median, longest
    gaps: tuple[float, float]  # seconds a slot lay idle between two leases: median, longest
    best: Sequence[tuple[float, float]]  # (hours, score of the incumbent as validated), whenever it changed
    metric: str
    baseline: float | None  # its mean score on the validation tier


def play(night: Night, folder: Path) -> Report:
    """Simulate the night; what it keeps lies in ``folder``. Raises SwarmError when the start does not run."""
    scenario = scenario_of(night, folder / "task")
    with simulated(scenario, folder / "home") as simulation:
        simulation.run()
        return _report(night, simulation, lockstep(night, scenario.task))


def scenario_of(night: Night, folder: Path) -> Scenario:
    """The session that works through the night; its task is made in ``folder``."""
    return Scenario(
        task=make_task(night, folder),
        settings=Settings(limits=Limits(hours=night.hours), seed=night.seed),
        slots=night.slots,
        world=world(_objective(night), night.machines),
        team=lambda stage: RuleStaff(stage, think_seconds=night.think_seconds),
        thinkers=night.thinkers,
    )


def make_task(night: Night, folder: Path) -> Task:
    """A task folder whose editable file holds the landscape's constants."""
    folder.mkdir(parents=True)
    source = "".join(f"{name} = {value!r}\n" for name, value in night.landscape.start.items())
    (folder / "train.py").write_text(source, encoding="utf-8")
    lines = [
        'name = "simulated"',
        'editable = "train.py"',
        f'metric = "{night.landscape.metric}"',
        f"budget = {{ wall = {night.budget_seconds} }}",
        "[ranges]",
        *(f"{name} = {_in_toml(within)}" for name, within in night.landscape.ranges.items()),
    ]
    (folder / "task.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return load_task(folder)


def _in_toml(within: Range) -> str:
    if within.choices:
        return f"{{ choices = {json.dumps(list(within.choices))} }}"
    low, high = (int(end or 0) if within.integer else float(end or 0) for end in (within.low, within.high))
    return f"{{ low = {low!r}, high = {high!r}, log = {str(within.log).lower()} }}"


def lockstep(night: Night, task: Task) -> Policy:
    """The same night, one wave after the other: all think, the wave starts at once, and all wait for its last trial."""
    course, end = world(_objective(night), night.machines), night.hours * 3600
    source = task.editable_path.read_text(encoding="utf-8")
    spans, valid, now, number = [], 0, 0.0, 0
    while now < end:
        now += night.think_seconds * math.ceil(WAVE / night.thinkers)
        free = [(now, slot.name) for slot in night.slots]
        slots = {slot.name: slot for slot in night.slots}
        last = now
        for _ in range(WAVE):
            if not free:
                break  # on every slot the next trial would end after the night
            at, name = heapq.heappop(free)
            order = TrialOrder(
                trial_id=f"lockstep-{number}",
                session=LOCKSTEP,
                task=task,
                source=source,
                tier="screen",
                budget=task.budget("screen"),
                seed=number,
                slot=slots[name],
                token=number,
            )
            number += 1
            ran = course(order)
            if at + ran.seconds > end:
                continue
            valid += ran.result.metric is not None
            spans.append(
                Span(slot=name, accelerator=slots[name].accelerator, tier="screen", start=at, end=at + ran.seconds)
            )
            heapq.heappush(free, (at + ran.seconds, name))
            last = max(last, at + ran.seconds)
        now = last if last > now else end
    return Policy(name=LOCKSTEP, experiments=len(spans), valid=valid, occupancy=occupancy(night, spans), spans=spans)


def occupancy(night: Night, spans: Sequence[Span]) -> dict[str, float]:
    """Kind of slot -> share of the night in which it was under lease; and of all slots."""
    counts = Counter(slot.accelerator for slot in night.slots)
    end = night.hours * 3600
    busy: Counter[str] = Counter()
    for span in spans:
        busy[span.accelerator] += max(0.0, min(span.end, end) - span.start)  # type: ignore[assignment]  # seconds
    shares = {kind: busy[kind] / (counts[kind] * end) for kind in counts}
    return {**shares, "all": sum(busy.values()) / (len(night.slots) * end)}


def _objective(night: Night) -> Objective:
    def objective(order: TrialOrder) -> Score:
        measured = night.landscape.measure(Measurement(config=read_knobs(order.source), seed=order.seed))
        if measured.value is None:
            return Score(value=None, outcome=Outcome.CRASHED, seconds=measured.seconds)
        return Score(value=measured.value)

    return objective


def _report(night: Night, simulation: Simulation, beside: Policy) -> Report:
    state = simulation.session.state
    begun = state.opened_at
    spans = [span.since(begun) for span in simulation.leases.spans(state.session)]
    trials = [trial for experiment in state.experiments.values() for trial in experiment.trials]
    swarm = Policy(
        name=SESSION,
        experiments=len(trials),
        valid=sum(trial.completed for trial in trials),
        occupancy=occupancy(night, spans),
        spans=spans,
    )
    waits: dict[str, list[float]] = {}
    for tier, seconds in simulation.leases.waits(state.session):
        waits.setdefault(tier, []).append(seconds)
    ended: dict[str, float] = {}
    gaps = []
    for span in sorted(spans, key=lambda span: span.start):
        if span.slot in ended:
            gaps.append(span.start - ended[span.slot])
        ended[span.slot] = span.end
    values = [trial.value for trial in state.baseline.completed("validate") if trial.value is not None]
    return Report(
        swarm=swarm,
        lockstep=beside,
        proposals=sum(bool(e.trials) for e in state.experiments.values() if e.status is not Status.BASELINE),
        by_tier=Counter(trial.tier for trial in trials),
        waits={tier: (statistics.median(seconds), max(seconds)) for tier, seconds in sorted(waits.items())},
        gaps=(statistics.median(gaps), max(gaps)) if gaps else (0.0, 0.0),
        best=_staircase(simulation, begun),
        metric=night.landscape.metric,
        baseline=statistics.fmean(values) if values else None,
    )


def _staircase(simulation: Simulation, begun: float) -> list[tuple[float, float]]:
    """(hours, mean validated score) of each incumbent from when it was confirmed, the baseline's from its first run."""
    state = simulation.session.state
    steps = []
    for name in state.incumbents:
        experiment = state.experiments[name]
        runs = [t for t in experiment.completed("validate") if t.holdout is None]
        if runs:
            at = state.confirmed_at.get(name) or min(t.ended_at or 0.0 for t in runs)
            steps.append(((at - begun) / 3600, statistics.fmean(t.value for t in runs if t.value is not None)))
    return steps
