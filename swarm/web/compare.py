"""Two sessions side by side: their figures, and what each had found after so many hours."""

from dataclasses import dataclass

from swarm.status import VALIDATION, Json, standing_of
from swarm.view import View
from swarm.web.drawing import Picture, Scale, axis_below, axis_left, ceiling, steps

_WIDTH, _HEIGHT, _LEFT, _TOP, _BOTTOM = 720, 240, 54, 14, 36


@dataclass(frozen=True, kw_only=True)
class Beside:
    """What is compared of a session."""

    session: str
    metric: str
    status: Json
    hours: float  # worked
    gains: tuple[
        tuple[float, float], ...
    ]  # (hours worked, better than the baseline by so many percent), the best so far
    changes: tuple[tuple[str, str], ...]  # (constant, value) of the incumbent, as far as it was changed
    best: str  # hypothesis of the incumbent
    accelerators: tuple[str, ...]  # of validation


def beside(view: View) -> Beside:
    """The figures of one session."""
    state, status = view.state, view.status()
    gains = [(0.0, 0.0)]
    for name in state.incumbents[1:]:
        standing = standing_of(state, state.experiments[name], minimize=view.minimize)
        if standing is not None and standing.gain is not None and standing.baseline_value:
            hours = view.hours_at(view.state.confirmed_at[name])
            gains.append((hours, 100 * standing.gain.mean / abs(standing.baseline_value)))
    best = state.incumbent if state.incumbents else None
    return Beside(
        session=state.session,
        metric=view.metric,
        status=status,
        hours=status["elapsed_seconds"] / 3600,
        gains=tuple(gains),
        changes=tuple((name, str(value)) for name, value in best.changes.items()) if best else (),
        best=best.hypothesis if best else "",
        accelerators=tuple(state.accelerators(VALIDATION)),
    )


def side_by_side(left: Beside, right: Beside) -> Picture:
    """Both sessions' kept gains over hours worked, each against its own baseline."""
    across = Scale(low=0, high=ceiling(max(left.hours, right.hours)), start=_LEFT, end=_WIDTH - 12)
    gains = [gain for side in (left, right) for _, gain in side.gains]
    low = min(0.0, *gains)
    up = Scale(low=low, high=max(low + 1.0, ceiling(max(gains))), start=_HEIGHT - _BOTTOM, end=_TOP)
    lines = "".join(
        f'<path class="line {kind}" d="{steps(((across(x), up(y)) for x, y in side.gains), across(side.hours))}"/>'
        for kind, side in (("own", left), ("other", right))
    )
    axes = axis_left(up, _LEFT, _WIDTH - 12) + axis_below(across, _HEIGHT - _BOTTOM, _TOP, "hours worked")
    return Picture(
        name="compare",
        label=f"percent better than the own baseline: {left.session} {left.gains[-1][1]:.1f} after {left.hours:.2f} "
        f"hours, {right.session} {right.gains[-1][1]:.1f} after {right.hours:.2f} hours",
        width=_WIDTH,
        height=_HEIGHT,
        frame=axes + lines,
        legend=(("line own", left.session), ("line other", right.session)),
    )
