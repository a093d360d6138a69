"""Optuna: one study a tier in a storage that Optuna, and optuna-dashboard, open; scores of two tiers do not compare."""

import warnings
from datetime import datetime
from typing import TYPE_CHECKING, Any

from swarm.exports.told import About, GainTold, TrialTold
from swarm.research.experiment import Knob
from swarm.research.space import ends, in_range
from swarm.status import VALIDATION
from trainer.contract import Range

if TYPE_CHECKING:
    import optuna

_OURS = "nightswarm trial"  # user attribute that names the trial


class OptunaSink:
    """A Sink (see told): a storage by its URL, such as sqlite:///optuna.db."""

    def __init__(self, about: About, url: str) -> None:
        import optuna

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._about = about
        self._storage = optuna.storages.get_storage(url)
        self._studies: dict[str, optuna.Study] = {}  # tier -> study

    def known(self) -> set[str]:
        import optuna

        found: set[str] = set()
        for name in optuna.get_all_study_names(self._storage):
            if name.startswith(f"{self._about.session} "):
                study = optuna.load_study(study_name=name, storage=self._storage)
                trials = study.get_trials(deepcopy=False)
                found.update(trial.user_attrs[_OURS] for trial in trials if _OURS in trial.user_attrs)
                found.update(study.user_attrs.get("gains", {}))
        return found

    def trial(self, told: TrialTold) -> None:
        from optuna.trial import TrialState, create_trial

        trial = told.trial
        knobs = told.knobs
        ranges = {n: within for n, within in told.ranges.items() if n in knobs and _fits(knobs[n], within)}
        others = {name: value for name, value in knobs.items() if name not in ranges}
        made = create_trial(
            state=TrialState.COMPLETE if trial.completed else TrialState.FAIL,
            value=trial.value,
            params={name: knobs[name] for name in ranges},
            distributions={name: _distribution(knobs[name], within) for name, within in ranges.items()},
            user_attrs={_OURS: trial.id, **others, **told.facts, **told.measured(self._about.metric)},
            intermediate_values=dict(enumerate(trial.curve, 1)),
        )
        made.datetime_start = datetime.fromtimestamp(trial.started_at)
        made.datetime_complete = datetime.fromtimestamp(trial.ended_at or trial.started_at)
        self._study(trial.tier).add_trial(made)

    def gain(self, told: GainTold) -> None:
        study = self._study(VALIDATION)
        study.set_user_attr("gains", {**study.user_attrs.get("gains", {}), told.experiment: told.value})

    def close(self) -> None:
        self._storage.remove_session()

    def _study(self, tier: str) -> "optuna.Study":
        import optuna

        if tier not in self._studies:
            study = optuna.create_study(
                storage=self._storage,
                study_name=f"{self._about.session} {tier}",
                direction="minimize" if self._about.minimize else "maximize",
                load_if_exists=True,
            )
            with warnings.catch_warnings(action="ignore", category=optuna.exceptions.ExperimentalWarning):
                study.set_metric_names([self._about.metric])  # what the dashboard writes on its axes
            self._studies[tier] = study
        return self._studies[tier]


def _fits(value: Knob, within: Range) -> bool:
    """Whether a value could be in the range if that were wider: Optuna takes a wider interval, but no new choice."""
    if within.choices:
        return in_range(value, within)
    if isinstance(value, str | bool) or (within.integer and value != int(value)):
        return False
    return value > 0 or not within.log


def _distribution(value: Any, within: Range) -> "optuna.distributions.BaseDistribution":
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if within.choices:
        return CategoricalDistribution(within.choices)
    low, high = ends(within)
    low, high = min(low, value), max(high, value)
    if within.integer:
        return IntDistribution(int(low), int(high), log=within.log)
    return FloatDistribution(low, high, log=within.log)
