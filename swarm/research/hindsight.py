"""How much we fooled ourselves: a gain as it was confirmed beside what the hidden shard says on fresh seeds. Pure."""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass

from swarm.research.experiment import Experiment, Trial
from swarm.research.promotion import t_quantile
from swarm.research.state import SessionState

TIER = "validate"


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A candidate and the baseline on the hidden shard, and what is left of the gain. Metric units."""

    value: float  # mean of the candidate on the hidden shard
    baseline_value: float  # of the baseline, on the same seeds
    seeds: int  # fresh ones, by which nothing was chosen
    gain: float  # over the baseline on the hidden shard
    shown: float  # over the baseline on the validation shard, on the seeds by which it was confirmed
    gap: float  # shown - gain: positive where the validation flattered it
    ci95: tuple[float, float]  # of the gap, from the noise floor of the validation tier


def gap_of(state: SessionState, experiment: Experiment, *, minimize: bool) -> Gap | None:
    """What the hidden shard says of a candidate; None before it and the baseline were scored there on one seed.

    Both gains are unpaired means of runs on one accelerator type; scores on the hidden shard are taken to be as noisy
    as those on the validation shard, which is where noise is measured.
    """
    ours, base = (_on_hidden_shard(one.completed(TIER)) for one in (experiment, state.baseline))
    seeds = sorted(ours.keys() & base.keys())
    if not seeds:
        return None
    accelerator = ours[seeds[0]].accelerator
    noise = state.noise(TIER, accelerator)
    chosen = [_chosen_by(one.completed(TIER, accelerator)) for one in (experiment, state.baseline)]
    both = sorted(chosen[0].keys() & chosen[1].keys())
    if noise is None or not both:
        return None
    sign = 1.0 if minimize else -1.0
    value = statistics.fmean(ours[seed].holdout or 0.0 for seed in seeds)
    baseline_value = statistics.fmean(base[seed].holdout or 0.0 for seed in seeds)
    gain = sign * (baseline_value - value)
    shown = sign * statistics.fmean((chosen[1][seed].value or 0.0) - (chosen[0][seed].value or 0.0) for seed in both)
    se = noise.sd * (2 / len(both) + 2 / len(seeds)) ** 0.5
    half = t_quantile(0.975, noise.df) * se
    gap = shown - gain
    return Gap(
        value=value,
        baseline_value=baseline_value,
        seeds=len(seeds),
        gain=gain,
        shown=shown,
        gap=gap,
        ci95=(gap - half, gap + half),
    )


def _on_hidden_shard(trials: Iterable[Trial]) -> dict[int, Trial]:
    return {trial.seed: trial for trial in trials if trial.holdout is not None}


def _chosen_by(trials: Iterable[Trial]) -> dict[int, Trial]:
    """The trials by which it was decided: no hidden shard."""
    return {trial.seed: trial for trial in trials if trial.holdout is None}
