"""Where to look next: configurations made from what was observed. Pure; all chance follows from a given seed.

Positions are in units of each range (see ``space``); a gain is positive when better.
"""

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from swarm.research.effects import Effect
from swarm.research.experiment import Knob
from swarm.research.space import configuration, from_unit, is_ordered, position, to_unit
from swarm.research.surrogate import Surrogate
from swarm.research.waves import design, ladder, levels
from trainer.contract import Range

if TYPE_CHECKING:
    import numpy as np

Config = Mapping[str, Knob]  # every constant of a candidate

SIGNIFICANT = 0.10  # two-sided p below which an effect is followed: a wrong one costs a screening trial, no more
_LADDERS = 3  # factors whose winning direction is pushed on by themselves
_REACH = (0.30, 0.06)  # sd of a local step in units of a range, first and last
_SETTLED = 300  # observations after which steps have shrunk to the last reach
_MODEL_FROM = 8  # scored observations before a surrogate says more than chance
_MODELLED = 200  # best observations it is fitted to: keeps a batch under a second
_CANDIDATES = 200  # steps it chooses from
_SHORTLIST = 30  # of them, those whose feasibility is looked at
_NEIGHBOURS = 5  # tried configurations that tell whether another would fail
_BASES = (0.6, 0.25, 0.15)  # how often local search starts from the best, second, third


@dataclass(frozen=True, kw_only=True)
class Idea:
    """A configuration worth a trial, and why."""

    config: Config
    kind: str  # screening, combination, ladder, local or sampler
    why: str  # what speaks for it, for a person
    expected: float | None = None  # gain, metric units
    design: str = "search"  # how its wave is analysed
    factors: tuple[str, ...] = ()  # whose findings led here


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One observed configuration."""

    name: str  # the experiment's
    config: Config
    gain: float | None  # None: no value
    infeasible: bool  # the configuration itself failed: crashed, diverged, out of memory or time


class Space:
    """The search space around one incumbent, and what was tried in it."""

    def __init__(
        self, incumbent: Config, ranges: Mapping[str, Range], seen: Sequence[Seen], taken: Sequence[Config]
    ) -> None:
        self.incumbent = incumbent
        self.ranges = ranges
        self.scored = sorted((s for s in seen if s.gain is not None), key=lambda s: -(s.gain or 0.0))
        self.failed = [s.config for s in seen if s.infeasible]
        self.completed = [incumbent, *(s.config for s in self.scored)]
        self._tried: np.ndarray | None = None  # positions of the completed and the failed, made when needed
        self._known = {self.key(c) for c in (incumbent, *(s.config for s in seen), *taken)}

    def key(self, config: Config) -> tuple[tuple[str, Knob], ...]:
        return configuration(config, self.ranges)

    def take(self, idea: Idea) -> bool:
        """Whether the idea is new and not doomed; from then on its configuration is known."""
        if not self.is_open(idea.config):
            return False
        self._known.add(self.key(idea.config))
        return True

    def is_open(self, config: Config) -> bool:
        """Whether a configuration is new and not doomed."""
        return self.key(config) not in self._known and not self.doomed(config)

    def doomed(self, config: Config) -> bool:
        """Whether a configuration is more likely to fail than not."""
        return self.feasible(config) < 0.5

    def feasible(self, config: Config) -> float:
        """Share of the nearest tried configurations that did not fail, the nearer ones weighing more."""
        import numpy as np

        if not self.failed:
            return 1.0
        if self._tried is None:
            tried = [*self.completed, *self.failed]
            self._tried = np.array([position({**self.incumbent, **c}, self.ranges) for c in tried])
        here = np.array(position(config, self.ranges))
        apart = ((self._tried - here) ** 2).sum(axis=1)
        nearest = np.argsort(apart, kind="stable")[:_NEIGHBOURS]
        weights = 1 / (apart[nearest] + 1e-12)
        return float(weights[nearest < len(self.completed)].sum() / weights.sum())


def screening(space: Space, factors: Sequence[str], size: int, seed: int, directions: Mapping[str, int]) -> list[Idea]:
    """A two-level design around the incumbent: each run moves about half of the factors one step.

    The run that moves none is left out: it is the incumbent, whose score is known from the replicates.
    """
    contrasts = levels(space.incumbent, space.ranges, factors, seed=seed, directions=directions)
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


def local(space: Space, taken: Sequence[Config], seed: int) -> Iterator[Idea]:
    """Endless steps from the best observed configurations, one to three constants at a time; of many such steps the
    one of the largest expected improvement, refined once around itself (a trust region in the manner of TuRBO:
    Eriksson et al., NeurIPS 2019).
    """
    chance = random.Random(seed)
    bases = [s for s in space.scored[: len(_BASES)] if (s.gain or 0) > 0]
    starts: list[Config] = [s.config for s in bases] or [space.incumbent]
    name = f"the best so far, {bases[0].name} at {bases[0].gain:+.4g}" if bases else "the incumbent"
    first, last = _REACH
    reach = first * (last / first) ** min(len(space.scored) / _SETTLED, 1.0)
    model = _surrogate(space, taken)
    while True:
        steps = [
            _moved(space, chance.choices(starts, weights=_BASES[: len(starts)])[0], reach, chance)
            for _ in range(_CANDIDATES if model else 1)
        ]
        chosen = steps[0]
        expected = None
        if model:
            chosen = _best(space, model, steps)
            chosen = _best(space, model, [chosen, *(_moved(space, chosen, reach / 2, chance) for _ in steps)])
            expected = model.mean(chosen)
            model.believe(chosen)
        yield Idea(config=chosen, kind="local", why=f"a small step from {name}", expected=expected)


def _surrogate(space: Space, taken: Sequence[Config]) -> Surrogate | None:
    told = space.scored[:_MODELLED]
    if len(told) < _MODEL_FROM:
        return None
    told_gains = [s.gain for s in told if s.gain is not None]
    model = Surrogate(space.ranges, [s.config for s in told], told_gains)
    for config in taken[-_MODELLED:]:
        model.believe({**space.incumbent, **config})
    return model


def _best(space: Space, model: Surrogate, configs: Sequence[Config]) -> Config:
    """The new and feasible configuration of the largest expected improvement; the first where none is."""
    worth = model.expected_improvement(configs)
    order = sorted(range(len(configs)), key=lambda index: -worth[index])[:_SHORTLIST]
    order.sort(key=lambda index: -worth[index] * space.feasible(configs[index]) ** 2)
    return next((configs[index] for index in order if space.is_open(configs[index])), configs[0])


def _moved(space: Space, base: Config, reach: float, chance: random.Random) -> Config:
    count = min(chance.choices((1, 2, 3), weights=(0.4, 0.4, 0.2))[0], len(space.ranges))
    config = dict(base)
    for factor in chance.sample(sorted(space.ranges), count):
        config[factor] = stepped(base[factor], space.ranges[factor], reach, chance)
    return config


def stepped(value: Knob, within: Range, reach: float, chance: random.Random) -> Knob:
    """Another value near ``value``: a normal step of sd ``reach``, widened until the grid yields another value."""
    if not is_ordered(within):
        return chance.choice([choice for choice in within.choices if choice != value])
    here = min(max(to_unit(value, within), 0.0), 1.0)
    for _ in range(12):
        found = from_unit(here + chance.gauss(0.0, reach), within, value)
        if found != value:
            return found
        reach *= 1.5
    return value


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
