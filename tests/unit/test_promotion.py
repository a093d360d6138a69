"""The rules that decide what counts as a gain."""

import math
import random
import statistics
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swarm.config import PromotionSettings
from swarm.research.promotion import (
    Gain,
    Noise,
    NoiseFloor,
    Screening,
    Validation,
    allowance,
    gain_over,
    looks,
    paired_gain,
    screen,
    validate,
)
from tests.evidence_lab import Story, played

STEPS = looks(2, 8)
scores = st.floats(min_value=0.5, max_value=5, allow_nan=False)


@given(st.lists(st.lists(scores, min_size=1, max_size=6), min_size=1, max_size=6))
def test_noise_floor_is_the_pooled_variance_in_any_order(groups: list[list[float]]) -> None:
    values = [(f"c{number}", value) for number, group in enumerate(groups) for value in group]
    random.Random(0).shuffle(values)
    floor = NoiseFloor()
    for candidate, value in values:
        floor.add(candidate, value)
    df = sum(len(group) - 1 for group in groups)
    if df == 0:
        assert floor.noise is None
        return
    squares = sum((len(g) - 1) * statistics.variance(g) for g in groups if len(g) > 1)
    assert floor.noise is not None
    assert floor.noise.df == df
    assert floor.noise.sd == pytest.approx(math.sqrt(squares / df), abs=1e-9)


@pytest.mark.parametrize("minimize", [True, False])
def test_a_gain_is_positive_when_the_candidate_is_better(minimize: bool) -> None:
    better, worse = (2.0, 2.5) if minimize else (2.5, 2.0)
    noise = Noise(sd=0.1, df=6)
    assert gain_over([better], [worse], noise, minimize=minimize).mean == pytest.approx(0.5)
    assert paired_gain([(better, worse)], noise, minimize=minimize).mean == pytest.approx(0.5)


def test_more_pairs_narrow_the_interval() -> None:
    noise = Noise(sd=0.1, df=6)
    two = paired_gain([(2.0, 2.1)] * 2, noise, minimize=True)
    five = paired_gain([(2.0, 2.1)] * 5, noise, minimize=True)
    assert five.se < two.se
    assert two.interval()[0] < 0.1 < two.interval()[1]


@pytest.mark.parametrize(
    ("mean", "looks", "expected"),
    [
        (1.0, 1, Screening.PROMOTED),
        (0.1, 1, Screening.RETEST),
        (0.1, 2, Screening.RETEST),
        (0.1, 3, Screening.PRUNED),
        (0.0, 1, Screening.PRUNED),
        (-1.0, 1, Screening.PRUNED),
    ],
)
def test_screening_promotes_the_clear_and_retests_the_grey(mean: float, looks: int, expected: Screening) -> None:
    assert screen(Gain(mean=mean, se=0.1, df=3, n=looks), looks=looks) is expected


def test_validation_confirms_refutes_or_asks_for_more() -> None:
    def said(mean: float, n: int) -> Validation:
        return validate(Gain(mean=mean, se=0.1, df=20, n=n), alpha=0.05, steps=looks(2, 5))

    assert said(1.0, 2) is Validation.CONFIRMED
    assert said(0.1, 2) is Validation.UNDECIDED
    assert said(0.1, 5) is Validation.REFUTED
    assert said(-1.0, 2) is Validation.REFUTED


def test_allowances_of_a_session_without_confirmations_add_up_to_less_than_alpha() -> None:
    assert sum(allowance(test, [], 0.05) for test in range(1, 10_000)) < 0.05


def test_a_confirmation_earns_later_validations_a_larger_allowance() -> None:
    assert allowance(5, [4], 0.05) > allowance(5, [], 0.05)


@pytest.mark.parametrize("noise_sd", [0.0003, 0.02])
def test_sessions_of_nulls_confirm_at_most_the_stated_share(noise_sd: float) -> None:
    """500 sessions of 40 validations in which nothing is better: at most alpha of them confirm anything."""
    draw = random.Random(7)
    wrong = 0
    for _ in range(500):
        floor = NoiseFloor()
        reference = [draw.gauss(2.5, noise_sd) for _ in range(STEPS[-1])]
        for value in reference:
            floor.add("reference", value)
        wrong += _confirms_a_null(draw, floor, reference, noise_sd)
    assert wrong / 500 <= 0.05


def _confirms_a_null(draw: random.Random, floor: NoiseFloor, reference: list[float], noise_sd: float) -> bool:
    for test in range(1, 41):
        pairs: list[tuple[float, float]] = []
        said = Validation.UNDECIDED
        while said is Validation.UNDECIDED:
            for _ in range(next(step for step in STEPS if step > len(pairs)) - len(pairs)):
                value = draw.gauss(2.5, noise_sd)
                floor.add(f"null {test}", value)
                pairs.append((value, reference[len(pairs)]))
            assert floor.noise is not None
            gain = paired_gain(pairs, floor.noise, minimize=True)
            said = validate(gain, alpha=allowance(test, [], 0.05), steps=STEPS)
        if said is Validation.CONFIRMED:
            return True
    return False


def test_looks_double_and_end_at_the_last_pair() -> None:
    assert looks(4, 64) == [4, 8, 16, 32, 64]
    assert looks(2, 5) == [2, 4, 5]
    assert looks(4, 4) == [4]


def test_what_lags_behind_is_given_up_early() -> None:
    def said(mean: float, n: int) -> Validation:
        return validate(Gain(mean=mean, se=0.1, df=50, n=n), alpha=0.01, steps=looks(4, 64))

    assert said(-0.01, 4) is Validation.REFUTED
    assert said(0.01, 4) is Validation.UNDECIDED
    assert said(0.03, 8) is Validation.REFUTED
    assert said(0.05, 8) is Validation.UNDECIDED


def test_sessions_that_change_nothing_confirm_nothing() -> None:
    """Forty sessions of 1,000 experiments on drifting machines: at most 3 confirm anything."""
    noises = (0.0003, 0.001, 0.005, 0.02)
    stories = [Story(noise=noises[seed % 4], share=0.0, effect=0.0) for seed in range(40)]
    counts = [played(story, seed, PromotionSettings()) for seed, story in enumerate(stories)]
    assert sum(count["null confirmed"] > 0 for count in counts) <= 3
    assert sum(count["null promoted"] for count in counts) > 1000  # what validation had to refute


@pytest.mark.parametrize(("effect", "power"), [(3.0, 0.9), (2.0, 0.7), (1.0, 0.2)])
def test_true_gains_are_found_among_nulls_and_few_false_ones_with_them(effect: float, power: float) -> None:
    noises = (0.0003, 0.001, 0.005, 0.02)
    stories = [Story(noise=noises[seed % 4], share=0.05, effect=effect) for seed in range(40)]
    counts = [played(story, 1000 + seed, PromotionSettings()) for seed, story in enumerate(stories)]
    total = sum(counts, Counter())
    assert total["true confirmed"] >= power * total["true"]
    assert total["null confirmed"] <= 0.05 * (total["true confirmed"] + total["null confirmed"])
