"""An objective fitted to a trials file: what a configuration would have scored, or whether it would have failed.

Score and failure are Gaussian processes over the file's configurations (``swarm.research.surrogate``). How far they
can be trusted is said by cross-validation, which is part of the objective and printed with every table.
"""

import hashlib
import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import rankdata, spearmanr

from swarm.bench.race import Measured, Measurement
from swarm.bench.trials_file import TrialsFile
from swarm.research.experiment import Knob
from swarm.research.promotion import NoiseFloor
from swarm.research.search import neighbours
from swarm.research.space import Cube, configuration
from swarm.research.surrogate import Feasibility, Surrogate

Config = Mapping[str, Knob]
_FOLDS = 5
_GOOD = 0.3  # share of the trials, the best ones, on which the quality is told again: where a search ends up
_FITTED = 400  # configurations the lengths are fitted to
_TOLD = 2500  # trials that failures are learnt from
_CAUTION = 2.0  # standard deviations: where no trial was near, a search finds nothing that nobody measured
_POLISHED = 20  # rounds of local search for the best score known
_CONSISTENCY = 0.89  # rank correlation of scores at a quarter of the budget with final ones, measured on tinytext


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Cross-validated, on configurations left out whole."""

    trials: int
    failed: int
    folds: int
    r2: float  # of the score
    spearman: float  # of the score, over all completed trials
    spearman_good: float  # over the best 30%
    error_good: float  # mean absolute error over the best 30%, metric units
    failure_auc: float  # chance that a failed trial is told from a completed one
    failure_accuracy: float

    def told(self) -> str:
        """One line for a person."""
        return (
            f"{self.trials} trials, {self.failed} failed; {self.folds}-fold cross-validation: score R2 {self.r2:.3f}, "
            f"rank correlation {self.spearman:.3f} (best 30%: {self.spearman_good:.3f}, mean error "
            f"{self.error_good:.2g}), failure AUC {self.failure_auc:.4f}, accuracy {self.failure_accuracy:.3f}"
        )


class FittedObjective:
    """Lower is better. Pure: the same configuration and seed give the same result."""

    def __init__(self, file: TrialsFile) -> None:
        self.metric, self.ranges, self.start = file.metric, file.ranges, file.start
        self.minimize, self.at_once = True, 1
        self._configs = [trial.config for trial in file.trials if trial.value is not None]
        self._cube = Cube(file.ranges, file.start)
        self._score, self._runs = _models(self._cube, *_columns(file))
        done = [trial for trial in file.trials if trial.value is not None]
        lost = sorted(trial.seconds for trial in file.trials if trial.value is None)
        self.full_seconds = sorted(trial.seconds for trial in done)[len(done) // 2]
        self.failed_seconds = lost[len(lost) // 2]
        self.noise = _replicate_sd(file)
        values = sorted(trial.value for trial in done if trial.value is not None)
        self._early_sd = _disturbance(values)

    def means(self, configs: Sequence[Config]) -> np.ndarray:
        """Scores without noise; of a configuration that would fail, what it would have scored."""
        return np.asarray(-self._score.cautious(self._points(configs), _CAUTION))

    def fails(self, configs: Sequence[Config]) -> np.ndarray:
        """Whether each would fail."""
        return np.asarray(~self._runs.runs(self._points(configs)))

    def truth(self, config: Config) -> float:
        """The score without noise."""
        return float(self.means([config])[0])

    def measure(self, wanted: Measurement) -> Measured:
        """One trial, or the part of it that is wanted. A failure shows at once.

        The file has no curves. What a part shows is the end disturbed, always alike for one configuration, so much
        that a quarter of the budget ranks configurations with a correlation of 0.89, as was measured on tinytext.
        """
        config = wanted.config
        if bool(self.fails([config])[0]):
            return Measured(value=None, seconds=self.failed_seconds)
        noise = self.noise * random.Random(_digest(config, wanted.seed)).gauss(0.0, 1.0)
        early = self._early_sd * random.Random(_digest(config, -1)).gauss(0.0, 1.0) * (1 / wanted.share - 1) / 3
        seconds = self.full_seconds * (wanted.share - wanted.after)
        return Measured(value=self.truth(config) + noise + early, seconds=seconds)

    def best_of(self, tried: Sequence[Config]) -> float:
        """The best score known: of the file's configurations and those ``tried``, and around the best of them."""
        chance = np.random.default_rng(0)
        rows = self._cube.rows([*self._configs, *tried])
        scores = self._scores(rows)
        for _ in range(_POLISHED):
            top = rows[np.argsort(scores, kind="stable")[:5]]
            near = neighbours(self._cube, top, 100, chance)
            rows, scores = np.vstack([top, near]), self._scores(np.vstack([top, near]))
        return float(scores.min())

    def _scores(self, rows: np.ndarray) -> np.ndarray:
        points = self._cube.features(rows)
        return np.where(self._runs.runs(points), -self._score.cautious(points, _CAUTION), np.inf)

    def _points(self, configs: Sequence[Config]) -> np.ndarray:
        return self._cube.features(self._cube.rows(configs))


def cross_validate(file: TrialsFile) -> Quality:
    """Fit to four fifths of the configurations and score the rest, five times."""
    configs, values = _columns(file)
    owner = {key: number for number, key in enumerate(dict.fromkeys(_keys(configs)))}
    fold_of = np.random.default_rng(0).permutation(len(owner)) % _FOLDS
    fold = fold_of[[owner[key] for key in _keys(configs)]]
    done = np.array([value is not None for value in values])
    scores, runs = np.zeros(len(configs)), np.zeros(len(configs))
    cube = Cube(file.ranges, file.start)
    points = cube.features(cube.rows(configs))
    for number in range(_FOLDS):
        inside, outside = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        score, feasible = _models(cube, [configs[i] for i in inside], [values[i] for i in inside])
        scores[outside], runs[outside] = -score.mean(points[outside]), feasible.probability(points[outside])
    true = np.array([value for value in values if value is not None])
    found = scores[done]
    good = true <= np.quantile(true, _GOOD)
    ranks, failures = rankdata(-runs), int((~done).sum())
    auc = (ranks[~done].sum() - failures * (failures + 1) / 2) / (failures * done.sum())
    return Quality(
        trials=len(values),
        failed=failures,
        folds=_FOLDS,
        r2=float(1 - ((true - found) ** 2).mean() / true.var()),
        spearman=float(spearmanr(true, found)[0]),
        spearman_good=float(spearmanr(true[good], found[good])[0]),
        error_good=float(np.abs(true - found)[good].mean()),
        failure_auc=float(auc),
        failure_accuracy=float(((runs >= 0.5) == done).mean()),
    )


def _columns(file: TrialsFile) -> tuple[list[Config], list[float | None]]:
    return [trial.config for trial in file.trials], [trial.value for trial in file.trials]


def _keys(configs: Sequence[Config]) -> list[tuple[tuple[str, Knob], ...]]:
    return [configuration(config, config) for config in configs]


def _models(cube: Cube, configs: Sequence[Config], values: Sequence[float | None]) -> tuple[Surrogate, Feasibility]:
    points = cube.features(cube.rows(configs))
    ran = np.array([value is not None for value in values])
    gains = np.array([-value for value in values if value is not None])
    every = max(1, len(configs) // _TOLD)  # failures follow few constants: a part of the trials tells them
    return (
        Surrogate(points[ran], gains, cube.groups, fitted=_FITTED),
        Feasibility(points[::every], ran[::every], cube.groups, fitted=_FITTED),
    )


def _replicate_sd(file: TrialsFile) -> float:
    """Pooled sd of the scores of configurations tried more than once, of those in the better half: where a search
    ends up. 0 where nothing was tried twice.
    """
    done = [(str(configuration(t.config, t.config)), t.value) for t in file.trials if t.value is not None]
    middle = statistics.median(value for _, value in done)
    floor = NoiseFloor()
    for key, value in done:
        if value <= middle:
            floor.add(key, value)
    return floor.noise.sd if floor.noise else 0.0


def _disturbance(values: Sequence[float]) -> float:
    """Sd of a normal disturbance that leaves the rank correlation _CONSISTENCY, over the better half of the values."""
    better = np.array(values[: len(values) // 2])
    noise = np.random.default_rng(0).standard_normal(len(better))
    low, high = 0.0, float(better.std()) * 10
    for _ in range(40):
        middle = (low + high) / 2
        low, high = (middle, high) if spearmanr(better, better + middle * noise)[0] > _CONSISTENCY else (low, middle)
    return low


def _digest(config: Config, seed: int) -> str:
    return hashlib.sha256(f"{configuration(config, config)} {seed}".encode()).hexdigest()
