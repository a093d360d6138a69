"""A planted response surface is recovered from a few waves: which effects and interactions are real, and no others."""

import itertools
from collections.abc import Mapping
from random import Random

import pytest

from swarm.research.response import Response, response
from swarm.research.waves import factorial, foldover, half_factorial, plackett_burman

FACTORS = tuple("ABCDEFGHIJK")
NOISE = 0.01
Row = dict[str, float]


def planted(seed: int) -> Mapping[tuple[str, ...], float]:
    """Three main effects and two interactions, two to four noise sd each; one interacts with a factor that is none."""
    draw = Random(seed)
    a, b, c, d = draw.sample(FACTORS, 4)
    return {term: draw.choice((-1, 1)) * draw.uniform(2, 4) * NOISE for term in ((a,), (b,), (c,), (a, b), (c, d))}


def gain(row: Row, truth: Mapping[tuple[str, ...], float], draw: Random) -> float:
    total = draw.gauss(0, NOISE)
    for term, effect in truth.items():
        sign = effect / 2
        for factor in term:
            sign *= row[factor]
        total += sign
    return total


def next_wave(model: Response, rows: list[Row], waves: int) -> list[Row]:
    """The mirror image of the first wave, then every combination of what matters."""
    if waves == 1:
        return [dict(zip(FACTORS, row, strict=True)) for row in foldover([list(row.values()) for row in rows])]
    names = model.implicated()[:4]
    names += [name for name in FACTORS if name not in names][: max(0, 3 - len(names))]
    level = -1 if waves % 2 else 1  # the others: once low, once high
    combined = factorial(3) if len(names) == 3 else half_factorial(4)
    if waves == 3:
        combined = [(*row[:-1], -row[-1]) for row in combined]  # the other half
    return [{**dict.fromkeys(FACTORS, level), **dict(zip(names, row, strict=True))} for row in combined]


def terms(model: Response) -> set[frozenset[str]]:
    return {frozenset((e.factor,)) for e in model.effects} | {frozenset((p.a, p.b)) for p in model.interactions}


def recovered(seed: int) -> bool:
    truth, draw = planted(seed), Random(seed + 1000)
    rows = [dict(zip(FACTORS, map(float, row), strict=True)) for row in plackett_burman(11)]
    gains = [gain(row, truth, draw) for row in rows]
    for waves in range(1, 5):
        new = next_wave(response(rows, gains, NOISE), rows, waves)
        assert len(new) <= 13
        rows += new
        gains += [gain(row, truth, draw) for row in new]
    return terms(response(rows, gains, NOISE)) == {frozenset(term) for term in truth}


def test_five_waves_recover_three_effects_and_two_interactions() -> None:
    assert sum(recovered(seed) for seed in range(10)) >= 9


def test_nothing_is_found_where_nothing_is() -> None:
    found = 0
    for seed in range(40):
        draw = Random(seed)
        rows = [dict(zip(FACTORS, row, strict=True)) for row in plackett_burman(11)]
        found += bool(terms(response(rows, [draw.gauss(0, NOISE) for _ in rows], NOISE)))
    assert found <= 5


def test_the_mirror_image_frees_main_effects_of_interactions() -> None:
    rows = [dict(zip("ABCDE", row, strict=True)) for row in plackett_burman(5)]
    rows += [dict(zip("ABCDE", row, strict=True)) for row in foldover(plackett_burman(5))]
    for a, b in itertools.combinations("ABCDE", 2):
        assert all(sum(row[a] * row[b] * row[factor] for row in rows) == 0 for factor in "ABCDE")


@pytest.mark.parametrize("noise", [NOISE, None])
def test_intervals_hold_what_was_planted(noise: float | None) -> None:
    draw = Random(1)
    rows = [dict(zip("ABC", row, strict=True)) for row in factorial(3) * 2]
    truth = {("A",): 0.1, ("A", "B"): 0.05}
    model = response(rows, [gain(row, truth, draw) for row in rows], noise)
    (effect,), (pair,) = model.effects, model.interactions
    assert effect.ci is not None
    assert effect.ci[0] < 0.1 < effect.ci[1]
    assert pair.ci is not None
    assert pair.ci[0] < 0.05 < pair.ci[1]
    assert model.implicated() == ["A", "B"]
