"""The picture of a session's progress: best so far with its noise, every trial a dot, kept gains named."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from swarm.research.experiment import Trial
from swarm.status import noise_floors
from swarm.view import View
from swarm.web.drawing import Picture, Scale, axis_below, axis_left, ceiling, dust, rect, steps, text
from swarm.wording import short

BY = ("time", "experiments")  # what a picture is drawn against
LEGEND = (
    ("line", "best so far"),
    ("band", "± 2 sd of one score"),
    ("dot confirmed", "confirmed"),
    ("dot plain", "other trials"),
    ("dot lost", "no score"),
)
_DOTS, _BLOCK = 300, 100  # newest trials that are elements of their own; older ones share paths, a block at a time
_LABELS = 6  # kept gains that are named
_WIDTH, _HEIGHT = 720, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 54, 12, 18, 36


@dataclass(frozen=True, kw_only=True)
class _Step:
    """From here on a candidate was the best."""

    x: float
    value: float
    name: str


def progress(view: View, tier: str, by: str) -> Picture | None:
    """Scores of one tier against hours worked or experiments; None before there is a score.

    Scores of other tiers and accelerator types have pictures of their own: like is shown with like.
    """
    accelerators = view.state.accelerators(tier)
    if not accelerators:
        return None
    trials = [
        trial
        for experiment in view.state.experiments.values()
        for trial in experiment.trials
        if trial.tier == tier and trial.accelerator == accelerators[0] and trial.ended_at is not None
    ]
    places = _Places(view, by)
    best = _staircase(view, tier, accelerators[0], places)
    across = Scale(low=0, high=ceiling(places.last), start=_LEFT, end=_WIDTH - _RIGHT)
    up = _up(view, trials, [step.value for step in best])
    dots = sorted(trials, key=lambda trial: trial.ended_at or 0.0)
    cut = max(0, len(dots) - _DOTS) // _BLOCK * _BLOCK
    old, new = dots[:cut], dots[cut:]
    confirmed = {name for name in view.state.incumbents if name != view.state.baseline.id}
    new += [trial for trial in old if trial.experiment in confirmed]
    sd = noise_floors(view.state).get(tier)
    return Picture(
        name=f"progress-{tier}",
        label=_told(view, tier, by, best, len(trials)),
        width=_WIDTH,
        height=_HEIGHT,
        frame=_axes(across, up, by) + _best_so_far(across, up, best, sd, places.last) + _names(view, across, up, best),
        under=dust((_kind(trial, confirmed), across(places.of(trial)), _y(trial, up)) for trial in old),
        marks={f"d-{trial.id}": _dot(view, trial, confirmed, across(places.of(trial)), _y(trial, up)) for trial in new},
        legend=LEGEND,
    )


class _Places:
    """Where things stand along x: hours worked, or the number of the experiment."""

    def __init__(self, view: View, by: str) -> None:
        self._view = view
        self._by_time = by == "time"
        self._numbers = {name: number for number, name in enumerate(view.state.experiments)}

    def of(self, trial: Trial) -> float:
        return self._view.hours_at(trial.ended_at or 0.0) if self._by_time else float(self._numbers[trial.experiment])

    def gained(self, experiment: str, first: float) -> float:
        """Where an experiment became the best: when it was confirmed, or its number."""
        if not self._by_time:
            return float(self._numbers[experiment])
        return self._view.hours_at(self._view.state.confirmed_at.get(experiment, first))

    @property
    def last(self) -> float:
        """The end of what there is to show."""
        state = self._view.state
        if not self._by_time:
            return float(len(self._numbers))
        ends = [trial.ended_at for one in state.experiments.values() for trial in one.trials if trial.ended_at]
        return self._view.hours_at(max(ends, default=state.opened_at))


def _staircase(view: View, tier: str, accelerator: str, places: _Places) -> list[_Step]:
    """The mean score of every incumbent on the tier, from the moment it became that."""
    found = []
    for name in view.state.incumbents:
        ran = view.state.experiments[name].completed(tier, accelerator)
        values = [trial.value for trial in ran if trial.value is not None]
        if values:
            first = min(trial.ended_at or 0.0 for trial in ran)
            found.append(_Step(x=places.gained(name, first), value=statistics.fmean(values), name=name))
    return found


def _up(view: View, trials: Sequence[Trial], best: Sequence[float]) -> Scale:
    """The scale of scores: the better the higher; the worst tenth may lie on its edge."""
    values = sorted((trial.value for trial in trials if trial.value is not None), reverse=not view.minimize)
    shown = [*values[: max(1, round(0.9 * len(values)))], *best]
    low, high = min(shown), max(shown)
    margin = 0.12 * (high - low) or abs(high) * 0.02 or 1.0
    grain = ceiling(margin / 2)  # the scale moves in steps, so that a new dot seldom moves the others
    low, high = grain * ((low - margin) // grain), grain * ((high + margin) // grain + 1)
    top, bottom = (_TOP, _HEIGHT - _BOTTOM) if not view.minimize else (_HEIGHT - _BOTTOM, _TOP)
    return Scale(low=low, high=high, start=bottom, end=top)


def _y(trial: Trial, up: Scale) -> float:
    """The height of a trial's dot; one without a score lies on the floor."""
    return _HEIGHT - _BOTTOM - 3.0 if trial.value is None else up(trial.value)


def _kind(trial: Trial, confirmed: set[str]) -> str:
    if trial.value is None:
        return "lost"
    return "confirmed" if trial.experiment in confirmed else "plain"


def _dot(view: View, trial: Trial, confirmed: set[str], x: float, y: float) -> str:
    score = f"{trial.value:.4f}" if trial.value is not None else str(trial.outcome)
    told = f"{short(trial.experiment, view.state.session)} {trial.tier} seed {trial.seed}: {score}"
    return (
        f'<circle id="d-{escape(trial.id)}" cx="{x:.1f}" cy="{y:.1f}" r="3.2" class="dot {_kind(trial, confirmed)}" '
        f'data-go="/e/{escape(trial.experiment)}"><title>{escape(told)}</title></circle>'
    )


def _axes(across: Scale, up: Scale, by: str) -> str:
    label = "hours worked" if by == "time" else "experiments proposed"
    return axis_left(up, _LEFT, _WIDTH - _RIGHT) + axis_below(across, _HEIGHT - _BOTTOM, _TOP, label)


def _best_so_far(across: Scale, up: Scale, best: Sequence[_Step], sd: float | None, last: float) -> str:
    """The staircase of incumbents up to ``last``, within its noise."""
    ends = [*(later.x for later in best[1:]), last]
    parts = []
    for step, end in zip(best, ends, strict=False):  # ends are one more where there is no best yet
        y1, y2 = sorted(up(step.value + reach) for reach in (-2 * (sd or 0.0), 2 * (sd or 0.0)))
        parts.append(rect(across(step.x), y1, across(end) - across(step.x), y2 - y1, "band"))
    line = steps(((across(step.x), up(step.value)) for step in best), across(last))
    return "".join(parts) + f'<path class="line" d="{line}"/>'


def _names(view: View, across: Scale, up: Scale, best: Sequence[_Step]) -> str:
    """Labels of the newest kept gains, each beside its step and clear of the one before."""
    named: list[str] = []
    taken = -1e9
    for step in best[1:][-_LABELS:]:
        words = f"{short(step.name, view.state.session)} {step.value:.4f}"
        x = across(step.x)
        anchor = "end" if x > _WIDTH - 140 else "start"
        if x - taken > 130:
            named.append(
                text(x + (-4 if anchor == "end" else 4), up(step.value) - 7, words, kind="gain", anchor=anchor)
            )
            taken = x
    return "".join(named)


def _told(view: View, tier: str, by: str, best: Sequence[_Step], trials: int) -> str:
    against = "hours worked" if by == "time" else "experiments"
    told = f"{view.metric} of {trials} trials on tier {tier} against {against}"
    if best:
        told += f"; best so far from {best[0].value:.4f} to {best[-1].value:.4f} in {len(best) - 1} kept gains"
    return told
