"""When a screening trial is hopeless: limits on its loss at some points of its budget. Pure.

A median rule (after Golovin et al., Google Vizier, KDD 2017), widened: at each point a trial is cut whose training loss
is farther above the median of the earlier candidates' there than the best of them is below it. The loss is the
candidate's own word. A false one can only spare a trial the cut, and then the judge's score decides, as it always does.
"""

import statistics
from collections.abc import Iterable, Sequence

CURVE_POINTS = 10  # a curve has the mean loss of each tenth of the budget
POINTS = (4, 6, 8)  # tenths that are over when a trial is looked at
ENOUGH = 8  # candidates with a whole curve before any trial is cut


def limits(curves: Iterable[Sequence[float]]) -> tuple[tuple[float, float], ...]:
    """(share of the budget, highest loss in the tenth before it), from one whole curve of each earlier candidate."""
    whole = [curve for curve in curves if len(curve) == CURVE_POINTS]
    if len(whole) < ENOUGH:
        return ()
    found = []
    for tenths in POINTS:
        losses = [curve[tenths - 1] for curve in whole]
        middle = statistics.median(losses)
        found.append((tenths / CURVE_POINTS, 2 * middle - min(losses)))
    return tuple(found)
