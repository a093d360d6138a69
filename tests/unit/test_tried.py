"""What a search makes of what was tried: the stretch a long session learns from, and what is worth a look."""

from itertools import pairwise

import numpy as np
import pytest

from swarm.research.search import RANKED, worths
from swarm.research.surrogate import FITTED
from swarm.research.tried import Seen, Space
from trainer.contract import Range

RANGES = {"RATE": Range(low=0.001, high=0.1, log=True), "DECAY": Range(low=0.0, high=0.5)}
START = {"RATE": 0.01, "DECAY": 0.1}
WINDOW = 600  # observations that are shown at a time


def seen_until(last: int) -> list[Seen]:
    numbers = range(max(0, last - WINDOW), last)
    return [
        Seen(name=f"s-e{n:05d}", config={**START, "DECAY": n % 500 / 1000}, gain=n % 7 / 10, infeasible=False)
        for n in numbers
    ]


def test_a_long_session_learns_from_a_stretch_that_seldom_moves() -> None:
    assert Space(START, RANGES, seen_until(400), []).settled is None
    stretches = []
    for last in range(1000, 1300):
        seen = seen_until(last)
        settled = Space(START, RANGES, seen, []).settled
        assert settled is not None
        stretches.append(tuple(seen[place].name for place in settled))
    assert min(map(len, stretches)) >= FITTED
    moves = sum(one != other for one, other in pairwise(stretches))
    assert 1 <= moves <= 30  # of 299, and new each time it would be without
    assert stretches[-1][-1] > "s-e01200"  # and it keeps up


def test_every_turn_comes_round_when_old_observations_are_forgotten() -> None:
    turns = [Space(START, RANGES, seen_until(last), []).turn % 10 for last in range(1000, 1200)]
    assert min(turns.count(turn) for turn in range(10)) >= 10


@pytest.mark.parametrize("share", [0.02, 0.5, 0.98])
def test_the_best_are_the_same_as_if_everyone_had_been_asked(share: float) -> None:
    """``share`` of the candidates are likely to run."""
    chance, fewest = np.random.default_rng(7), 10**9
    for _ in range(20):
        improvement = chance.exponential(size=400)
        likely = np.where(chance.random(400) < share, 0.8 + 0.2 * chance.random(400), 0.7 * chance.random(400))
        asked: list[int] = []

        def told(places: np.ndarray, likely: np.ndarray = likely, asked: list[int] = asked) -> np.ndarray:
            asked.extend(places)
            return np.asarray(likely[places])

        found = worths(improvement, told)
        whole = improvement * likely * np.where(likely >= 0.8, 1.0, 1e-3)
        assert list(np.argsort(-found, kind="stable")[:RANKED]) == list(np.argsort(-whole, kind="stable")[:RANKED])
        assert len(asked) == len(set(asked))
        fewest = min(fewest, len(asked))
    assert (fewest < 400) == (share > 0.1)
