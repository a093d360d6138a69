"""bench: strategies side by side at equal GPU-hours."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from swarm.cli.options import HOME, AsJson, InHome
from swarm.cli.output import print_json


def bench(  # noqa: PLR0917 (Typer calls it by name)
    strategies: Annotated[
        str,
        typer.Option("--strategies", metavar="A,B,…", help="random, tpe, cmaes, gp, asha, greedy, swarm, hybrid, llm."),
    ] = "random,tpe,cmaes,asha,greedy,swarm",
    trials: Annotated[
        Path | None, typer.Option("--trials", metavar="FILE", help="Fit the objective to a file of trials.")
    ] = None,
    task: Annotated[
        str | None, typer.Option("--task", metavar="TASK", help="Train for real; goes on where it was cut off.")
    ] = None,
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Races of each strategy.")] = 8,
    gpu_hours: Annotated[float, typer.Option("--gpu-hours", min=0.0, help="Budget of one race.")] = 24.0,
    slots: Annotated[int, typer.Option("--slots", min=1, help="Trials of one race at once; with --task only 1.")] = 1,
    gpu_price: Annotated[
        float, typer.Option("--gpu-price", min=0.01, help="Dollars a GPU-hour, at which tokens are charged.")
    ] = 3.0,
    config: Annotated[
        Path | None,
        typer.Option("--config", metavar="FILE", help="swarm.toml; hybrid and llm think with its [models]."),
    ] = None,
    kept: Annotated[
        Path | None, typer.Option("--kept", metavar="FILE", help="With --task: the file that keeps what was measured.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="PNG", help="Draw the best-so-far curves.")] = None,
    as_json: AsJson = False,
    home: InHome = HOME,
) -> None:
    """Run search strategies side by side at equal GPU-hours and print who got how far.

    Peers are Optuna's own samplers and pruner, and the greedy loop of autoresearch.
    """
    from swarm.assemble.benching import ground, rules, studio
    from swarm.bench.contest import contest, entrants, named, words_of
    from swarm.bench.report import plot as draw
    from swarm.bench.report import print_table, summary
    from swarm.errors import InputError
    from swarm.home import Home
    from trainer.contract import find_task

    def say(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    if task is not None and slots > 1:
        raise InputError("with --task a race has one slot of this machine; leave --slots out")
    folder = Home(home, create=True).root / "bench" if task is not None else home / "bench"
    names = named(strategies)
    like = find_task(task or "tinytext")  # a file of trials has no task of its own
    budget = gpu_hours * 3600
    with studio(names, config) as room:
        at = ground(task=task, trials=trials, folder=folder, kept=kept, say=say)
        makers = entrants(names, words_of(like, at.objective), room)
        ran = contest(at.objective, makers, seeds=seeds, gpu_seconds=budget, slots=slots, gpu_price=gpu_price, say=say)
    common = rules(at, ran, gpu_seconds=budget, slots=slots)
    told = {**summary(ran, common), "surrogate": at.quality}
    if plot is not None:
        draw(ran, common, plot)
    if as_json:
        print_json(told)
    else:
        print_table(told)
