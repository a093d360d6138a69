"""What was tried around an incumbent, as a search sees it. Pure.

Positions are in units of each range (see ``space``); a gain is positive when better.
"""

import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from swarm.research.experiment import Knob
from swarm.research.space import Cube
from swarm.research.surrogate import FITTED, Feasibility
from trainer.contract import Range

Config = Mapping[str, Knob]  # every constant of a candidate

_FEASIBLE = 360  # last observations that tell what runs
_OPEN = 100  # last configurations without a result that count as measured; those still open are among them
SETTLED = 100  # points that the lengths of a long session's models are fitted to, of a stretch twice as long
_UNSETTLED = 50  # last observations that such a stretch keeps away from
_ENDS = 150  # places before them where it may end
_LONG = 2 * SETTLED + _ENDS + _UNSETTLED  # observations of a session that is long once it has more


@dataclass(frozen=True, kw_only=True)
class Idea:
    """A configuration worth a trial, and why."""

    config: Config
    kind: str  # screening, scatter, combination, ladder, local, sampler or elsewhere
    why: str  # what speaks for it, for a person
    expected: float | None = None  # gain, metric units
    design: str = "search"  # how its wave is analysed
    factors: tuple[str, ...] = ()  # whose findings led here


class Seen(NamedTuple):
    """One observed configuration. A tuple, since all that were seen are told for every thought."""

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
        self.seen = seen
        self.taken = taken[-_OPEN:]
        self.scored = sorted((s for s in seen if s.gain is not None), key=lambda s: -(s.gain or 0.0))
        self.cube = Cube(ranges, incumbent)
        self.keys = [self.key(config) for config in (incumbent, *(s.config for s in seen))]
        self._known = {*self.keys, *map(self.key, taken)}

    def key(self, config: Config) -> tuple[Knob | None, ...]:
        """Equal for configurations that agree on all that is searched."""
        return self.cube.values(config)

    def take(self, idea: Idea) -> bool:
        """Whether the idea is new and not doomed; from then on its configuration is known."""
        if not self.is_new(idea.config) or self.doomed(idea.config):
            return False
        self._known.add(self.key(idea.config))
        return True

    def is_new(self, config: Config) -> bool:
        """Whether a configuration was neither tried nor proposed."""
        return self.key(config) not in self._known

    def doomed(self, config: Config) -> bool:
        """Whether a configuration is more likely to fail than not."""
        return not self.runs(self.cube.rows([config]))[0]

    def feasible(self, rows: np.ndarray) -> np.ndarray:
        """How likely each is to run; 1 before anything has failed."""
        if self._feasibility is None:
            return np.ones(len(rows))
        return self._feasibility.probability(self.cube.features(rows))

    def runs(self, rows: np.ndarray) -> np.ndarray:
        """Whether each is more likely to run than not: cheaper than ``feasible``."""
        if self._feasibility is None:
            return np.ones(len(rows), dtype=bool)
        return self._feasibility.runs(self.cube.features(rows))

    def bounded(self, most: int) -> int:
        """How many of ``most`` a model is told, ranks, or looks twice: a third in a long session, whose steps are
        small.
        """
        return most if self.settled is None else max(1, most // 3)

    @property
    def turn(self) -> int:
        """A number that moves on with every observation, also where only so many are still known."""
        return len(self.seen) if self.settled is None else zlib.crc32(self.seen[-1].name.encode())

    @cached_property
    def rows(self) -> np.ndarray:
        """The incumbent and what was seen, in order."""
        return self.cube.placed(self.keys)

    @cached_property
    def points(self) -> np.ndarray:
        """The features of ``rows``."""
        return self.cube.features(self.rows)

    @cached_property
    def settled(self) -> np.ndarray | None:
        """Which of ``seen`` the lengths of a model are fitted to in a long session; None: it is not long.

        It ends at the one of ``_ENDS`` places whose name has the least digest, which seldom becomes another one, and a
        fit is remembered meanwhile (winnowing: Schleimer, Wilkerson and Aiken, SIGMOD 2003). The newest are left out,
        which another trial may still change.
        """
        if len(self.seen) <= _LONG:
            return None
        newest = len(self.seen) - _UNSETTLED
        end = min(range(newest - _ENDS, newest), key=lambda place: zlib.crc32(self.seen[place].name.encode()))
        return np.arange(end - 2 * SETTLED, end)

    @cached_property
    def _feasibility(self) -> Feasibility | None:
        told = np.array([s.infeasible or s.gain is not None for s in self.seen], dtype=bool)
        if not any(s.infeasible for s in self.seen):
            return None
        ran = np.array([True, *(not s.infeasible for s in self.seen)])
        which = np.append(True, told)
        some = np.array([], dtype=int) if self.settled is None else 1 + self.settled[told[self.settled]]
        like = (self.points[some], ran[some]) if len(some) > 1 else None
        fitted, kept = FITTED if like is None else SETTLED, self.bounded(_FEASIBLE)
        return Feasibility(self.points[which], ran[which], self.cube.groups, fitted=fitted, kept=kept, like=like)
