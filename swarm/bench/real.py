"""A task as an objective: every measurement is a real trial on this machine, through the executor sessions use."""

import asyncio
import hashlib
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from queue import SimpleQueue

from swarm.bench.race import Measured, Measurement
from swarm.bench.strategies import Config
from swarm.errors import SwarmError
from swarm.executors.local import LocalExecutor
from swarm.ports import Slot, TrialOrder
from swarm.research.knobs import derive_ranges, read_knobs, set_knobs
from swarm.research.space import configuration
from swarm.trials import LOST
from trainer.contract import Budget, Direction, Range, Task, TrialResult

TIER = "validate"  # the task's own full budget
_ATTEMPTS = 3  # of a trial that ends without saying anything of its configuration


class TaskObjective:
    """Trains for real, one trial on each slot at a time; charged is what the trial was charged.

    A trial cannot be taken up again, so what was trained of a configuration before saves nothing.
    """

    def __init__(self, task: Task, slots: Sequence[Slot], root: Path, data_root: Path) -> None:
        """``root``: where trials keep their folders. Prepares the task's data. Raises SwarmError."""
        self._task = task
        self._source = task.editable_path.read_text(encoding="utf-8")
        self.start: Config = read_knobs(self._source)
        self.ranges: Mapping[str, Range] = derive_ranges(self.start, task.ranges)
        self.metric, self.minimize = task.metric, task.direction is Direction.MINIMIZE
        self.at_once = len(slots)
        self._free: SimpleQueue[tuple[Slot, LocalExecutor]] = SimpleQueue()
        for slot in slots:  # with an executor each: one is not for two threads
            self._free.put((slot, LocalExecutor(root, data_root)))
        asyncio.run(LocalExecutor(root, data_root).prepare(task, lambda _: None))

    def measure(self, wanted: Measurement) -> Measured:
        """A trial from its beginning, on a slot that is free."""
        slot, executor = self._free.get()
        try:
            begun = time.monotonic()
            result = asyncio.run(self._run(wanted, slot, executor))
            return Measured(value=result.metric, seconds=result.train_seconds or time.monotonic() - begun)
        finally:
            self._free.put((slot, executor))

    def truth(self, config: Config) -> float | None:
        """Not known: only measuring tells."""
        del config
        return None

    async def _run(self, wanted: Measurement, slot: Slot, executor: LocalExecutor) -> TrialResult:
        full, config = self._task.budget(TIER), wanted.config
        changes = {name: config[name] for name in self.ranges if config[name] != self.start[name]}
        told = f"{configuration(config, config)} {wanted.seed} {wanted.share}"
        order = TrialOrder(
            trial_id=hashlib.sha256(told.encode()).hexdigest()[:24],
            session="bench",
            task=self._task,
            source=set_knobs(self._source, changes),
            tier=TIER,
            budget=Budget(kind=full.kind, amount=full.amount * wanted.share),
            seed=wanted.seed,
            slot=slot,
            token=0,
        )
        for _ in range(_ATTEMPTS):
            await executor.submit(order)
            result = await executor.result(order.trial_id)
            await executor.forget(order.trial_id)  # measured again, it is trained again
            if result.outcome not in LOST:
                return result
        raise SwarmError(
            f"a trial was lost {_ATTEMPTS} times, {result.message}; run the same command when that is mended"
        )
