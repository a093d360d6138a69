"""Prune, promote, confirm, refute: all statistics, and nothing else. Pure.

A *gain* is always candidate against reference with the sign turned so that positive is better. All scores
that meet here come from one (task, accelerator type, budget) group; docs/evidence.md explains each rule.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

_LAG = 0.4  # standard errors a look: what lags behind that is given up


class Screening(StrEnum):
    """What screening says of a candidate."""

    PRUNED = "PRUNED"
    RETEST = "RETEST"
    PROMOTED = "PROMOTED"


class Validation(StrEnum):
    """What validation says of a candidate."""

    CONFIRMED = "CONFIRMED"
    REFUTED = "REFUTED"
    UNDECIDED = "UNDECIDED"  # run another pair of seeds


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The noise floor of one group: how far two runs of the same candidate fall apart."""

    sd: float  # metric units
    df: int  # degrees of freedom behind it


@dataclass(frozen=True, kw_only=True)
class Gain:
    """A measured gain over a reference."""

    mean: float  # metric units, positive is better
    se: float  # standard error of the mean
    df: int
    n: int  # candidate runs behind it

    def lower(self, alpha: float) -> float:
        """One-sided lower confidence bound at level 1 - alpha (Student's t)."""
        return self.mean - t_quantile(1 - alpha, self.df) * self.se

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval."""
        half = t_quantile(0.5 + level / 2, self.df) * self.se
        return (self.mean - half, self.mean + half)


@lru_cache(maxsize=4096)
def t_quantile(p: float, df: int) -> float:
    """Quantile of Student's t distribution."""
    from scipy.special import stdtrit

    return float(stdtrit(df, p))


class NoiseFloor:
    """Pools the variance within groups of replicates (one group a candidate), one value at a time (Welford 1962)."""

    def __init__(self) -> None:
        self._groups: dict[str, tuple[int, float]] = {}  # candidate -> (runs, mean)
        self._squares = 0.0
        self._df = 0

    def add(self, candidate: str, value: float) -> None:
        """Take in one more score of ``candidate``."""
        runs, mean = self._groups.get(candidate, (0, 0.0))
        if runs:
            self._df += 1
            self._squares += (value - mean) ** 2 * runs / (runs + 1)
        self._groups[candidate] = (runs + 1, mean + (value - mean) / (runs + 1))

    def settle(self, candidate: str) -> None:
        """Expect no more scores of ``candidate``: what it added stays."""
        self._groups.pop(candidate, None)

    @property
    def noise(self) -> Noise | None:
        """None before any candidate was run twice."""
        return Noise(sd=math.sqrt(self._squares / self._df), df=self._df) if self._df else None


def gain_over(candidate: Sequence[float], reference: Sequence[float], noise: Noise, *, minimize: bool) -> Gain:
    """Unpaired gain of the candidate's mean over the reference's, by the pooled noise of their group."""
    sign = 1.0 if minimize else -1.0
    mean = sign * (sum(reference) / len(reference) - sum(candidate) / len(candidate))
    se = noise.sd * math.sqrt(1 / len(candidate) + 1 / len(reference))
    return Gain(mean=mean, se=se, df=noise.df, n=len(candidate))


def paired_gain(pairs: Sequence[tuple[float, float]], noise: Noise, *, minimize: bool) -> Gain:
    """Gain from (candidate, reference) pairs that share seed and slot type.

    The standard error is the unpaired one, from the pooled noise: the spread of two to five pairs has too few
    degrees of freedom to be trusted, and what a shared seed has in common makes this estimate conservative.
    """
    sign = 1.0 if minimize else -1.0
    mean = sum(sign * (reference - candidate) for candidate, reference in pairs) / len(pairs)
    return Gain(mean=mean, se=noise.sd * math.sqrt(2 / len(pairs)), df=noise.df, n=len(pairs))


def screen(gain: Gain, *, looks: int, max_looks: int = 3, z_promote: float = 1.5) -> Screening:
    """Decide after ``looks`` screening runs of a candidate.

    A clear gain (``z_promote`` standard errors) goes on to validation, which is where errors are controlled;
    a gain in the grey zone gets one more seed; the rest is pruned. Screening is a filter, never evidence.
    """
    if gain.mean > z_promote * gain.se:
        return Screening.PROMOTED
    if gain.mean > 0.5 * gain.se and looks < max_looks:
        return Screening.RETEST
    return Screening.PRUNED


def looks(min_pairs: int, max_pairs: int) -> list[int]:
    """After how many pairs a validation is looked at: ``min_pairs``, then doubled, and ``max_pairs`` last."""
    found = [min_pairs]
    while found[-1] * 2 <= max_pairs:
        found.append(found[-1] * 2)
    return found if found[-1] >= max_pairs else [*found, max_pairs]


def validate(gain: Gain, *, alpha: float, steps: Sequence[int]) -> Validation:
    """Decide at the look after ``gain.n`` validation pairs; ``steps`` are the looks there can be.

    ``alpha`` is this candidate's whole allowance; each look may spend an equal share of it (Bonferroni over the
    looks), so stopping early costs nothing in error rate. What lags behind what a real gain would show by then
    (nothing below 0 at the first look, 0.4 standard errors more at each later one) stops too, which can only lower
    the error rate.
    """
    if gain.lower(alpha / len(steps)) > 0:
        return Validation.CONFIRMED
    behind = gain.mean < _LAG * sum(step < gain.n for step in steps) * gain.se
    return Validation.REFUTED if behind or gain.n >= steps[-1] else Validation.UNDECIDED


def allowance(test: int, confirmed: Sequence[int], alpha: float) -> float:
    """The level at which the ``test``-th validation of a session (1, 2, ...) is made, by LORD++.

    ``confirmed`` holds the numbers of the earlier validations that confirmed. With half of ``alpha`` as first
    wealth and the weights 1/(j(j+1)), the false discovery rate over the session stays at most ``alpha``,
    however many validations there are (Ramdas et al. 2017, arXiv:1710.00499).
    """

    def weight(age: int) -> float:
        return 1 / (age * (age + 1)) if age > 0 else 0.0

    first_wealth = alpha / 2
    level = first_wealth * weight(test)
    for order, earlier in enumerate(confirmed):
        earned = alpha - first_wealth if order == 0 else alpha
        level += earned * weight(test - earlier)
    return level
