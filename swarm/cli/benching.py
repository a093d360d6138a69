"""bench: strategies side by side at equal GPU-hours."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import print_json


def bench(  # noqa: PLR0917 (Typer calls it by name)
    strategies: Annotated[
        str, typer.Option("--strategies", metavar="A,B,…", help="random, tpe, cmaes, gp, asha, greedy, swarm.")
    ] = "random,tpe,cmaes,asha,greedy,swarm",
    trials: Annotated[
        Path | None, typer.Option("--trials", metavar="FILE", help="Fit the objective to a file of trials.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Train for real; goes on where it was cut off.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Races of each strategy.")] = 8,
    gpu_hours: Annotated[float, typer.Option("--gpu-hours", min=0.0, help="Budget of one race.")] = 24.0,
    slots: Annotated[int, typer.Option("--slots", min=1, help="Trials at once; with --task only 1.")] = 1,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw the best-so-far curves.")] = None,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Run search strategies side by side at equal GPU-hours and print who got how far.

    Peers are Optuna's own samplers and pruner, and the greedy loop of autoresearch.
    """
    from swarm.assemble.benching import ground, rules
    from swarm.bench.contest import contest, entrants
    from swarm.bench.report import plot as draw
    from swarm.bench.report import print_table, summary
    from swarm.errors import InputError
    from swarm.home import Home
    from trainer.contract import find_task

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if task is not None and slots > 1:
        raise InputError("--task trains one trial at a time; leave --slots out")
    folder = Home(home, create=True).root / "bench" if task is not None else home / "bench"
    names = list(dict.fromkeys(name.strip() for name in strategies.split(",") if name.strip()))
    makers = entrants(names, find_task(task or "tinytext"))  # a file of trials has no task: any will do for its words
    at = ground(task=task, trials=trials, folder=folder, say=say)
    budget = gpu_hours * 3600
    ran = contest(at.objective, makers, seeds=seeds, gpu_seconds=budget, slots=slots, say=say)
    common = rules(at, ran, gpu_seconds=budget, slots=slots)
    told = {**summary(ran, common), "surrogate": at.quality}
    if plot is not None:
        draw(ran, common, plot)
    if as_json:
        print_json(told)
    else:
        print_table(told)
