"""What cutting hopeless screening trials early spares, and whom it hits: figures of docs/trainer.md.

    python -m tests.bench.bench_cut [--trials N] [--partial FILE]

Runs N random configurations of tinytext on the screening budget, all to their end, two at a time. Then it plays the
rule over them in 200 random orders, as a session would have met them: each against the limits that those before it set.
Each finished trial is a line of FILE; started again with the same FILE it goes on.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from swarm.research.cutting import CURVE_POINTS, limits
from swarm.research.knobs import set_knobs
from tests.bench.bench_noise import TASK, draw
from tests.trainer_lab import finish_warm, prepared, two_at_a_time, write_trial
from trainer.contract import WarmWorker

ORDERS = 200


@dataclass(frozen=True, kw_only=True)
class Run:
    """One candidate as its whole trial showed it."""

    score: float  # val_bpb
    curve: Sequence[float]  # mean loss of each tenth of the budget


def measure(trials: int, partial: Path, data: Path) -> list[Run]:
    """Run what is not in the file yet; all whole runs."""
    known: dict[int, tuple[float | None, list[float]]] = {}
    if partial.exists():
        rows = [json.loads(line) for line in partial.read_text(encoding="utf-8").splitlines()]
        known = {number: (score, curve) for number, score, curve in rows}
    chance = random.Random(1)
    knobs = [{name: draw(within, chance) for name, within in TASK.ranges.items()} for _ in range(trials)]
    left = [number for number in range(trials) if number not in known]
    own = TASK.editable_path.read_text(encoding="utf-8")
    with tempfile.TemporaryDirectory() as folder, partial.open("a", encoding="utf-8") as file:

        def one(worker: WarmWorker, number: int) -> None:
            place = Path(folder) / str(number)
            write_trial(place, TASK.folder, source=set_knobs(own, knobs[number]), data_dir=data, seed=1)
            result = finish_warm(worker, place)
            known[number] = result.metric, list(result.curve)
            file.write(json.dumps([number, *known[number]]) + "\n")
            file.flush()

        two_at_a_time(left, one)
    return [
        Run(score=score, curve=curve)
        for score, curve in known.values()
        if score is not None and len(curve) == CURVE_POINTS
    ]


def cut_at(run: Run, earlier: Sequence[Run]) -> float | None:
    """The share of its budget at which a trial would have been cut; None: never."""
    for share, highest in limits(one.curve for one in earlier):
        if run.curve[round(CURVE_POINTS * share) - 1] > highest:
            return share
    return None


def report(runs: Sequence[Run]) -> None:
    """Play the rule in many orders, and print what it did."""
    ranked = sorted(run.score for run in runs)
    marks = {"best": ranked[0], "best quarter": ranked[len(ranked) // 4 - 1], "better half": statistics.median(ranked)}
    hit = dict.fromkeys(marks, 0)
    spared, cuts = 0.0, 0
    chance = random.Random(2)
    for _ in range(ORDERS):
        seen: list[Run] = []
        for run in chance.sample(runs, len(runs)):
            share = cut_at(run, seen)
            if share is None:
                seen.append(run)  # a trial that was cut has no whole curve, and sets no limit
                continue
            spared += 1 - share
            cuts += 1
            for name, mark in marks.items():
                hit[name] += run.score <= mark
    every = ORDERS * len(runs)
    told = f"{cuts / every:.1%} cut, {spared / every:.1%} of the budget spared"
    print(f"{len(runs)} whole trials in {ORDERS} orders: {told}")
    print(", ".join(f"of the {name}: {count / cuts:.2%}" for name, count in hit.items()), "of those cut")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=40)
    parser.add_argument("--partial", type=Path, default=Path(tempfile.gettempdir()) / "nightswarm-cut.jsonl")
    arguments = parser.parse_args()
    data = prepared(TASK.folder, arguments.partial.with_suffix(".data"))
    report(measure(arguments.trials, arguments.partial, data))
    return 0


if __name__ == "__main__":
    sys.exit(main())
