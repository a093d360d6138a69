"""Reads a file of trials: which configuration gave which score, or failed, and how long it took."""

import gzip
import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.errors import InputError
from swarm.research.experiment import Knob
from swarm.research.space import configuration
from trainer.contract import Range

_KNOWN = {
    *("method", "seed", "trial", "status", "outcome", "seconds", "config"),
    *("experiment", "tier", "accelerator", "share", "after"),
}
_COMPLETED = {"completed", "complete", "ok"}
_FEW = 6  # distinct whole numbers that are taken as choices rather than an interval


@dataclass(frozen=True, kw_only=True)
class FileTrial:
    """One line of the file."""

    config: Mapping[str, Knob]
    value: float | None  # the metric; None: it failed
    seconds: float  # on its accelerator


@dataclass(frozen=True, kw_only=True)
class TrialsFile:
    """What a trials file holds."""

    path: Path
    metric: str
    trials: Sequence[FileTrial]
    ranges: Mapping[str, Range]  # spanned by the trials
    start: Mapping[str, Knob]  # the configuration tried most often, the earliest of equals: where its authors began


def read_trials(path: Path) -> TrialsFile:
    """Read JSON lines (``.gz`` or plain): ``config`` (an object of constants), ``status``, ``seconds``, and the metric
    under its own name, null where the trial failed. Every line has the same constants; what did not use its whole
    budget (``share``) is left out. Raises InputError.
    """
    rows = [row for row in _rows(path) if row.get("share", 1.0) == 1.0]
    metric = _metric(path, rows)
    names = list(rows[0]["config"])
    trials = []
    for number, row in enumerate(rows, 1):
        if sorted(row["config"]) != sorted(names):
            raise InputError(f"{path}, line {number}: its constants are not those of line 1; make one file a task")
        value = row[metric] if str(row.get("status", row.get("outcome", ""))).lower() in _COMPLETED else None
        seconds = row.get("seconds")
        if not isinstance(seconds, int | float) or seconds <= 0 or (value is not None and not math.isfinite(value)):
            raise InputError(f"{path}, line {number}: needs positive `seconds` and a finite `{metric}` or null")
        trials.append(FileTrial(config=row["config"], value=value, seconds=float(seconds)))
    counts = Counter(configuration(trial.config, names) for trial in trials if trial.value is not None)
    if len(counts) < 50 or not any(trial.value is None for trial in trials):
        raise InputError(f"{path} holds {len(counts)} completed configurations; at least 50 and one failure are needed")
    start = dict(counts.most_common(1)[0][0])
    spans = {name: _range(path, name, [trial.config[name] for trial in trials]) for name in names}
    ranges = {name: within for name, within in spans.items() if within is not None}
    return TrialsFile(path=path, metric=metric, trials=trials, ranges=ranges, start=start)


def _rows(path: Path) -> list[dict[str, Any]]:
    opened = gzip.open if path.suffix == ".gz" else open
    rows = []
    try:
        with opened(path, "rt", encoding="utf-8") as lines:
            for number, line in enumerate(lines, 1):
                row = json.loads(line)
                if not isinstance(row, dict) or not isinstance(row.get("config"), dict):
                    raise InputError(f"{path}, line {number}: needs an object with `config`")
                rows.append(row)
    except (OSError, EOFError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InputError(f"cannot read {path} as JSON lines: {error}; check the --trials path") from error
    if not rows:
        raise InputError(f"{path} is empty; it needs one trial a line")
    return rows


def _metric(path: Path, rows: Sequence[Mapping[str, Any]]) -> str:
    """The one field beside the known ones that holds a number in some row and a number or null in all."""
    fields = {name for row in rows for name in row} - _KNOWN
    found = [
        name
        for name in sorted(fields)
        if all(isinstance(row.get(name), int | float | None) for row in rows)
        and any(row.get(name) is not None for row in rows)
    ]
    if len(found) != 1:
        told = ", ".join(found) or "none"
        raise InputError(f"{path} needs exactly one number beside {', '.join(sorted(_KNOWN))}; found: {told}")
    return found[0]


def _range(path: Path, name: str, values: Sequence[Knob]) -> Range | None:
    """What the trials span: choices, or an interval on the scale whose middle is nearer to theirs; None: one value."""
    distinct = set(values)
    if len(distinct) == 1:
        return None
    if any(isinstance(value, str | bool) for value in distinct):
        return Range(choices=tuple(sorted(distinct, key=str)))
    numbers = sorted(value for value in values if not isinstance(value, str))
    whole = all(isinstance(value, int) for value in numbers)
    if whole and len(distinct) <= _FEW:
        return Range(choices=tuple(sorted(set(numbers))))
    low, high, middle = float(numbers[0]), float(numbers[-1]), float(numbers[len(numbers) // 2])
    if not math.isfinite(high - low):
        raise InputError(f"{path}: {name} holds a number that is not finite")
    linear = abs((middle - low) / (high - low) - 0.5)
    log = low > 0 and abs(math.log(middle / low) / math.log(high / low) - 0.5) < linear
    return Range(low=low, high=high, log=log, integer=whole)
