"""Optuna's TPE as a source of configurations (Bergstra et al., NeurIPS 2011; multivariate, constant liar)."""

from datetime import datetime
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any

from swarm.research.experiment import Knob
from swarm.research.space import ends, from_unit, in_range, to_unit
from swarm.research.tried import Config, Idea, Space
from trainer.contract import Range

if TYPE_CHECKING:
    import optuna
    from optuna.trial import FrozenTrial, TrialState

_TOLD = 40  # observations of a long session told to TPE: the last ones, and a quarter as many of the best
_THEN = datetime(2000, 1, 1)  # when a trial ran says nothing to TPE


class Sampler:
    """TPE over a space, told what was observed; what failed is FAIL and no number. Lives for one batch."""

    def __init__(self, space: Space, seed: int) -> None:
        self._space, self._seen, self._taken, self._seed = space, space.seen, space.taken, seed
        self._study: optuna.Study | None = None

    def ask(self) -> Idea:
        """A configuration that TPE expects among the best; each further one keeps away from those before."""
        study = self._study = self._study or self._told()
        trial = study.ask(self._distributions)
        config = dict(self._space.incumbent)
        for name, within in self._space.ranges.items():
            config[name] = _snapped(trial.params[name], within, config[name])
        return Idea(config=config, kind="sampler", why=f"TPE expects it among the best of {len(self._seen)} seen")

    @cached_property
    def _distributions(self) -> "dict[str, optuna.distributions.BaseDistribution]":
        from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

        def one(within: Range) -> "optuna.distributions.BaseDistribution":
            if within.choices:
                return CategoricalDistribution(within.choices)
            low, high = ends(within)
            if within.integer:
                return IntDistribution(int(low), int(high), log=within.log)
            return FloatDistribution(low, high, log=within.log)

        return _Shared({name: one(within) for name, within in self._space.ranges.items()})

    def _told(self) -> "optuna.Study":
        import optuna
        from optuna.trial import TrialState

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        sampler = optuna.samplers.TPESampler(multivariate=True, constant_liar=True, seed=self._seed)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        many = len(self._seen) if self._space.settled is None else _TOLD
        last = self._seen[-many:]
        names = {seen.name for seen in last}
        best = [seen for seen in self._space.scored[: many // 4] if seen.name not in names]
        for seen in [*best, *last]:
            state = TrialState.FAIL if seen.gain is None else TrialState.COMPLETE
            study.add_trial(self._trial(state, seen.config, seen.gain))
        for config in self._taken:  # RUNNING: the constant liar keeps away from it
            study.add_trial(self._trial(TrialState.RUNNING, config, None))
        return study

    def _trial(self, state: "TrialState", config: Config, value: float | None) -> "FrozenTrial":
        """A trial to tell the study of, which numbers it; ``create_trial`` would copy what all of them share."""
        return _told_trial()(
            number=-1,
            trial_id=-1,
            state=state,
            value=value,
            datetime_start=_THEN,
            datetime_complete=_THEN if state.is_finished() else None,
            params=self._params(config),
            distributions=self._distributions,
            user_attrs={},
            system_attrs={},
            intermediate_values={},
        )

    def _params(self, config: Config) -> dict[str, Any]:
        """The searched constants of a configuration, those outside their range at its nearest value."""
        chosen = {name: config.get(name, self._space.incumbent[name]) for name in self._space.ranges}
        return _Shared(
            {
                name: value if in_range(value, self._space.ranges[name]) else _clipped(value, self._space.ranges[name])
                for name, value in chosen.items()
            }
        )


class _Shared(dict[str, Any]):
    """Nobody changes it, so a copy may be itself."""

    def __deepcopy__(self, memo: dict[int, Any]) -> "_Shared":
        return self


@cache
def _told_trial() -> "type[FrozenTrial]":
    """What a study is told of; a class of its own, made where Optuna is already imported."""
    from optuna.trial import FrozenTrial

    class ToldTrial(FrozenTrial):
        """The study is the only one to have it, and need not copy it."""

        def __deepcopy__(self, memo: dict[int, Any]) -> "ToldTrial":
            return self

    return ToldTrial


def _clipped(value: Knob, within: Range) -> Knob:
    return from_unit(to_unit(value, within), within, value)


def _snapped(value: Knob, within: Range, current: Knob) -> Knob:
    return value if within.choices else from_unit(to_unit(value, within), within, current)
