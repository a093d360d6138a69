"""Designs of a wave: which levels of which factors share one analysis. Pure.

A design is a table of -1 and +1: a row is a run, a column a factor, -1 the incumbent's level and +1 the other.
"""

import itertools
import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from swarm.errors import InputError
from swarm.research.experiment import Knob
from swarm.research.space import ends, from_unit, is_ordered, to_unit
from trainer.contract import Range

# First rows of the cyclic designs of Plackett & Burman, Biometrika 33 (1946), table 1.
_CYCLES = {
    8: "+++-+--",
    12: "++-+++---+-",
    16: "++++-+-++--+---",
    20: "++--++++-+-+----++-",
    24: "+++++-+-++--++--+-+----",
}
DESIGNED = ("plackett-burman", "foldover", "factorial", "half-factorial")  # two levels a factor, analysed together
LADDER = "ladder"  # one factor at several values: analysed by itself
_LOG_STEP = math.log(2.5)  # a moderate move on a log scale: seen above the noise, seldom a crash
_LINEAR_STEP = 0.25  # of the range


@dataclass(frozen=True, kw_only=True)
class Contrast:
    """The two levels of one factor in a wave."""

    factor: str
    low: Knob  # the incumbent's
    high: Knob  # the other


def plackett_burman(factors: int) -> list[tuple[int, ...]]:
    """A two-level screening design of 8, 12, 16, 20 or 24 runs for up to 23 factors; the last run is all -1.

    Main effects are estimated clear of each other, but not of two-factor interactions. Raises InputError.
    """
    if not 1 <= factors <= 23:
        raise InputError(f"a screening wave takes 1 to 23 factors, not {factors}; choose the most promising")
    runs = min(size for size in _CYCLES if size > factors)
    first = [1 if sign == "+" else -1 for sign in _CYCLES[runs]]
    rows = [tuple(first[-shift:] + first[:-shift])[:factors] for shift in range(runs - 1)]
    return [*rows, (-1,) * factors]


def factorial(factors: int) -> list[tuple[int, ...]]:
    """Every combination of two levels: 2^factors runs, all interactions estimable; the first run is all -1."""
    return list(itertools.product((-1, 1), repeat=factors))


def half_factorial(factors: int) -> list[tuple[int, ...]]:
    """Half of the combinations (2^(factors-1) runs); the last factor is the product of the others.

    With four factors resolution IV: main effects are clear of two-factor interactions, whose pairs are aliased.
    """
    rows = []
    for row in factorial(factors - 1):
        sign = math.prod(row) * (-1 if factors % 2 else 1)  # the sign that keeps the all -1 run in
        rows.append((*row, sign))
    return rows


def foldover(rows: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """The mirror image of a design: together with it, main effects are clear of two-factor interactions."""
    return [tuple(-level for level in row) for row in rows]


def design(factors: int, size: int) -> tuple[str, list[tuple[int, ...]]]:
    """The strongest design of at most ``size`` runs (Plackett-Burman where none fits), with its name."""
    if 2**factors <= size:
        return "factorial", factorial(factors)
    if factors >= 4 and 2 ** (factors - 1) <= size:
        return "half-factorial", half_factorial(factors)
    return "plackett-burman", plackett_burman(factors)


def ladder(value: Knob, within: Range, direction: int, steps: int) -> list[Knob]:
    """Up to ``steps`` values beyond ``value``, one moderate step apart, in ``direction`` (+1 or -1)."""
    found: list[Knob] = []
    here = to_unit(value, within)
    for rung in range(1, steps + 1):
        position = here + direction * rung * step_size(within)
        level = from_unit(position, within, value)
        if level not in found and level != value and (position - here) * (to_unit(level, within) - here) > 0:
            found.append(level)
    return found


def step_size(within: Range) -> float:
    """A moderate step in units of the range: a factor of 2.5 on a log scale, a quarter of a linear range."""
    if within.choices:
        return 1 / max(len(within.choices) - 1, 1)
    low, high = ends(within)
    return min(_LOG_STEP / math.log(high / low), 0.5) if within.log else _LINEAR_STEP


def levels(
    knobs: Mapping[str, Knob],
    ranges: Mapping[str, Range],
    factors: Sequence[str],
    *,
    seed: int,
    directions: Mapping[str, int] | None = None,
    rungs: int = 1,
) -> dict[str, Contrast]:
    """For each factor the level to contrast with the incumbent's: one moderate step, or ``rungs``, inside the range.

    ``directions`` (+1 or -1, from earlier findings) come first; the others alternate from a seeded start, so that
    a wave does not push every factor the same way. A factor that has no other level is left out.
    """
    chance = random.Random(seed)
    turn = chance.choice((-1, 1))
    found = {}
    for factor in factors:
        within, value = ranges[factor], knobs[factor]
        if is_ordered(within):
            wish = (directions or {}).get(factor, turn)
            turn = -turn
            others = ladder(value, within, wish, max(2, rungs)) or ladder(value, within, -wish, max(2, rungs))
        else:
            others = [choice for choice in within.choices if choice != value]
            chance.shuffle(others)
        if others:
            found[factor] = Contrast(factor=factor, low=value, high=others[min(rungs, len(others)) - 1])
    return found
