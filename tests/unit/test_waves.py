"""Designs are orthogonal, and effects are found with intervals that can be trusted."""

from random import Random

import numpy as np
import pytest

from swarm.errors import InputError
from swarm.research.effects import code, estimable, interactions, main_effects, trends
from swarm.research.ladders import climbed
from swarm.research.waves import design, factorial, half_factorial, ladder, levels, plackett_burman
from trainer.contract import Range

FACTORS = tuple("ABCDEFGHIJK")
ROWS = [dict(zip(FACTORS, row, strict=True)) for row in plackett_burman(11)]


def gains(draw: Random, sd: float = 0.01) -> list[float | None]:
    """A helps by 0.10, B hurts by 0.06, and they interact by 0.04."""
    return [0.05 * r["A"] - 0.03 * r["B"] + 0.02 * r["A"] * r["B"] + draw.gauss(0, sd) for r in ROWS]


@pytest.mark.parametrize("factors", [1, 3, 7, 8, 11, 12, 15, 16, 19, 20, 23])
def test_screening_designs_are_orthogonal_and_end_at_the_centre(factors: int) -> None:
    matrix = np.array(plackett_burman(factors))
    assert (matrix.T @ matrix == len(matrix) * np.eye(factors)).all()
    assert (matrix.sum(axis=0) == 0).all()
    assert (matrix[-1] == -1).all()


def test_a_screening_design_has_its_limits() -> None:
    with pytest.raises(InputError, match="1 to 23"):
        plackett_burman(24)


@pytest.mark.parametrize("factors", [3, 4, 5, 6])
def test_half_a_factorial_keeps_the_centre_and_balance(factors: int) -> None:
    matrix = np.array(half_factorial(factors))
    assert len(matrix) == 2 ** (factors - 1)
    assert (matrix.T @ matrix == len(matrix) * np.eye(factors)).all()
    assert (matrix == -1).all(axis=1).any()


def test_the_strongest_design_that_fits_is_taken() -> None:
    assert [design(n, 12)[0] for n in (2, 3, 4, 5, 11)] == [
        "factorial",
        "factorial",
        "half-factorial",
        "plackett-burman",
        "plackett-burman",
    ]
    assert len(factorial(3)) == 8


def test_levels_stay_inside_and_follow_earlier_findings() -> None:
    ranges = {
        "LR": Range(low=1e-4, high=1e-1, log=True),
        "TOP": Range(low=1, high=8, integer=True),
        "NAME": Range(choices=("a", "b", "c")),
    }
    knobs = {"LR": 3e-3, "TOP": 8, "NAME": "a"}
    found = levels(knobs, ranges, list(ranges), seed=1, directions={"LR": 1})
    assert found["LR"].high == pytest.approx(7.5e-3)
    assert levels(knobs, ranges, ["LR"], seed=1, directions={"LR": -1})["LR"].high == pytest.approx(1.2e-3)
    assert found["TOP"].high < 8
    assert found["NAME"].high in {"b", "c"}


def test_a_ladder_climbs_to_the_end_and_no_further() -> None:
    within = Range(low=1e-4, high=1e-2, log=True)
    assert ladder(1e-3, within, 1, 5) == pytest.approx([2.5e-3, 6.25e-3, 1e-2])
    assert ladder(1e-2, within, 1, 3) == []


def test_main_effects_and_the_interaction_are_found() -> None:
    effects = {effect.factor: effect for effect in main_effects(ROWS, gains(Random(0)), 0.01)}
    assert effects["A"].effect == pytest.approx(0.10, abs=0.02)
    assert effects["B"].effect == pytest.approx(-0.06, abs=0.02)
    assert effects["A"].p is not None
    assert effects["A"].p < 0.01
    pair = interactions(ROWS, gains(Random(0)), 0.01)[0]
    assert {pair.a, pair.b} == {"A", "B"}
    assert pair.effect == pytest.approx(0.04, abs=0.02)


def test_intervals_cover_what_they_claim() -> None:
    """Of 95% intervals of factors that do nothing, about 95% hold nought: the noise floor has 3 degrees of freedom."""
    held = total = 0
    for seed in range(60):
        draw = Random(seed)
        floor = np.std([draw.gauss(0, 0.01) for _ in range(4)], ddof=1)
        for effect in main_effects(ROWS, [draw.gauss(0, 0.01) for _ in ROWS], float(floor)):
            assert effect.ci is not None
            held += effect.ci[0] <= 0 <= effect.ci[1]
            total += 1
    assert 0.90 <= held / total <= 0.99


def test_crashed_runs_leave_the_strong_factors_standing() -> None:
    found = gains(Random(0))
    found[0] = found[4] = None
    effects = main_effects(ROWS, found, 0.01)
    assert effects[0].factor == "A"
    assert len(effects) == 5
    told = estimable(ROWS, found)
    assert set(told.factors) == {effect.factor for effect in effects}
    assert set(told.factors) | set(told.lost) == set(FACTORS)


def test_aliases_are_named() -> None:
    told = estimable(ROWS, gains(Random(0)))
    assert "B x C" in told.aliases["A"]
    assert not any("A" in pair.split(" x ") for pair in told.aliases["A"])
    full = [dict(zip("AB", row, strict=True)) for row in factorial(2)]
    assert estimable(full, [0.0, 1.0, 2.0, 3.0]).aliases == {"A": (), "B": ()}


def test_without_runs_or_noise_nothing_is_claimed() -> None:
    assert main_effects(ROWS, [None] * 12, 0.01) == []
    assert interactions(ROWS, [None] * 12, 0.01) == []
    effect = main_effects(ROWS, gains(Random(0)), None)[0]
    assert (effect.se, effect.ci, effect.p) == (None, None, None)


def test_configurations_are_coded_against_the_baseline() -> None:
    baseline = {"LR": 1.0, "SIZE": 8, "SAME": 1}
    contrasts, rows = code(baseline, [{**baseline, "LR": 2.0}, {**baseline, "SIZE": 4}, {**baseline, "SIZE": 16}])
    assert set(contrasts) == {"LR"}
    assert [row["LR"] for row in rows] == [1, -1, -1]


def test_trends_need_no_design() -> None:
    draw = Random(3)
    runs = [{"LR": 10 ** draw.uniform(-4, -2), "NAME": draw.choice("ab"), "K": draw.randint(1, 9)} for _ in range(40)]
    found = [0.05 * np.log10(run["LR"]) + (0.02 if run["NAME"] == "b" else 0) + draw.gauss(0, 0.01) for run in runs]
    effects = {effect.factor: effect for effect in trends(runs, found, 0.01)}
    assert effects["LR"].effect == pytest.approx(0.1, abs=0.03)
    assert effects["NAME"].effect == pytest.approx(0.02 if effects["NAME"].high == "b" else -0.02, abs=0.012)
    assert effects["NAME"].low == runs[0]["NAME"]
    assert effects["K"].p is not None
    assert effects["K"].p > 0.01


def test_a_ladder_finds_where_a_factor_is_best() -> None:
    draw, base = Random(2), {"WIDTH": 64, "RATE": 0.01}
    widths = [32, 48, 64, 96, 128, 192]
    runs = [
        {"knobs": {**base, "WIDTH": w}, "gain": 0.1 - 0.1 * np.log(w / 112) ** 2 + draw.gauss(0, 0.003)} for w in widths
    ]
    runs[5]["gain"] = None  # too wide to run
    told = climbed(base, runs, 0.003)
    (effect,) = told["effects"]
    assert (effect["factor"], effect["low"], effect["high"]) == ("WIDTH", 64, 128)
    truth = 0.1 * np.log(64 / 112) ** 2 - 0.1 * np.log(128 / 112) ** 2
    assert effect["ci"][0] < truth < effect["ci"][1]
    assert effect["p"] < 0.01
    assert [rung["value"] for rung in told["ladder"]["rungs"]] == widths
    assert climbed(base, runs[:3], 0.003)["effects"] == []  # too few to tell
