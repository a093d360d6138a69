"""The search space: where a value lies in its range, and how far two configurations lie apart. Pure."""

import math
from collections.abc import Iterable, Mapping

from swarm.errors import InputError
from swarm.research.experiment import Knob
from trainer.contract import Range


def in_range(value: Knob, within: Range) -> bool:
    """Whether ``value`` is one that ``within`` allows."""
    if within.choices:
        return any(value == choice and type(value) is type(choice) for choice in within.choices)
    if isinstance(value, str | bool) or (within.integer and value != int(value)):
        return False
    low, high = ends(within)
    return low <= value <= high


def ends(within: Range) -> tuple[float, float]:
    """Both ends of an interval. Raises InputError for a list of choices, which has none."""
    if within.low is None or within.high is None:
        raise InputError(f"the range {within} is a list of choices, not an interval")
    return within.low, within.high


def to_unit(value: Knob, within: Range) -> float:
    """Where ``value`` lies in its range: 0 at the low end, 1 at the high one; choices stand at equal steps.

    A value outside the range gives a number outside [0, 1], a text that is no choice gives 0.
    """
    if within.choices:
        return _index(value, within) / max(len(within.choices) - 1, 1)
    low, high = ends(within)
    number = float(value)
    if within.log:
        return math.log(max(number, low * 1e-3) / low) / math.log(high / low)
    return (number - low) / (high - low)


def from_unit(position: float, within: Range, current: Knob) -> Knob:
    """The allowed value nearest to ``position`` in [0, 1], in steps that its range and ``current`` suggest.

    Whole numbers keep the common divisor of the range's ends and the current value (a width of 64 in 32..128
    moves by 32), because sizes must divide each other; floats are rounded to three significant digits.
    """
    position = min(max(position, 0.0), 1.0)
    if within.choices:
        return within.choices[round(position * (len(within.choices) - 1))]
    low, high = ends(within)
    raw = low * (high / low) ** position if within.log else low + position * (high - low)
    if within.integer:
        step = whole_step(within, current)
        return int(min(max(round((raw - low) / step) * step + low, low), high))
    return min(max(rounded(raw), low), high)


def whole_step(within: Range, current: Knob) -> int:
    """The grid of a whole-number constant: the divisor its known values share, halved to give 4 steps."""
    low, high = ends(within)
    step = math.gcd(int(low), int(high), int(current) if isinstance(current, int) else 0) or 1
    while step % 2 == 0 and (high - low) / step < 3:
        step //= 2
    return step


def is_ordered(within: Range) -> bool:
    """Whether nearness means anything: an interval, or choices that are numbers in order."""
    if not within.choices:
        return True
    numbers = [c for c in within.choices if not isinstance(c, str | bool)]
    return len(numbers) == len(within.choices) > 2 and numbers == sorted(numbers)


def distance(a: Mapping[str, Knob], b: Mapping[str, Knob], ranges: Mapping[str, Range]) -> float:
    """How far two configurations lie apart: the root of summed squared steps, one whole range being 1."""
    total = 0.0
    for name, within in ranges.items():
        if name not in a or name not in b:
            total += float((name in a) != (name in b))
        elif is_ordered(within):
            total += (to_unit(a[name], within) - to_unit(b[name], within)) ** 2
        else:
            total += float(a[name] != b[name])
    return math.sqrt(total)


def position(knobs: Mapping[str, Knob], ranges: Mapping[str, Range]) -> list[float]:
    """A configuration as a point whose Euclidean distances are those of ``distance``."""
    found: list[float] = []
    for name, within in ranges.items():
        if is_ordered(within):
            found.append(to_unit(knobs[name], within))
        else:
            found += [math.sqrt(0.5) * (knobs[name] == choice) for choice in within.choices]
    return found


def configuration(knobs: Mapping[str, Knob], names: Iterable[str]) -> tuple[tuple[str, Knob], ...]:
    """A key under which two equal configurations meet."""
    return tuple((name, knobs[name]) for name in sorted(names) if name in knobs)


def rounded(number: float) -> float:
    """Three significant digits; of the distance to 1 where the number is just below it."""
    if 0.9 < number < 1:
        return round(1 - float(f"{1 - number:.3g}"), 12)
    return float(f"{number:.3g}")


def _index(value: Knob, within: Range) -> int:
    if value in within.choices:
        return within.choices.index(value)
    numbers = [c for c in within.choices if not isinstance(c, str)]
    if isinstance(value, str) or len(numbers) < len(within.choices):
        return 0
    return min(range(len(numbers)), key=lambda i: abs(numbers[i] - value))
