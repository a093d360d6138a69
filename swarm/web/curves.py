"""Loss curves of an experiment's trials beside those of the candidate it was compared with."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from swarm.research.experiment import Experiment, Trial
from swarm.view import View
from swarm.web.drawing import Picture, Scale, axis_below, axis_left, ceiling, polyline
from swarm.web.reading import Reading
from trainer.contract import read_curve

LEGEND = (("line own", "this experiment"), ("line other", "the incumbent it was compared with"))
_CURVES = 6  # trials of each side
_POINTS = 90  # of a curve, each the mean of the steps around it
_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 220, 48, 10, 36


@dataclass(frozen=True, kw_only=True)
class _Curve:
    kind: str  # "own" or "other"
    points: tuple[tuple[float, float], ...]  # (seconds charged, training loss)


def curves(reading: Reading, view: View, one: Experiment, tier: str) -> Picture | None:
    """Training loss against seconds on one tier; None where no trial left a curve."""
    against = view.state.experiments.get(str(one.verdict.get("against", "")), view.state.baseline)
    found = [
        curve
        for kind, experiment in (("other", against), ("own", one))
        if kind == "own" or experiment.id != one.id
        for curve in _of(reading, view, kind, _ran(experiment, tier))
    ]
    if not any(curve.kind == "own" for curve in found):
        return None
    ends = [curve.points[-1][0] for curve in found]
    # the first steps fall from far above and would flatten all that is to be seen
    late = [loss for curve in found for seconds, loss in curve.points if seconds >= 0.1 * curve.points[-1][0]]
    margin = 0.05 * (max(late) - min(late)) or 0.1
    across = Scale(low=0, high=ceiling(max(ends)), start=_LEFT, end=_WIDTH - 12)
    up = Scale(low=min(late) - margin, high=max(late) + margin, start=_HEIGHT - _BOTTOM, end=_TOP)
    lines = "".join(
        f'<path class="line {curve.kind}" d="{polyline((across(x), up(y)) for x, y in curve.points)}"/>'
        for curve in found
    )
    axes = axis_left(up, _LEFT, _WIDTH - 12) + axis_below(across, _HEIGHT - _BOTTOM, _TOP, "seconds of training")
    mine = sum(curve.kind == "own" for curve in found)
    return Picture(
        name=f"curves-{tier}",
        label=f"training loss of {mine} {tier} trials of {one.id} beside {len(found) - mine} of {against.id}",
        width=_WIDTH,
        height=_HEIGHT,
        frame=axes + lines,
        legend=LEGEND if len(found) > mine else LEGEND[:1],
    )


def _ran(experiment: Experiment, tier: str) -> list[Trial]:
    return [trial for trial in experiment.trials if trial.tier == tier][-_CURVES:]


def _of(reading: Reading, view: View, kind: str, trials: Sequence[Trial]) -> list[_Curve]:
    found = []
    for trial in trials:
        points = [(p["seconds"], p["loss"]) for p in read_curve(reading.trial_folder(view.state.session, trial.id))]
        if len(points) > 1:
            found.append(_Curve(kind=kind, points=tuple(_means(points))))
    return found


def _means(points: Sequence[tuple[float, float]]) -> Iterator[tuple[float, float]]:
    """At most _POINTS means of neighbours."""
    stride = -(-len(points) // _POINTS)
    for start in range(0, len(points), stride):
        near = points[start : start + stride]
        yield near[-1][0], statistics.fmean(loss for _, loss in near)
