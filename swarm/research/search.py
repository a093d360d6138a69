"""Where to look next: configurations made from what was observed. Pure; all chance follows from a given seed.

Positions are in units of each range (see ``space``); a gain is positive when better.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence

import numpy as np

from swarm.research.effects import Effect
from swarm.research.experiment import Knob
from swarm.research.space import Cube, from_unit, is_ordered, to_unit
from swarm.research.surrogate import FITTED, Surrogate
from swarm.research.tried import SETTLED, Config, Idea, Space
from swarm.research.waves import LADDER, Contrast, design, foldover, ladder, levels
from trainer.contract import Range

SIGNIFICANT = 0.10  # two-sided p below which an effect is followed: a wrong one costs a screening trial, no more
_LADDERS = 3  # factors whose winning direction is pushed on by themselves
_CROSSED_FACTORS = 4  # of a wave of combinations: half of them are eight runs
_RUNGS = 6  # of a ladder
_STEPS = (0.02, 0.4)  # sd of a local step in units of a range: drawn between these, so that no scale is preferred
_FACTORS = (0.3, 0.3, 0.2, 0.1, 0.1)  # how often one, two, ... constants are moved at once
_CROSSED = 0.15  # share of the candidates that mix two good configurations
_MODEL_FROM = 6  # scored observations before a surrogate says more than chance
_MODELLED = 300  # best observations it is told: keeps a proposal in milliseconds at any length
_CANDIDATES = 400  # neighbours it ranks
RANKED = 50  # of these, the first that is new is taken
_BLOCK = 100  # candidates whose chance to run is looked at together, the most promising first
_REFINED = (0.5, 0.25)  # the winner's own neighbourhood is searched at these scales
_SAFE = 0.8  # a neighbour less likely to run than this is passed over where a safer one improves at all
_STEPS_TRIED = 8  # plain steps of one constant that are drawn for a new one
_BASES = 5  # configurations of the largest expected gain that neighbours are drawn from


def screening(
    space: Space, factors: Sequence[str], size: int, seed: int, directions: Mapping[str, int], *, rungs: int = 1
) -> list[Idea]:
    """A two-level design around the incumbent: each run moves about half of the factors ``rungs`` steps.

    The run that moves none is left out: it is the incumbent, whose score is known from the replicates.
    """
    contrasts = levels(space.incumbent, space.ranges, factors, seed=seed, directions=directions, rungs=rungs)
    if not contrasts:
        return []
    names = list(contrasts)[: max(size - 1, 1)]
    name, rows = design(len(names), size)
    rows = [row for row in rows if any(level > 0 for level in row)]
    ideas = []
    for number, row in enumerate(rows, 1):
        moved = {f: contrasts[f].high for f, level in zip(names, row, strict=True) if level > 0}
        why = f"run {number} of {len(rows)} of a {name} design that tells {len(names)} effects apart"
        ideas.append(Idea(config={**space.incumbent, **moved}, kind="screening", why=why, design=name))
    return ideas


def mirrored(space: Space, tried: Sequence[Config]) -> list[Idea]:
    """The mirror image of a screening wave: what a run moved stays, and the rest moves. ``tried`` are its runs."""
    baseline = space.incumbent
    high = {name: c[name] for c in tried for name in space.ranges if c[name] != baseline[name]}
    rows = foldover([[1 if c[name] == value else -1 for name, value in high.items()] for c in (*tried, baseline)])
    ideas = []
    for number, row in enumerate(rows, 1):
        moved = {name: value for (name, value), level in zip(high.items(), row, strict=True) if level > 0}
        why = f"run {number} of {len(rows)} of the mirror image of the screening: tells effects from interactions"
        ideas.append(Idea(config={**baseline, **moved}, kind="screening", why=why, design="foldover"))
    return ideas


def scattered(space: Space, count: int, seed: int) -> list[Idea]:
    """Draws from all over the ranges, which owe nothing to the incumbent."""
    rows = np.random.default_rng((seed, 3)).random((count, len(space.cube.names)))
    why = "drawn from all over the ranges, since steps from the incumbent show nothing"
    return [Idea(config=space.cube.config(row), kind="scatter", why=why) for row in space.cube.snapped(rows)]


def crossed(
    space: Space, factors: Sequence[str], contrasts: Mapping[str, Contrast], size: int, turn: int
) -> list[Idea]:
    """Every combination, or half of them, of the levels of ``factors``: what interacts, beside what may.

    The first time (``turn`` 0) all others stay at the incumbent's level. Later turns take the other half of the
    combinations and move half of the other factors, then the other half of these: an effect that is only the shadow of
    another one does not follow.
    """
    chosen = [name for name in factors if name in contrasts][:_CROSSED_FACTORS]
    others = [name for name in contrasts if name not in chosen]
    while len(chosen) < 3 and others:
        chosen.append(others.pop(0))
    while len(chosen) > 1 and 2 ** (len(chosen) - (len(chosen) > 3)) > size + 1:
        others.append(chosen.pop())
    if len(chosen) < 2:
        return []
    name, rows = design(len(chosen), size + 1)
    if name == "half-factorial" and turn % 2:
        rows = [(*row[:-1], -row[-1]) for row in rows]
    aside = {other: contrasts[other].high for other in others[turn % 2 :: 2]} if turn else {}
    ideas = []
    for row in rows:
        moved = {f: contrasts[f].high for f, level in zip(chosen, row, strict=True) if level > 0} | aside
        if moved:
            why = f"one of the combinations of {', '.join(chosen)}: how they work together"
            ideas.append(
                Idea(config={**space.incumbent, **moved}, kind="screening", why=why, design=name, factors=tuple(chosen))
            )
    return ideas


def rungs(space: Space, factor: str) -> list[Idea]:
    """A ladder: one factor at six values over its range, everything else as in the incumbent."""
    within, value = space.ranges[factor], space.incumbent[factor]
    places = [(step + 0.5) / _RUNGS for step in range(_RUNGS)]
    found = list(dict.fromkeys(from_unit(place, within, value) for place in places))
    return [
        Idea(
            config={**space.incumbent, factor: level},
            kind="ladder",
            why=f"one of {len(found)} rungs of a ladder of {factor}: where it is best",
            design=LADDER,
            factors=(factor,),
        )
        for level in found
        if level != value
    ]


def followed(space: Space, effects: Sequence[Effect]) -> Iterator[Idea]:
    """What significant effects call for: all of them together, then further along, then one by one.

    The path of steepest ascent (Box & Wilson, Journal of the Royal Statistical Society B 13, 1951), in moderate steps:
    a factor that hurt is moved the other way, where there is another way.
    """
    ranges, base = space.ranges, dict(space.incumbent)
    sure = [e for e in effects if e.factor in ranges and e.factor in base and e.high is not None]
    sure = sorted((e for e in sure if e.p is not None and e.p < SIGNIFICANT), key=lambda e: -abs(e.effect))
    winners = [e for e in sure if e.effect > 0]
    losers = [e for e in sure if e.effect < 0 and is_ordered(ranges[e.factor])]
    together = {**base, **{e.factor: e.high for e in winners if e.high is not None}}
    names = tuple(e.factor for e in winners)
    total = sum(e.effect for e in winners)
    if winners:
        yield Idea(config=together, kind="combination", why=_heard(winners), expected=total, factors=names)
    reversed_ = {
        e.factor: rungs[0] for e in losers if (rungs := ladder(base[e.factor], ranges[e.factor], -_way(e, ranges), 1))
    }
    turned = [e for e in losers if e.factor in reversed_]
    for some in ([turned] if len(turned) > 1 else []) + [[effect] for effect in turned[:_LADDERS]]:
        config = {**together, **{e.factor: reversed_[e.factor] for e in some}}
        why = f"{_heard(some)}: the other way may help"
        yield Idea(config=config, kind="combination", why=why, factors=(*names, *(e.factor for e in some)))
    for rung in (1, 2) if winners else ():
        further = {e.factor: _rung(e, ranges, rung) for e in winners if is_ordered(ranges[e.factor])}
        why = f"{rung} step{'s' if rung > 1 else ''} further along what won: {_heard(winners)}"
        yield Idea(config={**together, **further}, kind="ladder", why=why, factors=names)
        for effect in [e for e in winners if is_ordered(ranges[e.factor])][:_LADDERS]:
            config = {**together, effect.factor: _rung(effect, ranges, rung)}
            why = f"{effect.factor} may not have reached its best: {_heard([effect])}"
            yield Idea(config=config, kind="ladder", why=why, factors=names)


def local(space: Space, seed: int) -> Iterator[Idea]:
    """Endless steps from the best configurations: many neighbours are drawn, at all scales, and of them the one goes
    first whose expected improvement times its chance to run is largest (Gardner et al., ICML 2014), looked for once
    more around itself. Plain steps while there is too little to model.
    """
    if len(space.scored) < _MODEL_FROM:
        yield from plain(space, seed)
    chance = np.random.default_rng(seed)
    model = _Model(space)
    while True:
        row = model.choose(chance)
        expected = model.expected(row)
        why = f"a step from {_best(space)} that a model of {len(space.scored)} scores expects most of"
        yield Idea(config=space.cube.config(row), kind="local", why=why, expected=expected)


def plain(space: Space, seed: int) -> Iterator[Idea]:
    """Endless steps of one constant from the best configuration, no model asked: first the values without order that
    nobody tried, then whichever constant was moved least often. What a model is blind to is still looked at.
    """
    chance = np.random.default_rng((seed, 1))
    best = next((s for s in space.scored if (s.gain or 0.0) > 0), None)
    base = space.cube.rows([best.config if best else space.incumbent])[0]
    tried = np.vstack([space.rows, space.cube.rows(space.taken)])
    moves = (np.abs(tried - space.cube.rows([space.incumbent])) > 1e-9).sum(axis=0) + chance.random(len(base))
    for column, within in enumerate(space.ranges.values()):
        if not is_ordered(within):
            places = np.arange(len(within.choices)) / max(len(within.choices) - 1, 1)
            for place in places[~np.isclose(places[:, None], tried[:, column]).any(axis=1)]:
                row = np.where(np.arange(len(base)) == column, place, base)
                why = f"{space.cube.names[column]} was never tried so"
                yield Idea(config=space.cube.config(row), kind="ladder", why=why)
    while True:
        column = int(np.argmin(moves))
        moves[column] += 1
        rows = neighbours(space.cube, base[None, :], _STEPS_TRIED, chance, only=column)
        steps = [space.cube.config(row) for row in rows]
        step = next(filter(space.is_new, steps), steps[0])
        if not space.is_new(step):
            moves[column] = moves.max() + 1  # it has few values, and all of them were tried: the others first
        yield Idea(config=step, kind="local", why=f"one step from {_best(space)}")


def _best(space: Space) -> str:
    best = next((s for s in space.scored if (s.gain or 0.0) > 0), None)
    return f"the best so far, {best.name} at {best.gain:+.4g}" if best else "the incumbent"


class _Model:
    """What is expected where, and the best neighbour by it."""

    def __init__(self, space: Space) -> None:
        self._space, self._cube = space, space.cube
        best = {s.name for s in space.scored[: space.bounded(_MODELLED)]}
        told = [place for place, s in enumerate(space.seen) if s.name in best]  # in order: most of a fit is remembered
        gains = np.array([0.0, *(s.gain or 0.0 for s in space.seen)])  # measured against the baseline
        places = 1 + np.array(told, dtype=int)
        if all(space.keys[place] != space.keys[0] for place in places):
            places = np.append(0, places)
        self._rows = space.rows[places]
        points = space.points[places]
        settled = () if space.settled is None else space.settled
        some = [1 + place for place in settled if space.seen[place].gain is not None]
        like = (space.points[some], gains[some]) if len(some) >= _MODEL_FROM else None
        fitted = FITTED if like is None else SETTLED
        self._surrogate = Surrogate(points, gains[places], self._cube.groups, fitted=fitted, like=like)
        if space.taken:
            self._surrogate.believe(self._cube.features(self._cube.rows(space.taken)))
        believed = self._surrogate.mean(points)
        safe = space.runs(self._rows)
        self._bases = self._rows[np.argsort(-np.where(safe, believed, -np.inf), kind="stable")[:_BASES]]

    def choose(self, chance: np.random.Generator) -> np.ndarray:
        """The most promising row that is new; it counts as tried from then on."""
        many = self._space.bounded(_CANDIDATES)
        rows = neighbours(self._cube, self._bases, many, chance)
        worth = self._worth(rows)
        for scale in _REFINED[: self._space.bounded(len(_REFINED))]:
            top = rows[np.argsort(-worth, kind="stable")[:3]]
            near = neighbours(self._cube, top, many // 4, chance, scale=scale)
            rows, worth = np.vstack([rows, near]), np.append(worth, self._worth(near))
        order = np.argsort(-worth, kind="stable")
        ranked = rows[order[:RANKED]]
        chosen = next((row for row in ranked if self._space.is_new(self._cube.config(row))), ranked[0])
        self._surrogate.believe(self._cube.features(chosen[None, :]))
        return np.asarray(chosen)

    def expected(self, row: np.ndarray) -> float:
        """Gain, metric units."""
        return float(self._surrogate.mean(self._cube.features(row[None, :]))[0])

    def _worth(self, rows: np.ndarray) -> np.ndarray:
        improvement = self._surrogate.expected_improvement(self._cube.features(rows))
        return worths(improvement, lambda places: self._space.feasible(rows[places]))


def worths(improvement: np.ndarray, likely: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What candidates are worth: the improvement expected of each times its chance to run, as ``likely`` tells it of
    places; nought of those that cannot be among the best, whose chance nobody asks for.
    """
    order = np.argsort(-improvement, kind="stable")
    worth = np.zeros(len(improvement))
    for first in range(0, len(order), _BLOCK):
        some, rest = order[first : first + _BLOCK], order[first + _BLOCK :]
        chance = likely(some)
        worth[some] = improvement[some] * chance * np.where(chance >= _SAFE, 1.0, 1e-3)
        if len(rest) and np.partition(worth, -RANKED)[-RANKED] >= improvement[rest[0]]:
            break
    return worth


def neighbours(
    cube: Cube,
    bases: np.ndarray,
    count: int,
    chance: np.random.Generator,
    *,
    scale: float = 1.0,
    only: int | None = None,
) -> np.ndarray:
    """Rows near ``bases``, each with one to five factors moved, or ``only`` one, by steps of
    any size; some are a mixture of two bases.
    """
    width = bases.shape[1]
    rows = bases[chance.integers(len(bases), size=count)]
    mates = bases[chance.integers(len(bases), size=count)]
    mixed = (chance.random(count) < (_CROSSED if len(bases) > 1 else 0.0))[:, None] & (chance.random(rows.shape) < 0.5)
    rows = np.where(mixed, mates, rows)
    how_many = np.minimum(chance.choice(len(_FACTORS), size=count, p=_FACTORS) + 1, width)
    order = np.argsort(chance.random((count, width)), axis=1)
    moved = np.zeros((count, width), dtype=bool)
    np.put_along_axis(moved, order, np.arange(width) < how_many[:, None], axis=1)
    if only is not None:
        moved = np.broadcast_to(np.arange(width) == only, (count, width))
    low, high = (math.log(step) for step in _STEPS)
    sd = scale * np.exp(chance.uniform(low, high, (count, 1)))
    stepped = rows + sd * chance.standard_normal((count, width))
    thrown = chance.random((width, count)).T
    least = np.where(thrown < 0.5, -1, 1) * cube.grid
    stepped = np.where(np.abs(stepped - rows) < cube.grid, rows + least, stepped)
    stepped = np.where(cube.ordered, stepped, thrown)
    return np.asarray(cube.snapped(np.where(moved, stepped, rows)))


def _way(effect: Effect, ranges: Mapping[str, Range]) -> int:
    """+1 where the contrast moved the factor up in its range, -1 where down."""
    assert effect.low is not None
    assert effect.high is not None
    within = ranges[effect.factor]
    return 1 if to_unit(effect.high, within) > to_unit(effect.low, within) else -1


def _rung(effect: Effect, ranges: Mapping[str, Range], rung: int) -> Knob:
    """The winning level, ``rung`` steps further (or at the end of the range)."""
    assert effect.high is not None
    within = ranges[effect.factor]
    further = ladder(effect.high, within, _way(effect, ranges), rung)
    return further[-1] if further else effect.high


def _heard(effects: Sequence[Effect]) -> str:
    return ", ".join(f"{e.factor} {e.effect:+.3g}" + (f" ± {e.se:.2g}" if e.se else "") for e in effects)
