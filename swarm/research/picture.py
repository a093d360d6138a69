"""An optimiser's state in words: where good configurations lie, how they spread, where they fail. Pure."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Protocol

from swarm.research.experiment import Knob
from swarm.research.space import to_unit
from trainer.contract import Range

_GOOD = 0.25  # share of the scored that counts as good
_BEST, _LAST = 5, 20  # shown
_TELLING = 0.5  # a weaker correlation is left out


class Seen(Protocol):
    """An observation, as far as this needs it."""

    @property
    def experiment(self) -> str: ...
    @property
    def knobs(self) -> Mapping[str, Knob]: ...
    @property
    def gain(self) -> float | None: ...
    @property
    def outcome(self) -> str: ...


def picture(seen: Sequence[Seen], ranges: Mapping[str, Range], incumbent: Mapping[str, Knob]) -> str:
    """Mean and spread of the good quarter, how their constants go together, what failed, the best and the last."""
    scored = sorted((one for one in seen if one.gain is not None), key=lambda one: -(one.gain or 0.0))
    good = scored[: max(3, round(_GOOD * len(scored)))]
    if len(scored) < 3:
        return "Too few scores yet to say where the good configurations lie."
    lines = [f"Of {len(seen)} configurations {len(scored)} have a score; the good are the best {len(good)}.", ""]
    lines += [_spread(name, good, scored, within) for name, within in ranges.items()]
    lines += ["", "Constants that go together among the good (correlation):", *(_pairs(good, ranges) or ["none"])]
    lines += ["", "Where configurations fail:", *(_failing(seen, ranges) or ["nothing failed"])]
    lines += ["", f"The best {_BEST}:", *(_line(one, incumbent) for one in scored[:_BEST])]
    lines += ["", f"The last {_LAST}:", *(_line(one, incumbent) for one in seen[-_LAST:])]
    return "\n".join(lines)


def _spread(name: str, good: Sequence[Seen], scored: Sequence[Seen], within: Range) -> str:
    values = [one.knobs[name] for one in good if name in one.knobs]
    if within.choices or any(isinstance(value, str | bool) for value in values):
        counts = {
            choice: values.count(choice) for choice in dict.fromkeys(o.knobs[name] for o in scored if name in o.knobs)
        }
        return f"{name}: " + ", ".join(f"{choice!r} {count}x" for choice, count in counts.items())
    numbers = [float(value) for value in values if not isinstance(value, str)]
    if within.log and all(number > 0 for number in numbers):
        logs = [math.log(number) for number in numbers]
        return f"{name}: geometric mean {math.exp(statistics.fmean(logs)):.4g}, spread x{math.exp(_sd(logs)):.3g}"
    return f"{name}: mean {statistics.fmean(numbers):.4g}, sd {_sd(numbers):.3g}"


def _sd(values: Sequence[float]) -> float:
    return statistics.stdev(values) if len(values) > 1 else 0.0


def _pairs(good: Sequence[Seen], ranges: Mapping[str, Range]) -> list[str]:
    units = {
        name: [to_unit(one.knobs[name], within) for one in good]
        for name, within in ranges.items()
        if not within.choices and all(name in one.knobs for one in good)
    }
    moving = [name for name in units if _sd(units[name]) > 0]
    found = [
        (statistics.correlation(units[a], units[b]), a, b)
        for place, a in enumerate(moving)
        for b in moving[place + 1 :]
    ]
    return [f"{a} and {b}: {r:+.2f}" for r, a, b in sorted(found, key=lambda pair: -abs(pair[0])) if abs(r) > _TELLING]


def _failing(seen: Sequence[Seen], ranges: Mapping[str, Range]) -> list[str]:
    """Constants whose values failed only beyond what any scored configuration had."""
    failed = [one for one in seen if one.gain is None]
    lines = []
    for name, within in ranges.items():
        if within.choices:
            continue
        fine = [float(one.knobs[name]) for one in seen if one.gain is not None and _is_number(one.knobs.get(name))]
        bad = [float(one.knobs[name]) for one in failed if _is_number(one.knobs.get(name))]
        if fine and (beyond := [value for value in bad if not min(fine) <= value <= max(fine)]):
            lines.append(
                f"{name}: failed at {', '.join(f'{v:g}' for v in beyond)}; worked from {min(fine):g} to {max(fine):g}"
            )
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _line(one: Seen, incumbent: Mapping[str, Knob]) -> str:
    moved = ", ".join(f"{name}={value}" for name, value in one.knobs.items() if value != incumbent.get(name))
    gain = one.outcome if one.gain is None else f"{one.gain:+.4f}"
    return f"{one.experiment}: {gain} with {moved or 'the code edited'}"
