"""The peers of the default strategy: Optuna's own samplers and pruner, and the loop of autoresearch."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from swarm.research.experiment import Knob
from swarm.research.space import ends, from_unit, is_ordered
from swarm.research.state import Spending
from trainer.contract import Range

if TYPE_CHECKING:
    import optuna

Config = Mapping[str, Knob]


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """One configuration that a strategy wants to be run."""

    config: Config
    handle: Any = None  # the strategy's own


class Strategy(Protocol):
    """Asked and told; a larger gain is better. Several tickets may be out at once."""

    rungs: Sequence[float]  # shares of a trial's budget at which it wants to hear how the trial is doing

    @property
    def spending(self) -> Spending:
        """What it asked of language models so far."""
        ...

    def ask(self) -> Ticket:
        """What to run next."""
        ...

    def go_on(self, ticket: Ticket, rung: int, gain: float) -> bool:
        """Whether a trial that stands at ``gain`` at a rung is worth the rest of its budget; else it is over."""
        ...

    def tell(self, ticket: Ticket, gain: float | None) -> None:
        """What a ticket came to; None: it failed."""
        ...


class Whole:
    """A strategy that lets every trial use its whole budget."""

    rungs: Sequence[float] = ()

    @property
    def spending(self) -> Spending:
        """Nothing, where no model thinks."""
        return Spending()

    def go_on(self, ticket: Ticket, rung: int, gain: float) -> bool:
        """Never asked, since there are no rungs."""
        del ticket, rung, gain
        return True


Maker = Callable[[Mapping[str, Range], Config, int], Strategy]  # ranges, first configuration, seed


class OptunaPeer(Whole):
    """A study told everything at once. Constants with an order are numbers to it; failures are failed trials, which
    Optuna's samplers pass over.
    """

    def __init__(
        self,
        ranges: Mapping[str, Range],
        start: Config,
        sampler: "optuna.samplers.BaseSampler",
        *,
        halving: bool = False,
        failures_count: bool = False,
    ) -> None:
        """``failures_count``: a failure is told as the worst gain so far, to a sampler that would always ask for the
        same again where it is told of none: one that draws nothing by chance.
        """
        import optuna

        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.rungs: Sequence[float] = (0.25,) if halving else ()
        pruner = optuna.pruners.SuccessiveHalvingPruner(min_resource=1) if halving else optuna.pruners.NopPruner()
        self._study = optuna.create_study(direction="maximize", sampler=sampler, pruner=pruner)
        self._ranges, self._start = ranges, start
        self._worst: float | None = None  # gain that a failure counts as
        self._failures_count = failures_count
        self._distributions = {name: _distribution(within) for name, within in ranges.items()}
        self._study.enqueue_trial({name: _told(start[name], within) for name, within in ranges.items()})

    def ask(self) -> Ticket:
        trial = self._study.ask(self._distributions)
        config = {name: _meant(trial.params[name], within) for name, within in self._ranges.items()}
        return Ticket(config={**self._start, **config}, handle=trial)

    def go_on(self, ticket: Ticket, rung: int, gain: float) -> bool:
        from optuna.trial import TrialState

        ticket.handle.report(gain, rung + 1)
        if ticket.handle.should_prune():
            self._study.tell(ticket.handle, state=TrialState.PRUNED)
            return False
        return True

    def tell(self, ticket: Ticket, gain: float | None) -> None:
        from optuna.trial import TrialState

        if gain is None and self._failures_count:
            gain = self._worst
        if gain is None:
            self._study.tell(ticket.handle, state=TrialState.FAIL)
        else:
            self._worst = gain if self._worst is None else min(gain, self._worst)
            self._study.tell(ticket.handle, gain)


def _distribution(within: Range) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if within.choices:
        ordered = is_ordered(within)
        return IntDistribution(0, len(within.choices) - 1) if ordered else CategoricalDistribution(within.choices)
    low, high = ends(within)
    if within.integer:
        return IntDistribution(int(low), int(high), log=within.log)
    return FloatDistribution(low, high, log=within.log)


def _told(value: Knob, within: Range) -> Knob:
    return within.choices.index(value) if within.choices and is_ordered(within) else value


def _meant(value: Any, within: Range) -> Knob:
    found: Knob = within.choices[value] if within.choices and is_ordered(within) else value
    return found


class Greedy(Whole):
    """The loop of karpathy/autoresearch without its model: change the best file a little, keep what scores better.

    Each step moves one to three constants by a normal step of a tenth of their range.
    """

    def __init__(self, ranges: Mapping[str, Range], start: Config, seed: int) -> None:
        import random

        self._ranges, self._best, self._gain = ranges, start, -math.inf
        self._chance, self._begun = random.Random(seed), False

    def ask(self) -> Ticket:
        config = dict(self._best)
        if self._begun:
            for name in self._chance.sample(
                sorted(self._ranges), min(self._chance.choice((1, 2, 3)), len(self._ranges))
            ):
                config[name] = self._step(name)
        self._begun = True
        return Ticket(config=config)

    def tell(self, ticket: Ticket, gain: float | None) -> None:
        if gain is not None and gain > self._gain:
            self._best, self._gain = ticket.config, gain

    def _step(self, name: str) -> Knob:
        from swarm.research.space import to_unit

        within, value = self._ranges[name], self._best[name]
        if not is_ordered(within):
            return self._chance.choice([choice for choice in within.choices if choice != value])
        if within.choices:
            place = within.choices.index(value) + self._chance.choice((-1, 1))
            return within.choices[min(max(place, 0), len(within.choices) - 1)]
        return from_unit(to_unit(value, within) + self._chance.gauss(0.0, 0.1), within, value)


def peers() -> Mapping[str, Maker]:
    """Every peer by name."""
    import optuna

    samplers = optuna.samplers
    return {
        "random": lambda r, c, s: OptunaPeer(r, c, samplers.RandomSampler(seed=s)),
        "tpe": lambda r, c, s: OptunaPeer(r, c, samplers.TPESampler(seed=s)),
        "cmaes": lambda r, c, s: OptunaPeer(r, c, samplers.CmaEsSampler(seed=s, warn_independent_sampling=False)),
        "gp": lambda r, c, s: OptunaPeer(r, c, samplers.GPSampler(seed=s), failures_count=True),
        "asha": lambda r, c, s: OptunaPeer(r, c, samplers.TPESampler(seed=s), halving=True),
        "greedy": Greedy,
    }
