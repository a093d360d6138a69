"""One step of a candidate on tiny shapes, before it costs a lease: does it run, save, and pass the judge's probes?

It runs as a trial does, in the same sandbox and before the same judge, which scores a few windows. A task says in its
`[preflight]` which constants make a step tiny; one that says nothing has no preflight.
"""

import asyncio
import hashlib
import shutil
from pathlib import Path

from swarm.executors.local import LocalExecutor
from swarm.ports import Slot, TrialOrder
from swarm.research.knobs import read_knobs, set_knobs
from trainer.contract import Budget, BudgetKind, Outcome, Task

# A trial that only took more than its one step is no fault: code may look at its budget every few steps.
_FAULTS = {Outcome.CRASHED, Outcome.OUT_OF_MEMORY, Outcome.DIVERGED, Outcome.REJECTED_BY_JUDGE}


class Preflight:
    """Runs preflights of one task on this machine's CPU, whatever the slots are."""

    def __init__(self, root: Path, data_root: Path, task: Task) -> None:
        """``root``: a folder of its own; ``data_root``: where the executor keeps prepared data."""
        self._root = root
        self._task = task
        self._executor = LocalExecutor(root, data_root)

    async def fault(self, source: str) -> str | None:
        """What is wrong with a file that compiles, in one sentence; None where nothing was found."""
        if not self._task.preflight:
            return None
        names = read_knobs(source)
        tiny = set_knobs(source, {name: value for name, value in self._task.preflight.items() if name in names})
        name = hashlib.sha256(tiny.encode()).hexdigest()[:16]
        order = TrialOrder(
            trial_id=name,
            session="preflight",
            task=self._task,
            source=tiny,
            tier="preflight",
            budget=Budget(kind=BudgetKind.STEPS, amount=1),
            seed=0,
            slot=Slot(name="preflight", accelerator="cpu"),
            token=0,
            quick=True,
        )
        await self._executor.submit(order)
        result = await self._executor.result(name)
        await asyncio.to_thread(shutil.rmtree, self._root / name)
        return f"one step of it ended {result.outcome}: {result.message}" if result.outcome in _FAULTS else None

    def close(self) -> None:
        """Let its warm worker go."""
        self._executor.close()
