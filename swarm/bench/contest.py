"""Who takes part, and all the races of one contest."""

import heapq
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from swarm.bench.own import Swarm
from swarm.bench.race import Course, Measured, Objective, Race, race
from swarm.bench.strategies import Maker, peers
from swarm.bench.thinking import Studio, Thinking
from swarm.errors import InputError
from trainer.contract import Direction, Task

THINKING = ("llm", "hybrid")


def named(text: str) -> list[str]:
    """Strategies separated by commas. Raises InputError naming those there are."""
    names = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    known = {*peers(), "swarm", *THINKING}
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        raise InputError(f"unknown strategy '{' '.join(unknown)}'; choose from {', '.join(sorted(known))}")
    return names


def entrants(names: Sequence[str], task: Task, studio: Studio | None = None) -> Mapping[str, Maker]:
    """The strategies of these names; those that think need a studio."""
    known: dict[str, Maker] = {**peers(), "swarm": lambda r, c, s: Swarm(r, c, s, task=task)}
    if studio is not None:
        known |= {name: _thinking(name, studio, task) for name in THINKING}
    return {name: known[name] for name in names}


def _thinking(name: str, studio: Studio, task: Task) -> Maker:
    return lambda r, c, s: Thinking(name, r, c, s, studio=studio, task=task)


def words_of(task: Task, objective: Objective) -> Task:
    """A task that speaks of the metric as an objective does."""
    direction = Direction.MINIMIZE if objective.minimize else Direction.MAXIMIZE
    return replace(task, metric=objective.metric, direction=direction)


def contest(
    objective: Objective,
    strategies: Mapping[str, Maker],
    *,
    seeds: int,
    gpu_seconds: float,
    slots: int,
    gpu_price: float = 1.0,
    say: Callable[[str], None],
) -> list[Race]:
    """Every strategy under every seed, one seed after the other, so that what is cut off compares like with like."""
    races = []
    for seed in range(seeds):
        courses = [
            race(objective, name, maker, seed, gpu_seconds=gpu_seconds, slots=slots, gpu_price=gpu_price)
            for name, maker in strategies.items()
        ]
        for ran in side_by_side(objective, courses):
            races.append(ran)
            say(f"seed {seed}: {ran.strategy} {ran.best:.5f} after {ran.trials} trials, {ran.failed} failed")
    order = list(strategies)
    return sorted(races, key=lambda ran: (order.index(ran.strategy), ran.seed))


def side_by_side(objective: Objective, courses: Sequence[Course]) -> Iterator[Race]:
    """Run races together and give each when it has ended. Whichever has been charged least is measured next, so that
    whatever else the machine is busy with meanwhile hits all of them alike.
    """
    waiting = [(0.0, number, next(course)) for number, course in enumerate(courses)]  # seconds charged so far
    running: dict[Future[Measured], tuple[float, int]] = {}
    pool = ThreadPoolExecutor(objective.at_once)
    try:
        while waiting or running:
            while waiting and len(running) < objective.at_once:
                charged, number, wanted = heapq.heappop(waiting)
                running[pool.submit(objective.measure, wanted)] = charged, number
            for answer in wait(running, return_when=FIRST_COMPLETED).done:
                charged, number = running.pop(answer)
                try:
                    wanted = courses[number].send(answer.result())
                    heapq.heappush(waiting, (charged + answer.result().seconds, number, wanted))
                except StopIteration as end:
                    yield end.value
    finally:
        pool.shutdown(cancel_futures=True)
