"""How far scores of tinytext fall apart by chance, by a change and between tiers: a table of docs/trainer.md.

    make bench-noise, or python -m tests.bench.bench_noise [--partial FILE] [--minutes M]

- noise: 6 CPU-seconds, 6 wall seconds or 60 steps, one seed twice and two more, alone and beside a busy process
- effects: ten changes of one constant and three seeds of the baseline, at 20 CPU-seconds
- ranks: sixteen random configurations at 6 and at 20 CPU-seconds, other seeds on each

Noise is measured one trial at a time, the rest two at a time, as sessions on two cores run them. Each finished trial is
a line of FILE; started again with the same FILE it goes on, and with all trials there it prints the table alone.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from scipy.stats import spearmanr

from swarm.research.experiment import Knob
from swarm.research.knobs import set_knobs
from tests.trainer_lab import finish_warm, prepared, two_at_a_time, warm_worker, write_trial
from trainer.contract import BudgetKind, Outcome, Range, TrialResult, WarmWorker, find_task

TASK = find_task("tinytext")
BUSY = "import torch; torch.set_num_threads(1); a = torch.rand(512, 512)\nwhile True: a @ a"
EFFECTS: dict[str, Knob] = {
    "LEARNING_RATE": 1e-2,
    "BATCH_SIZE": 4,
    "SEQ_LEN": 128,
    "DEPTH": 2,
    "WIDTH": 96,
    "MLP_RATIO": 2,
    "BETA2": 0.99,
    "WARMUP_FRACTION": 0.15,
    "ACTIVATION": "relu2",
    "EMBEDDING_STD": 0.1,
}


@dataclass(frozen=True, kw_only=True)
class Job:
    """One trial of the plan."""

    name: str  # unique; says what it is for
    kind: BudgetKind
    amount: float  # of the budget
    seed: int
    knobs: dict[str, Knob]
    busy: bool = False  # beside a busy process


def plan() -> Iterator[Job]:
    """Every trial, those that must run alone first."""
    for busy in (False, True):
        for kind, amount in ((BudgetKind.STEPS, 60), (BudgetKind.CPU, 6), (BudgetKind.WALL, 6)):
            for number, seed in enumerate((0, 0, 1, 2)):
                name = f"noise {kind} {'busy' if busy else 'idle'} {number}"
                yield Job(name=name, kind=kind, amount=amount, seed=seed, knobs={}, busy=busy)
    validate: tuple[BudgetKind, float] = (BudgetKind.CPU, 20)
    for seed in range(3):
        yield Job(name=f"baseline {seed}", kind=validate[0], amount=validate[1], seed=seed, knobs={})
    for factor, value in EFFECTS.items():
        yield Job(name=f"effect {factor}", kind=validate[0], amount=validate[1], seed=0, knobs={factor: value})
    chance = random.Random(0)
    for number in range(16):
        knobs = {name: draw(within, chance) for name, within in TASK.ranges.items()}
        yield Job(name=f"rank {number} screen", kind=BudgetKind.CPU, amount=6, seed=1, knobs=knobs)
        yield Job(name=f"rank {number} validate", kind=BudgetKind.CPU, amount=20, seed=2, knobs=knobs)


def draw(within: Range, chance: random.Random) -> Knob:
    """A random value of a range, from its inner half, where configurations train."""
    if within.choices:
        return chance.choice(within.choices)
    assert within.low is not None
    assert within.high is not None
    share = chance.uniform(0.25, 0.75)
    value = within.low + share * (within.high - within.low)
    if within.log:
        value = within.low * (within.high / within.low) ** share
    return round(value) if within.integer else float(f"{value:.4g}")


def run(job: Job, data: Path, folder: Path, start: Callable[[Path], TrialResult]) -> TrialResult:
    """Run one trial."""
    source = set_knobs(TASK.editable_path.read_text(encoding="utf-8"), job.knobs)
    place = folder / job.name.replace(" ", "-")
    write_trial(place, TASK.folder, source=source, data_dir=data, budget=job.amount, kind=job.kind, seed=job.seed)
    if not job.busy:
        return start(place)
    with subprocess.Popen([sys.executable, "-c", BUSY]) as other:
        try:
            return start(place)
        finally:
            other.kill()


def measure(partial: Path, data: Path, minutes: float) -> dict[str, float | None]:
    """Run what is not in the partial file until the time is up; everything known then."""
    known: dict[str, float | None] = {}
    if partial.exists():
        known = dict(json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines())
    until = time.monotonic() + 60 * minutes
    left = [job for job in plan() if job.name not in known]
    with tempfile.TemporaryDirectory() as folder, partial.open("a", encoding="utf-8") as file:

        def one(worker: WarmWorker, job: Job) -> None:
            if time.monotonic() > until:
                return
            result = run(job, data, Path(folder), lambda place: finish_warm(worker, place))
            if result.outcome not in (Outcome.TIMED_OUT, Outcome.CONTENDED):  # the machine was too busy: another time
                known[job.name] = result.metric
                file.write(json.dumps([job.name, result.metric]) + "\n")
                file.flush()

        with warm_worker() as worker:
            for job in left:
                if job.name.startswith("noise"):
                    one(worker, job)
        two_at_a_time([job for job in left if not job.name.startswith("noise")], one)
    return known


def table(scores: dict[str, float | None]) -> Iterator[str]:
    """The lines of the table."""

    def value(name: str) -> float:
        found = scores[name]
        return float("nan") if found is None else found

    yield "| budget | other core | same seed twice differs by | sd over seeds 0, 1, 2 | mean |"
    yield "|---|---|---|---|---|"
    for kind, said in (("steps", "60 steps"), ("cpu", "6 CPU-seconds"), ("wall", "6 wall seconds")):
        for load in ("idle", "busy"):
            runs = [value(f"noise {kind} {load} {number}") for number in range(4)]
            apart, seeds = abs(runs[0] - runs[1]), runs[1:]
            yield f"| {said} | {load} | {apart:.4f} | {statistics.stdev(seeds):.4f} | {statistics.fmean(seeds):.4f} |"
    baseline = [value(f"baseline {seed}") for seed in range(3)]
    spread = statistics.stdev(baseline)
    yield ""
    yield f"Baseline at 20 CPU-seconds, seeds 0, 1, 2: {', '.join(f'{b:.4f}' for b in baseline)} (sd {spread:.4f})."
    yield ""
    yield "| one change of the baseline, seed 0 | val_bpb | gain over the baseline's mean |"
    yield "|---|---|---|"
    gains = {name: statistics.fmean(baseline) - value(f"effect {name}") for name in EFFECTS}
    for name in sorted(EFFECTS, key=lambda name: -gains[name]):
        yield f"| `{name}` {EFFECTS[name]} | {value(f'effect {name}'):.4f} | {gains[name]:+.4f} |"
    pairs = [(scores[f"rank {n} screen"], scores[f"rank {n} validate"]) for n in range(16)]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    rank = spearmanr([a for a, _ in both], [b for _, b in both]).statistic
    yield ""
    yield f"Screen and validation rank {len(both)} random configurations with a Spearman correlation of {rank:.3f}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--partial", type=Path, default=Path(tempfile.gettempdir()) / "nightswarm-noise.jsonl")
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after so long, to go on another time")
    arguments = parser.parse_args()
    data = prepared(TASK.folder, arguments.partial.with_suffix(".data"))
    scores = measure(arguments.partial, data, arguments.minutes)
    missing = [job.name for job in plan() if job.name not in scores]
    if missing:
        print(f"{len(missing)} trials are left; start it again with --partial {arguments.partial}")
        return 0
    print(f"{os.cpu_count()} cores; started with a load average of {os.getloadavg()[2]:.1f} over the last 15 minutes\n")
    print("\n".join(table(scores)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
