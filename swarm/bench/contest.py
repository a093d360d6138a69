"""Who takes part, and all the races of one contest."""

from collections.abc import Callable, Mapping, Sequence

from swarm.bench.own import Swarm
from swarm.bench.race import Objective, Race, race
from swarm.bench.strategies import Maker, peers
from swarm.errors import InputError
from trainer.contract import Task


def entrants(names: Sequence[str], task: Task) -> Mapping[str, Maker]:
    """The strategies of these names. Raises InputError naming those there are."""
    known: dict[str, Maker] = {**peers(), "swarm": lambda r, c, s: Swarm(r, c, s, task=task)}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"unknown strategy '{' '.join(unknown)}'; choose from {', '.join(sorted(known))}")
    return {name: known[name] for name in names}


def contest(
    objective: Objective,
    strategies: Mapping[str, Maker],
    *,
    seeds: int,
    gpu_seconds: float,
    slots: int,
    say: Callable[[str], None],
) -> list[Race]:
    """Every strategy under every seed, one seed after the other, so that what is cut off compares like with like."""
    races = []
    for seed in range(seeds):
        for name, maker in strategies.items():
            ran = race(objective, name, maker, seed, gpu_seconds=gpu_seconds, slots=slots)
            races.append(ran)
            say(f"seed {seed}: {name} {ran.best:.5f} after {ran.trials} trials, {ran.failed} failed")
    order = list(strategies)
    return sorted(races, key=lambda ran: order.index(ran.strategy))
