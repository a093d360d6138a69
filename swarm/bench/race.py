"""One strategy on one objective: slots that are never idle until the budget of GPU-seconds is spent."""

import heapq
import json
import threading
from collections.abc import Generator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from swarm.bench.strategies import Config, Maker, Strategy, Ticket
from swarm.errors import InputError
from swarm.research.space import configuration
from trainer.contract import Range


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What one trial gave."""

    value: float | None  # the metric; None: it failed
    seconds: float  # GPU-seconds charged


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """A trial that a race wants: to ``share`` of the budget, where ``after`` of it was trained and charged already."""

    config: Config
    seed: int
    share: float = 1.0
    after: float = 0.0


class Objective(Protocol):
    """What strategies are compared on."""

    metric: str
    minimize: bool
    ranges: Mapping[str, Range]
    start: Config  # everyone's first configuration
    at_once: int  # measurements it can make at the same time, each in a thread

    def measure(self, wanted: Measurement) -> Measured:
        """Train. Takes as long as it takes."""
        ...

    def truth(self, config: Config) -> float | None:
        """The score without noise; None where only measuring tells."""
        ...


@dataclass(frozen=True, kw_only=True)
class Point:
    """The state of a race after one trial."""

    gpu_seconds: float  # spent by all slots
    wall_seconds: float  # since the start
    best: float  # score of the configuration that looks best so far: without noise where that is known, else measured


@dataclass(frozen=True, kw_only=True)
class Race:
    """What became of one strategy under one seed."""

    strategy: str
    seed: int
    trials: int
    failed: int
    curve: tuple[Point, ...]  # from the first trial that scored
    winner: Config  # the configuration that looked best at the end
    tokens: int = 0  # that its language model took
    dollars: float = 0.0  # what these cost

    @property
    def best(self) -> float:
        return self.curve[-1].best

    def at(self, gpu_seconds: float) -> float | None:
        """Best so far when so much was spent; None before any trial scored."""
        return next((point.best for point in reversed(self.curve) if point.gpu_seconds <= gpu_seconds), None)


Course = Generator[Measurement, Measured, Race]  # a race that is told what it asks for


def race(
    objective: Objective, name: str, maker: Maker, seed: int, *, gpu_seconds: float, slots: int, gpu_price: float = 1.0
) -> Course:
    """Run one strategy. A trial that would end beyond the budget is not begun; a failed one is charged what it cost,
    and what a model took is charged as the GPU time that it would have paid for at ``gpu_price`` dollars an hour.

    Raises InputError when the budget is too small for a single scored trial.
    """
    strategy = maker(objective.ranges, objective.start, seed)
    sign = -1.0 if objective.minimize else 1.0
    best: tuple[float, Ticket] | None = None
    curve: list[Point] = []
    trials = failed = 0
    spent, ended, paid = 0.0, 0.0, 0.0
    busy: list[tuple[float, int, Ticket, float | None, bool]] = []  # (ends at, number, ticket, gain, told)
    now, open_ = 0.0, True
    while open_ or busy:
        while open_ and len(busy) < slots:
            ticket = strategy.ask()
            spent += (strategy.spending.dollars - paid) / gpu_price * 3600
            paid = strategy.spending.dollars
            gain, seconds, given_up = yield from _run(strategy, ticket, seed * 100_000 + trials, sign)
            if spent + seconds > gpu_seconds:
                open_ = False
                break
            spent += seconds
            heapq.heappush(busy, (now + seconds, trials, ticket, gain, given_up))
            trials += 1
        if not busy:
            break
        now, _, ticket, gain, given_up = heapq.heappop(busy)
        ended = spent if slots == 1 else min(spent, now * slots)
        if not given_up:
            strategy.tell(ticket, gain)
            failed += gain is None
        if not given_up and gain is not None and (best is None or gain > best[0]):
            best = (gain, ticket)
        if best is not None:
            truth = objective.truth(best[1].config)
            shown = sign * best[0] if truth is None else truth
            if not curve or curve[-1].best != shown or not busy:
                curve.append(Point(gpu_seconds=ended, wall_seconds=now, best=shown))
    if best is None:
        raise InputError(f"{name} scored nothing within {gpu_seconds / 3600:g} GPU-hours; give more with --gpu-hours")
    return Race(
        strategy=name,
        seed=seed,
        trials=trials,
        failed=failed,
        curve=tuple(curve),
        winner=dict(best[1].config),
        tokens=strategy.spending.tokens,
        dollars=strategy.spending.dollars,
    )


def _run(
    strategy: Strategy, ticket: Ticket, seed: int, sign: float
) -> Generator[Measurement, Measured, tuple[float | None, float, bool]]:
    """Gain (larger is better), seconds charged, and whether the strategy gave the trial up at a rung."""
    charged = done = 0.0
    for rung, share in enumerate(strategy.rungs):
        early = yield Measurement(config=ticket.config, seed=seed, share=share, after=done)
        charged, done = charged + early.seconds, share
        if early.value is None:
            return None, charged, False
        if not strategy.go_on(ticket, rung, sign * early.value):
            return None, charged, True
    full = yield Measurement(config=ticket.config, seed=seed, after=done)
    return None if full.value is None else sign * full.value, charged + full.seconds, False


class Remembered:
    """An objective whose measurements are kept in a file of trials (see ``trials_file``), so that a race that was cut
    off goes on.

    Strategies follow from their seed and what they are told: run again, they ask for the same and get it at once.
    """

    def __init__(self, objective: Objective, path: Path) -> None:
        self._objective, self._path = objective, path
        self.metric, self.minimize = objective.metric, objective.minimize
        self.ranges, self.start, self.at_once = objective.ranges, objective.start, objective.at_once
        self._lock = threading.Lock()
        self._turns: dict[str, threading.Lock] = {}  # several may want the same at once: the first measures it
        self._known: dict[str, Measured] = {}
        if path.exists():
            for line in path.read_text(encoding="utf-8").splitlines():
                if line.endswith("}"):  # the last line may have been cut off
                    row = json.loads(line)
                    wanted = Measurement(config=row["config"], seed=row["seed"], share=row["share"], after=row["after"])
                    self._known[_key(wanted)] = Measured(value=row[self.metric], seconds=row["seconds"])

    def measure(self, wanted: Measurement) -> Measured:
        """From the file, else measured and written there."""
        key = _key(wanted)
        with self._lock:
            turn = self._turns.setdefault(key, threading.Lock())
        with turn:
            if key not in self._known:
                found = self._objective.measure(wanted)
                with self._lock:
                    self._write(wanted, found)
                self._known[key] = found
        return self._known[key]

    def _write(self, wanted: Measurement, found: Measured) -> None:
        row = {
            "config": dict(wanted.config),
            "status": "failed" if found.value is None else "completed",
            "seconds": found.seconds,
            self.metric: found.value,
            "seed": wanted.seed,
            "share": wanted.share,
            "after": wanted.after,
        }
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def truth(self, config: Config) -> float | None:
        return self._objective.truth(config)


def _key(wanted: Measurement) -> str:
    return json.dumps([configuration(wanted.config, wanted.config), wanted.seed, wanted.share, wanted.after])
