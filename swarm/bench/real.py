"""A task as an objective: every measurement is a real trial on this machine, through the executor sessions use."""

import asyncio
import hashlib
import time
from collections.abc import Mapping
from pathlib import Path

from swarm.bench.race import Measured
from swarm.bench.strategies import Config
from swarm.executors.local import LocalExecutor
from swarm.ports import Slot, TrialOrder
from swarm.research.knobs import derive_ranges, read_knobs, set_knobs
from swarm.research.space import configuration
from trainer.contract import Budget, Direction, Range, Task, TrialResult

TIER = "validate"  # the task's own full budget


class TaskObjective:
    """Trains for real, one trial at a time; charged is what the trial was charged."""

    def __init__(self, task: Task, root: Path, data_root: Path) -> None:
        """``root``: where trials keep their folders. Prepares the task's data. Raises SwarmError."""
        self._task, self._executor = task, LocalExecutor(root, data_root)
        self._source = task.editable_path.read_text(encoding="utf-8")
        self.start: Config = read_knobs(self._source)
        self.ranges: Mapping[str, Range] = derive_ranges(self.start, task.ranges)
        self.metric, self.minimize = task.metric, task.direction is Direction.MINIMIZE
        asyncio.run(self._executor.prepare(task, lambda _: None))

    def measure(self, config: Config, seed: int, *, share: float = 1.0, after: float = 0.0) -> Measured:
        """A trial from its beginning to ``share`` of the budget: a trial cannot be taken up again, so ``after`` saves
        nothing here.
        """
        del after
        begun = time.monotonic()
        result = asyncio.run(self._run(config, seed, share))
        charged = result.train_seconds or time.monotonic() - begun
        return Measured(value=result.metric, seconds=charged)

    def truth(self, config: Config) -> float | None:
        """Not known: only measuring tells."""
        del config
        return None

    async def _run(self, config: Config, seed: int, share: float) -> TrialResult:
        full = self._task.budget(TIER)
        changes = {name: config[name] for name in self.ranges if config[name] != self.start[name]}
        told = f"{configuration(config, config)} {seed} {share}"
        order = TrialOrder(
            trial_id=hashlib.sha256(told.encode()).hexdigest()[:24],
            session="bench",
            task=self._task,
            source=set_knobs(self._source, changes),
            tier=TIER,
            budget=Budget(kind=full.kind, amount=full.amount * share),
            seed=seed,
            slot=Slot(name="bench-0", accelerator=str(self._task.device)),
            token=0,
        )
        await self._executor.submit(order)
        return await self._executor.result(order.trial_id)
