"""What the races say: the table, paired tests, and best-so-far curves."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from swarm.bench.race import Race

_LEVEL = 0.95  # of the curves' intervals


@dataclass(frozen=True, kw_only=True)
class Rules:
    """What all races had in common."""

    metric: str
    minimize: bool
    best_known: float  # regret is measured from it
    gpu_seconds: float  # budget of one race
    slots: int


def summary(races: Sequence[Race], rules: Rules) -> dict[str, Any]:
    """The table as JSON: one row a strategy, in the order they were named, and a paired test for every two."""
    by_name = _by_name(races)
    target_of, target = _target(by_name, rules)
    rows = []
    for name, own in by_name.items():
        finals = [race.best for race in own]
        reached = _cost_to(own, target, rules)
        rows.append(
            {
                "name": name,
                "mean_regret": statistics.fmean(_regret(race, rules) for race in own),
                "mean_best": statistics.fmean(finals),
                "sd_best": statistics.stdev(finals) if len(finals) > 1 else None,
                "crashed_share": sum(race.failed for race in own) / sum(race.trials for race in own),
                "cost_to_target": reached,
                "trials": statistics.fmean(race.trials for race in own),
                "tokens": statistics.fmean(race.tokens for race in own),
                "dollars": statistics.fmean(race.dollars for race in own),
                "finals": finals,
            }
        )
    names = list(by_name)
    tests = [
        {"a": a, "b": b, **_compared(by_name[a], by_name[b], rules)}
        for i, a in enumerate(names)
        for b in names[i + 1 :]
    ]
    return {
        "metric": rules.metric,
        "best_known": rules.best_known,
        "gpu_hours": rules.gpu_seconds / 3600,
        "slots": rules.slots,
        "seeds": len(next(iter(by_name.values()))),
        "target": target,
        "target_of": target_of,
        "strategies": rows,
        "tests": tests,
    }


def print_table(told: Mapping[str, Any]) -> None:
    """The same for a person."""
    from rich.console import Console
    from rich.table import Table

    table = Table(title=f"{told['gpu_hours']:g} GPU-hours on {told['slots']} slot(s), {told['seeds']} seeds")
    thinks = any(row["tokens"] for row in told["strategies"])
    headings = ["strategy", "mean regret", f"mean {told['metric']}", "sd", "crashed", "trials", "GPU-hours to target"]
    headings += ["tokens", "dollars"] if thinks else []
    for place, heading in enumerate(headings):
        table.add_column(heading, justify="left" if place == 0 else "right")
    for row in sorted(told["strategies"], key=lambda row: float(row["mean_regret"])):
        table.add_row(
            row["name"],
            f"{row['mean_regret']:.5f}",
            f"{row['mean_best']:.5f}",
            "" if row["sd_best"] is None else f"{row['sd_best']:.5f}",
            f"{row['crashed_share']:.1%}",
            f"{row['trials']:.0f}",
            "not reached" if row["cost_to_target"] is None else f"{row['cost_to_target']:.1f}",
            *((f"{row['tokens']:,.0f}", f"{row['dollars']:.2f}") if thinks else ()),
        )
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(
        f"best known {told['best_known']:.5f}; target: {told['target_of']}'s mean final score {told['target']:.5f}"
    )
    for test in told["tests"]:
        p = "no test from one seed" if test["p"] is None else f"p = {test['p']:.2g}, paired t-test {test['p_t']:.2g}"
        console.print(f"{test['a']} against {test['b']}: better under {test['wins']} of {told['seeds']} seeds; {p}")
    console.print("p: exact Wilcoxon signed-rank test of the final scores, paired by seed, two-sided")


def plot(races: Sequence[Race], rules: Rules, path: Path) -> None:
    """Mean best-so-far of every strategy against GPU-hours, with a 95% interval over the seeds, as a picture."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from scipy.stats import t

    figure, axes = plt.subplots(figsize=(8, 4.8))
    grid = [rules.gpu_seconds * step / 200 for step in range(1, 201)]
    for name, own in _by_name(races).items():
        columns = [(at / 3600, [race.at(at) for race in own]) for at in grid]
        full = [(hour, [v for v in values if v is not None]) for hour, values in columns if None not in values]
        means = [statistics.fmean(values) for _, values in full]
        (line,) = axes.plot([hour for hour, _ in full], means, label=name)
        if len(own) > 1:
            reach = t.ppf(0.5 + _LEVEL / 2, len(own) - 1) / math.sqrt(len(own))
            half = [reach * statistics.stdev(values) for _, values in full]
            low, high = zip(*((m - h, m + h) for m, h in zip(means, half, strict=True)), strict=True)
            axes.fill_between([hour for hour, _ in full], low, high, alpha=0.15, color=line.get_color())
    axes.axhline(rules.best_known, color="black", linewidth=0.8, linestyle=":")
    finals = [race.best for race in races]
    span = max(abs(value - rules.best_known) for value in finals) or 1e-9
    bottom, top = rules.best_known - 0.1 * span, rules.best_known + 2 * span
    axes.set_ylim((bottom, top) if rules.minimize else (2 * rules.best_known - top, 2 * rules.best_known - bottom))
    axes.set_xlabel("GPU-hours")
    axes.set_ylabel(f"{rules.metric}, best so far (mean and 95% interval)")
    axes.legend()
    figure.savefig(path, dpi=130, bbox_inches="tight")
    plt.close(figure)


def _by_name(races: Sequence[Race]) -> dict[str, list[Race]]:
    found: dict[str, list[Race]] = {}
    for race in sorted(races, key=lambda race: race.seed):
        found.setdefault(race.strategy, []).append(race)
    order = list(dict.fromkeys(race.strategy for race in races))
    return {name: found[name] for name in order}


def _regret(race: Race, rules: Rules) -> float:
    return (race.best - rules.best_known) * (1 if rules.minimize else -1)


def _target(by_name: Mapping[str, Sequence[Race]], rules: Rules) -> tuple[str, float]:
    """Greedy's mean final score, or that of the best peer where greedy does not run."""
    means = {name: statistics.fmean(race.best for race in own) for name, own in by_name.items()}
    if "greedy" in means:
        return "greedy", means["greedy"]
    rivals = [name for name in means if name != "swarm"] or list(means)
    best = min(rivals, key=lambda name: means[name] if rules.minimize else -means[name])
    return best, means[best]


def _cost_to(own: Sequence[Race], target: float, rules: Rules) -> float | None:
    """GPU-hours after which the mean best-so-far has reached the target; None: never."""
    for spent in sorted({point.gpu_seconds for race in own for point in race.curve}):
        values = [race.at(spent) for race in own]
        scored = [value for value in values if value is not None]
        if len(scored) == len(own):
            mean = statistics.fmean(scored)
            if mean <= target if rules.minimize else mean >= target:
                return spent / 3600
    return None


def _compared(a: Sequence[Race], b: Sequence[Race], rules: Rules) -> dict[str, Any]:
    """Two strategies by seed: under how many seeds the first is better, Wilcoxon's exact p, and Student's beside it.

    Finals are skewed: a race that got stuck ends many times further off than the others, and Student's t, which takes
    differences for normal, then calls the very difference noise. Ranks do not (Demsar, JMLR 7, 2006, section 3.1.3).
    """
    from scipy.stats import ttest_rel, wilcoxon

    ahead = [_regret(theirs, rules) - _regret(ours, rules) for ours, theirs in zip(a, b, strict=True)]
    told: dict[str, Any] = {"wins": sum(difference > 0 for difference in ahead), "p": None, "p_t": None}
    if len(ahead) < 2:
        return told
    if not any(ahead):
        return {**told, "p": 1.0, "p_t": 1.0}
    ranks = wilcoxon(ahead, zero_method="zsplit")
    return {**told, "p": float(ranks.pvalue), "p_t": float(ttest_rel(ahead, [0.0] * len(ahead)).pvalue)}
