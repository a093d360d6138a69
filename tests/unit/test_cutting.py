"""When a screening trial is hopeless, and that nobody else is called so."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.research.cutting import ENOUGH, POINTS, limits

Losses = st.lists(st.floats(0.1, 20), min_size=10, max_size=10)


def flat(*losses: float) -> list[list[float]]:
    return [[loss] * 10 for loss in losses]


def test_nobody_is_cut_before_enough_candidates_have_a_whole_curve() -> None:
    assert limits(flat(*[4.0] * (ENOUGH - 1))) == ()
    assert limits([*flat(*[4.0] * (ENOUGH - 1)), [4.0] * 9]) == ()


def test_a_limit_lies_as_far_above_the_median_as_the_best_lies_below() -> None:
    found = limits(flat(3.0, 3.5, 4.0, 4.0, 4.0, 4.0, 9.0, 9.0))
    assert found == tuple((pytest.approx(tenths / 10), pytest.approx(5.0)) for tenths in POINTS)


@given(st.lists(Losses, min_size=ENOUGH, max_size=20))
def test_no_candidate_of_the_better_half_would_have_been_cut(curves: list[list[float]]) -> None:
    for share, highest in limits(curves):
        tenth = round(10 * share) - 1
        better = sorted(curve[tenth] for curve in curves)[: len(curves) // 2]
        assert all(loss <= highest for loss in better)
