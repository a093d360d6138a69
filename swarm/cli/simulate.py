"""simulate: a night on any cluster, on a virtual clock."""

import os
import re
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import print_json

if TYPE_CHECKING:
    from swarm.bench.night import Landscape, Policy, Report
    from swarm.ports import Slot


def simulate(  # noqa: PLR0917 (Typer calls it by name)
    slots: Annotated[str, typer.Option("--slots", metavar="KIND:N,…", help="The cluster.")] = "H100:13,H200:3",
    hours: Annotated[float, typer.Option("--hours", min=0.1, help="How long the night is.")] = 8.0,
    trials: Annotated[
        Path | None, typer.Option("--trials", metavar="FILE", help="Search a landscape fitted to a file of trials.")
    ] = None,
    budget: Annotated[float, typer.Option("--budget", min=1.0, help="Seconds of training a trial.")] = 300.0,
    overhead: Annotated[float, typer.Option("--overhead", min=0.0, help="Seconds of start-up and evaluation.")] = 25.0,
    think: Annotated[float, typer.Option("--think", min=0.0, help="Seconds of thought a proposal.")] = 30.0,
    proposers: Annotated[int, typer.Option("--proposers", min=1, help="How many think at once.")] = 4,
    stragglers: Annotated[
        float, typer.Option("--stragglers", min=0.0, max=1.0, help="Share of trials whose slot is shared with others.")
    ] = 0.0,
    preemptions: Annotated[
        float, typer.Option("--preemptions", min=0.0, help="How often an hour a slot is taken away.")
    ] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="All chance follows from it.")] = 0,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Draw who had which slot when.")] = None,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Play a session on a cluster that is not there, on a virtual clock.

    The session, its leases and its statistics are the real ones; only trials and thoughts are not. Beside it the
    same night in lockstep: think of a wave, run it, wait for its last trial.
    """
    del home  # a simulated session leaves nothing behind
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # small matrices: threads only wait for each other
    from swarm.bench.gantt import check, draw
    from swarm.bench.night import Night, play
    from swarm.executors.simulated import Machines

    if plot is not None:
        check(plot)
    night = Night(
        landscape=_landscape(trials),
        slots=read_slots(slots),
        hours=hours,
        budget_seconds=budget,
        think_seconds=think,
        thinkers=proposers,
        machines=Machines(
            overhead_seconds=overhead, straggler_share=stragglers, preemptions_per_hour=preemptions, seed=seed
        ),
        seed=seed,
    )
    with TemporaryDirectory(prefix="swarm-simulate-") as folder:
        report = play(night, Path(folder))
    if plot is not None:
        draw(report, plot)
    if as_json:
        print_json(in_json(report))
    else:
        _print(report)


def read_slots(text: str) -> "list[Slot]":
    """``H100:13,H200:3`` as slots. Raises InputError."""
    from swarm.errors import InputError
    from swarm.ports import Slot

    found: dict[str, int] = {}
    for part in text.split(","):
        if not (match := re.fullmatch(r"\s*([A-Za-z0-9][A-Za-z0-9_.-]*)(?::([1-9][0-9]{0,4}))?\s*", part)):
            raise InputError(f"--slots: '{part.strip()}' is not a kind and a number of slots; write H100:13,H200:3")
        found[match[1]] = found.get(match[1], 0) + int(match[2] or 1)
    return [
        Slot(name=f"{kind.lower()}-{number}", accelerator=kind)
        for kind, count in found.items()
        for number in range(count)
    ]


def in_json(report: "Report") -> dict[str, Any]:
    """What ``--json`` prints: the swarm's night, and the lockstep one under its name."""
    return {
        **_policy(report.swarm),
        "proposals": report.proposals,
        "by_tier": dict(report.by_tier),
        "waits": {tier: {"median": middle, "longest": most} for tier, (middle, most) in report.waits.items()},
        "gaps": {"median": report.gaps[0], "longest": report.gaps[1]},
        "metric": report.metric,
        "baseline": report.baseline,
        "best": report.best[-1][1] if report.best else None,
        "best_over_time": [list(step) for step in report.best],
        "lockstep": _policy(report.lockstep),
    }


def _policy(policy: "Policy") -> dict[str, Any]:
    return {"experiments": policy.experiments, "valid": policy.valid, "occupancy": dict(policy.occupancy)}


def _landscape(trials: Path | None) -> "Landscape":
    if trials is None:
        from swarm.bench.landscape import Valley

        return Valley()
    from swarm.bench.objective import FittedObjective
    from swarm.bench.trials_file import read_trials

    return FittedObjective(read_trials(trials))


def _print(report: "Report") -> None:
    for policy in (report.swarm, report.lockstep):
        busy = ", ".join(f"{kind} {share:.1%}" for kind, share in policy.occupancy.items())
        print(f"{policy.name:<15}{policy.experiments:,} experiments, {policy.valid:,} with a score; busy: {busy}")
    tiers = ", ".join(f"{count:,} {tier}" for tier, count in report.by_tier.items())
    print(f"{'ideas':<15}{report.proposals:,} tried in {tiers}")
    for tier, (middle, most) in report.waits.items():
        print(f"{'wait, ' + tier:<15}median {middle:.0f} s, longest {most:.0f} s")
    print(f"{'idle slot':<15}median {report.gaps[0]:.1f} s, longest {report.gaps[1]:.0f} s between two leases")
    for hours, value in report.best:
        print(f"{'best':<15}{value:.4f} {report.metric} after {hours:.2f} h")
