"""The search space: where a value lies in its range, and how far two configurations lie apart. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING

from swarm.errors import InputError
from swarm.research.experiment import Knob
from trainer.contract import Range

if TYPE_CHECKING:
    import numpy as np


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
    return float(to_units([value], within)[0])


def to_units(values: Sequence[Knob], within: Range) -> "np.ndarray":
    """``to_unit`` of each: thousands cost no more than some."""
    import numpy as np

    if within.choices:
        places = {choice: place for place, choice in reversed(list(enumerate(within.choices)))}
        found = [places[value] if value in places else _nearest(value, within) for value in values]
        return np.array(found, dtype=float) / max(len(within.choices) - 1, 1)
    low, high = ends(within)
    numbers = np.array(values, dtype=float)
    if within.log:
        return np.asarray(np.log(np.maximum(numbers, low * 1e-3) / low) / math.log(high / low))
    return np.asarray((numbers - low) / (high - low))


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


class Cube:
    """Configurations as rows of numbers in [0, 1], one a factor, so that thousands are handled at once.

    ``features`` widens a factor without order to one column a choice, so that two choices are one whole range apart.
    """

    def __init__(self, ranges: Mapping[str, Range], base: Mapping[str, Knob]) -> None:
        """``base`` gives what the ranges do not name, and the grid of whole numbers."""
        self.ranges, self._base = ranges, base
        self.names = list(ranges)
        # a long session looks at thousands of configurations for a thought: one call for each is the cheapest way
        self._picked = itemgetter(*self.names) if len(self.names) > 1 else lambda one: tuple(map(one.get, self.names))
        self.ordered = [is_ordered(within) for within in ranges.values()]
        self._widths = [
            1 if ordered else len(within.choices) for ordered, within in zip(self.ordered, ranges.values(), strict=True)
        ]
        self.grid = [self._step(name) for name in self.names]  # smallest move of each factor, in units of its range
        self.groups = tuple(factor for factor, width in enumerate(self._widths) for _ in range(width))

    def _step(self, name: str) -> float:
        within = self.ranges[name]
        if within.choices:
            return 1 / max(len(within.choices) - 1, 1)
        if not within.integer:
            return 0.005
        low, high = ends(within)
        step = whole_step(within, self._base[name])
        return math.log(1 + step / low) / math.log(high / low) if within.log else step / (high - low)

    def values(self, config: Mapping[str, Knob]) -> tuple[Knob | None, ...]:
        """What a configuration sets, in the order of the ranges; None where it lacks a constant."""
        try:
            return self._picked(config)
        except KeyError:
            return tuple(map(config.get, self.names))

    def rows(self, configs: Sequence[Mapping[str, Knob]]) -> "np.ndarray":
        """n x factors; a constant that a configuration lacks is the base's."""
        return self.placed([self.values(config) for config in configs])

    def placed(self, values: Sequence[tuple[Knob | None, ...]]) -> "np.ndarray":
        """``rows`` of what configurations set."""
        import numpy as np

        columns = [
            to_units([self._base[name] if value is None else value for value in column], within)
            for (name, within), column in zip(self.ranges.items(), zip(*values, strict=True), strict=False)
        ]
        return np.array(columns, dtype=float).reshape(len(self.names), len(values)).T

    def config(self, row: "np.ndarray") -> dict[str, Knob]:
        """The allowed configuration nearest to a row."""
        found = dict(self._base)
        for name, place in zip(self.names, row, strict=True):
            found[name] = from_unit(float(place), self.ranges[name], self._base[name])
        return found

    def snapped(self, rows: "np.ndarray") -> "np.ndarray":
        """Each row moved to where an allowed configuration is; floats stay where they are."""
        import numpy as np

        found = np.clip(rows, 0.0, 1.0)
        for column, (name, within) in enumerate(self.ranges.items()):
            if within.choices:
                steps = max(len(within.choices) - 1, 1)
                found[:, column] = np.round(found[:, column] * steps) / steps
            elif within.integer:
                low, high = ends(within)
                step = whole_step(within, self._base[name])
                raw = low * (high / low) ** found[:, column] if within.log else low + found[:, column] * (high - low)
                raw = np.clip(np.round((raw - low) / step) * step + low, low, high)
                scaled = np.log(raw / low) / math.log(high / low) if within.log else (raw - low) / (high - low)
                found[:, column] = scaled
        return np.asarray(found)

    def features(self, rows: "np.ndarray") -> "np.ndarray":
        """n x features."""
        import numpy as np

        if all(self.ordered):
            return rows
        columns = []
        for column, (ordered, width) in enumerate(zip(self.ordered, self._widths, strict=True)):
            if ordered:
                columns.append(rows[:, [column]])
            else:
                index = np.round(rows[:, column] * max(width - 1, 1)).astype(int)
                columns.append(math.sqrt(0.5) * np.eye(width)[np.clip(index, 0, width - 1)])
        return np.asarray(np.hstack(columns))


def configuration(knobs: Mapping[str, Knob], names: Iterable[str]) -> tuple[tuple[str, Knob], ...]:
    """A key under which two equal configurations meet."""
    return tuple((name, knobs[name]) for name in sorted(names) if name in knobs)


def rounded(number: float) -> float:
    """Three significant digits; of the distance to 1 where the number is just below it."""
    if 0.9 < number < 1:
        return round(1 - float(f"{1 - number:.3g}"), 12)
    return float(f"{number:.3g}")


def _nearest(value: Knob, within: Range) -> int:
    """The place of the choice nearest to a value that is none; 0 where choices are not numbers."""
    numbers = [c for c in within.choices if not isinstance(c, str)]
    if isinstance(value, str) or len(numbers) < len(within.choices):
        return 0
    return min(range(len(numbers)), key=lambda i: abs(numbers[i] - value))
