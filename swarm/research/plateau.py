"""When a session has stopped finding gains, and what is proposed then: bolder designs, and samplers that go elsewhere.

A plateau is counted in experiments: those decided since the last CONFIRMED gain (or the start), whatever became of
them; the rejected cost nothing and do not count. It is announced at ``FIRST_WAVES`` waves, and again whenever it has
become twice as long; each time the search is widened once more. Pure; all chance follows from a given seed.
"""

from collections.abc import Iterator

import numpy as np

from swarm.research.tried import Idea, Space

FIRST_WAVES = 4  # waves without a confirmed gain that make a plateau
_FAR = 100  # random points of which the loneliest is taken
_GOOD = 20  # best configurations that are mixed
_SCALE = 0.7  # of a difference that is added, as differential evolution has it


def level(barren: int, wave_size: int) -> int:
    """How often a plateau of ``barren`` experiments is to be announced: 0 before it is one, 1, then 2 at twice that."""
    return max(0, (barren // (FIRST_WAVES * wave_size)).bit_length())


def elsewhere(space: Space, seed: int) -> Iterator[Idea]:
    """Endless proposals far from where the search has settled, by three samplers in turn."""
    chance = np.random.default_rng((seed, 2))
    samplers = (_lonely, _leap, _mixed)
    for turn in range(10**9):
        row, why = samplers[turn % len(samplers)](space, chance)
        yield Idea(config=space.cube.config(space.cube.snapped(row[None, :])[0]), kind="elsewhere", why=why)


def _lonely(space: Space, chance: np.random.Generator) -> tuple[np.ndarray, str]:
    """Of many random points, the one farthest from all that was tried."""
    rows = space.cube.snapped(chance.random((_FAR, len(space.cube.names))))
    tried, points = space.points, space.cube.features(rows)
    squares = (points**2).sum(1)[:, None] + (tried**2).sum(1)[None, :] - 2 * points @ tried.T
    return rows[int(np.argmax(squares.min(axis=1)))], "nothing near it was ever tried"


def _leap(space: Space, chance: np.random.Generator) -> tuple[np.ndarray, str]:
    """A good configuration with half of its constants thrown anew: out of the basin, not out of the region."""
    row = _good(space)[chance.integers(len(_good(space)))]
    thrown = chance.random(len(row)) < 0.5
    return np.where(thrown, chance.random(len(row)), row), "half of a good configuration, the rest thrown anew"


def _mixed(space: Space, chance: np.random.Generator) -> tuple[np.ndarray, str]:
    """A good configuration, moved as two others differ (Storn & Price, J. of Global Optimization 11, 1997)."""
    good = _good(space)
    one, plus, minus = good[chance.integers(len(good), size=3)]
    crossed = chance.random(len(one)) < 0.9
    return np.where(crossed, one + _SCALE * (plus - minus), one), "a good configuration moved as two others differ"


def _good(space: Space) -> np.ndarray:
    return space.cube.rows([space.incumbent, *(seen.config for seen in space.scored[:_GOOD])])
