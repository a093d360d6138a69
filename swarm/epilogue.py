"""Pages that only later runs can write: the hidden shard, what kept changes are worth, gains that do not add up.

What the hidden shard says is written when a session ends, for agents read the notebook and must not learn it before.
"""

from collections.abc import Sequence

from notebook_store.entry import Kind, Link, Relation
from swarm.research.experiment import Experiment, Json
from swarm.research.hindsight import Gap
from swarm.research.promotion import Gain
from swarm.scribe import Scribe


async def interaction_page(scribe: Scribe, experiment: Experiment, *, together: Gain, alone: Json, found: Gain) -> None:
    """A change that gained more, or less, on top of another than alone. ``alone``: its verdict against the incumbent
    of before; ``found``: the difference.
    """
    low, high = found.interval()
    other, unit = experiment.verdict["against"], scribe.task.metric
    word = "reinforce each other" if found.mean > 0 else "cancel each other" if together.mean <= 0 else "overlap"
    entry = scribe.page(
        f"{experiment.id}-interaction-{experiment.moves}",
        Kind.INSIGHT,
        f"two gains {word}: {experiment.hypothesis.splitlines()[0][:90]} and {other}",
        f"{experiment.hypothesis}\n\nAlone it gained {alone['gain']:+.4f} {unit} over {alone['against']}; on top of "
        f"{other} it gains {together.mean:+.4f} over {other}. The difference, the interaction of the two, is "
        f"{found.mean:+.4f} (95% interval {low:+.4f} to {high:+.4f}, noise pooled). The first gain was confirmed for "
        "being large, so a part of the difference may be chance.",
        author="referee",
        experiment=experiment,
        links=[Link(kind=Relation.DERIVED_FROM, target=f"{name}-hypothesis") for name in (experiment.id, other)],
        data={
            "interaction": found.mean,
            "ci95": [low, high],
            "alone": alone["gain"],
            "together": together.mean,
            "with": other,
            "changes": dict(experiment.changes),
        },
    )
    await scribe.write(entry)


async def ablation_page(scribe: Scribe, incumbent: Experiment, found: Json) -> None:
    """What each kept change of an incumbent is worth, and what was taken out; ``found``: as the ledger keeps it."""
    unit, out = scribe.task.metric, found["taken_out"]
    lines = [
        f"Each kept change taken out of {incumbent.id} by itself, on {found['pairs']} validation seeds beside it. "
        f"What the file loses is the change's worth, in {unit}.",
        "",
        "| change | worth | 95% interval | |",
        "|---|---|---|---|",
        *(_ablated(row, out) for row in found["changes"]),
    ]
    if found["failed"]:
        lines += ["", f"Not taken out, since the file does not run without: {', '.join(found['failed'])}."]
    said = (
        f"nothing to gain by leaving out {', '.join(found['tried'])}" if found["tried"] else "all of it earns its place"
    )
    if out:
        said = f"without {', '.join(out)} the file is as good: {found['simplified']} takes its place"
    entry = scribe.page(
        f"{incumbent.id}-ablation",
        Kind.INSIGHT,
        f"what each kept change of {incumbent.id} is worth: {said}",
        "\n".join([*lines, "", said[0].upper() + said[1:] + "."]),
        author="referee",
        experiment=incumbent,
        links=[Link(kind=Relation.DERIVED_FROM, target=f"{incumbent.id}-decision")],
        data={"ablation": dict(found)},
    )
    await scribe.write(entry)


def _ablated(row: Json, out: Sequence[str]) -> str:
    low, high = row["ci95"]
    word = "taken out" if row["name"] in out else "worth nothing that shows" if row["idle"] else "kept"
    return f"| {row['told'].replace('|', '/')} | {row['worth']:+.4f} | {low:+.4f} to {high:+.4f} | {word} |"


async def holdout_page(scribe: Scribe, incumbent: Experiment, gap: Gap) -> None:
    """What the hidden shard says of an incumbent: how much we fooled ourselves."""
    unit = scribe.task.metric
    low, high = gap.ci95
    entry = scribe.page(
        f"{incumbent.id}-holdout-{gap.seeds}",
        Kind.DECISION,
        f"hidden shard: {gap.gain:+.4f} {unit} over the baseline, {gap.gap:+.4f} of the gain was not real"
        if low > 0
        else f"hidden shard: {gap.gain:+.4f} {unit} over the baseline, no gap to validation that shows",
        f"{incumbent.id} scores {gap.value:.4f} {unit} on a hidden shard and {gap.seeds} fresh seeds by which nothing "
        f"was chosen, the baseline {gap.baseline_value:.4f}: a gain of {gap.gain:+.4f}. On the validation shard and "
        f"the seeds by which it was confirmed it gained {gap.shown:+.4f} over the baseline. The gap, how much we "
        f"fooled ourselves, is {gap.gap:+.4f} (95% interval {low:+.4f} to {high:+.4f}).",
        author="referee",
        experiment=incumbent,
        links=[Link(kind=Relation.DERIVED_FROM, target=f"{incumbent.id}-decision")],
        data={"holdout": gap.value, "baseline_holdout": gap.baseline_value, "gap": gap.gap, "ci95": [low, high]},
    )
    await scribe.write(entry)
