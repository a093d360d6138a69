"""The Executor for clusters: a trial is a job in a cluster's queue, and its result is what the job prints.

The next trial of a slot waits in the cluster's own queue, so that SkyPilot's long way from an order to a job's start is
gone while the slot still works on the trial before.
"""

import asyncio
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from swarm.config import PoolSettings
from swarm.executors.folders import trial_folder
from swarm.executors.sky.cloud import Cloud
from swarm.executors.sky.fleet import Fleet, Patience, Tell
from swarm.executors.sky.job import TrialJob, lost, place_of, settle
from swarm.executors.sky.recipe import Recipe, recipe
from swarm.executors.sky.registry import Registry, berths
from swarm.ports import Slot, TrialOrder
from trainer.contract import Outcome, Task, TrialResult


class SkyExecutor:
    """Runs the trials of one session on its clusters, which live as long as the session does."""

    def __init__(
        self,
        cloud: Cloud,
        home: Path,
        session: str,
        pools: Sequence[PoolSettings],
        *,
        experiment: Path | None,
        tell: Tell,
        patience: Patience | None = None,
    ) -> None:
        """``home``: the swarm's; ``experiment``: a SkyPilot YAML, None for the task's own or ours."""
        planned = berths(home, pools)
        self.slots: tuple[Slot, ...] = tuple(slot for berth in planned for slot in berth.slots)
        self._cloud = cloud
        self._folder = home / "sessions" / session
        self._experiment = experiment
        self._patience = patience or Patience()
        registry = Registry(home / "clusters")
        self._fleet = Fleet(cloud, registry, planned, session=session, tell=tell, patience=self._patience)
        self._recipes: dict[Path, asyncio.Task[Recipe]] = {}  # by task folder
        self._jobs: dict[str, TrialJob] = {}  # by trial id

    async def prepare(self, task: Task, progress: Callable[[str], None]) -> None:
        """Start the clusters, their setup and the task's data; returns when one is ready. Raises InputError."""
        await self._fleet.open(await self._recipe(task), progress)

    async def close(self) -> None:
        """Tear down all clusters of the home. What runs on them is lost. Raises CloudError."""
        for job in self._jobs.values():
            job.abandon()
        await self._fleet.close()

    async def submit(self, order: TrialOrder) -> None:
        """Queue the trial on its slot's cluster, unless it is known. Raises InputError, DiskFull."""
        folder = self._trial_folder(order.trial_id)
        made = await self._recipe(order.task)
        await self._fleet.open(made, lambda _: None)
        cluster = self._fleet.of_slot(order.slot.name)
        await cluster.settled.wait()  # one that an earlier run left may be looked for still
        if (job := self._known(order.trial_id)) is None:
            config = made.trial(order, cluster.berth.pool, cluster.life)
            job = self._jobs[order.trial_id] = TrialJob(self._cloud, folder, cluster, self._patience)
            job.start(config)
        await job.placed()

    async def result(self, trial_id: str) -> TrialResult:
        """Wait for the trial's end. A trial that is lost, or was never submitted, is PREEMPTED. Raises DiskFull."""
        if job := self._known(trial_id):
            return await job.result()
        folder = self._trial_folder(trial_id)
        if folder.exists():
            return settle(folder, lost(folder, "its cluster belongs to the session no more"))
        return TrialResult(trial_id=trial_id, outcome=Outcome.PREEMPTED, message="it was never started")

    async def cancel(self, trial_id: str) -> None:
        """End the trial's job; when that cannot be done, its cluster."""
        if job := self._known(trial_id):
            await job.cancel()

    async def drop_checkpoint(self, trial_id: str) -> None:
        """Nothing to do: what a trial saves on a cluster ends with it."""

    async def forget(self, trial_id: str) -> None:
        """Delete what came back of the trial; its cluster's own folder goes with the cluster."""
        self._jobs.pop(trial_id, None)
        await asyncio.to_thread(shutil.rmtree, self._trial_folder(trial_id), ignore_errors=True)

    def _known(self, trial_id: str) -> TrialJob | None:
        """A trial that was submitted, by this run or an earlier one; seen through from now on."""
        folder = self._trial_folder(trial_id)
        if trial_id not in self._jobs and (place := place_of(folder)) and place.cluster in self._fleet.clusters:
            cluster = self._fleet.clusters[place.cluster]
            self._jobs[trial_id] = TrialJob(self._cloud, folder, cluster, self._patience)
            self._jobs[trial_id].take_over(place)
        return self._jobs.get(trial_id)

    def _trial_folder(self, trial_id: str) -> Path:
        return trial_folder(self._folder / "trials", trial_id)

    async def _recipe(self, task: Task) -> Recipe:
        if task.folder not in self._recipes:
            made = asyncio.to_thread(recipe, self._experiment, task, self._folder / "workdir")
            self._recipes[task.folder] = asyncio.create_task(made)
        return await asyncio.shield(self._recipes[task.folder])
